"""Small distances, taken again: `2 - 2 x.y` loses every digit of a near-duplicate."""

import torch
from torch import Tensor

# A square below its bound is computed again. An fp32 product of unit vectors of 384 to 1,024 values was seen to be off
# by up to 9e-7, a square by twice that: a distance by 9e-6 at 0.1, and by 3e-5 at the bound, 0.032. A patch's score
# averages many of them, and was never seen to differ by 1e-5. A wider bound would compute most of a lake of calm
# images twice. Rounded inputs and products need a wider one.
BOUNDS = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
ROWS = 4096  # vectors computed again at a time


def distances_from_squares(squares: Tensor, queries: Tensor, references: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn squared distances into distances, the small ones recomputed in fp64.

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
        # In fp64, and over all patches again: fp32 cannot tell which of several near-duplicates is the nearest
        patches = references[image].double()
        again = [torch.cdist(rows.double(), patches).amin(dim=1) for rows in torch.split(vectors, ROWS)]
        distances[query, patch, image] = torch.cat(again).float()
    return distances
