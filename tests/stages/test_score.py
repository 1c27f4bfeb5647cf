"""Units on a worker: what is written, what happens where memory runs out, who is not compared."""

from collections.abc import Sequence
from dataclasses import replace
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
from pipeline.progress import Progress
from pipeline.schema.tables import IMAGE_STATS, NEAR_DUPLICATES, REFERENCES
from pipeline.scoring.lakescore import rounds
from pipeline.scoring.musc import mutual
from pipeline.scoring.scorer import Layer, make_scorer
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.stage import Here, Stage
from pipeline.stages.score import ScoreUnits, list_units, lists_of, score, todo_row
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_array, write_table

SPEC = EncoderSpec("any", grid=(3, 4), width=32, embedding=5, layers=(2, 5), fingerprint="f")


def config(preset: str) -> ScoreConfig:
    groups = {"encoder": {"name": "timm:any", "store": "fp32"}, "method": {"preset": preset}}
    return ScoreConfig.model_validate({"input": {"uri": "in"}, "output": {"uri": "out"}} | groups)


PATCHES = SPEC.grid[0] * SPEC.grid[1]
LAYER = Layer(SPEC.grid, SPEC.width, 4, len(SPEC.layers))


IMAGES = 9


def worker_of(folder: Path, preset: str = "paper") -> ScoreUnits:
    """Write random features of a category, all of them references but near duplicates, and return a worker."""
    store = FeatureStore(Location.parse(str(folder / "features")), SPEC.grid, SPEC.width, SPEC.layers, "float32")
    names = [str(number) for number in range(IMAGES)]
    tokens = np.random.default_rng(0).normal(size=(IMAGES, 2, PATCHES, SPEC.width)).astype(np.float32)
    rows = {"key": names, "uri": names} | {name: [1] * IMAGES for name in ("width", "height", *IMAGE_STATS.names)}
    file = store.write("bottle", rows, tokens, np.zeros((IMAGES, 5), np.float32))
    run = RunFolder(Location.parse(str(folder)), "test")
    grid = {"rows": [SPEC.grid[0]] * IMAGES, "columns": [SPEC.grid[1]] * IMAGES}
    images = pa.table({"file": [file] * IMAGES, "row": range(IMAGES), **grid})
    write_table(run.index("bottle"), images)
    listed = images.append_column("position", pa.array(range(IMAGES)))
    write_table(run.references("bottle"), listed.append_column("turned", pa.nulls(IMAGES, REFERENCES["turned"].type)))
    write_table(run.near_duplicates("bottle", 0), pa.table({"position": [2, 7, 7], "reference": [7, 2, 3]}))
    return worker_on(store, run, preset)


def worker_on(store: FeatureStore, run: RunFolder, preset: str = "paper") -> ScoreUnits:
    """Return a worker, which reads the lists of the run anew."""
    tuning = make_scorer(config(preset), LAYER).untuned("cpu")
    worker = ScoreUnits(config(preset), LAYER, tuning, store, run)
    worker.setup("cpu", torch.get_num_threads())
    return worker


def scored(worker: ScoreUnits, unit: Unit) -> Any:
    return worker.score_unit(0, unit)


def test_what_a_unit_finds_is_written_by_its_name(tmp_path: Path) -> None:
    worker = worker_of(tmp_path)
    done = worker(todo_row(7, 0, PART))
    assert done.select(["unit", "id", "count"]).to_pylist() == [{"unit": 7, "id": PART.id, "count": 1}]
    written = read_array(worker.run.unit_results(0) / f"{PART.id}.npy")
    assert written.shape == (2, 7, PATCHES) and np.array_equal(written, scored(worker, PART))


WHOLE = Unit("bottle", (2,), 0, IMAGES, IMAGES, IMAGES, IMAGES, *SPEC.grid, 4, "d1")
PART = Unit("bottle", (5,), 1, 8, IMAGES, IMAGES, 30, *SPEC.grid, 4, "d1")


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
    write_table(worker.run.near_duplicates("bottle", 0), NEAR_DUPLICATES.empty())
    alone = scored(worker_on(worker.store, worker.run), WHOLE)
    changed = [image for image in range(IMAGES) if not np.array_equal(together[0, image], alone[0, image])]
    assert changed == [2, 7]


BOTH = Unit("bottle", (2, 5), 0, IMAGES, IMAGES, IMAGES, IMAGES, *SPEC.grid, 4, "d2")
CUT = [replace(BOTH, start=0, stop=5), replace(BOTH, start=5)]


def listed(worker: ScoreUnits, of_pass: int, units: list[Unit]) -> None:
    """Do the units of a pass as a run does."""
    list_units(worker.run, of_pass, units)
    for number, unit in enumerate(units):
        worker(todo_row(number, of_pass, unit))


def limit(monkeypatch: pytest.MonkeyPatch, images: int) -> list[int]:
    """Let so many images at most be scored at once, and return how many were asked for, as they are."""
    asked: list[int] = []

    def limited(scores: Any) -> Any:
        def fewer(tokens: torch.Tensor, *rest: Any) -> Any:
            asked.append(len(tokens))
            if len(tokens) > images:
                torch.empty(10**15)
            return scores(tokens, *rest)

        return fewer

    monkeypatch.setattr(rounds, "query_distances", limited(mutual.query_distances))
    monkeypatch.setattr(GemmSearch, "mutual", lambda *_: torch.empty(10**15))
    return asked


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_category_that_does_not_fit_does_both_rounds_in_parts_to_the_same_scores(
    images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(tmp_path, "lakescore")
    expected = worker.score_unit(1, BOTH)
    asked = limit(monkeypatch, images)
    found = worker.score_unit(1, BOTH)
    assert expected.shape == (2, IMAGES, PATCHES) and max(asked) > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("of_pass", [0, 1])
def test_parts_of_a_pass_that_do_not_fit_are_joined_in_their_order(
    of_pass: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(tmp_path, "lakescore")
    listed(worker, 0, CUT)
    expected = [worker.score_unit(of_pass, unit) for unit in CUT]
    assert expected[1].shape == ((4,) if of_pass == 0 else (2, 4, PATCHES))
    limit(monkeypatch, 2)
    for unit, known in zip(CUT, expected, strict=True):
        np.testing.assert_allclose(worker.score_unit(of_pass, unit), known, rtol=0, atol=1e-5)


def test_two_passes_of_parts_find_what_one_unit_does(tmp_path: Path) -> None:
    worker = worker_of(tmp_path, "lakescore")
    expected = worker.score_unit(1, BOTH)
    listed(worker, 0, CUT)
    found = np.concatenate([worker.score_unit(1, unit) for unit in CUT], axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_second_pass_reads_the_first_one_of_its_own_images_and_settings(tmp_path: Path) -> None:
    worker = worker_of(tmp_path, "lakescore")
    listed(worker, 0, CUT)
    features = lists_of(worker.store, worker.run, "bottle").features
    assert [len(found) for found in features.earlier(0, BOTH)] == [5, 4]
    assert features.earlier(0, replace(BOTH, digest="other")) == []
    assert features.earlier(0, replace(BOTH, layers=(2,))) == []
    assert features.earlier(0, replace(BOTH, category="bolt")) == []


class OneNode(Here):
    """Says of all rows that this machine made them."""

    def __call__(self, stage: Stage, blocks: Sequence[pa.Table], progress: Progress) -> pa.Table:
        rows = super().__call__(stage, blocks, progress)
        return rows.append_column("node", pa.array(["here"] * rows.num_rows))


def test_a_unit_that_is_done_is_not_done_again_and_a_pass_begins_when_the_one_before_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(tmp_path, "lakescore")
    whole = worker.score_unit(1, BOTH)
    done: list[tuple[int, int]] = []
    score_unit = worker.score_unit

    def spy(of_pass: int, unit: Unit) -> Any:
        done.append((of_pass, unit.start))
        if (of_pass, unit.start) == (1, 5) and len(done) == 4:
            raise KeyboardInterrupt
        return score_unit(of_pass, unit)

    monkeypatch.setattr(worker, "score_unit", spy)
    with pytest.raises(KeyboardInterrupt):
        score([CUT, CUT], worker, OneNode())
    assert done == [(0, 0), (0, 5), (1, 0), (1, 5)]
    score([CUT, CUT], worker, OneNode())
    assert done[4:] == [(1, 5)]
    (worker.run.unit_results(0) / f"{CUT[1].id}.npy").remove()
    (worker.run.unit_results(1) / f"{CUT[0].id}.npy").remove()
    score([CUT, CUT], worker, OneNode())
    assert done[5:] == [(0, 5), (1, 0)]
    parts = [read_array(worker.run.unit_results(1) / f"{unit.id}.npy") for unit in CUT]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=0, atol=1e-5)
