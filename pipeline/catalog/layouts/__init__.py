"""How data sets lay out categories, labels and masks: pure functions of relative paths, one file a layout."""

from collections.abc import Callable, Collection, Iterable, Iterator

from pipeline.catalog.layouts import folder, labelled, real_iad, visa
from pipeline.catalog.layouts.item import SIDECARS, Item, is_note
from pipeline.catalog.layouts.masks import beside
from pipeline.catalog.layouts.tree import IMAGES, TESTS, TRAINS, TRUTH, Parts, Tree
from pipeline.catalog.layouts.visa import VISA_SPLIT
from pipeline.catalog.words import ANOMALOUS, NORMAL

__all__ = ["LOCO_DEFECTS", "SIDECARS", "VISA_SPLIT", "Item", "arrange", "detect"]

LOCO_DEFECTS = "defects_config.json"
LOCO_KINDS = frozenset({"logical_anomalies", "structural_anomalies"})


def detect(paths: Iterable[str]) -> str:
    """Name the layout that these paths show: one of a public data set, flat, or else folder."""
    paths = list(paths)
    if any(path.endswith(LOCO_DEFECTS) and path.rpartition("/")[2] == LOCO_DEFECTS for path in paths):
        return "loco"
    if any(path.endswith(".json") and real_iad.is_list(path) for path in paths):
        return "real_iad"
    if any("Data/Images/" in path and "/Data/Images/" in f"/{path}" for path in paths):
        return "visa"
    images = [path for path in paths if not is_note(path)]
    tree = Tree(images)
    shown = {layout for parts in tree.folders for layout in _shown(tree, parts)}
    found = next((layout for layout in ("loco", "mvtec_ad_2", "mvtec", "btad", "flat") if layout in shown), None)
    return found or ("flat" if beside(images) else "folder")


def arrange(layout: str, paths: Collection[str], root: str, read: Callable[[str], bytes]) -> Iterator[Item]:
    """Yield the images that a layout finds among paths.

    Args:
        layout: mvtec, btad, mvtec_ad_2, loco, visa, real_iad, flat or folder.
        paths: every file, relative to the root.
        root: the root's own name: the category of images that lie in no folder.
        read: returns the content of one of the paths (some layouts have lists of images).

    Raises:
        CatalogError: for a list of images that cannot be used.
    """
    images = [path for path in paths if not is_note(path)]
    if layout == "folder":
        return folder.arrange(images, root)
    if layout == "flat":
        return labelled.arrange(images, root, labelled.flat)
    if layout == "real_iad":
        return real_iad.arrange(paths, read)
    if layout == "visa":
        split = read(VISA_SPLIT) if VISA_SPLIT in paths else None
        return visa.by_folders(images, root) if split is None else visa.by_split(split, paths)
    return labelled.arrange(images, root, labelled.tested, mask_folders=layout == "loco")


def _shown(tree: Tree, parts: Parts) -> Iterator[str]:
    """Yield the layouts that one folder of images is evidence of."""
    if tree.masks_at(parts) is not None:
        if parts in tree.named:
            yield "flat"
        return
    for at, (name, within) in enumerate(zip(parts, (*parts[1:], ""), strict=True)):
        above = parts[:at]
        if name in TESTS and within:
            if within in LOCO_KINDS:
                yield "loco"
            trained = any(tree.within((*above, train)) & NORMAL for train in TRAINS)
            if within in NORMAL | ANOMALOUS or within in TRUTH or trained or tree.masks_of(above):
                yield "mvtec_ad_2" if name == "test_public" else "btad" if within in {"ok", "ko"} else "mvtec"
        flat = tree.is_flat(above) and name in NORMAL and not TRAINS & {*above}
        if flat or (name in IMAGES and tree.masks_of(above)):
            yield "flat"
