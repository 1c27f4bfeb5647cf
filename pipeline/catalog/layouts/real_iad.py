"""Real-IAD: lists of images in realiad_jsons/<category>.json, images in folders such as realiad_1024 beside.

A list has `meta` (normal_class, prefix) and `test`, whose entries have category, anomaly_class, image_path and
mask_path, both below the prefix. Where folders of several sizes hold them, the first by name is taken, and the others
are other files.

Five cameras photograph each part. A file is named <part>_C<camera>_<time>, as in
audiojack/NG/BX/S0002/audiojack_0002_NG_BX_C1_20231021130716.jpg, and the part is audiojack_0002_NG_BX: numbers are
counted anew for each kind of defect, and the data set's own evaluation takes these names for its samples. Each camera's
images are a category of their own, audiojack/C1. A file of another name is of category audiojack and of no part.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator

from pipeline.catalog.layouts.item import Item
from pipeline.errors import CatalogError

_LISTS = re.compile(r"realiad\w*_jsons(_\S+)?")  # _sv: single views; _fuiad_0.1: noisy training
_WHOLE = re.compile(r"realiad\w*_jsons")
_VIEW = re.compile(r"([A-Za-z]\w*_\d{4}_[A-Z][A-Z_]*)_(C\d)_")


def is_list(path: str) -> bool:
    """Tell whether a file is a list of images."""
    return path.endswith(".json") and _LISTS.fullmatch(_folder(path)) is not None


def arrange(paths: Collection[str], read: Callable[[str], bytes]) -> Iterator[Item]:
    """Yield the tested images of the lists; raises `CatalogError` when one cannot be used, or names nothing listed."""
    lists = sorted(path for path in paths if is_list(path))
    lists = [path for path in lists if _WHOLE.fullmatch(_folder(path))] or lists
    bases: dict[str, list[str]] = {}
    for path in lists:
        parts = path.split("/")
        outermost = next(at for at, name in enumerate(parts) if _LISTS.fullmatch(name))
        top = "".join(f"{name}/" for name in parts[:outermost])
        if top not in bases:
            folders = {rest.partition("/")[0] for rest in (p[len(top) :] for p in paths if p.startswith(top))}
            bases[top] = [top, *(f"{top}{folder}/" for folder in sorted(folders))]
        yield from _listed(path, read(path), bases[top], paths)


def _listed(path: str, content: bytes, bases: list[str], paths: Collection[str]) -> Iterator[Item]:
    try:
        found = json.loads(content)
        normal, prefix = str(found["meta"]["normal_class"]), str(found["meta"].get("prefix") or "")
        below = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
        rows = [
            (
                str(row["category"]),
                row["anomaly_class"] != normal,
                f"{below}{row['image_path']}",
                f"{below}{row['mask_path']}" if row.get("mask_path") else None,
            )
            for row in found["test"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CatalogError(f"{path} is no list of Real-IAD that can be used: {error!r}") from error
    base = next((base for base in bases if any(f"{base}{image}" in paths for _, _, image, _ in rows)), None)
    if base is None:
        where = ", ".join(base or "the root" for base in bases[:5])
        raise CatalogError(f"{path} names {len(rows)} test images, and none of them lies below {where}")
    items = {}
    for product, anomalous, image, mask in rows:
        category, part = _view(product, image.rpartition("/")[2])
        masks = (f"{base}{mask}",) if mask and anomalous else ()
        items[image] = Item(f"{base}{image}", category, anomalous, masks, part)
    yield from items.values()


def _view(product: str, name: str) -> tuple[str, str | None]:
    """Return category and part of an image of a product by its name."""
    found = _VIEW.match(name)
    return (product, None) if found is None else (f"{product}/{found[2]}", found[1])


def _folder(path: str) -> str:
    return path.rpartition("/")[0].rpartition("/")[2]
