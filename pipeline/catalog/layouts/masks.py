"""Which mask belongs to which image: by the folders that both lie in, and their names."""

import re
from collections import defaultdict
from collections.abc import Sequence

from pipeline.catalog.layouts.item import stem

_WORD = r"(?:masks?|gt|ground[-_ ]?truth|labels?)"
_BEHIND = re.compile(rf"(.+)[-_. ]{_WORD}", re.IGNORECASE | re.DOTALL)
_BEFORE = re.compile(rf"{_WORD}[-_. ](.+)", re.IGNORECASE | re.DOTALL)
_HINTS = ("mask", "gt", "truth", "label")  # a look at each of millions of names, and not an expression


def owner(name: str) -> str | None:
    """Return the stem of the image whose mask a stem names, such as x of x_mask, x-GT and mask_x; None for others."""
    lower = name.lower()
    if not any(hint in lower for hint in _HINTS):
        return None
    found = _BEHIND.fullmatch(name) or _BEFORE.fullmatch(name)
    return found[1] if found else None


def beside(images: Sequence[str]) -> dict[str, str]:
    """Return the image of each mask that lies beside it, such as x_mask.png beside x.png; paths without their ending.

    A photograph of a label may well lie beside that of its part: x_label.png is no mask here.
    """
    named: dict[str, str] = {}
    for path in images:
        folder, slash, name = path.rpartition("/")
        of = owner(stem(name))
        if of is not None and "label" not in name.lower():
            named[path] = f"{folder}{slash}{of}"
    if not named:
        return {}
    stems = {stem(path) for path in images if path not in named}
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
