"""What is known of an encoder without its weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EncoderSpec:
    """What is known of an encoder without holding its weights.

    `grid` is (H, W) in patches, `width` the tokens' D, `layers` the 0-based blocks. `fingerprint` names weights, input
    size, layers, preprocessing and precision: features with the same fingerprint are interchangeable.
    """

    name: str
    grid: tuple[int, int]
    width: int
    embedding: int
    layers: tuple[int, ...]
    fingerprint: str

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]
