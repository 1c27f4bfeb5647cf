"""How data sets lay out categories, labels and masks: pure functions of relative paths."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pipeline.errors import CatalogError

# Notes that people keep beside images. Whatever else lies in a lake is an input, and ends as a row.
SIDECARS = frozenset(
    ".txt .md .rst .pdf .html .json .jsonl .csv .tsv .xml .yaml .yml .toml .ini .log .db .parquet .py".split()
)
VISA_SPLIT = "split_csv/1cls.csv"
LOCO_DEFECTS = "defects_config.json"


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a layout: `label` is True for anomalous, None for unknown; paths are relative to the root."""

    path: str
    category: str
    label: bool | None = None
    masks: tuple[str, ...] = ()


def detect(paths: Iterable[str]) -> str:
    """Name the layout that these paths show: loco, visa, btad, mvtec, or else folder."""
    found = "folder"
    for path in paths:
        parts = path.split("/")
        if parts[-1] == LOCO_DEFECTS or _follows(parts, "test", {"logical_anomalies", "structural_anomalies"}):
            return "loco"
        if _follows(parts, "Data", {"Images"}):
            return "visa"
        if _follows(parts, "test", {"ok", "ko"}):
            found = "btad"
        elif _follows(parts, "test", {"good"}) and found == "folder":
            found = "mvtec"
    return found


def arrange(layout: str, paths: Iterable[str], root: str, read: Callable[[str], bytes]) -> Iterator[Item]:
    """Yield the images that a layout finds among paths.

    Args:
        layout: mvtec, btad, loco, visa or folder.
        paths: every file, relative to the root.
        root: the root's own name: the category of images that lie in no folder.
        read: returns the content of one of the paths (VisA's split is a file).
    """
    images = [path for path in paths if not path.lower().endswith(tuple(SIDECARS))]
    if layout == "visa":
        return _visa(images, root, read(VISA_SPLIT) if VISA_SPLIT in paths else None)
    if layout == "folder":
        return _folder(images, root)
    return _tested(images, root, normal="ok" if layout == "btad" else "good", one_mask_folder=layout == "loco")


def _folder(images: list[str], root: str) -> Iterator[Item]:
    """Take any tree: the first level is the category, there are no labels."""
    for path in images:
        first, slash, _ = path.partition("/")
        yield Item(path, first if slash else root)


def _tested(images: list[str], root: str, normal: str, one_mask_folder: bool) -> Iterator[Item]:
    """Take <category>/test/<normal or defect>/<image>, masks in <category>/ground_truth/<defect>/.

    A mask is <stem>_mask.* or <stem>.*; with `one_mask_folder`, every file in a folder <stem> (MVTec LOCO).
    """
    masks: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    tests: list[tuple[str, str, str, str]] = []
    for path in images:
        parts = path.split("/")
        for place, folder in reversed(list(enumerate(parts[:-2]))):  # the innermost: test/bottle/test/good
            category, defect, name = "/".join(parts[:place]) or root, parts[place + 1], "/".join(parts[place + 2 :])
            if folder == "ground_truth":
                owner = name.rpartition("/")[0] if one_mask_folder else _stem(name).removesuffix("_mask")
                masks[category, defect, owner].append(path)
            elif folder == "test":
                tests.append((path, category, defect, _stem(name)))
            else:
                continue
            break
    for path, category, defect, stem in tests:
        anomalous = defect != normal
        yield Item(path, category, anomalous, tuple(sorted(masks[category, defect, stem])) if anomalous else ())


def _visa(images: list[str], root: str, split: bytes | None) -> Iterator[Item]:
    """Take VisA: the test rows of its split file, or <category>/Data/Images/{Normal,Anomaly} where there is none."""
    if split is not None:
        try:
            rows = list(csv.DictReader(io.StringIO(split.decode("utf-8-sig"))))
            tested = {row["image"]: row for row in rows if row["split"] == "test"}
            items = [
                Item(path, row["object"], row["label"] != "normal", (row["mask"],) if row.get("mask") else ())
                for path, row in tested.items()
            ]
        except (UnicodeDecodeError, csv.Error, KeyError) as error:
            raise CatalogError(f"{VISA_SPLIT} cannot be used: {error!r}") from error
        yield from items
        return
    masks_of = {
        _stem(f"/{path}".replace("/Data/Masks/", "/Data/Images/")): path
        for path in images
        if "/Data/Masks/" in f"/{path}"
    }
    for path in images:
        above, found, rest = f"/{path}".partition("/Data/Images/")
        category = above.removeprefix("/") or root
        if found:
            anomalous = not rest.startswith("Normal/")
            mask = masks_of.get(_stem(f"/{path}")) if anomalous else None
            yield Item(path, category, anomalous, (mask,) if mask else ())


def _follows(parts: list[str], folder: str, names: set[str]) -> bool:
    return any(a == folder and b in names for a, b in zip(parts, parts[1:-1], strict=False))


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name
