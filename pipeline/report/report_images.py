"""What a report shows of images, before anything is drawn: patches, their evidence, and what to cut from where."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.geometry import LakeGeometry
from pipeline.report.page import CHUNK
from pipeline.schema.tables import CUTS, EXPLAINED

READ = (  # of scores
    *("category", "uri", "etag", "width", "height", "original_width", "original_height", "map_uri", "pixel_threshold"),
    *("region_uri", "region_etag"),
    *EXPLAINED.names,
)

Key = tuple[str, str]  # uri and etag of an image: one content


@dataclass(frozen=True)
class Source:
    """An image of the lake, `image` where the run lists it; `size` in bytes, None where it must not be read."""

    uri: str
    etag: str
    size: int | None
    image: int | None

    @property
    def key(self) -> Key:
        return self.uri, self.etag


@dataclass(frozen=True)
class PatchMatch:
    """A patch, its middle in shares of width and height, and its distance to the patch that it is evidence for."""

    source: Source
    x: float
    y: float
    distance: float | None = None


@dataclass(frozen=True)
class ReportImage:
    """An image to draw: its row of scores, its masks, and its worst and most normal patch before what they find."""

    image: int
    row: Mapping[str, Any]
    masks: list[str]
    source: Source
    worst: list[PatchMatch]
    normal: list[PatchMatch]

    @property
    def matches(self) -> list[PatchMatch]:
        """All of them, in the order of their crops."""
        return self.worst + self.normal

    def about(self, gone: Collection[Key]) -> dict[str, Any]:
        """Return what its file of details says of patches; there is no crop of images that are gone."""
        told = [
            {
                "n": match.source.image,
                "uri": match.source.uri,
                "x": round(match.x, 4),
                "y": round(match.y, 4),
                "distance": None if match.distance is None else round(match.distance, 5),
                "crop": None if match.source.size is None or match.source.key in gone else crop_name(self.image, i),
            }
            for i, match in enumerate(self.matches)
        ]
        worst, normal = told[: len(self.worst)], told[len(self.worst) :]
        patches = {"patch": worst[0]["crop"], "normal_patch": normal[0]["crop"]}
        return {
            "worst": [worst[0]["x"], worst[0]["y"]],
            "evidence": {"worst": worst[1:], "normal": normal[1:], **patches},
        }


def gather(
    scores: pa.Table, listed: pa.Table, found: pa.Table, geometry: LakeGeometry, may_read: Callable[[str], bool]
) -> list[ReportImage]:
    """Gather what is known of images to draw.

    Args:
        scores: of the run, a row for each input, with EXPLAINED.
        listed: the same rows of the catalog, with size and masks.
        found: image, worst and normal of the images, the two being patches of their views.
        geometry: how images are seen.
        may_read: tells whether an image may be read that the run does not list.
    """
    rows = scores.select(READ).take(found["image"]).to_pylist()
    uris = {match["uri"] for row in rows for name in EXPLAINED.names for match in row[name] or ()}
    uris.update(row["uri"] for row in rows)
    numbers = np.flatnonzero(pc.is_in(scores["uri"], value_set=pa.array(sorted(uris), pa.string())).to_numpy())
    known = scores.select(["category", "uri", "etag"]).take(numbers).to_pylist()
    sources = {
        (row["category"], row["uri"], row["etag"]): Source(row["uri"], row["etag"], size, int(number))
        for row, size, number in zip(known, listed["size"].take(numbers).to_pylist(), numbers, strict=True)
    }

    def source_of(category: str, uri: str, etag: str) -> Source:
        if source := sources.get((category, uri, etag)):
            return source
        # no limit on its size: its features were stored within that of an earlier run, and the tag says it is the same
        return Source(uri, etag, 0 if may_read(uri) else None, None)

    images = []
    patches = found.select(["image", "worst", "normal"]).to_pylist()
    for row, masks, patch in zip(rows, listed["masks"].take(found["image"]).to_pylist(), patches, strict=True):
        category = row["category"]
        view = geometry.of(category).on((row["width"], row["height"]))
        own = source_of(category, row["uri"], row["etag"])
        worst, normal = (
            [PatchMatch(own, *view.centre(patch[name]))]
            + [
                PatchMatch(source_of(category, at["uri"], at["etag"]), at["x"], at["y"], at["distance"])
                for at in row[column] or ()
            ]
            for name, column in zip(("worst", "normal"), EXPLAINED.names, strict=True)
        )
        images.append(ReportImage(patch["image"], row, masks, own, worst, normal))
    return images


def cuts(images: list[ReportImage], most: int) -> list[pa.Table]:
    """Return what is to be made, in blocks of CUTS of `most` images of the lake; no two blocks share one."""
    by_source: dict[Key, list[dict[str, Any]]] = {}

    def add(source: Source, category: str, **cut: Any) -> None:
        if source.size is not None:
            told = {"uri": source.uri, "etag": source.etag, "size": source.size, "category": category}
            by_source.setdefault(source.key, []).append(told | cut)

    for image in images:
        category = image.row["category"]
        add(image.source, category, image=image.image)
        for i, match in enumerate(image.matches):
            add(match.source, category, image=image.image, i=i, x=match.x, y=match.y)
    keys = sorted(by_source)
    return [
        CUTS.rows(cut for key in keys[at : at + most] for cut in by_source[key]) for at in range(0, len(keys), most)
    ]


def crop_name(image: int, i: int) -> str:
    """Return the path of a crop in the report."""
    return f"crops/{image // CHUNK}/{image}-{i}.webp"
