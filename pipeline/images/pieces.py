"""A large image as its pieces: what each format gives of it, at a scale of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from PIL import Image

from pipeline.images.reasons import Quarantine, Reason
from pipeline.images.stored import Stored
from pipeline.images.wide import Wide
from pipeline.values import Values


class Region(NamedTuple):
    """Columns from left, rows from top, up to right and bottom, which are not in it."""

    left: int
    top: int
    right: int
    bottom: int


class Piece(NamedTuple):
    """What is stored at a place of an image, as it lies in the file: nothing is turned."""

    left: int
    top: int
    stored: Stored


@dataclass(frozen=True)
class Level:
    """An image at 1/`scale` of its width and height, `size` (width, height).

    Point x of the image lies at x / scale + shift. `read` yields the pieces that cover a region of the level: those of
    the same rows side by side, and then those below.
    """

    size: tuple[int, int]
    read: Callable[[Values, Region], Iterator[Piece]]
    scale: int = 1
    shift: float = 0.0


class Source(Protocol):
    """A large image in its file; `size` (width, height) and pieces are as stored, `orientation` is what EXIF says."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def orientation(self) -> int: ...

    @property
    def lossy(self) -> bool:
        """Whether it was compressed so that around each value lie others."""
        ...

    @property
    def narrow(self) -> bool:
        """Whether its values have 8 bits, by its header."""
        ...

    def level(self, factor: float, exact: bool = False) -> Level:
        """Return the smallest level of at least 1/factor of the image's sides; `exact`: that of its own values.

        Raises `Quarantine` where that takes more memory than there may be.
        """
        ...


def part(stored: Stored, region: Region) -> Stored:
    """Return a region of what is stored, which is not to be turned upright by itself."""
    left, top, right, bottom = region
    if isinstance(stored, Wide):
        return replace(stored, values=stored.values[top:bottom, left:right])
    found = stored.crop(region)
    found.info = {key: value for key, value in stored.info.items() if key == "transparency"}
    return found


def size_of(stored: Stored) -> tuple[int, int]:
    """Return width and height."""
    return stored.size if isinstance(stored, Image.Image) else (stored.values.shape[1], stored.values.shape[0])


def too_large(detail: str) -> Quarantine:
    """Return why a large image is not read."""
    return Quarantine(Reason.TOO_LARGE, detail)
