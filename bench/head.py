"""What the head does for each image of a lake, from the listing to the rows of the scores, without any worker."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from tempfile import TemporaryDirectory

import pyarrow as pa

from bench.processes import peak_memory
from pipeline.progress import Progress
from pipeline.stage import Stage

GRID = (37, 37)


@dataclass(frozen=True)
class Head:
    """Processor seconds for a lake of `objects`: until all is planned, from there to the scores, to read these again.

    `peak` are the most bytes that the process held, `row_bytes` those of a row that is read again.
    """

    objects: int
    listing: float
    recording: float
    recalling: float
    row_bytes: float
    peak: int

    @property
    def rates(self) -> dict[str, float]:
        """Seconds and bytes of each image, by their names among the rates."""
        each = {"listed": self.listing, "recorded": self.recording, "recalled": self.recalling}
        return {name: of / self.objects for name, of in each.items()} | {"recalled_bytes": self.row_bytes}


class Encoded:
    """A runner without workers: says of each image that it is encoded."""

    def progress(self, stage: str, what: str, total: int, already: int = 0) -> Progress:
        return Progress(stage, what, total, already)

    def __call__(self, stage: Stage, blocks: Sequence[pa.Table], progress: Progress) -> pa.Table:
        from pipeline.schema.tables import EXTRACTED, IMAGE_STATS

        found = []
        for number, block in enumerate(blocks):
            rows = block.num_rows
            known: dict[str, object] = {"width": 2448, "height": 2048, "rows": GRID[0], "columns": GRID[1]}
            known |= dict.fromkeys(IMAGE_STATS.names, 0.5) | {"file": f"category=any/{number:032x}.parquet"}
            columns = {name: [known.get(name)] * rows for name in EXTRACTED.names}
            columns["image"], columns["row"] = block["image"].to_pylist(), list(range(rows))
            columns["node"] = [f"{number % 8:056x}"] * rows
            found.append(EXTRACTED.of(columns))
        return pa.concat_tables(found)


def drive(address: str, objects: int) -> Head:
    """Do what the driver of a first night does, in a process that was started for it, on a lake of the stand-in."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    os.environ |= dict.fromkeys(names, "any") | {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"}
    with TemporaryDirectory() as folder:
        return _drive(folder, objects)


def _drive(folder: str, objects: int) -> Head:
    from pipeline.catalog import build_catalog
    from pipeline.config import InputConfig, OutputConfig, ScoreConfig
    from pipeline.encoders.spec import EncoderSpec
    from pipeline.geometry import Geometry, LakeGeometry
    from pipeline.io.parquet import read_parquet, write_parquet
    from pipeline.io.storage import Location
    from pipeline.plan.units import UNIT_OPERATIONS
    from pipeline.schema.scores import upgrade_scores
    from pipeline.schema.tables import COMPARED, KEPT, REDUCED
    from pipeline.scoring.scorer import make_scorer
    from pipeline.stages.encode import extract
    from pipeline.stages.score import layer_of
    from pipeline.store.features import FeatureStore
    from pipeline.store.history import History
    from pipeline.store.run_folder import RunFolder
    from pipeline.tables.references import Chooser
    from pipeline.tables.rows import decided_now, scores_table, with_catalog, with_references
    from pipeline.tables.selection import select

    config = ScoreConfig(input=InputConfig(uri="s3://lake/parts"), output=OutputConfig(uri=folder))
    spec = EncoderSpec("any", GRID, width=1024, embedding=768, layers=(11, 17), fingerprint="f" * 16, patch=14)
    geometry = LakeGeometry(Geometry(14, (518, 518)))
    run = RunFolder(Location.parse(folder), "head")
    store = FeatureStore(run.features / spec.fingerprint, spec.grid, spec.width, spec.layers, "float16")
    scorer = make_scorer(config, layer_of(store))

    began = time.process_time()
    catalog = build_catalog(config.input)
    selection = select(catalog, config, History(None, {}))
    choose = Chooser(config, store, run, spec.fingerprint, None, {}, geometry)
    expected = choose.expected(selection.todo, selection.pinned)
    scorer.units(0, expected, spec.layers, 16e9, UNIT_OPERATIONS["cuda"])
    planned = time.process_time()

    todo = selection.todo
    encoded = with_catalog(extract(todo, config, spec, geometry, store, Encoded()).images, todo)
    alone, members = choose(encoded)
    counts = [members[category].references for category in encoded["category"].to_pylist()]
    nothing = pa.nulls(len(counts), pa.string())
    compared = COMPARED.of({"image": encoded["image"], "references": counts, "reason": nothing})
    images = with_references(encoded, pa.concat_tables([alone, compared]))
    known: dict[str, object] = {"score_raw": 0.5, "stderr": 0.01, "threshold": 0.6, "rule": "batch"}
    columns = {name: [known.get(name)] * len(counts) for name in REDUCED.names}
    for name in ("image", "category"):
        columns[name] = encoded[name].to_pylist()
    columns["map_uri"] = [f"runs/run_id=head/maps/category=any/{image:032x}.png" for image in range(len(counts))]
    decided = decided_now(images, REDUCED.of(columns), {}, "head", datetime.now(UTC))
    written = write_parquet(scores_table(catalog, decided, None))
    recorded = time.process_time()
    peak = peak_memory()
    rows = KEPT.cast(upgrade_scores(read_parquet(written)))
    read = time.process_time()
    return Head(len(catalog), planned - began, recorded - planned, read - recorded, rows.nbytes / rows.num_rows, peak)
