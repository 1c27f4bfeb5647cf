"""Why a patch has its score: the reference images that come nearest to it, and where in them."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.scoring.scorer import FeatureRef, Matches


def explain(
    patches: NDArray[np.int64],
    images: Sequence[FeatureRef],
    compared: Sequence[FeatureRef],
    vectors: Callable[[Sequence[FeatureRef]], Iterable[Tensor]],
    block: int,
) -> Matches:
    """Compare patches (A, K) of A images with R references, both held so many images at a time.

    `vectors` gives the vectors (n, P, D) of images, for each layer and each comparison.
    """

    def of_patches() -> Iterator[Tensor]:
        for start in range(0, len(images), block):
            chosen = torch.from_numpy(patches[start : start + block])  # (a, K)
            rows = torch.arange(len(chosen))[:, None]
            of_images = vectors(images[start : start + block])
            yield torch.stack([of[rows, chosen].flatten(0, 1) for of in of_images])  # (comparisons, a * K, D)

    queries = torch.cat(list(of_patches()), dim=1)
    blocks = (vectors(compared[start : start + block]) for start in range(0, len(compared), block))
    return compare(list(queries), blocks)


def compare(queries: Sequence[Tensor], references: Iterable[Iterable[Tensor]]) -> Matches:
    """Compare some patches with reference images, in fp32.

    A distance is the smallest to any patch of the image, averaged over the comparisons of LNAMD and the layers. So for
    one layer and one comparison the mean over the lowest share of a patch's distances is its score; for several it is
    the score or a little more, since each of them has its own nearest images in the score. Averaged distances may be
    smallest at another patch than those of one comparison: found is the one that is nearest on average.

    Distances are taken again for the patch that was found, from the difference of the vectors: those from products
    lose the digits of a near-duplicate.

    Args:
        queries: vectors (K, D) of the patches, for each layer and each comparison.
        references: the images in blocks; of each its vectors (B, P, D), for the same layers and comparisons.
    """
    smallest, places = [], []
    for block in references:
        averaged = total = torch.zeros(())
        for query, vectors in zip(queries, block, strict=True):
            images, patches, width = vectors.shape
            distances = torch.cdist(query, vectors.view(-1, width)).view(-1, images, patches)
            chosen = vectors[torch.arange(images), distances.argmin(dim=2)]  # (K, B, D)
            total = total + torch.linalg.vector_norm(query[:, None] - chosen, dim=2)
            averaged = averaged + distances
        smallest.append(total / len(queries))
        places.append(averaged.argmin(dim=2))
    return Matches(torch.cat(smallest, dim=1).numpy(), torch.cat(places, dim=1).numpy())
