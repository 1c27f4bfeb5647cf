"""How the values in an image's file become pixels: how many bits count, and which channels are seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field

DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras give, stored in values of 16


def depth_of(largest: int) -> int:
    """Return the smallest depth that holds a value from 0 to 65535."""
    return next(bits for bits in DEPTHS if largest < 1 << bits)


@dataclass(frozen=True)
class Values:
    """What is seen of an image's values: the low `bits` of 16-bit ones, and which `channels` are red, green and blue.

    `bits` is None where nobody knows how many count, and `channels` for a file's own colours. The usual values are all
    16 bits of those.
    """

    bits: int | None = 16
    channels: tuple[int, int, int] | None = None

    def __str__(self) -> str:
        """Return what `parse` reads: the same for the same values, in any process, and nothing of the usual ones."""
        bits = [] if self.bits == 16 else [f"{self.bits or '?'}bit"]
        channels = [] if self.channels is None else ["channels " + ",".join(map(str, self.channels))]
        return " ".join(bits + channels)

    @classmethod
    def parse(cls, text: str) -> "Values":
        """Read what `str` wrote; raises `ValueError`."""
        bits, between, channels = text.partition("channels ")
        depth = bits.strip().removesuffix("bit")
        red, green, blue = map(int, channels.split(",")) if between else (0, 0, 0)
        return cls(None if depth == "?" else int(depth or 16), (red, green, blue) if between else None)


USUAL = Values()


@dataclass(frozen=True)
class LakeValues:
    """The values of the images of a lake: `channels`, and by category `bits`, the usual ones of those without."""

    bits: Mapping[str, int | None] = field(default_factory=dict)
    channels: tuple[int, int, int] | None = None

    def of(self, category: str) -> Values:
        """Return what is seen of images of a category."""
        return Values(self.bits.get(category, 16), self.channels)

    def key(self, category: str) -> str:
        """Return what a feature's key says of it: nothing of the usual values, which are scored where nobody knows."""
        return str(Values(self.bits.get(category) or 16, self.channels))

    def shallow(self) -> dict[str, int]:
        """Return the bits of the categories where fewer than 16 count."""
        return {category: bits for category, bits in sorted(self.bits.items()) if bits and bits < 16}
