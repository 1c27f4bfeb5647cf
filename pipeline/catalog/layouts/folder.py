"""Any tree: the first level is the category, there are no labels."""

from collections.abc import Iterator, Sequence

from pipeline.catalog.layouts.item import Item


def arrange(images: Sequence[str], root: str) -> Iterator[Item]:
    """Yield every image."""
    for path in images:
        first, slash, _ = path.partition("/")
        yield Item(path, first if slash else root)
