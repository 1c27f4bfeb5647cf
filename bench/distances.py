"""All distances between the images of a set, as the paper and as the default method take them; made once, and kept."""

import hashlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.sets import KEPT, Set
from pipeline.scoring.lakescore import descriptor
from pipeline.scoring.lakescore.descriptor import Descriptor
from pipeline.scoring.lakescore.scorer import SAMPLE
from pipeline.scoring.musc import lnamd
from pipeline.scoring.musc.lnamd import Aggregation
from pipeline.scoring.search import gemm, near
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.near import NearSearch
from pipeline.scoring.search.radius import choose_radius

DEGREES = (1, 3, 5)
MIDDLE = (1, 2)  # of the four stored layers, those of the default method


@dataclass(frozen=True)
class Distances:
    """Distances (N, P, N) of a set's images, fp16: of each layer and degree, of one descriptor, of it within a radius.

    Of an image to itself they are inf.
    """

    of_paper: list[Tensor]
    of_descriptor: Tensor
    of_near: Tensor
    radius: int | None

    def paper(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the distances of some images (n,) to each other, (n, P, n), for each layer and degree."""
        for rows in self.of_paper:
            yield _part(rows, images, images)

    def whole(self, images: Tensor) -> Tensor:
        """Return the distances of some images to each other, by one descriptor."""
        return _part(self.of_descriptor, images, images)

    def near(self, images: Tensor, references: Tensor | None = None) -> Tensor:
        """Return the distances of some images to each other or to others, (n, P, m), within the radius."""
        return _part(self.of_near, images, images if references is None else references)


def _part(distances: Tensor, images: Tensor, references: Tensor) -> Tensor:
    return distances[images][:, :, references].float()


@torch.inference_mode()
def distances_of(of: Set) -> Distances:
    """Return the distances of a set, from out/bench where they were made before."""
    middle = torch.cat([of.tokens[:, layer] for layer in MIDDLE], dim=2)
    [vectors] = Descriptor(of.grid, len(MIDDLE))(middle)
    chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[:SAMPLE])
    radius, _ = choose_radius(vectors[chosen], of.grid)
    search, paper = GemmSearch(), Aggregation(of.grid, DEGREES)

    def by_paper() -> Tensor:
        return torch.stack([_own(search.mutual(z)) for layer in of.tokens.unbind(1) for z in paper(layer)])

    def within() -> Tensor:
        found = search if radius is None else NearSearch("fp32", of.grid, radius)
        return _own(found.mutual(vectors))

    return Distances(
        list(_kept(of, "paper", by_paper)),
        _kept(of, "descriptor", lambda: _own(search.mutual(vectors))),
        _kept(of, f"near-{radius}", within),
        radius,
    )


def _own(distances: Tensor) -> Tensor:
    own = torch.arange(len(distances))
    distances[own, :, own] = torch.inf
    return distances.half()


def _kept(of: Set, name: str, make: Callable[[], Tensor]) -> Tensor:
    """Return what was made before of the very same tokens by the very same code, or make it."""
    code = "".join(inspect.getsource(module) for module in (lnamd, descriptor, gemm, near))
    digest = hashlib.sha256(code.encode() + of.tokens.numpy().tobytes()).hexdigest()[:16]
    path = KEPT.parent / "distances" / f"{digest}-{name}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(make(), path)
    found: Tensor = torch.load(path, weights_only=True)
    return found
