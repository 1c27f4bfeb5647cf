"""Which mask belongs to which image: by the folders that both lie in, and their names."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from pipeline.catalog.layouts.item import stem

_WORD = r"(?:masks?|gt|ground[-_ ]?truth|labels?)"
_BEHIND = re.compile(rf"(.+)[-_. ]{_WORD}", re.IGNORECASE | re.DOTALL)
_BEFORE = re.compile(rf"{_WORD}[-_. ](.+)", re.IGNORECASE | re.DOTALL)
_HINT = re.compile("mask|gt|truth|label", re.IGNORECASE)  # names of most images end here, and there are millions


def owner(name: str) -> str | None:
    """Return the stem of the image whose mask a stem names, such as x of x_mask, x-GT and mask_x; None for others."""
    if _HINT.search(name) is None:
        return None
    found = _BEHIND.fullmatch(name) or _BEFORE.fullmatch(name)
    return found[1] if found else None


def beside(images: Sequence[str]) -> dict[str, str]:
    """Return the image, without its ending, of each mask beside it: x_mask.png by x.png, x_label.bmp by x.jpg."""
    named: dict[str, str] = {}
    labels: dict[str, str] = {}
    for path, of in _owned(images):
        (labels if "label" in path[-64:].lower() else named)[path] = of
    paths = set(images) if labels else set()
    named |= {path: of for path, of in labels.items() if f"{of}.{path.rpartition('.')[2]}" not in paths}
    return _with_images(named, images)


def perhaps_beside(images: Sequence[str]) -> dict[str, str]:
    """Return the same of what may be a mask, or a photograph as well.

    Such as x_label.png beside x.png, perhaps of the part's label, and x.png beside x.jpg, perhaps the same one.
    """
    named = {path: of for path, of in _owned(images) if "label" in path[-64:].lower()}
    if not all(path.endswith(".png") for path in images):
        named |= {path: stem(path) for path in images if path.endswith(".png")}
    return _with_images(named, images)


def _owned(images: Sequence[str]) -> Iterator[tuple[str, str]]:
    for path in images:
        folder, slash, name = path.rpartition("/")
        if (of := owner(stem(name))) is not None:
            yield path, f"{folder}{slash}{of}"


def _with_images(named: dict[str, str], images: Sequence[str]) -> dict[str, str]:
    stems = {stem(path) for path in images if path not in named} if named else set()
    return {mask: image for mask, image in named.items() if image in stems}


class Masks:
    """Masks, by the folder they lie in once the folder of masks is left out of its path."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = defaultdict(list)

    def add(self, path: str, folder: str, *stems: str) -> None:
        """Take a mask of the image in a folder that has one of some stems."""
        for of in {*stems}:
            self._found[f"{folder}/{of}"].append(path)

    def of(self, folders: Sequence[str], name: str) -> tuple[str, ...]:
        """Return the masks of an image that may lie in any of some folders, the first that has one."""
        keys = (f"{folder}/{stem(name)}" for folder in folders)
        return next((tuple(sorted(found)) for key in keys if (found := self._found.get(key))), ())
