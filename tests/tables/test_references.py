"""What each category is compared with: whom it may take, how many each image has, and what the workers are told."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.io.storage import Location
from pipeline.schema.table import TableSchema
from pipeline.schema.tables import COMPARED, IMAGE_STATS, INDEX, REFERENCES
from pipeline.stage import Here
from pipeline.stages.near_duplicates import FindNearDuplicates, exclude_pairs, read_nearest, read_pairs
from pipeline.store.features import FeatureStore, feature_key
from pipeline.store.run_folder import RunFolder, read_table
from pipeline.tables.references import Chooser

HOSTILE = ("a/b", "..", "größe", "x" * 300, "line\nbreak", "'quote\"", "category=1", " ")
GEOMETRY = LakeGeometry(Geometry(14, (14, 14)))
ENCODED = TableSchema("What is known of encoded images.", INDEX.without("position"))
EARLIER = pa.schema(
    [
        *((name, pa.string()) for name in ("category", "uri", "etag", "region_uri", "region_etag")),
        *(("score_raw", pa.float64()), ("anomalous", pa.bool_())),
    ]
)


class Lake:
    """Images whose features are stored, and what was said of those of earlier nights."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        output = Location.parse(str(folder))
        self.config = ScoreConfig.model_validate(
            {"input": {"uri": "in"}, "output": {"uri": "out"}, "references": settings}
        )
        self.run = RunFolder(output, "tonight")
        self.store = FeatureStore(self.run.features, grid=(1, 1), width=2, layers=(0,), dtype="float32")
        self.images: list[dict[str, Any]] = []
        self.earlier: list[dict[str, Any]] = []
        self.blocks = 0

    def add(self, category: str, uris: Sequence[str], alike: Sequence[int] | None = None, **facts: Any) -> None:
        """Encode images tonight; those of one number look alike."""
        there = len(self.images)
        file = self._store(category, uris, range(there, there + len(uris)) if alike is None else alike)
        for row, uri in enumerate(uris):
            usual = {"etag": "1", "pinned": False, "input": True, "image": 10 * len(self.images)}
            self.images.append(
                usual | {"category": category, "uri": uri, "file": file, "row": row, "rows": 1, "columns": 1} | facts
            )

    def before(
        self,
        category: str,
        uris: Sequence[str],
        scores: Sequence[float],
        stored: bool = True,
        region: tuple[str | None, str | None] = (None, None),
    ) -> None:
        """Have images scored in an earlier night, by a mask of that address and tag."""
        if stored:
            self._store(category, uris, range(100, 100 + len(uris)), GEOMETRY.key(category, *region))
        usual = {"category": category, "etag": "1", "region_uri": region[0], "region_etag": region[1]}
        self.earlier += [usual | {"uri": uri, "score_raw": score} for uri, score in zip(uris, scores, strict=True)]

    def chooser(self, fingerprint: str = "f", **settings: Any) -> Chooser:
        earlier = pa.Table.from_pylist(self.earlier, schema=EARLIER) if self.earlier else None
        return Chooser(self.config, self.store, self.run, fingerprint, earlier, settings, GEOMETRY)

    @property
    def encoded(self) -> pa.Table:
        return ENCODED.rows(self.images)

    def compared(self) -> dict[int, tuple[int | None, str | None]]:
        """Choose, and return references and reason of each image."""
        alone, members = self.chooser()(self.encoded)
        table = pa.concat_tables([alone, exclude_pairs(members, self.find_near_duplicates(), Here())])
        assert table.schema == COMPARED.arrow
        rows = table.to_pylist()
        assert len({row["image"] for row in rows}) == len(rows)
        return {row["image"]: (row["references"], row["reason"]) for row in rows}

    def find_near_duplicates(self) -> FindNearDuplicates:
        return FindNearDuplicates(self.store, self.run, self.config.references.near_duplicates)

    def chosen(self, category: str) -> list[tuple[str, int, float | None]]:
        """Return uri, position and earlier score of the references that the workers are told of."""
        table = read_table(self.run.references(category))
        assert table.schema == REFERENCES.arrow
        return [(row["uri"], row["position"], row["score_raw"]) for row in table.to_pylist()]

    def _store(self, category: str, uris: Sequence[str], alike: Sequence[int], seen: str = "") -> str:
        self.blocks += 1
        vectors = np.random.default_rng(0).normal(size=(200, 64))[list(alike)]
        vectors += np.random.default_rng(self.blocks).normal(0, 1e-4, vectors.shape)
        embeddings: NDArray[Any] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        keys = [feature_key(uri, "1", "f", seen) for uri in uris]
        rows = {"key": keys, "uri": uris, **{name: [1] * len(uris) for name in ("width", "height", *IMAGE_STATS.names)}}
        return self.store.write(category, rows, np.ones((len(uris), 1, 1, 2), np.float32), embeddings)


def names(letter: str, total: int) -> list[str]:
    return [f"/{letter}/{number:02d}.png" for number in range(total)]


def test_all_images_of_a_category_are_compared_with_each_other(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.add("nut", names("n", 3))
    lake.add("bolt", names("b", 2))
    lake.add("nut", names("m", 1))
    lake.before("nut", names("e", 5), [0.5] * 5)  # no window, no references
    assert lake.compared() == {0: (3, None), 10: (3, None), 20: (3, None), 30: (1, None), 40: (1, None), 50: (3, None)}
    assert lake.chosen("nut") == [(uri, place, None) for place, uri in enumerate([*names("n", 3), *names("m", 1)])]
    index = read_table(lake.run.index("nut"))
    assert index["image"].to_pylist() == [0, 10, 20, 50] and index["position"].to_pylist() == [0, 1, 2, 3]
    members = lake.chooser()(lake.encoded)[1]
    assert {c: (of.total, of.references, of.population, of.mutual) for c, of in members.items()} == {
        "nut": (4, 4, 4, True),
        "bolt": (2, 2, 2, True),
    }


def test_an_image_without_another_one_is_alone(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.add("nut", names("n", 1))
    lake.add("bolt", names("b", 2))
    assert lake.compared() == {0: (None, "alone"), 10: (1, None), 20: (1, None)}
    only = Lake(tmp_path / "only")
    only.add("nut", names("n", 1))
    assert only.compared() == {0: (None, "alone")}


def test_nothing_encoded_is_compared_with_nothing(tmp_path: Path) -> None:
    table, members = Lake(tmp_path).chooser()(ENCODED.empty())
    assert table == COMPARED.empty() and members == {}
    assert Lake(tmp_path).chooser().expected(ENCODED.empty(), {}) == {}


@pytest.mark.parametrize("category", HOSTILE)
def test_categories_of_any_name_have_references_of_their_own(tmp_path: Path, category: str) -> None:
    lake = Lake(tmp_path, source="window")
    lake.add(category, names("n", 2))
    lake.add(f"{category}'", names("m", 2))
    lake.before(category, names("e", 1), [0.25])
    assert [count for count, _ in lake.compared().values()] == [2, 2, 1, 1]
    assert [uri for uri, _, _ in lake.chosen(category)] == [*names("n", 2), *names("e", 1)]
    assert [uri for uri, _, _ in lake.chosen(f"{category}'")] == names("m", 2)


def test_near_duplicates_are_no_references_of_each_other(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.add("nut", names("n", 7), alike=[0, 1, 2, 1, 3, 4, 1])
    assert [count for count, _ in lake.compared().values()] == [6, 4, 6, 4, 6, 6, 4]
    pairs = read_table(lake.run.near_duplicates("nut", 0))
    found = set(zip(pairs["position"].to_pylist(), pairs["reference"].to_pylist(), strict=True))
    assert found == {(1, 3), (1, 6), (3, 1), (3, 6), (6, 1), (6, 3)}


def test_two_alike_images_that_are_all_there_is_are_compared(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.add("nut", names("n", 2), alike=[0, 0])
    assert lake.compared() == {0: (1, None), 10: (1, None)}


@given(st.lists(st.integers(0, 6), min_size=2, max_size=12), st.integers(3, 12))
def test_each_image_is_compared_with_its_references_less_itself_and_its_near_duplicates(
    tmp_path_factory: pytest.TempPathFactory, alike: list[int], count: int
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"), mode="sample", count=count)
    lake.add("nut", names("n", len(alike)), alike=alike)
    chooser = lake.chooser()
    _, members = chooser(lake.encoded)
    table = exclude_pairs(members, lake.find_near_duplicates(), Here())
    [of] = members.values()
    chosen = {position for _, position, _ in lake.chosen("nut")}
    pairs = read_table(lake.run.near_duplicates("nut", 0))["position"].to_pylist()
    assert len(chosen) == of.references == min(count, len(alike)) and of.population == len(alike)
    expected = [of.references - (image in chosen) - pairs.count(image) for image in range(len(alike))]
    assert table["references"].to_pylist() == expected and min(expected) >= 1
    guess = chooser.expected(lake.encoded, {})["nut"]
    assert (guess.total, guess.references, guess.population, guess.mutual) == (
        of.total,
        of.references,
        of.population,
        True,
    )


@pytest.mark.parametrize(("nearest", "count"), [(0, 12), (0, 5), (3, 12), (3, 5)])
def test_ranges_of_images_find_what_a_whole_category_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nearest: int, count: int
) -> None:
    lake = Lake(tmp_path, mode="sample", count=count)
    lake.add("nut", names("n", 12), alike=[0, 1, 2, 1, 3, 4, 1, 5, 6, 6, 7, 8])
    _, members = lake.chooser()(lake.encoded)
    stage = replace(lake.find_near_duplicates(), nearest=nearest)
    found = []
    for rows in (4096, 5, 1):
        monkeypatch.setattr("pipeline.stages.near_duplicates.ROWS", rows)
        table = exclude_pairs(members, stage, Here())
        near = read_nearest(lake.run, "nut", 12)
        assert (near is None) == (nearest == 0)
        pairs = read_pairs(lake.run, "nut", 12)
        assert len(pairs)
        found.append([table["image"].to_pylist(), table["references"].to_pylist(), pairs.tolist()])
        found[-1] += [of.tolist() for of in near or ()]
    assert found[0] == found[1] == found[2]


def test_a_window_with_enough_images_is_all_there_is_to_compare_with(tmp_path: Path) -> None:
    lake = Lake(tmp_path, source="window", count=4)
    lake.add("nut", names("n", 3))
    lake.before("nut", names("e", 4), [0.25, 0.5, 0.75, 1.0])
    assert lake.compared() == {0: (4, None), 10: (4, None), 20: (4, None)}
    assert lake.chosen("nut") == list(zip(names("e", 4), [-1] * 4, [0.25, 0.5, 0.75, 1.0], strict=True))
    [of] = lake.chooser()(lake.encoded)[1].values()
    guess = lake.chooser().expected(lake.encoded, {})["nut"]
    assert (of.total, of.references, of.population, of.mutual) == (3, 4, 4, False)
    assert (guess.total, guess.references, guess.population, guess.mutual) == (3, 4, 4, False)


def test_a_small_window_is_filled_up_with_tonights_images(tmp_path: Path) -> None:
    lake = Lake(tmp_path, source="window", count=4)
    lake.add("nut", names("n", 2))
    lake.add("bolt", names("b", 1))
    lake.before("nut", names("e", 3), [0.25, 0.5, 0.75])
    lake.before("bolt", names("f", 1), [1.0])
    lake.before("screw", names("g", 9), [1.0] * 9)
    assert lake.compared() == {0: (4, None), 10: (4, None), 20: (1, None)}
    assert [position for _, position, _ in lake.chosen("nut")] == [0, 1, -1, -1, -1]
    assert lake.chosen("bolt") == [("/b/00.png", 0, None), ("/f/00.png", -1, 1.0)]


def test_a_large_window_is_sampled(tmp_path: Path) -> None:
    lake = Lake(tmp_path, source="window", mode="sample", count=3)
    lake.add("nut", names("n", 2))
    lake.before("nut", names("e", 9), [number / 8 for number in range(9)])
    assert lake.compared() == {0: (3, None), 10: (3, None)}
    [of] = lake.chooser()(lake.encoded)[1].values()
    assert (of.references, of.population) == (3, 9)
    assert all(score == int(uri[3:5]) / 8 and position == -1 for uri, position, score in lake.chosen("nut"))


def test_an_image_of_the_window_is_no_reference_twice_nor_without_its_features(tmp_path: Path) -> None:
    lake = Lake(tmp_path, source="window")
    lake.add("nut", names("n", 2))
    lake.before("nut", names("n", 1), [0.5], stored=False)  # scored again tonight
    lake.before("nut", names("gone", 2), [0.5, 0.5], stored=False)
    lake.before("nut", names("e", 1), [0.75])
    assert lake.compared() == {0: (2, None), 10: (2, None)}
    assert lake.chosen("nut") == [("/n/00.png", 0, None), ("/n/01.png", 1, None), ("/e/00.png", -1, 0.75)]


def test_a_window_whose_features_are_gone_leaves_an_image_alone(tmp_path: Path) -> None:
    lake = Lake(tmp_path, source="window")
    lake.add("nut", names("n", 1))
    lake.before("nut", names("gone", 9), [0.5] * 9, stored=False)
    assert lake.compared() == {0: (None, "alone")}


@pytest.mark.parametrize("tonight", [("m.png", "2"), (None, None)])
def test_what_was_looked_at_by_another_mask_is_no_reference_where_tonights_have_one(
    tonight: tuple[str | None, str | None], tmp_path: Path
) -> None:
    lake = Lake(tmp_path, source="window")
    lake.add("nut", names("n", 2), region_uri=tonight[0], region_etag=tonight[1])
    for letter, region in {"a": ("m.png", "1"), "b": ("m.png", "2"), "c": (None, None)}.items():
        lake.before("nut", names(letter, 1), [0.5], region=region)
    lake.compared()
    alike = "b" if tonight[0] else "c"
    assert [uri for uri, _, _ in lake.chosen("nut")] == [*names("n", 2), *names(alike, 1)]


def test_where_tonights_masks_differ_those_of_earlier_nights_may(tmp_path: Path) -> None:
    lake = Lake(tmp_path, source="window")
    lake.add("nut", names("n", 1), region_uri="1.png", region_etag="1")
    lake.add("nut", names("m", 1), region_uri="2.png", region_etag="1")
    lake.before("nut", names("a", 1), [0.5], region=("3.png", "1"))
    lake.before("nut", names("b", 1), [0.5])
    lake.compared()
    assert [uri for uri, _, _ in lake.chosen("nut")] == [uri for letter in "nmab" for uri in names(letter, 1)]


def test_features_of_another_encoder_are_not_compared_with(tmp_path: Path) -> None:
    lake = Lake(tmp_path, source="window")
    lake.add("nut", names("n", 2))
    lake.before("nut", names("e", 2), [0.5, 0.5])
    lake.chooser("g")(lake.encoded)
    assert [uri for uri, _, _ in lake.chosen("nut")] == names("n", 2)


def test_an_earlier_picture_of_a_near_duplicate_vouches_for_nobody(tmp_path: Path) -> None:
    lake = Lake(tmp_path, source="window", count=4)
    lake.add("nut", names("n", 2), alike=[102, 7])  # the first is nearly the same as the third earlier one
    lake.before("nut", names("e", 4), [0.5] * 4)
    assert lake.compared() == {0: (3, None), 10: (4, None)}
    assert read_table(lake.run.near_duplicates("nut", 0)).to_pylist() == [{"position": 0, "reference": 2}]


def test_pinned_images_are_the_references_of_all(tmp_path: Path) -> None:
    lake = Lake(tmp_path, source="pinned", pinned="golden.csv")
    lake.add("nut", names("n", 2))
    lake.add("nut", names("p", 2), pinned=True, input=False)
    lake.add("nut", names("q", 1), pinned=True)
    assert [count for count, _ in lake.compared().values()] == [3, 3, 2, 2, 2]
    assert lake.chosen("nut") == [("/p/00.png", 2, None), ("/p/01.png", 3, None), ("/q/00.png", 4, None)]
    [of] = lake.chooser()(lake.encoded)[1].values()
    guess = lake.chooser().expected(lake.encoded, {"nut": 3})["nut"]
    assert (of.total, of.references) == (guess.total, guess.references) == (5, 3)
    assert of.mutual  # the pinned images are scored, too


@pytest.mark.parametrize("pinned", [0, 1])
def test_fewer_than_two_pinned_images_are_an_error_before_anything_is_encoded(tmp_path: Path, pinned: int) -> None:
    lake = Lake(tmp_path, source="pinned", pinned="golden.csv")
    lake.add("bolt", names("b", 3), pinned=True)
    lake.add("nut", names("n", 3))
    if pinned:
        lake.add("nut", names("p", pinned), pinned=True)
    message = f"category 'nut' has {pinned} images that can be used in golden.csv; at least two"
    with pytest.raises(ConfigError, match=message):
        lake.chooser().expected(lake.encoded, {"bolt": 3, "nut": pinned} if pinned else {"bolt": 3})
    with pytest.raises(ConfigError, match=message):  # pinned, but damaged
        lake.chooser()(lake.encoded)


def test_other_images_references_or_settings_are_other_work(tmp_path: Path) -> None:
    lake = Lake(tmp_path, source="window", count=4)
    lake.add("nut", names("n", 2))
    digests = [lake.chooser()(lake.encoded)[1]["nut"].digest for _ in range(2)]
    assert digests[0] == digests[1]  # and so a run that is taken up finds what it did
    digests.append(lake.chooser(dtype="int8")(lake.encoded)[1]["nut"].digest)
    lake.before("nut", names("e", 1), [0.5])
    digests.append(lake.chooser()(lake.encoded)[1]["nut"].digest)
    lake.add("nut", names("m", 1))
    digests.append(lake.chooser()(lake.encoded)[1]["nut"].digest)
    assert len(set(digests)) == 4
