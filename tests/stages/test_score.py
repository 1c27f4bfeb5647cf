"""What the settings make of an encoder's tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.config import ScoreConfig
from pipeline.encoders import EncoderSpec
from pipeline.errors import ConfigError, LakeScoreError
from pipeline.io.storage import Location
from pipeline.plan.units import Members, Shape, Unit
from pipeline.scoring.musc import mutual_scores, query_scores
from pipeline.scoring.search import untuned
from pipeline.stages import score as stage
from pipeline.stages.score import ScoreUnit, plan, shape_of
from pipeline.store.features import IMAGE_STATS, FeatureStore
from pipeline.store.run_folder import RunFolder, read_array, write_table

SPEC = EncoderSpec("any", grid=(3, 4), width=32, embedding=5, layers=(2, 5), fingerprint="f")


def config(store: str = "fp16", **method: Any) -> ScoreConfig:
    encoder = {"name": "timm:any", "store": store}
    return ScoreConfig.model_validate(
        {"input": {"uri": "in"}, "output": {"uri": "out"}, "encoder": encoder, "method": method}
    )


@pytest.mark.parametrize(
    ("method", "passes", "compared"),
    [
        ({}, 3, 32),
        ({"projection_width": 8}, 3, 32),
        ({"projection": "pca", "projection_width": 8}, 3, 8),
        ({"projection": "random", "projection_width": 32, "degrees": [1]}, 1, 32),
        ({"fuse_degrees": True}, 1, 32),
    ],
)
@pytest.mark.parametrize(("store", "stored"), [("fp16", 2), ("fp32", 4), ("int8", 2)])  # int8 is read as fp16
def test_the_settings_say_what_is_compared(
    method: dict[str, Any], passes: int, compared: int, store: str, stored: int
) -> None:
    degrees = len(method.get("degrees", (1, 3, 5)))
    assert shape_of(config(store, **method), SPEC) == Shape(12, 32, stored, degrees, passes, compared)


def test_vectors_cannot_be_projected_to_more_values_than_they_have() -> None:
    wide = config(projection="pca", projection_width=33)
    with pytest.raises(ConfigError, match="projection_width 33 is more than the 32 values of timm:any"):
        plan(wide, SPEC, {"bottle": Members(3, 3, 3, "d1")}, "cpu")
    assert shape_of(config(projection="none", projection_width=33), SPEC).compared == 32


IMAGES = 9


def worker_of(folder: Path) -> ScoreUnit:
    """Write random features of a category, all of them references but those of one burst, and return a worker."""
    store = FeatureStore(Location.parse(str(folder / "features")), SPEC.grid, SPEC.width, SPEC.layers, "float32")
    names = [str(number) for number in range(IMAGES)]
    tokens = np.random.default_rng(0).normal(size=(IMAGES, 2, SPEC.patches, SPEC.width)).astype(np.float32)
    rows = {"key": names, "uri": names} | {name: [1] * IMAGES for name in ("width", "height", *IMAGE_STATS)}
    file = store.write("bottle", rows, tokens, np.zeros((IMAGES, 5), np.float32))
    run = RunFolder(Location.parse(str(folder)), "test")
    images = pa.table({"file": [file] * IMAGES, "row": range(IMAGES)})
    write_table(run.index("bottle"), images)
    write_table(run.references("bottle"), images.append_column("position", pa.array(range(IMAGES))))
    write_table(run.near_duplicates("bottle"), pa.table({"image": [2, 7, 7], "reference": [7, 2, 3]}))
    return ScoreUnit(config("fp32"), untuned("gemm", "cpu"), store, run, "cpu", torch.get_num_threads())


def scored(worker: ScoreUnit, unit: Unit) -> Any:
    worker._score(unit)
    return read_array(worker._run.patch_scores(unit.id))


WHOLE = Unit("bottle", 2, 0, IMAGES, IMAGES, IMAGES, IMAGES, 4, "d1")
PART = Unit("bottle", 5, 1, 8, IMAGES, IMAGES, 30, 4, "d1")


@pytest.mark.parametrize("unit", [WHOLE, PART], ids=["whole", "part"])
def test_a_unit_that_does_not_fit_is_scored_in_parts_to_the_same_scores(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(tmp_path)
    expected = scored(worker, unit)

    def at_most_two(scores: Any) -> Any:
        def limited(tokens: torch.Tensor, *rest: Any) -> Any:
            if len(tokens) > 2:
                torch.empty(10**15)  # bytes that nobody has
            return scores(tokens, *rest)

        return limited

    monkeypatch.setattr(stage, "mutual_scores", at_most_two(mutual_scores))
    monkeypatch.setattr(stage, "query_scores", at_most_two(query_scores))
    np.testing.assert_allclose(scored(worker, unit), expected, rtol=0, atol=1e-5)
    assert expected[0].min() > 0.1 and (expected[1] > 0).all() == (unit is PART)


def test_an_image_that_does_not_fit_at_all_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(tmp_path)
    monkeypatch.setattr(stage, "query_scores", lambda *_: torch.empty(10**15))
    with pytest.raises(LakeScoreError, match="one image of category 'bottle' against 9 references .*references.count"):
        worker._score(PART)


def test_images_of_one_burst_are_not_compared(tmp_path: Path) -> None:
    worker = worker_of(tmp_path)
    together = scored(worker, WHOLE)
    write_table(worker._run.near_duplicates("bottle"), pa.table({"image": [], "reference": []}).cast(BURSTS))
    alone = scored(worker_of_same(worker), WHOLE)
    changed = [image for image in range(IMAGES) if not np.array_equal(together[0, image], alone[0, image])]
    assert changed == [2, 7]


BURSTS = pa.schema([("image", pa.int64()), ("reference", pa.int64())])


def worker_of_same(worker: ScoreUnit) -> ScoreUnit:
    """Return another worker of the same run, which reads its lists anew."""
    return ScoreUnit(config("fp32"), untuned("gemm", "cpu"), worker._store, worker._run, "cpu", torch.get_num_threads())
