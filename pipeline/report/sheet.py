"""One picture of a run: the worst images of each category, with their maps."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.boxes import split_box
from pipeline.errors import NothingToScore, StorageError
from pipeline.images import Quarantine, decode
from pipeline.io.storage import Location
from pipeline.report.stored_map import map_at
from pipeline.report.summary import rank
from pipeline.schema.table import records, set_columns
from pipeline.screen import printable
from pipeline.values import LakeValues
from pipeline.views import View

SIZE = 256  # pixels of one picture
LIMIT = 10**9  # the run has decoded these images before


def plain(name: str) -> str:
    """Return a name as matplotlib shows it: no mathematics, no line of its own, and nothing hidden from a legend."""
    text = printable(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


@dataclass(frozen=True)
class _Mapped:
    """Of a row of scores: an image and its map."""

    uri: str
    etag: str
    map_uri: str


def draw_sheet(output: Location, scores: pa.Table, map_scale: float, values: LakeValues, worst: int) -> Figure:
    """Draw the `worst` images of each category and, below each, its anomaly map over it.

    All maps of a category share one scale, from half its median image score to its largest, so that colours compare.

    Args:
        output: where the run is, and those that it carries rows over from.
        scores: the run's scores.
        map_scale: distance of one grey level of a map.
        values: that the run saw of images.
        worst: images of each category, in one row.

    Raises:
        NothingToScore: when no image was scored.
        StorageError: when an image is gone or has changed.
    """
    scored = scores.filter(pc.equal(scores["status"], "scored"))
    if not scored.num_rows:
        raise NothingToScore(f"no image of the run in {output} was scored")
    categories, scored = sorted(set(scored["category"].to_pylist())), set_columns(scored, {"rank": rank(scored)})
    figure = Figure(figsize=(1.6 * worst, 3.4 * len(categories)), layout="constrained")
    axes = figure.subplots(2 * len(categories), worst, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for place, category in enumerate(categories):
        rows = scored.filter(pc.equal(scored["category"], category)).sort_by([("rank", "descending")])
        view = View((SIZE, SIZE), values=values.of(category))
        low, high = np.quantile(rows["score_raw"].to_numpy(), [0.5, 1.0])
        shown = rows.slice(0, worst)
        ranks: list[float] = shown["rank"].to_pylist()
        for column, (image, score) in enumerate(zip(records(shown, _Mapped), ranks, strict=True)):
            try:
                file, within = split_box(image.uri)
                content = Location.parse(file).read_bytes(image.etag)
                picture, _ = decode(content, view.of_box(within), LIMIT)
            except Quarantine as error:
                raise StorageError(f"{image.uri} has changed since the run: {error}") from error
            heat = map_at(output / image.map_uri, map_scale)
            above: Axes = axes[2 * place, column]
            below: Axes = axes[2 * place + 1, column]
            above.imshow(picture)
            above.set_title(f"{plain(category)}  {score:.2f}" if column == 0 else f"{score:.2f}", fontsize=9)
            below.imshow(picture)
            below.imshow(heat, extent=(0, SIZE, SIZE, 0), cmap="inferno", vmin=low / 2, vmax=high, alpha=0.65)
    return figure
