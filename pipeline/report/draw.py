"""Draw: pictures of the worst images of each category, with the evidence for their scores, for the report of a run."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.boxes import file_of, split_box
from pipeline.catalog.masks import read_masks
from pipeline.config import InputConfig
from pipeline.errors import CatalogError, ConfigError, StorageError, StoreUnavailable
from pipeline.geometry import LakeGeometry
from pipeline.images import Quarantine, decode_picture
from pipeline.images.files import decoder_of, mask_values, read_ahead
from pipeline.images.region import patches_in
from pipeline.io.storage import Location
from pipeline.report import pictures
from pipeline.report.missed import missed
from pipeline.report.original import Original
from pipeline.report.page import CHUNK
from pipeline.report.pyramid import TILE, Pyramid, levels
from pipeline.report.report_images import crop_name, cuts, gather
from pipeline.report.stored_map import map_at, view_of
from pipeline.schema.tables import CUT, DETAILS, DRAWN, with_count
from pipeline.stage import Runner
from pipeline.views import View

SOURCES = 16  # images of the lake that one task decodes
BLOCK = 64  # images of one task that writes overlays and outlines
WRITERS = 8  # threads: a picture is a file, and a store answers late
UNDRAWN = (ValueError, ArithmeticError, OSError)  # of libraries: it costs a picture, and not the run

MADE_CUT, MADE_DRAWN = with_count(CUT), with_count(DRAWN)


@dataclass(frozen=True)
class Drawing:
    """What all that is drawn of a run has in common.

    `limits` are those of decoding. Images that the run does not list, references of earlier nights, are read below
    `roots` only. Maps show of an image what `geometry` says. Grey levels of maps below `output` mean `map_scale`.
    """

    report: Location
    output: Location
    limits: InputConfig
    roots: tuple[Location, ...]
    geometry: LakeGeometry
    map_scale: float

    def may_read(self, uri: str) -> bool:
        """Tell whether an image may be read that the run does not list: earlier runs' tables may say anything."""
        try:
            return any(Location.parse(file_of(uri)).is_below(root) for root in self.roots)
        except ConfigError:
            return False

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files of the report, by name; a picture is a file, and a store answers late."""
        with ThreadPoolExecutor(WRITERS) as writers:
            for _ in writers.map(lambda name: (self.report / name).write_bytes(files[name]), files):
                pass


def draw(
    drawing: Drawing,
    scores: pa.Table,
    listed: pa.Table,
    found: pa.Table,
    scales: Mapping[str, tuple[float, float]],
    runner: Runner,
) -> list[int]:
    """Draw images of a run, and return the row numbers of those that have all their files.

    An image that cannot be drawn costs its own pictures, and the log says so. Raises `StoreUnavailable`, and
    `StorageError` when a picture cannot be written.

    Args:
        drawing: what is drawn, and where.
        scores: of the run, a row for each input, with EXPLAINED.
        listed: the same rows of the catalog, with size and masks.
        found: rows of PATCHES of the images to draw, the two being patches; null where there is no map.
        scales: distances at both ends of the colours, by category.
        runner: gives blocks to workers.
    """
    mapped = found.filter(pc.is_valid(found["worst"])).sort_by("image")
    if not mapped.num_rows:
        return []
    images = gather(scores, listed, mapped, drawing.geometry, drawing.may_read)
    with runner.progress("pictures", "images", len(images)) as progress:
        made = runner(CutImages(drawing), cuts(images, SOURCES), progress)
    gone = missed("picture", made)
    gone_keys = frozenset(zip(gone["uri"].to_pylist(), gone["etag"].to_pylist(), strict=True))
    rows = []
    for image in images:
        if image.source.key not in gone_keys:
            low, high = scales[image.row["category"]]
            told = {"low": low, "high": high, "about": json.dumps(image.about(gone_keys))}
            row = {name: value for name, value in image.row.items() if name in DETAILS.names}
            rows.append({**row, "image": image.image, "masks": image.masks, **told})
    blocks = [DETAILS.rows(rows[at : at + BLOCK]) for at in range(0, len(rows), BLOCK)]
    if not blocks:
        return []
    with runner.progress("details", "images", len(rows)) as progress:
        drawn = runner(WriteDetails(drawing), blocks, progress)
    missed("picture", drawn)
    return sorted(drawn["image"].filter(pc.is_null(drawn["detail"])).to_pylist())


@dataclass
class CutImages:
    """A worker's part: decodes images of the lake, each once, and writes what CUTS says of them."""

    drawing: Drawing

    def setup(self, device: str, threads: int) -> None:
        """Nothing: the decoder is the process's."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return a row of CUT, and `count`, for each image."""
        limits = self.drawing.limits
        decoder = decoder_of(limits, decode_picture)
        sources = block.group_by(["uri", "etag", "size"], use_threads=False).aggregate([])
        wanted: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in block.to_pylist():
            wanted.setdefault((row["uri"], row["etag"]), []).append(row)
        rows = []
        contents = read_ahead(sources, limits.max_bytes)
        for source, content in zip(sources.to_pylist(), contents, strict=True):
            of = wanted[source["uri"], source["etag"]]
            row = {"uri": source["uri"], "etag": source["etag"], "count": sum(cut["i"] is None for cut in of)}
            geometry = self.drawing.geometry.of(of[0]["category"])
            try:
                original = Original(decoder, content.result(), source["uri"], geometry.values, limits.max_pixels)
                view = geometry.on(original.size)
                files = {name: made for cut in of for name, made in self._made(original, cut, view)}
                self._write_tiles(original, [cut["image"] for cut in of if cut["i"] is None])
            except StoreUnavailable:
                raise
            except (Quarantine, StorageError, *UNDRAWN) as error:
                row["detail"] = str(error)
            else:
                self.drawing.write(files)
            rows.append(row)
        return MADE_CUT.rows(rows)

    def _made(self, original: Original, cut: Mapping[str, Any], view: View) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of the files of a row of CUTS but tiles."""
        n = cut["image"]
        if cut["i"] is None:
            yield f"images/{n // CHUNK}/{n}.webp", pictures.picture(original.picture, pictures.PICTURE)
            yield f"thumbs/{n // CHUNK}/{n}.webp", pictures.picture(original.picture, pictures.THUMBNAIL)
        else:
            yield crop_name(n, cut["i"]), original.crop((cut["x"], cut["y"]), view)

    def _write_tiles(self, original: Original, numbers: Sequence[int]) -> None:
        """Write the tiles of an image that is large; they are many, and not held."""
        if not numbers or not levels(original.size):
            return
        pyramid = Pyramid(original.size)
        for strip in original.strips():
            made = list(pyramid.add(strip))
            self.drawing.write({f"tiles/{n // CHUNK}/{n}/{name}.webp": tile for n in numbers for name, tile in made})


@dataclass
class WriteDetails:
    """A worker's part: writes overlays, outlines and evidence of images."""

    drawing: Drawing

    def setup(self, device: str, threads: int) -> None:
        """Nothing."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of DRAWN, and `count`, for rows of DETAILS."""
        rows = []
        for row in block.to_pylist():
            drawn = {"image": row["image"], "uri": row["uri"], "count": 1}
            try:
                files = self._details(row, map_at(self.drawing.output / row["map_uri"], self.drawing.map_scale))
            except StoreUnavailable:
                raise
            except (StorageError, *UNDRAWN) as error:
                drawn["detail"] = str(error)
            else:
                self.drawing.write(files)
            rows.append(drawn)
        return MADE_DRAWN.rows(rows)

    def _details(self, row: Mapping[str, Any], distances: pictures.Map) -> dict[str, bytes]:
        """Return name and content of the files of a row of DETAILS."""
        n, above = row["image"], row["pixel_threshold"]
        view = view_of(distances)
        contour = [] if above is None else pictures.corners(pictures.polygons(distances, above, view))
        about = {"contour": contour, "truth": self._truth(row, view)} | json.loads(row["about"])
        if (seen := self._looked_at(row)) is not None:
            about["seen"] = seen
        if tiled := levels((row["width"], row["height"])):
            about["tiles"] = {"picture": pictures.PICTURE, "side": TILE, "levels": tiled}
        content = json.dumps(about, separators=(",", ":"), allow_nan=False)
        return {
            f"heat/{n // CHUNK}/{n}.webp": pictures.heat(
                distances, (row["low"], row["high"]), (row["width"], row["height"])
            ),
            f"details/{n // CHUNK}/{n}.js": f"LAKESCORE.detail({n}, {content});\n".encode("ascii"),
        }

    def _looked_at(self, row: Mapping[str, Any]) -> list[Any] | None:
        """Return the outlines of the patches that counted of an image; None where all did, or the mask is gone."""
        if row["region_uri"] is None:
            return None
        size = (row["width"], row["height"])
        view = self.drawing.geometry.of(row["category"]).on(size)
        try:
            counts = patches_in(row["region_uri"], row["region_etag"], view, size, self.drawing.limits)
        except Quarantine:  # it is another one than it was
            return None
        return pictures.corners(pictures.mask_polygons(counts.reshape(view.grid), view))

    def _truth(self, row: Mapping[str, Any], view: View) -> list[Any] | None:
        """Return the outlines of a view of an image's masks; None where it has none that can be read."""
        if not row["masks"]:
            return None
        drawing, within = self.drawing, split_box(row["uri"])[1]
        size = (row["width"], row["height"]) if within is None else (row["original_width"], row["original_height"])
        read = partial(mask_values, config=drawing.limits)
        try:
            mask = read_masks(row["masks"], view.of_box(within), size, read)
        except CatalogError:  # pixel metrics say so
            return None
        return pictures.corners(pictures.mask_polygons(mask, view))
