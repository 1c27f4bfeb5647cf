"""Evidence of a run at work: from its lists, tokens and maps to the references that stand behind a score."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.config import ScoreConfig
from pipeline.errors import StoreUnavailable
from pipeline.io.storage import Location
from pipeline.metrics.stream import MAP_SCALE
from pipeline.report.evidence import MADE, explain
from pipeline.schema import tables as schema
from pipeline.schema.tables import IMAGE_STATS, NEAR_DUPLICATES, REFERENCES
from pipeline.scoring.maps import anomaly_maps, map_arrays
from pipeline.scoring.musc.lnamd import Aggregation
from pipeline.scoring.musc.mutual import mutual_scores
from pipeline.scoring.scorer import Layer
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.stage import Here
from pipeline.stages.evidence import NEAREST, FindEvidence
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, write_table
from pipeline.views import View
from tests.geometries import lake_of

CATEGORY = "a/b'größe"
GRID, WIDTH, LAYERS, SIDE = (3, 4), 16, (2, 5), 112
IMAGES = 12
PATCHES = GRID[0] * GRID[1]


class Night:
    """A category whose images are all scored, some of them references, and maps that say where their worst patch is."""

    def __init__(self, folder: Path, tokens: NDArray[np.float32], preset: str = "paper", **method: Any) -> None:
        self.run = RunFolder(Location.parse(str(folder)), "tonight")
        self.store = FeatureStore(self.run.features, GRID, WIDTH, LAYERS, "float32")
        self.names = [f"{n}.png" for n in range(len(tokens))]
        rows: dict[str, list[Any]] = {"key": self.names, "uri": self.names}
        rows |= {name: [1] * len(tokens) for name in ("width", "height", *IMAGE_STATS.names)}
        file = self.store.write(CATEGORY, rows, tokens, np.ones((len(tokens), 2), np.float32))
        listed = {"uri": self.names, "etag": self.names, "file": [file] * len(tokens), "row": range(len(tokens))}
        listed |= {"rows": [GRID[0]] * len(tokens), "columns": [GRID[1]] * len(tokens)}
        self.images = pa.table({name: list(values) for name, values in listed.items()})
        numbers = {"image": pa.array([100 + n for n in range(len(tokens))]), "position": pa.array(range(len(tokens)))}
        index = self.images.append_column("image", numbers["image"]).append_column("position", numbers["position"])
        write_table(self.run.index(CATEGORY), index)
        self.compared_with(list(range(len(tokens))))
        self.near_duplicates([])
        config = {"input": {"uri": "in"}, "output": {"uri": "out"}}
        config["method"] = {"preset": preset, **method}
        layer = Layer(GRID, WIDTH, 4, len(LAYERS))
        self.find = FindEvidence(
            ScoreConfig.model_validate(config),
            layer,
            lake_of((SIDE, SIDE), GRID),
            self.store,
            self.run,
            MAP_SCALE,
            np.empty(0, np.int64),
        )

    def compared_with(self, positions: list[int]) -> None:
        rows = [self.images.slice(at, 1).to_pylist()[0] | {"position": at, "score_raw": None} for at in positions]
        write_table(self.run.references(CATEGORY), REFERENCES.rows(rows))

    def near_duplicates(self, pairs: list[tuple[int, int]]) -> None:
        columns = np.array(pairs, np.int64).reshape(-1, 2)
        found = NEAR_DUPLICATES.of({"position": columns[:, 0], "reference": columns[:, 1]})
        write_table(self.run.near_duplicates(CATEGORY, 0), found)

    def map_of(self, n: int, worst: int, normal: int) -> None:
        patches = torch.full((1, PATCHES), 0.5)
        patches[0, worst], patches[0, normal] = 0.9, 0.1
        levels = (anomaly_maps(patches, View((SIDE, SIDE), GRID))[0].numpy() / MAP_SCALE).round().astype(np.uint16)
        png = io.BytesIO()
        Image.fromarray(levels).save(png, "png")
        (self.run.output / f"maps/{n}.png").write_bytes(png.getvalue())

    def found(self, *images: int, region: str | None = None) -> list[dict[str, Any]]:
        rows = {"image": [100 + n for n in images], "map_uri": [f"maps/{n}.png" for n in images]}
        rows |= {"uri": [self.names[n] for n in images], "width": [SIDE] * len(images), "height": [SIDE] * len(images)}
        regions = pa.array([region] * len(images), pa.string())
        self.find.setup("cpu", 1)  # a worker keeps what it read of a category, which tests change
        found = self.find(pa.table({**rows, "category": [CATEGORY] * len(images), "region_uri": regions}))
        assert found.schema == MADE.arrow and found["image"].to_pylist() == rows["image"]
        assert found["count"].to_pylist() == [1] * len(images)
        rows_found: list[dict[str, Any]] = found.to_pylist()
        return rows_found


def random_tokens(images: int = IMAGES) -> NDArray[np.float32]:
    tokens: NDArray[np.float32] = (
        np.random.default_rng(0).normal(size=(images, len(LAYERS), PATCHES, WIDTH)).astype(np.float32)
    )
    return tokens


def test_the_lowest_distances_are_those_that_the_patchs_score_is_the_mean_of(tmp_path: Path) -> None:
    tokens = random_tokens()
    night = Night(tmp_path, tokens[:, [0, 0]], degrees=[3])  # two layers that are one
    night.map_of(4, worst=7, normal=2)
    [row] = night.found(4)
    assert (row["worst"], row["normal"]) == (7, 2)
    scores = mutual_scores(torch.from_numpy(tokens[:, 0]), Aggregation(GRID, [3]), 0.3, GemmSearch())
    for name, patch in (("evidence", 7), ("evidence_normal", 2)):
        distances = [match["distance"] for match in row[name]]
        assert len(distances) == NEAREST and distances == sorted(distances)
        assert np.mean(distances[:3]) == pytest.approx(float(scores[4, patch]), abs=1e-5)  # 0.3 of 11 others


def test_a_patch_that_is_there_twice_is_found_at_its_place_by_the_versions_name(tmp_path: Path) -> None:
    tokens = random_tokens()
    tokens[9] = np.roll(tokens[4], 5, axis=1)  # the same picture, its patches elsewhere
    night = Night(tmp_path, tokens, degrees=[1])
    night.map_of(4, worst=6, normal=0)
    [row] = night.found(4)
    first, second = row["evidence"][:2]
    assert (first["uri"], first["etag"]) == ("9.png", "9.png") and first["distance"] < 1e-6 < 0.1 < second["distance"]
    assert (first["x"], first["y"]) == pytest.approx((3.5 / 4, 2.5 / 3))


def test_neither_the_image_itself_nor_its_burst_is_evidence(tmp_path: Path) -> None:
    tokens = random_tokens()
    tokens[1] = tokens[4] = tokens[9]
    night = Night(tmp_path, tokens)
    night.compared_with([9, 1, 2, 3, 4, 5])
    night.near_duplicates([(4, 0)])
    for n in (4, 7):
        night.map_of(n, worst=6, normal=0)
    alike, other = night.found(4, 7)
    for name in ("evidence", "evidence_normal"):
        assert {match["uri"] for match in alike[name]} == {"1.png", "2.png", "3.png", "5.png"}
        assert {match["uri"] for match in other[name]} == {f"{n}.png" for n in (9, 1, 2, 3, 4, 5)}
    assert alike["evidence"][0]["uri"] == "1.png" and alike["evidence"][0]["distance"] < 1e-6


def test_where_a_mask_says_what_counts_the_normal_patch_is_one_of_that(tmp_path: Path) -> None:
    night = Night(tmp_path, random_tokens())
    patches = np.full((1, PATCHES), 0.5, np.float32)
    patches[0, 7], patches[0, 10] = 0.9, 0.1
    counts = np.isin(np.arange(PATCHES), [6, 7, 10, 11])
    levels = (map_arrays(patches, View((SIDE, SIDE), GRID), counts)[0] / MAP_SCALE).round().astype(np.uint16)
    png = io.BytesIO()
    Image.fromarray(levels).save(png, "png")
    (night.run.output / "maps/4.png").write_bytes(png.getvalue())
    [row] = night.found(4, region="m.png")
    assert (row["worst"], row["normal"]) == (7, 10)


@pytest.mark.parametrize("method", [{"fuse_degrees": True}, {"projection": "pca", "projection_width": 4}], ids=str)
def test_images_are_compared_as_the_settings_say(tmp_path: Path, method: dict[str, Any]) -> None:
    plain, other = Night(tmp_path / "a", random_tokens()), Night(tmp_path / "b", random_tokens(), **method)
    for night in (plain, other):
        night.map_of(3, worst=1, normal=8)
    one, two = (night.found(3)[0]["evidence"] for night in (plain, other))
    assert len(one) == len(two) == NEAREST and one[0]["distance"] != pytest.approx(two[0]["distance"], rel=0.01)


def test_references_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(tmp_path, random_tokens())
    for n in range(3):
        night.map_of(n, worst=n, normal=5 + n)
    whole, largest = night.found(0, 1, 2), []
    tokens = FeatureStore.tokens

    def noted(store: FeatureStore, places: Any, layer: int, grid: tuple[int, int] | None = None) -> Any:
        largest.append(len(places))
        return tokens(store, places, layer, grid)

    monkeypatch.setattr(FeatureStore, "tokens", noted)
    monkeypatch.setattr("pipeline.stages.explain.BYTES", 2.5 * 4 * PATCHES * WIDTH)
    parts = night.found(0, 1, 2)
    assert max(largest) == 2
    for one, other in zip(whole, parts, strict=True):
        assert [match["uri"] for match in one["evidence"]] == [match["uri"] for match in other["evidence"]]
        for left, right in zip(one["evidence"], other["evidence"], strict=True):
            assert left["distance"] == pytest.approx(right["distance"], abs=1e-6)


def test_a_map_that_is_gone_or_none_costs_its_own_image_only(tmp_path: Path) -> None:
    night = Night(tmp_path, random_tokens())
    night.map_of(3, worst=1, normal=8)
    (night.run.output / "maps/5.png").write_bytes(b"no map")
    gone, there, broken = night.found(2, 3, 5)
    nothing = {"worst": None, "normal": None, "evidence": None, "evidence_normal": None, "count": 1}
    assert gone == nothing | {"image": 102, "uri": "2.png", "detail": gone["detail"]} and "2.png" in gone["detail"]
    assert broken == nothing | {"image": 105, "uri": "5.png", "detail": broken["detail"]}
    assert "damaged" in broken["detail"]
    assert there["worst"] == 1 and len(there["evidence"]) == NEAREST and there["detail"] is None
    assert [row["worst"] for row in night.found(2, 5)] == [None, None]


@pytest.mark.parametrize("left", [None, b"", b"PAR1"])
def test_features_that_are_gone_cost_evidence_and_no_image(tmp_path: Path, left: bytes | None) -> None:
    night = Night(tmp_path, random_tokens())
    night.map_of(3, worst=1, normal=8)
    parts = list(tmp_path.rglob("features/**/*.parquet"))
    assert parts
    for part in parts:
        part.unlink() if left is None else part.write_bytes(left)
    there, gone = night.found(3, 5)
    assert (there["worst"], there["normal"], there["evidence"]) == (1, 8, None)
    assert "references cannot be read" in there["detail"] and "maps/5.png" in gone["detail"]


def test_of_many_references_some_are_looked_at_and_never_the_image_or_its_burst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.stages.explain.LOOKED_AT", 5)
    tokens = random_tokens()
    tokens[8] = tokens[4]
    night = Night(tmp_path, tokens)
    night.compared_with([11, 4, 6, 3, 8, 1, 0, 2, 5])  # each second of them is looked at
    night.near_duplicates([(4, 4), (9, 2)])
    for n in (4, 9):
        night.map_of(n, worst=6, normal=0)
    alike, other = night.found(4, 9)
    assert {match["uri"] for match in alike["evidence"]} == {"11.png", "6.png", "0.png", "5.png"}
    assert {match["uri"] for match in other["evidence"]} == {"11.png", "8.png", "0.png", "5.png"}


def test_a_store_that_does_not_answer_is_no_images_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(tmp_path, random_tokens())

    def silent(_: Location) -> bytes:
        raise StoreUnavailable("it does not answer")

    monkeypatch.setattr(Location, "read_bytes", silent)
    with pytest.raises(StoreUnavailable):
        night.found(2)


def test_only_images_that_the_run_scored_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.report.evidence.BLOCK", 2)
    asked: dict[str, list[list[int]]] = {"evidence": [], "patches": []}

    @dataclass
    class Noting:
        name: str

        def setup(self, device: str, threads: int) -> None: ...

        def __call__(self, block: pa.Table) -> pa.Table:
            asked[self.name].append(block["image"].to_pylist())
            assert self.name == "patches" or len(set(block["category"].to_pylist())) == 1
            rows = [{"image": n, "worst": 1, "count": 1} for n in block["image"].to_pylist()]
            return MADE.rows(rows)

    rows = pa.table({"image": range(8), "category": list("aaabbaab"), "uri": ["u"] * 8, "map_uri": ["m"] * 8})
    tonight = np.array([1, 0, 1, 1, 0, 1, 1, 1], bool)
    found = explain(rows, tonight, Noting("patches"), Here(), Noting("evidence"))
    assert found["image"].to_pylist() == list(range(8)) and found.schema == schema.PATCHES.arrow
    assert asked == {"evidence": [[0, 2], [5, 6], [3, 7]], "patches": [[1, 4]]}
    assert explain(rows, tonight, Noting("patches"), Here())["image"].to_pylist() == list(range(8))
    assert asked["patches"][1:] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert explain(rows.slice(0, 0), tonight[:0], Noting("patches"), Here(), Noting("evidence")).num_rows == 0
