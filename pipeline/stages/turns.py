"""Turns: references are encoded as they are seen turned, and listed with where those features lie."""

from collections.abc import Callable, Collection
from dataclasses import replace

import pyarrow as pa

from pipeline.config import ScoreConfig
from pipeline.encoders.spec import EncoderSpec
from pipeline.geometry import LakeGeometry, angles
from pipeline.schema.table import set_columns
from pipeline.schema.tables import REFERENCES, TO_TURN
from pipeline.stage import Runner
from pipeline.stages.encode import extract
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_table, write_table


def encode_turned(
    categories: Collection[str],
    images: pa.Table,
    config: ScoreConfig,
    spec: EncoderSpec,
    geometry: LakeGeometry,
    store: FeatureStore,
    run: RunFolder,
    runner: Callable[[LakeGeometry], Runner],
) -> None:
    """Encode the references of categories as they are seen turned, where that is not stored, and list them anew.

    One that cannot be encoded any more, of an earlier night, is seen as it is in place of turned.

    Args:
        categories: whose references are listed.
        images: rows of SELECTION, for the sizes of files.
        config: settings.
        spec: of the encoder.
        geometry: how images are seen.
        store: where features are kept.
        run: whose references.
        runner: gives what decodes and encodes by a geometry.
    """
    sizes = dict(zip(images["uri"].to_pylist(), images["size"].to_pylist(), strict=True))
    tables = {category: read_table(run.references(category)) for category in categories}
    rows = [
        {**row, "category": category, "size": sizes.get(row["uri"], 0)}  # 0: it was within the limit of its night
        for category, table in tables.items()
        for row in table.select(["uri", "etag", "region_uri", "region_etag"]).to_pylist()
    ]
    todo = TO_TURN.rows({**row, "image": number} for number, row in enumerate(rows))
    found = []
    for angle in angles(config.references.turns):
        seen = replace(geometry, turned=angle)
        found.append(extract(todo, config, spec, seen, store, runner(seen), f"turned {angle}").images)
    start = 0
    for category, table in tables.items():
        own = list(zip(table["file"].to_pylist(), table["row"].to_pylist(), strict=True))
        turned: list[list[dict[str, object]]] = [[] for _ in own]
        for images_ in found:
            part = images_.slice(start, table.num_rows)
            for number, (file, row) in enumerate(zip(part["file"].to_pylist(), part["row"].to_pylist(), strict=True)):
                kept, place = (file, row) if file is not None else own[number]
                turned[number].append({"file": kept, "row": place})
        start += table.num_rows
        listed = set_columns(table, {"turned": pa.array(turned, REFERENCES["turned"].type)})
        write_table(run.references(category), REFERENCES.cast(listed))
