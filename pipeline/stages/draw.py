"""Draw: pictures of the worst images of each category, with the evidence for their scores, for the report of a run."""

import json
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog.masks import read_masks
from pipeline.config import InputConfig
from pipeline.errors import CatalogError, ConfigError, StorageError, StoreUnavailable
from pipeline.images import Pixels, Quarantine, decode_picture
from pipeline.lake.storage import Location
from pipeline.report import pictures
from pipeline.stages.decode import decoder_of, mask_values, read_ahead
from pipeline.stages.evidence import centre
from pipeline.stages.progress import Progress
from pipeline.stages.rows import EXPLAINED
from pipeline.stages.tasks import Run, run_tasks
from pipeline.stages.telemetry import count_traffic

SOURCES = 16  # images of the lake that one task decodes
DETAILS = 64  # images of one task that writes overlays and outlines
WRITERS = 8  # threads: a picture is a file, and a store answers late
FOLDER = 1000  # images of one folder of a report

# What is made of an image of the lake: the picture of image `n` of the run, or where `i` is not null its crop `i`,
# around x, y
CUTS = pa.schema(
    [
        *((name, pa.string()) for name in ("uri", "etag")),
        *((name, pa.int64()) for name in ("size", "n", "i")),
        *((name, pa.float64()) for name in ("x", "y")),
    ]
)
DETAIL = pa.schema(
    [
        ("n", pa.int64()),
        ("map_uri", pa.string()),
        *((name, pa.int32()) for name in ("width", "height")),
        ("masks", pa.list_(pa.string())),
        *((name, pa.float64()) for name in ("pixel_threshold", "low", "high")),
        ("about", pa.string()),  # what is known already of the file of details, as JSON
    ]
)
LOST = pa.schema([("uri", pa.string()), ("etag", pa.string()), ("detail", pa.string()), ("count", pa.int64())])
DRAWN = pa.schema([("n", pa.int64()), ("drawn", pa.bool_()), ("count", pa.int64())])

READ = ("category", "uri", "etag", "width", "height", "map_uri", "pixel_threshold", *EXPLAINED.names)  # of scores
SAID = 5  # images that are named in the log where they have no picture

Key = tuple[str, str]  # uri and etag of an image: one content

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artist:
    """Draws images of a run into its report; its tasks need nothing else.

    `limits` are those of decoding. Images that the run does not list, references of earlier nights, are read below
    `roots` only. `grid` (H, W) are the patches of a map and `size` its side; masks are true above the share
    `mask_above` of full scale. Grey levels of maps below `output` mean `map_scale`.
    """

    report: Location
    output: Location
    limits: InputConfig
    roots: tuple[Location, ...]
    grid: tuple[int, int]
    size: int
    mask_above: float
    map_scale: float

    def __call__(
        self,
        scores: pa.Table,
        listed: pa.Table,
        found: pa.Table,
        scales: Mapping[str, tuple[float, float]],
        run: Run = run_tasks,
    ) -> list[int]:
        """Draw images of a run, and return the row numbers of those that have all their files.

        An image that cannot be drawn costs its own pictures, and the log says so. Raises `StoreUnavailable`, and
        `StorageError` when a picture cannot be written.

        Args:
            scores: of the run, a row for each input, with EXPLAINED.
            listed: the same rows of the catalog, with size and masks.
            found: n, worst and normal of the images to draw, the two being patches; null where there is no map.
            scales: distances at both ends of the colours, by category.
            run: gives blocks to tasks.
        """
        found = found.filter(pc.is_valid(found["worst"])).sort_by("n")
        if not found.num_rows:
            return []
        images = self._images(scores, listed, found)
        with Progress("pictures", "images", len(images)) as progress:
            lost = run(_cuts(images), self.cut, progress)
        lost = lost.filter(pc.is_valid(lost["detail"]))
        for row in lost.slice(0, SAID).to_pylist():
            log.warning("no picture of %s: %s", row["uri"], row["detail"])
        if lost.num_rows > SAID:
            log.warning("no picture of %d more images", lost.num_rows - SAID)
        gone = set(zip(lost["uri"].to_pylist(), lost["etag"].to_pylist(), strict=True))
        rows = [self._row(image, scales, gone) for image in images if image.source.key not in gone]
        with Progress("details", "images", len(rows)) as progress:
            blocks = [pa.Table.from_pylist(rows[at : at + DETAILS], DETAIL) for at in range(0, len(rows), DETAILS)]
            drawn = run(blocks, self.detail, progress) if blocks else DRAWN.empty_table()
        return sorted(drawn["n"].filter(drawn["drawn"]).to_pylist())

    def _images(self, scores: pa.Table, listed: pa.Table, found: pa.Table) -> list["_Image"]:
        """Gather what is known of the images to draw."""
        rows = scores.select(READ).take(found["n"]).to_pylist()
        masks = listed["masks"].take(found["n"]).to_pylist()
        uris = {spot["uri"] for row in rows for name in EXPLAINED.names for spot in row[name] or ()}
        mine = pc.is_in(scores["uri"], value_set=pa.array(sorted(uris | {row["uri"] for row in rows}), pa.string()))
        numbers = np.flatnonzero(mine.to_numpy())
        known = scores.select(["category", "uri", "etag"]).take(numbers).to_pylist()
        sizes = listed["size"].take(numbers).to_pylist()
        sources = {
            tuple(row.values()): _Source(row["uri"], row["etag"], size, int(n))
            for row, size, n in zip(known, sizes, numbers, strict=True)
        }

        def source_of(category: str, uri: str, etag: str) -> _Source:
            if source := sources.get((category, uri, etag)):
                return source
            # its features were stored within the limits of a run before this one, and the tag says that it is the same
            return _Source(uri, etag, 0 if self._may_read(uri) else None, None)

        images = []
        for row, of, worst, normal in zip(
            rows, masks, found["worst"].to_pylist(), found["normal"].to_pylist(), strict=True
        ):
            own = source_of(row["category"], row["uri"], row["etag"])
            spots = {
                "worst": [_Spot(own, *centre(worst, self.grid))],
                "normal": [_Spot(own, *centre(normal, self.grid))],
            }
            for patch, name in zip(spots, EXPLAINED.names, strict=True):
                spots[patch] += [
                    _Spot(source_of(row["category"], at["uri"], at["etag"]), at["x"], at["y"], at["distance"])
                    for at in row[name] or ()
                ]
            images.append(_Image(row, of, own, **spots))
        return images

    def _may_read(self, uri: str) -> bool:
        """Tell whether an image may be read that the run does not list: earlier runs' tables may say anything."""
        try:
            return any(Location.parse(uri).is_below(root) for root in self.roots)
        except ConfigError:
            return False

    def _row(self, image: "_Image", scales: Mapping[str, tuple[float, float]], gone: set[Key]) -> dict[str, Any]:
        """Return a row of DETAIL."""
        crops = {
            i: crop_name(image.n, i)
            for i, spot in enumerate(image.spots)
            if spot.source.size is not None and spot.source.key not in gone
        }
        told = [
            {
                "n": spot.source.n,
                "uri": spot.source.uri,
                "x": round(spot.x, 4),
                "y": round(spot.y, 4),
                "distance": None if spot.distance is None else round(spot.distance, 5),
                "crop": crops.get(i),
            }
            for i, spot in enumerate(image.spots)
        ]
        worst, normal = told[: len(image.worst)], told[len(image.worst) :]
        evidence = {
            "worst": worst[1:],
            "normal": normal[1:],
            "patch": worst[0]["crop"],
            "normal_patch": normal[0]["crop"],
        }
        low, high = scales[image.row["category"]]
        row = {name: image.row[name] for name in ("map_uri", "width", "height", "pixel_threshold")}
        about = {"worst": [worst[0]["x"], worst[0]["y"]], "evidence": evidence}
        return row | {"n": image.n, "masks": image.masks, "low": low, "high": high, "about": json.dumps(about)}

    def cut(self, block: pa.Table) -> pa.Table:
        """Decode images of the lake, each once, and write what CUTS says of them; return a row of LOST for each."""
        decoder = decoder_of(self.limits, decode_picture)
        sources = block.group_by(["uri", "etag", "size"], use_threads=False).aggregate([])
        wanted: dict[Key, list[dict[str, Any]]] = {}
        for row in block.to_pylist():
            wanted.setdefault((row["uri"], row["etag"]), []).append(row)
        rows = []
        for source, content in zip(sources.to_pylist(), read_ahead(sources, self.limits.max_bytes), strict=True):
            of = wanted[source["uri"], source["etag"]]
            row = {"uri": source["uri"], "etag": source["etag"], "count": sum(cut["i"] is None for cut in of)}
            try:
                pixels, _ = decoder(content.result(), pictures.PICTURE, self.limits.max_pixels)
            except StoreUnavailable:
                raise
            except (Quarantine, StorageError) as error:
                rows.append(row | {"detail": str(error)})
            else:
                self._write({name: content for cut in of for name, content in self._made(pixels, cut)})
                rows.append(row | {"detail": None})
        count_traffic()
        return pa.Table.from_pylist(rows, schema=LOST)

    def detail(self, block: pa.Table) -> pa.Table:
        """Write overlays, outlines and evidence of images, rows of DETAIL; return rows of DRAWN."""
        rows = []
        for row in block.to_pylist():
            n, drawn = row["n"], True
            try:
                distances = pictures.read_map((self.output / row["map_uri"]).read_bytes(), self.map_scale)
            except StoreUnavailable:
                raise
            except (StorageError, ValueError) as error:
                log.warning("no picture of image %d: its map %s cannot be read: %s", n, row["map_uri"], error)
                drawn = False
            else:
                above = row["pixel_threshold"]
                outlines = [] if above is None else pictures.polygons(distances, above)
                about = {"contour": pictures.corners(outlines), "truth": self._truth(row)} | json.loads(row["about"])
                content = json.dumps(about, separators=(",", ":"), allow_nan=False)
                heat = pictures.heat(distances, (row["low"], row["high"]), (row["width"], row["height"]))
                self._write(
                    {
                        f"heat/{n // FOLDER}/{n}.webp": heat,
                        f"details/{n // FOLDER}/{n}.js": f"LAKESCORE.detail({n}, {content});\n".encode("ascii"),
                    }
                )
            rows.append({"n": n, "drawn": drawn, "count": 1})
        count_traffic()
        return pa.Table.from_pylist(rows, schema=DRAWN)

    def _made(self, pixels: Pixels, cut: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of the files of a row of CUTS."""
        n = cut["n"]
        if cut["i"] is None:
            yield f"images/{n // FOLDER}/{n}.webp", pictures.picture(pixels, pictures.PICTURE)
            yield f"thumbs/{n // FOLDER}/{n}.webp", pictures.picture(pixels, pictures.THUMBNAIL)
        else:
            yield crop_name(n, cut["i"]), pictures.crop(pixels, (cut["x"], cut["y"]), self.grid)

    def _truth(self, row: Mapping[str, Any]) -> list[Any] | None:
        """Return the outlines of an image's masks; None where it has none that can be read."""
        if not row["masks"]:
            return None
        read = partial(mask_values, config=self.limits)
        try:
            mask = read_masks(row["masks"], self.size, self.mask_above, (row["width"], row["height"]), read)
        except CatalogError as error:
            log.warning("image %d is shown without its masks: %s", row["n"], error)
            return None
        return pictures.corners(pictures.mask_polygons(mask))

    def _write(self, files: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(WRITERS) as writers:
            for _ in writers.map(lambda name: (self.report / name).write_bytes(files[name]), files):
                pass


@dataclass(frozen=True)
class _Source:
    """An image of the lake, `n` where it is a row of the run; `size` in bytes, None where it must not be read."""

    uri: str
    etag: str
    size: int | None
    n: int | None

    @property
    def key(self) -> Key:
        return self.uri, self.etag


@dataclass(frozen=True)
class _Spot:
    """A patch, its middle in shares of width and height, and its distance to the patch that it is evidence for."""

    source: _Source
    x: float
    y: float
    distance: float | None = None


@dataclass(frozen=True)
class _Image:
    """An image to draw: its row of scores, its masks, and its worst and most normal patch before what they find."""

    row: Mapping[str, Any]
    masks: list[str]
    source: _Source
    worst: list[_Spot]
    normal: list[_Spot]

    @property
    def n(self) -> int:
        assert self.source.n is not None
        return self.source.n

    @property
    def spots(self) -> list[_Spot]:
        """All of them, in the order of their crops."""
        return self.worst + self.normal


def crop_name(n: int, i: int) -> str:
    """Return the path of a crop in the report."""
    return f"crops/{n // FOLDER}/{n}-{i}.webp"


def _cuts(images: list[_Image]) -> list[pa.Table]:
    """Return what is to be made, in blocks of CUTS that never share an image of the lake."""
    by_source: dict[Key, list[dict[str, Any]]] = {}

    def add(source: _Source, **cut: Any) -> None:
        if source.size is not None:
            told = {"uri": source.uri, "etag": source.etag, "size": source.size}
            by_source.setdefault(source.key, []).append(told | cut)

    for image in images:
        add(image.source, n=image.n)
        for i, spot in enumerate(image.spots):
            add(spot.source, n=image.n, i=i, x=spot.x, y=spot.y)
    keys = sorted(by_source)
    return [
        pa.Table.from_pylist([cut for key in keys[at : at + SOURCES] for cut in by_source[key]], CUTS)
        for at in range(0, len(keys), SOURCES)
    ]
