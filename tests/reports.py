"""Reports made by hand: rows with hostile names among them, pictures of noise with a bright spot, and details of it."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from pipeline.io.storage import Location
from pipeline.metrics.category import Metric
from pipeline.report.page import PageExtras, write_page
from pipeline.report.pictures import PICTURE
from pipeline.report.pyramid import TILE, Pyramid, levels
from pipeline.tables.parts import metrics_of_parts, parts_table, with_parts
from tests.published import COUNTS, record

HOSTILE = (
    "<script>window.hacked = 1</script>.png",
    "<img src=x onerror=window.hacked=1>.png",
    '"><svg onload=window.hacked=1>.png',
    "';window.hacked=1;'.png",
    "</script><script>window.hacked=1</script>",
    "javascript:window.hacked=1",
    "{{7*7}}${7*7}.png",
    "line\u2028separator\nnew line.png",
    "gnp.\u202eexe.png",
    'comma, and "quotes".png',
    "__proto__",
    "ünïcödé 日本語 🧵.png",
    "x" * 300 + ".png",
)
CATEGORIES = ("bottle", "<b>bold</b>", "__proto__", "metal nut")
COLOURS = ("#000004", "#420a68", "#932667", "#dd513a", "#fca50a", "#fcffa4")
SCALE = (0.2, 0.9)
THRESHOLD, THRESHOLD_BEFORE = 0.62, 0.5
TONIGHT, BEFORE = "2030-01-01", "2029-12-31"
SIZE = 320, 240  # of the images
FINE = 3000, 500, 3200, 600  # left, top, right and bottom of what only the tiles of a large image show


@dataclass(frozen=True)
class Made:
    """A report's folder and what it is of."""

    folder: Path
    scores: pa.Table

    @property
    def address(self) -> str:
        return (self.folder / "index.html").as_uri()


def make_report(
    folder: Path,
    count: int,
    drawn: int,
    labels: bool = True,
    carried: int = 0,
    parts: int = 0,
    size: tuple[int, int] = SIZE,
) -> Made:
    """Write a report of `count` images; the `drawn` worst have pictures, and the first, whose names are hostile.

    The last `carried` rows are of an earlier run, with a threshold of its own. The first images are views of `parts`,
    one of each category of each. Images are of a `size`, and large ones have tiles.
    """
    scores = make_scores(count, labels, parts, size)
    if carried:
        scores = carry(scores, carried)
    rows = scores.to_pylist()
    worst = sorted(range(count), key=lambda n: rows[n]["score_raw"] or 0, reverse=True)[:drawn]
    pictured = {n for n in (*worst, *range(len(HOSTILE))) if rows[n]["status"] == "scored"}
    extras = PageExtras(
        drawn=pictured,
        scales={name: SCALE for name in CATEGORIES},
        colours=COLOURS,
        window={name: np.random.default_rng(9).normal(0.42, 0.09, 3 * count) for name in CATEGORIES[:2]},
    )
    kept = pc.sum(pc.equal(scores["scored_by"], BEFORE)).as_py() or 0
    told = {"drift": drift(), "drifted": ["bottle"], "counts": COUNTS | {"carried": kept}, "decisions": decisions()}
    run = record(TONIGHT, told)
    found = with_parts(metrics() if labels else {}, metrics_of_parts(parts_table(scores)))
    write_page(Location.parse(str(folder)), run, scores, found, extras)
    for n in pictured:
        draw(folder, n, rows)
    return Made(folder, scores)


def make_scores(count: int, labels: bool, parts: int = 0, size: tuple[int, int] = SIZE) -> pa.Table:
    rng = np.random.default_rng(0)
    defect = rng.random(count) < 0.12
    raw = np.clip(rng.normal(0.45, 0.08, count) + defect * rng.normal(0.25, 0.1, count), 0.05, 1.9)
    lost = rng.random(count) < 0.01
    lost[: len(HOSTILE)] = False
    reasons = ("damaged", "too_large", "not_an_image")
    rows: list[dict[str, Any]] = []
    for n in range(count):
        name = HOSTILE[n] if n < len(HOSTILE) else f"{n:05d}.png"
        category = CATEGORIES[n % len(CATEGORIES)]
        quarantined = bool(lost[n])
        value = None if quarantined else float(raw[n])
        rows.append(
            {
                "category": category,
                "uri": f"/lake/{category}/test/{'scratch' if defect[n] else 'good'}/{name}",
                "etag": str(n),
                "status": "quarantined" if quarantined else "scored",
                "reason": reasons[n % 3] if quarantined else None,
                "detail": "cannot be decoded: <b>broken</b> data stream" if quarantined else None,
                "score": None if value is None else value / THRESHOLD,
                "score_raw": value,
                "stderr": None if value is None else 0.004,
                "references": None if value is None else 256,
                "anomalous": None if value is None else value > THRESHOLD,
                "rule": None if value is None else "quantile 0.95",
                "threshold": None if value is None else THRESHOLD,
                "pixel_threshold": None if value is None else 0.6,
                "scored_by": None if value is None else TONIGHT,
                "label": bool(defect[n]) if labels else None,
                "width": size[0],
                "height": size[1],
                "group": part_name(n // len(CATEGORIES)) if n < parts * len(CATEGORIES) else None,
            }
        )
    types = {
        "detail": pa.string(),
        "reason": pa.string(),
        "label": pa.bool_(),
        "width": pa.int32(),
        "height": pa.int32(),
        "group": pa.string(),
    }
    return pa.table({name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]})


def part_name(part: int) -> str:
    """Return a part's name, the first ones hostile."""
    return HOSTILE[part] if part < 3 else f"part-{part:03d}"


def carry(scores: pa.Table, count: int) -> pa.Table:
    """Make the last rows those of an earlier night, with the threshold of that."""
    rows = scores.to_pylist()
    for row in rows[-count:]:
        if row["status"] == "scored":
            row |= {"scored_by": BEFORE, "threshold": THRESHOLD_BEFORE, "score": row["score_raw"] / THRESHOLD_BEFORE}
            row["anomalous"] = row["score_raw"] > THRESHOLD_BEFORE
    return pa.Table.from_pylist(rows, schema=scores.schema)


def metrics() -> dict[str, dict[str, Metric]]:
    found = {"image_auroc": 0.973, "image_f1_max": 0.91, "image_ap": 0.942, "pixel_auroc": 0.981, "pixel_aupro": 0.874}
    return {
        name: {metric: Metric(value - 0.013 * place) for metric, value in found.items()}
        for place, name in enumerate(CATEGORIES)
    }


def decisions() -> dict[str, dict[str, Any]]:
    sure = {"rule": "auto: batch", "threshold": THRESHOLD, "low": 0.58, "high": 0.66, "false_alarms": 0.04}
    sure |= {"recall": None, "flagged": 90, "unsure": 7, "clear": True}
    nothing = {"low": None, "high": None, "false_alarms": None, "unsure": 0, "clear": None}
    return {
        "bottle": sure,
        "<b>bold</b>": sure | {"unsure": 41, "clear": False},
        "__proto__": sure | {"rule": "fixed 0.62", **nothing},
        "metal nut": sure | {"rule": "auto: labels", "recall": 0.75},
    }


def drift() -> dict[str, dict[str, Any]]:
    return {"bottle": {"brightness": {"before": 0.451, "now": 0.52, "change": 0.31, "drifted": True}}}


def draw(folder: Path, n: int, rows: Sequence[dict[str, Any]]) -> None:
    """Write the pictures and details of one image, as the stages do."""
    rng = np.random.default_rng(n)
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    wave = 110 + 40 * np.sin(x / (6 + n % 7)) * np.cos(y / (9 + n % 5)) + rng.normal(0, 8, (height, width))
    at = rng.uniform(0.2, 0.8, 2)
    far = np.hypot(x - at[0] * width, y - at[1] * height)
    heat = np.exp(-((far / 34) ** 2)) * min(1.0, max(0.1, rows[n]["score_raw"]))
    grey = np.clip(wave - 90 * np.exp(-((far / 14) ** 2)), 0, 255)
    picture = Image.fromarray(np.stack([grey, grey * 0.96, grey * 0.9], -1).astype(np.uint8))
    stops = np.array([[int(of[i : i + 2], 16) for i in (1, 3, 5)] for of in COLOURS], float)
    share = np.clip((heat - SCALE[0]) / (SCALE[1] - SCALE[0]), 0, 1)
    places = np.linspace(0, 1, len(stops))
    colours = np.stack([np.interp(share, places, stops[:, i]) for i in range(3)], -1)
    overlay = Image.fromarray(np.concatenate([colours, 255 * share[..., None] ** 0.5], -1).astype(np.uint8), "RGBA")
    save(folder, "images", n, picture)
    save(folder, "thumbs", n, picture.resize((192, 144)))
    save(folder, "heat", n, overlay.resize((160, 120)))
    ring = [[at[0] + 24 / width * np.cos(a), at[1] + 24 / height * np.sin(a)] for a in np.linspace(0, 6.1, 24)]
    truth = [[at[0] + 17 / width * np.cos(a), at[1] + 14 / height * np.sin(a)] for a in np.linspace(0, 6.1, 24)]
    left, upper = int(at[0] * width) - 48, int(at[1] * height) - 48
    crops = []
    for i in range(14):
        moved = (left + 7 * i, upper - 5 * i) if i else (left, upper)
        save(folder, "crops", n, picture.crop((*moved, moved[0] + 96, moved[1] + 96)), f"-{i}")
        crops.append(f"crops/{n // 1000}/{n}-{i}.webp")
    near = [(n + 4 * i + 4) % len(rows) for i in range(12)]
    found = [
        {"n": m, "uri": rows[m]["uri"], "x": 0.5, "y": 0.5, "distance": 0.3 + 0.02 * i, "crop": crops[i + 1]}
        for i, m in enumerate(near)
    ]
    found[3] |= {"n": None, "uri": "s3://lake/last week/0003.png"}
    detail: dict[str, Any] = {
        "contour": [ring],
        "truth": [truth] if rows[n]["label"] else None,
        "worst": at.tolist(),
        "evidence": {"worst": found[:6], "normal": found[6:], "patch": crops[0], "normal_patch": crops[13]},
    }
    size = rows[n]["width"], rows[n]["height"]
    if sizes := levels(size):
        detail["tiles"] = {"picture": PICTURE, "side": TILE, "levels": sizes}
        save_tiles(folder, n, picture.resize(size))
    place = folder / "details" / str(n // 1000) / f"{n}.js"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"LAKESCORE.detail({n}, {json.dumps(detail)});\n")


def save_tiles(folder: Path, n: int, picture: Image.Image) -> None:
    """Write the tiles of a large image, in which FINE has a line of black and one of white by turns."""
    pixels = np.array(picture)
    left, top, right, bottom = FINE
    pixels[top:bottom, left:right] = (np.arange(left, right) % 2 * 255)[None, :, None]
    pyramid = Pyramid(picture.size)
    place = folder / "tiles" / str(n // 1000) / str(n)
    place.mkdir(parents=True)
    for start in range(0, len(pixels), TILE):
        for name, content in pyramid.add(pixels[start : start + TILE]):
            (place / f"{name}.webp").write_bytes(content)


def save(folder: Path, kind: str, n: int, picture: Image.Image, more: str = "") -> None:
    place = folder / kind / str(n // 1000) / f"{n}{more}.webp"
    place.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=80)
    place.write_bytes(content.getvalue())
