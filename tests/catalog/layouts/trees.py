"""What layouts find in trees of paths."""

from collections.abc import Iterable

from pipeline.catalog.layouts import Item, arrange, detect


def no_file(path: str) -> bytes:
    raise AssertionError(f"{path} was read")


def found(paths: Iterable[str], layout: str | None = None, root: str = "lake") -> dict[str, Item]:
    """Return the images of a tree, by path, as its own layout arranges them."""
    paths = list(paths)
    items = list(arrange(layout or detect(paths), paths, root, no_file))
    assert len({item.path for item in items}) == len(items)
    return {item.path: item for item in items}


def labels(paths: Iterable[str], layout: str | None = None) -> dict[str, tuple[str, bool | None, tuple[str, ...]]]:
    """Return category, label and masks of each image of a tree."""
    return {path: (item.category, item.label, item.masks) for path, item in found(paths, layout).items()}
