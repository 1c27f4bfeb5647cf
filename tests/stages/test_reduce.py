"""From raw scores to the final ones: what images of earlier nights, pinned ones and rules have to do with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from pipeline.config import RuleConfig, ScoreConfig
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.io.storage import Location
from pipeline.plan.units import Unit
from pipeline.schema.table import set_columns
from pipeline.schema.tables import IMAGE_STATS, MEASURED, REFERENCES, UNITS
from pipeline.scoring.musc.rscin import rscin
from pipeline.scoring.scorer import Layer
from pipeline.stage import Here
from pipeline.stages.maps import WriteMaps
from pipeline.stages.reduce import say_empty_masks, say_what_is_not_fitted
from pipeline.stages.rescore import RescoreImages, rescore
from pipeline.stages.thresholds import FindThreshold
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, write_array, write_table
from pipeline.tables.known import Known
from pipeline.tables.thresholds import PIXEL_BINS, count_pixels
from pipeline.tables.verdict import automatic, of_window

CATEGORY = "a/b'größe"
OWN, EARLIER = 6, 5
SIDE = 28
LAYER = Layer((2, 2), 4, 4)
RAW = np.array([0.2, 0.8, 0.4, 0.6, 1.0, 0.25])


def vectors(seed: int, total: int) -> NDArray[np.float32]:
    found = np.random.default_rng(seed).normal(size=(total, 8))
    unit: NDArray[np.float32] = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


@dataclass(frozen=True)
class Lists:
    """What the stages before left of a category, and the settings."""

    config: ScoreConfig
    store: FeatureStore
    run: RunFolder

    def rescore(self) -> pa.Table:
        return rescore({CATEGORY: RAW}, RescoreImages(self.config, LAYER, self.store, self.run), Here())

    def thresholds(self) -> pa.Table:
        images = list(range(100, 100 + OWN))
        block = pa.table({"category": [CATEGORY] * OWN, "image": images, "score_raw": RAW})
        return FindThreshold(self.config, self.run)(block)

    def write_maps(self, block: pa.Table) -> pa.Table:
        stage = WriteMaps(self.config, LAYER, LakeGeometry(Geometry(SIDE // 2, (SIDE, SIDE))), self.run)
        stage.setup("cpu", 1)
        return stage(block)


def lists(
    folder: Path,
    positions: list[int],
    inputs: list[bool] | None = None,
    image: Any = None,
    pixel: Any = None,
    labels: list[bool | None] | None = None,
    reviewed: list[bool] | None = None,
    preset: str = "paper",
    limit: int = 1000,
) -> Lists:
    """Write the index of OWN images, and references at these positions among them; -1 are images of earlier nights."""
    run = RunFolder(Location.parse(str(folder)), "tonight")
    store = FeatureStore(run.features, (2, 2), 4, (3,), "float32")

    def write(seed: int, total: int) -> str:
        rows: dict[str, list[Any]] = {name: [f"{seed}-{n}" for n in range(total)] for name in ("key", "uri")}
        rows |= {name: [1] * total for name in ("width", "height", *IMAGE_STATS.names)}
        return store.write(CATEGORY, rows, np.ones((total, 1, 4, 4), np.float32), vectors(seed, total))

    now, then = write(0, OWN), write(1, EARLIER)
    index = {"image": range(100, 100 + OWN), "uri": [f"{n}.png" for n in range(OWN)], "input": inputs or [True] * OWN}
    index |= {"reviewed": reviewed or [False] * OWN}
    index |= {"label": labels or [None] * OWN, "file": [now] * OWN, "row": range(OWN), "position": range(OWN)}
    index |= {"width": [SIDE] * OWN, "height": [SIDE] * OWN, "rows": [2] * OWN, "columns": [2] * OWN}
    index |= {"counted": [None] * OWN}
    table = pa.table({name: list(values) for name, values in index.items()})
    write_table(run.index(CATEGORY), set_columns(table, {"label": table["label"].cast(pa.bool_())}))
    listed: list[dict[str, Any]] = []
    for position in positions:
        row = sum(reference["file"] == then for reference in listed)
        own = {"file": now, "row": position, "score_raw": None, "anomalous": None}
        listed.append({"position": position} | (own if position >= 0 else before(row) | {"file": then, "row": row}))
    write_table(run.references(CATEGORY), REFERENCES.rows(listed))
    config = ScoreConfig.model_validate(
        {
            "input": {"uri": "in"},
            "output": {"uri": "out"},
            "encoder": {"size": SIDE},
            "method": {"preset": preset},
            "decision": {"image": image or {}, "pixel": pixel or {}},
            "references": {"limit": limit},
        }
    )
    return Lists(config, store, run)


def before(row: int) -> dict[str, Any]:
    return {"score_raw": [0.9, 0.1, 0.5, 0.3, 0.7][row], "anomalous": row == 0}


def rescored(of: Lists) -> tuple[NDArray[Any], list[float | None]]:
    found, thresholds = of.rescore(), of.thresholds()
    assert found["image"].to_pylist() == thresholds["image"].to_pylist() == list(range(100, 100 + OWN))
    assert thresholds["count"].to_pylist() == [1] * OWN and thresholds["threshold"].type == pa.float64()
    return found["score_final"].to_numpy(), thresholds["threshold"].to_pylist()


def together(raw: NDArray[Any], *embeddings: NDArray[Any]) -> NDArray[Any]:
    return rscin(torch.from_numpy(raw), torch.from_numpy(np.concatenate(embeddings)), (1, 2, 3)).double().numpy()


def test_images_of_earlier_nights_take_part_with_the_scores_that_they_had(tmp_path: Path) -> None:
    scores, thresholds = rescored(lists(tmp_path, [1, 4, -1, -1, -1], image={"rule": "quantile", "value": 0.5}))
    raw = np.concatenate([RAW, [0.9, 0.1, 0.5]])
    assert np.array_equal(scores, together(raw, vectors(0, OWN), vectors(1, EARLIER)[:3])[:OWN])
    assert np.abs(scores - together(RAW, vectors(0, OWN))).max() > 0.01
    assert thresholds == [pytest.approx(np.median([0.8, 1.0, 0.9, 0.1, 0.5]))] * OWN


@pytest.mark.parametrize("positions", [list(range(OWN)), [1, 4]])
def test_without_earlier_nights_the_images_of_this_run_are_all_there_is(tmp_path: Path, positions: list[int]) -> None:
    scores, thresholds = rescored(lists(tmp_path, positions, image={"rule": "quantile", "value": 0.5}))
    assert np.array_equal(scores, together(RAW, vectors(0, OWN)))
    assert thresholds == [pytest.approx(np.median(RAW[positions]))] * OWN


@pytest.mark.parametrize("rows", [2, 4096])
def test_more_images_than_the_limit_are_rescored_by_the_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr("pipeline.stages.rescore.ROWS", rows)
    scores, _ = rescored(lists(tmp_path, [1, 4, -1, -1], limit=OWN - 1))
    raw, of_all = np.concatenate([RAW, [0.9, 0.1]]), np.concatenate([vectors(0, OWN), vectors(1, EARLIER)[:2]])
    for image in range(OWN):
        others = [other for other in (1, 4, OWN, OWN + 1) if other != image]
        chosen = [image, *others]
        scaled = (raw[chosen] - raw.min()) / (raw.max() - raw.min())
        likeness = of_all[chosen] @ of_all[image]
        order = np.argsort(-likeness)
        means = [np.average(scaled[order[:k]], weights=likeness[order[:k]]) for k in (1, 2, 3)]
        assert scores[image] == pytest.approx(np.mean(means), abs=1e-5)


def test_by_all_images_as_references_scores_are_those_by_each_other(tmp_path: Path) -> None:
    scores, _ = rescored(lists(tmp_path, list(range(OWN)), limit=OWN - 1))
    np.testing.assert_allclose(scores, together(RAW, vectors(0, OWN)), rtol=0, atol=1e-6)


def test_where_all_references_are_earlier_ones_their_scores_make_the_threshold(tmp_path: Path) -> None:
    assert rescored(lists(tmp_path, [-1] * EARLIER, image={"rule": "quantile", "value": 1}))[1] == [0.9] * OWN


def test_a_share_is_of_this_runs_inputs_and_not_of_references(tmp_path: Path) -> None:
    inputs = [True, True, False, False, False, True]  # 0.2, 0.8 and 0.25; the largest is a pinned reference
    of = lists(tmp_path, [2, 3, 4, -1], inputs, image={"rule": "share", "value": 0.34})
    assert rescored(of)[1] == [0.25] * OWN
    nobody = lists(tmp_path / "other", [2, 3], [False] * OWN, image={"rule": "share", "value": 0.34})
    assert rescored(nobody)[1] == [None] * OWN


def test_labels_of_this_runs_inputs_fit_the_threshold(tmp_path: Path) -> None:
    labels = [False, True, None, True, None, None]  # 0.2, 0.8, 0.6
    of = lists(tmp_path, [-1], image={"rule": "best_f1"}, labels=labels)
    assert rescored(of)[1] == [pytest.approx(0.4)] * OWN
    assert of.thresholds()["rule"].to_pylist() == ["best_f1"] * OWN


def whole_row(of: Lists) -> dict[str, Any]:
    """Return what the rows say, the same for all of them but for the image."""
    rows = of.thresholds().drop_columns(["image", "count"]).to_pylist()
    assert all(row == rows[0] for row in rows)
    first: dict[str, Any] = rows[0]
    return first


def test_auto_takes_the_images_that_are_to_be_scored_and_no_pinned_ones(tmp_path: Path) -> None:
    found = whole_row(lists(tmp_path / "all", list(range(OWN))))
    line = automatic(Known(RAW, RAW), 0.02)
    assert found == {
        "rule": "auto: batch",
        "threshold": line.value,
        "threshold_low": line.low,
        "threshold_high": line.high,
        "false_alarms": line.false_alarms,
        "recall": None,
    }
    inputs = [True, True, True, True, False, True]
    some = whole_row(lists(tmp_path / "some", [4], inputs))
    assert some["threshold"] == automatic(Known(RAW[inputs], RAW), 0.02).value != line.value


def test_auto_takes_the_labels_of_people_and_no_others(tmp_path: Path) -> None:
    labels: list[bool | None] = [False, True, False, True, True, False]
    given = whole_row(lists(tmp_path / "given", [0, 1], labels=labels, reviewed=[True] * OWN))
    assert given["rule"] == "auto: labels" and given["threshold"] == pytest.approx(0.5)
    assert (given["false_alarms"], given["recall"]) == (0, pytest.approx(2 / 3))  # 0.6 is the line of 0.4 and 0.8
    assert whole_row(lists(tmp_path / "laid", [0, 1], labels=labels))["rule"] == "auto: batch"


def test_all_images_of_a_window_make_the_threshold_whatever_was_flagged_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tables.verdict.FEWEST_OF_WINDOW", EARLIER)
    of = lists(tmp_path / "enough", [0, 1, *[-1] * EARLIER])
    earlier = np.array([before(row)["score_raw"] for row in range(EARLIER)])
    found = whole_row(of)
    assert found["rule"] == "auto: window 0.02" and found["threshold"] == of_window(earlier, 0.02)
    monkeypatch.setattr("pipeline.tables.verdict.FEWEST_OF_WINDOW", EARLIER + 1)
    assert whole_row(lists(tmp_path / "few", [0, 1, *[-1] * EARLIER]))["rule"] == "auto: batch"


@pytest.mark.parametrize("preset", ["lakescore", "subspace"])
def test_raw_scores_of_other_presets_are_final(tmp_path: Path, preset: str) -> None:
    scores, thresholds = rescored(lists(tmp_path, [1, 4, -1], preset=preset))
    assert np.isnan(scores).all() and None not in thresholds


def test_a_category_whose_labels_are_of_one_kind_is_named(caplog: pytest.LogCaptureFixture) -> None:
    rules = pa.table({"category": ["a", "b", "b"], "rule": ["recall 0.9", "auto: batch", "auto: batch"]})
    say_what_is_not_fitted(RuleConfig(rule="recall"), rules)
    assert caplog.messages == [
        "threshold of 'b' by auto: batch and not by recall, which needs normal and defective images with labels"
    ]


def written(of: Lists, start: int, stop: int) -> pa.Table:
    """Write maps of constant images: that of image n has the distance (n + 1) / 8."""
    patches = np.repeat(np.arange(1, OWN + 1, dtype=np.float32) / 8, 4).reshape(OWN, 4)
    unit = Unit(CATEGORY, (3,), 0, OWN, OWN, OWN, OWN, 2, 2, OWN, "m")
    write_table(of.run.units(CATEGORY, 0), UNITS.rows([unit]))
    write_array(of.run.unit_results(0) / f"{unit.id}.npy", np.stack([patches, np.zeros_like(patches)]))
    return of.write_maps(pa.table({"category": [CATEGORY], "start": [start], "stop": [stop]}))


def counted(of: Lists) -> list[int]:
    """Return the images whose maps' values are counted, all their pixels or none."""
    tables = [written(of, 0, 4), written(of, 4, OWN)]
    counts = sum(np.array(table["pixels"].to_pylist()[0]) for table in tables)
    assert all(table["pixels"].null_count == table.num_rows - 1 for table in tables)
    assert isinstance(counts, np.ndarray) and counts.shape == (PIXEL_BINS,)
    whole = [count_pixels(np.full((SIDE, SIDE), (image + 1) / 8, np.float32)) for image in range(OWN)]
    images = [image for image in range(OWN) if (counts * whole[image]).any()]
    assert counts.sum() == len(images) * SIDE * SIDE
    return images


@pytest.mark.parametrize(
    ("positions", "inputs", "rule", "expected"),
    [
        (list(range(OWN)), None, "quantile", [0, 1, 2, 3, 4, 5]),
        ([1, 4], None, "quantile", [1, 4]),
        ([1, 4], None, "fixed", [1, 4]),  # for the nights to come
        ([1, -1, 5, -1], None, "quantile", [1, 5]),
        ([-1, -1], None, "quantile", [0, 1, 2, 3, 4, 5]),  # earlier runs have counted theirs
        ([3, 4, 5], [True] * 3 + [False] * 3, "quantile", [3, 4, 5]),
        ([3, 4, 5], [True] * 3 + [False] * 3, "share", [0, 1, 2]),
        ([1, 4], None, "share", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_the_threshold_on_pixels_is_found_from_the_maps_of_references_or_for_a_share_of_this_run(
    tmp_path: Path, positions: list[int], inputs: list[bool] | None, rule: str, expected: list[int]
) -> None:
    assert counted(lists(tmp_path, positions, inputs, pixel={"rule": rule, "value": 0.5})) == expected


def test_masks_without_an_anomalous_pixel_are_named_once_a_category(caplog: pytest.LogCaptureFixture) -> None:
    usual: dict[str, object] = {"name": "image_ap", "empty_masks": 0}
    rows = [usual | {"category": "nut", "empty_masks": 2, "example": "/lake/a.png"}, usual | {"category": "bolt"}]
    say_empty_masks(MEASURED.rows(rows))
    assert caplog.messages == [
        "masks of 2 anomalous images of 'nut' have no anomalous pixel in the size of maps, such as that of "
        "/lake/a.png: all their pixels count as normal"
    ]
