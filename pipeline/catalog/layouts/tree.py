"""The folders of a lake: what they are called, what lies beside them, and which of them hold masks."""

from collections import defaultdict
from collections.abc import Collection

from pipeline.catalog.layouts.item import stem
from pipeline.catalog.layouts.masks import owner
from pipeline.catalog.words import ANOMALOUS, NORMAL

TESTS = frozenset({"test", "test_public"})
UNLABELLED = frozenset({"test_private", "test_private_mixed"})  # of MVTec AD 2: who knows the labels keeps them
TRAINS = frozenset("train training validation valid val".split())
IMAGES = frozenset("images image imgs img".split())
TRUTH = frozenset({"ground_truth", "groundtruth", "ground-truth", "ground truth"})  # never a product
MASKS = frozenset("mask masks gt".split())  # a product, too, where nothing beside it is a layout's
LABELS = frozenset("label labels".split())  # likewise, and a defect

_BESIDE_MASKS = NORMAL | ANOMALOUS | IMAGES | TESTS | TRAINS

Parts = tuple[str, ...]


class Tree:
    """The folders of a lake, as tuples of names in lower case: people write Good and good."""

    def __init__(self, paths: Collection[str]) -> None:
        self.named = {parts_of(folder) for folder in _with_named_masks(paths)}
        self.folders = {parts_of(folder) for folder in {path.rpartition("/")[0] for path in paths} if folder}
        self._within: dict[Parts, set[str]] = defaultdict(set)
        for folder in self.folders:
            while folder and folder[-1] not in self._within[folder[:-1]]:
                self._within[folder[:-1]].add(folder[-1])
                folder = folder[:-1]

    def within(self, folder: Parts) -> set[str]:
        """Return the names of the folders right within a folder."""
        return self._within.get(folder, set())

    def masks_at(self, folder: Parts) -> int | None:
        """Return the place in a folder's path whose name says that masks lie there; None where none does."""
        places = (place for place, name in enumerate(folder) if self._holds_masks(folder[:place], name))
        return next(places, None)

    def masks_of(self, folder: Parts) -> list[Parts]:
        """Return the folders of masks right within a folder."""
        return [(*folder, name) for name in sorted(self.within(folder)) if self._holds_masks(folder, name)]

    def is_flat(self, folder: Parts) -> bool:
        """Tell whether a folder holds one of normal images, and beside it one of defects or of masks."""
        names = self.within(folder)
        return bool(names & NORMAL) and (bool(names & ANOMALOUS) or bool(self.masks_of(folder)))

    def _holds_masks(self, above: Parts, name: str) -> bool:
        if name in TRUTH or (*above, name) in self.named:
            return True
        beside = self.within(above)
        if name in MASKS:
            return bool(beside & _BESIDE_MASKS)
        if name not in LABELS:
            return False
        # among the tests it is a kind of defect, unless its folders are named as those beside it
        is_defect = above[-1:] and above[-1] in TESTS and not self.within((*above, name)) & beside
        return not is_defect and bool(beside & _BESIDE_MASKS)


def _with_named_masks(paths: Collection[str]) -> set[str]:
    """Return folders called mask or label whose files are named as masks of images above them: Label/x_label.png."""
    found: dict[str, str] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        above, _, last = folder.rpartition("/")
        if last.lower() in MASKS | LABELS and (of := owner(stem(name))) is not None:
            found[f"{above}/{of}"] = folder
    return {found[image] for image in map(stem, paths) if image in found} if found else set()


def parts_of(folder: str) -> Parts:
    """Return the names of a folder's path, in lower case."""
    return tuple(folder.lower().split("/"))
