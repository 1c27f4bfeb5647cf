"""Folders that say what is normal: <category>/test/{good,<defect>}/ or <category>/{good,bad}/, and masks.

Each category is judged by itself: one may say good and another OK.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from pipeline.catalog.layouts.item import Item, stem
from pipeline.catalog.layouts.masks import Masks, beside, owner, perhaps_beside
from pipeline.catalog.layouts.tree import IMAGES, TESTS, TRAINS, UNLABELLED, Tree, parts_of
from pipeline.catalog.words import ANOMALOUS, NORMAL


@dataclass(frozen=True, slots=True)
class Place:
    """What a folder says of the images in it.

    Masks of them lie in `masks`, the first that has one, once the folder of masks is left out of their path; those in
    `shared` are of whichever image has their name. Images for `training` count where nothing else is normal.
    """

    category: str
    label: bool | None
    masks: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    training: bool = False


Judge = Callable[[Tree, str, str], Place | None]


def arrange(images: Sequence[str], root: str, judge: Judge, mask_folders: bool = False) -> Iterator[Item]:
    """Yield the images of all folders that `judge` has a place for, each with its masks.

    With `mask_folders` an image's masks are all files in a folder named like it (MVTec LOCO), and else files named like
    it, with the usual words before or behind.
    """
    tree, masks = Tree(images), Masks()
    place = cache(lambda folder: judge(tree, folder, root))
    without = cache(lambda folder: _without_masks(tree, folder))
    found: list[tuple[str, Place]] = []
    for path in images:
        folder, _, name = path.rpartition("/")
        of = without(folder)
        if of is None:
            if at := place(folder):
                found.append((path, at))
        elif mask_folders:
            masks.add(path, *of.rpartition("/")[::2])
        else:
            base = stem(name)
            masks.add(path, of, base, owner(base) or base)
    own = beside([path for path, _ in found])
    perhaps = perhaps_beside([path for path, at in found if path not in own])
    if all(at.label for path, at in found if path in perhaps):  # normal images have none
        own |= perhaps
    for mask, image in own.items():
        masks.add(mask, *image.rpartition("/")[::2])
    tested = {at.category for _, at in found if at.label and not at.training}
    lack = tested - {at.category for _, at in found if at.label is False and not at.training}
    found = [(path, at) for path, at in found if path not in own and (not at.training or at.category in lack)]
    names = Counter(key for path, at in found if at.label for key in _shared(path, at))
    for path, at in found:
        alone = at.shared if all(names[key] == 1 for key in _shared(path, at)) else ()
        folders = (*at.masks, *alone)
        yield Item(path, at.category, at.label, () if at.label is False else masks.of(folders, path.rpartition("/")[2]))


def tested(tree: Tree, folder: str, root: str) -> Place | None:
    """Find a place for <category>/test/<normal or defect>/, and for <category>/train/<normal>/."""
    parts = parts_of(folder)
    for at in reversed(range(len(parts))):  # the innermost: test/bottle/test/good
        name, within = parts[at], parts[at + 1] if at + 1 < len(parts) else None
        if name in UNLABELLED:
            return _place(tree, folder, root, None, at)
        if name in TESTS and within is not None:
            return _place(tree, folder, root, within not in NORMAL, at, at + 1)
        if name in TRAINS and within in NORMAL:
            return replace(_place(tree, folder, root, False, at), training=True)
    return _good_and_bad(tree, folder, root, everywhere=False)


def flat(tree: Tree, folder: str, root: str) -> Place | None:
    """Find a place for <category>/{good,bad}/, and for any other folder: the first level is its category."""
    found = _good_and_bad(tree, folder, root, everywhere=True)
    if found or not folder:
        return found or Place(root, None, ("",))
    first = next((at for at, name in enumerate(parts_of(folder)) if at not in _images(tree, folder)), -1)
    return _place(tree, folder, root, None, first + 1)


def _good_and_bad(tree: Tree, folder: str, root: str, everywhere: bool) -> Place | None:
    """Find a place below a folder of good and bad, or `everywhere` for those that have one of them today."""
    parts = parts_of(folder)
    for at, name in enumerate(parts):
        if name in TRAINS:
            return None
        above = parts[:at]
        if not tree.is_flat(above):
            continue
        if name in NORMAL:
            return _place(tree, folder, root, False, at)
        if name in ANOMALOUS or any(name in tree.within(masks) for masks in tree.masks_of(above)):
            return _place(tree, folder, root, True, at, at)
    words = [at for at, name in enumerate(parts) if everywhere and name in NORMAL | ANOMALOUS]
    return _place(tree, folder, root, parts[words[-1]] in ANOMALOUS, words[-1], words[-1]) if words else None


def _place(tree: Tree, folder: str, root: str, label: bool | None, at: int, kind: int | None = None) -> Place:
    """Return the place of a folder whose category ends before `at`, and which names a kind of defect at `kind`."""
    names, images = folder.split("/"), _images(tree, folder)

    def without(*left_out: int) -> str:
        return "/".join(name for place, name in enumerate(names) if place not in left_out)

    category = "/".join(name for place, name in enumerate(names[:at]) if place not in images) or root
    split = (at,) if kind != at else ()
    masks = dict.fromkeys((without(), without(*split), without(*images), without(*split, *images)))
    shared = {} if kind is None else dict.fromkeys((without(kind, *images), without(at, kind, *images)))
    return Place(category, label, tuple(masks), tuple(shared))


def _images(tree: Tree, folder: str) -> list[int]:
    """Return the places in a folder's path of those that hold images, and have one of masks beside."""
    parts = parts_of(folder)
    return [at for at, name in enumerate(parts) if name in IMAGES and tree.masks_of(parts[:at])]


def _without_masks(tree: Tree, folder: str) -> str | None:
    """Return the path of a folder without the part that says that masks lie there; None where none does."""
    at = tree.masks_at(parts_of(folder)) if folder else None
    names = folder.split("/")
    return None if at is None else "/".join(names[:at] + names[at + 1 :])


def _shared(path: str, place: Place) -> list[str]:
    return [f"{folder}/{stem(path.rpartition('/')[2])}" for folder in place.shared]
