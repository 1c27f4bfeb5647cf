"""Defect regions of a run as COCO JSON, which tools for data sets and labelling read (cocodataset.org/#format-data)."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import contourpy
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.boxes import file_of
from pipeline.errors import NothingToScore
from pipeline.metrics.overlap import EIGHT
from pipeline.report.stored_map import read_map, view_of
from pipeline.result import Result
from pipeline.views import View

Mask = NDArray[np.bool_]
Polygon = NDArray[np.float64]  # (n, 2): corners x, y in pixels, from the upper left corner of the upper left pixel
READERS = 8  # maps read at a time
DIGITS = 3  # of a coordinate's fraction
PIECE = 1 << 22  # pixels whose outlines are looked for at a time: each takes some 40 bytes


def coco(result: Result) -> dict[str, Any]:
    """Return a run as COCO: scored images, a category for each of the run's, and an annotation for each defect region.

    A region is where the map of an image that is called anomalous lies above the pixel threshold. Names of files are
    relative to `info.image_root`, coordinates and areas in pixels of the upright original. A photograph whose boxes
    were scored is one image, with the score of its worst box.

    Raises `NothingToScore` when no image was scored, and `StorageError` when a map cannot be read.
    """
    scored = pc.equal(result.scores["status"], "scored")
    rows = [row | {"id": n + 1} for n, row in enumerate(result.scores.to_pylist()) if scored[n].as_py()]
    if not rows:
        raise NothingToScore(f"no image of the run in {result.folder.output} was scored")
    files: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        files.setdefault(file_of(row["uri"]), []).append(row)
    root = common_folder(list(files))
    ids = {file: of[0]["id"] for file, of in files.items()}
    categories = {name: n + 1 for n, name in enumerate(sorted({row["category"] for row in rows}))}
    annotations: list[dict[str, Any]] = []
    drawn = [row for row in rows if row["anomalous"] and row["pixel_threshold"] is not None]
    with ThreadPoolExecutor(READERS) as readers:
        for row, found in zip(drawn, readers.map(partial(_regions, result), drawn), strict=True):
            image, category = ids[file_of(row["uri"])], categories[row["category"]]
            usual = {"image_id": image, "category_id": category, "iscrowd": 0}
            annotations += [{"id": len(annotations) + n + 1} | usual | region for n, region in enumerate(found)]
    return {
        "info": {
            "description": f"LakeScore run {result.folder.run_id}",
            "date_created": result.run.finished.isoformat(),
            "image_root": root,
        },
        "licenses": [],
        "categories": [{"id": n, "name": name, "supercategory": "defect"} for name, n in categories.items()],
        "images": [_image(file.removeprefix(f"{root}/"), of) for file, of in files.items()],
        "annotations": annotations,
    }


def common_folder(uris: Sequence[str]) -> str:
    """Return the innermost folder or prefix that all uris lie below."""
    return "/".join(os.path.commonprefix([uri.split("/")[:-1] for uri in (min(uris), max(uris))]))


def _image(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what COCO says of a file of which some rows were scored: itself, or boxes of it."""
    first, known = rows[0], [row["anomalous"] for row in rows if row["anomalous"] is not None]
    return {
        "id": first["id"],
        "file_name": name,
        "width": first["width"] if first["original_width"] is None else first["original_width"],
        "height": first["height"] if first["original_height"] is None else first["original_height"],
        "score": max(row["score_raw"] for row in rows),
        "anomalous": any(known) if known else None,
    }


def _regions(result: Result, row: dict[str, Any]) -> list[dict[str, Any]]:
    distances = read_map(result, row)
    corner = (row["box_left"] or 0, row["box_top"] or 0)
    size = (row["width"], row["height"])
    return list(regions(distances, row["pixel_threshold"], view_of(distances), size, corner))


def regions(
    distances: NDArray[np.floating[Any]],
    threshold: float,
    view: View,
    size: tuple[int, int],
    corner: tuple[int, int] = (0, 0),
) -> Iterator[dict[str, Any]]:
    """Yield segmentation, bbox, area and score of each 8-connected region of a map above a threshold.

    Args:
        distances: the map [height, width].
        threshold: what lies above it is a region's.
        view: what the map shows of the image.
        size: (width, height) of the image.
        corner: left and upper edge of the image in the photograph, in whose pixels coordinates and areas are told.
    """
    labelled, _ = ndimage.label(distances > threshold, structure=EIGHT)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labelled), 1):
        mask = labelled[rows, columns] == number
        first = np.array([columns.start, rows.start])
        across = np.array(mask.shape[::-1])
        polygons = [view.on_image(polygon + first, size) + corner for polygon in outlines(mask)]
        bbox = view.part_on_image(first, across, size) + (*corner, 0, 0)
        yield {
            "segmentation": [polygon.ravel().round(DIGITS).tolist() for polygon in polygons],
            "bbox": bbox.round(DIGITS).tolist(),
            "area": round(float(mask.sum() * view.scale(size).prod()), DIGITS),
            "score": float(distances[rows, columns][mask].max()),
        }


def outlines(mask: Mask) -> list[Polygon]:
    """Return polygons along the edges of a mask's pixels that do not overlap and together cover exactly the mask.

    COCO's polygons have no holes: a piece with holes is cut from top to bottom through the first column of each.
    """
    found: list[Polygon] = []
    for start, stop in pairwise((0, *_cuts(mask), mask.shape[1])):
        found += [polygon + (start, 0) for polygon in _outer(mask[:, start:stop])]
    return found


def _cuts(mask: Mask) -> list[int]:
    """Return the columns before which a mask is cut, rising: pieces have no holes, and about PIECE pixels at most."""
    outside, count = ndimage.label(~mask)
    is_hole = np.ones(count + 1, bool)
    is_hole[0] = False
    for edge in (outside[0], outside[-1], outside[:, 0], outside[:, -1]):
        is_hole[edge] = False
    by_column = outside.T.ravel()
    inside = np.flatnonzero(is_hole[by_column])
    firsts = set((inside[np.unique(by_column[inside], return_index=True)[1]] // mask.shape[0]).tolist())
    widest = max(1, PIECE // mask.shape[0])
    cuts = [0]
    # a hole that a cut goes through or beside is open to the outside
    for column in (*sorted(firsts), mask.shape[1]):
        cuts += range(cuts[-1] + widest, column, widest)
        if cuts[-1] < column < mask.shape[1]:
            cuts.append(column + 1)
    return [cut for cut in cuts[1:] if cut < mask.shape[1]]


def _outer(mask: Mask) -> list[Polygon]:
    """Return the outlines of a mask without holes, by contours of a grid that pixels outside take their centres from.

    A pixel is four cells of the grid, which all touch its centre: no cell of a pixel outside is left.
    """
    height, width = mask.shape
    outside = np.zeros((2 * height + 1, 2 * width + 1), bool)
    outside[1::2, 1::2] = ~mask
    generator = contourpy.contour_generator(
        np.arange(2 * width + 1) / 2,
        np.arange(2 * height + 1) / 2,
        np.ma.array(np.zeros(outside.shape), mask=outside),
        corner_mask=False,
        fill_type=contourpy.FillType.OuterCode,
    )
    found = generator.filled(-1, 1)[0]
    return [_corners(points[:-1]) for points in found if points is not None]


def _corners(points: Polygon) -> Polygon:
    """Drop the points (n, 2) of a closed outline in which it does not turn."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    corners: Polygon = points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    return corners
