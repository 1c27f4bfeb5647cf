"""Small distances, taken again: `2 - 2 x.y` loses every digit of a near-duplicate."""

import torch
from torch import Tensor

# A square below its bound is computed again from the difference of the vectors. An fp32 product is off by some 3e-7,
# so at the bound of 1e-3 a distance is off by 5e-6; rounded inputs and products need wider bounds.
BOUNDS = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def distances_from_squares(squares: Tensor, queries: Tensor, references: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn squared distances into distances, the small ones recomputed in fp32.

    Args:
        squares: (A, P, B), to the nearest patch of each reference image; overwritten.
        queries: (A, P, D), fp32, of length 1.
        references: (B, Q, D), fp32, of length 1.
        dtype: precision in which the squares were computed.

    Returns:
        (A, P, B), fp32.
    """
    small = squares < BOUNDS[dtype]
    distances = squares.clamp_(min=0).sqrt_()
    for image in small.flatten(0, 1).any(dim=0).nonzero().flatten().tolist():
        query, patch = small[:, :, image].nonzero(as_tuple=True)
        vectors = queries[query, patch]  # (K, D)
        patches = references[image]
        nearest = patches[(vectors @ patches.T).argmax(dim=1)]
        distances[query, patch, image] = torch.linalg.vector_norm(vectors - nearest, dim=1)
    return distances
