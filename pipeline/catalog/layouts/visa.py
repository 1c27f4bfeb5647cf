"""VisA: the test rows of its split file, or <category>/Data/Images/{Normal,Anomaly} where there is none."""

import csv
import io
from collections.abc import Collection, Iterator, Sequence

from pipeline.catalog.layouts.item import Item, stem
from pipeline.catalog.words import NORMAL
from pipeline.errors import CatalogError

VISA_SPLIT = "split_csv/1cls.csv"


def by_split(split: bytes, paths: Collection[str]) -> Iterator[Item]:
    """Yield the images that a split file names as tests; raises `CatalogError` when it cannot be used."""
    tested: dict[str, Item] = {}
    try:
        text = split.decode("utf-8-sig")
        header = text.partition("\n")[0]
        delimiter = ";" if ";" in header and "," not in header else ","
        for row in csv.DictReader(io.StringIO(text), delimiter=delimiter):
            if row["split"].strip().lower() == "test":
                path, mask = _path(row["image"], paths), _path(row.get("mask") or "", paths)
                anomalous = row["label"].strip().lower() not in NORMAL
                tested[path] = Item(path, row["object"], anomalous, (mask,) if mask else ())
    except (UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:  # the latter of a row that is too short
        raise CatalogError(f"{VISA_SPLIT} cannot be used: {error!r}") from error
    yield from tested.values()


def by_folders(images: Sequence[str], root: str) -> Iterator[Item]:
    """Yield every image below Data/Images, with its mask below Data/Masks."""
    masks_of = {
        stem(f"/{path}".replace("/Data/Masks/", "/Data/Images/")): path
        for path in images
        if "/Data/Masks/" in f"/{path}"
    }
    for path in images:
        above, found, rest = f"/{path}".partition("/Data/Images/")
        category = above.removeprefix("/") or root
        if found:
            anomalous = rest.partition("/")[0].lower() not in NORMAL
            mask = masks_of.get(stem(f"/{path}")) if anomalous else None
            yield Item(path, category, anomalous, (mask,) if mask else ())


def _path(written: str, paths: Collection[str]) -> str:
    """Return a path as it is listed: people write ./a/b and a\\b for a/b."""
    written = written.strip()
    return written if written in paths else written.replace("\\", "/").removeprefix("./")
