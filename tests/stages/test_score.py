"""Units on a worker: what is written, what happens where memory runs out, who is not compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.config import ScoreConfig
from pipeline.encoders.spec import EncoderSpec
from pipeline.errors import LakeScoreError
from pipeline.io.storage import Location
from pipeline.plan.units import Unit
from pipeline.schema.tables import IMAGE_STATS, NEAR_DUPLICATES
from pipeline.scoring.musc import mutual
from pipeline.scoring.scorer import Layer, make_scorer
from pipeline.stages.score import ScoreUnits, todo_row
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_array, write_table

SPEC = EncoderSpec("any", grid=(3, 4), width=32, embedding=5, layers=(2, 5), fingerprint="f")


def config(store: str = "fp16", **method: Any) -> ScoreConfig:
    encoder = {"name": "timm:any", "store": store}
    return ScoreConfig.model_validate(
        {"input": {"uri": "in"}, "output": {"uri": "out"}, "encoder": encoder, "method": method}
    )


LAYER = Layer(SPEC.grid, SPEC.width, 4)


IMAGES = 9


def worker_of(folder: Path) -> ScoreUnits:
    """Write random features of a category, all of them references but near duplicates, and return a worker."""
    store = FeatureStore(Location.parse(str(folder / "features")), SPEC.grid, SPEC.width, SPEC.layers, "float32")
    names = [str(number) for number in range(IMAGES)]
    tokens = np.random.default_rng(0).normal(size=(IMAGES, 2, SPEC.patches, SPEC.width)).astype(np.float32)
    rows = {"key": names, "uri": names} | {name: [1] * IMAGES for name in ("width", "height", *IMAGE_STATS.names)}
    file = store.write("bottle", rows, tokens, np.zeros((IMAGES, 5), np.float32))
    run = RunFolder(Location.parse(str(folder)), "test")
    images = pa.table({"file": [file] * IMAGES, "row": range(IMAGES)})
    write_table(run.index("bottle"), images)
    write_table(run.references("bottle"), images.append_column("position", pa.array(range(IMAGES))))
    write_table(run.near_duplicates("bottle"), pa.table({"position": [2, 7, 7], "reference": [7, 2, 3]}))
    return worker_on(store, run)


def worker_on(store: FeatureStore, run: RunFolder) -> ScoreUnits:
    """Return a worker, which reads the lists of the run anew."""
    tuning = make_scorer(config("fp32"), LAYER).untuned("cpu")
    worker = ScoreUnits(config("fp32"), LAYER, tuning, store, run)
    worker.setup("cpu", torch.get_num_threads())
    return worker


def scored(worker: ScoreUnits, unit: Unit) -> Any:
    return worker.score_unit(0, unit)


def test_what_a_unit_finds_is_written_by_its_name(tmp_path: Path) -> None:
    worker = worker_of(tmp_path)
    done = worker(todo_row(7, 0, PART))
    assert done.select(["unit", "id", "count"]).to_pylist() == [{"unit": 7, "id": PART.id, "count": 1}]
    written = read_array(worker.run.unit_results(0) / f"{PART.id}.npy")
    assert written.shape == (2, 7, SPEC.patches) and np.array_equal(written, scored(worker, PART))


WHOLE = Unit("bottle", (2,), 0, IMAGES, IMAGES, IMAGES, IMAGES, 4, "d1")
PART = Unit("bottle", (5,), 1, 8, IMAGES, IMAGES, 30, 4, "d1")


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

    monkeypatch.setattr(mutual, "mutual_scores", at_most_two(mutual.mutual_scores))
    monkeypatch.setattr(mutual, "query_scores", at_most_two(mutual.query_scores))
    np.testing.assert_allclose(scored(worker, unit), expected, rtol=0, atol=1e-5)
    assert expected[0].min() > 0.1 and (expected[1] > 0).all() == (unit is PART)


def test_an_image_that_does_not_fit_at_all_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(tmp_path)
    monkeypatch.setattr(mutual, "query_scores", lambda *_: torch.empty(10**15))
    with pytest.raises(LakeScoreError, match="one image of category 'bottle' against 9 references .*references.count"):
        worker.score_unit(0, PART)


def test_near_duplicates_are_not_compared(tmp_path: Path) -> None:
    worker = worker_of(tmp_path)
    together = scored(worker, WHOLE)
    write_table(worker.run.near_duplicates("bottle"), NEAR_DUPLICATES.empty())
    alone = scored(worker_on(worker.store, worker.run), WHOLE)
    changed = [image for image in range(IMAGES) if not np.array_equal(together[0, image], alone[0, image])]
    assert changed == [2, 7]
