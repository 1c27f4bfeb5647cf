"""Nearest patches by a FAISS flat index for each reference image, on the GPU where the tensors are there."""

import faiss
import faiss.contrib.torch_utils
import torch
from torch import Tensor

from pipeline.scoring.search.refine import distances_from_squares

TEMPORARY_BYTES = 256 << 20  # FAISS takes 1.5 GiB of a GPU unless told


class FaissSearch:
    """Exact search in fp32 by one index per reference image; implements `pipeline.scoring.musc.Search`.

    One index over all patches would answer another question: the minimum is per reference image.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._resources = None
        if device != "cpu":
            self._resources = faiss.StandardGpuResources()
            self._resources.setTempMemory(TEMPORARY_BYTES)

    def nearest(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return distances (A, P, B) from each patch of queries (A, P, D) to each image of references (B, Q, D)."""
        vectors = queries.flatten(0, 1).contiguous()  # (A * P, D)
        squares = torch.empty((len(references), len(vectors)), device=queries.device)
        for image, patches in enumerate(references):
            found, _ = self._index(patches).search(vectors, 1)
            squares[image] = found[:, 0]
        rows = squares.T.reshape(*queries.shape[:2], len(references))
        return distances_from_squares(rows, queries, references, torch.ones_like(queries[:, :, 0]), "fp32")

    def mutual(self, images: Tensor) -> Tensor:
        """Return distances (N, P, N) between all pairs of images (N, P, D); an index serves one direction only."""
        return self.nearest(images, images)

    def _index(self, patches: Tensor) -> faiss.Index:
        index: faiss.Index = faiss.IndexFlatL2(patches.shape[1])
        if self._resources is not None:
            index = faiss.index_cpu_to_gpu(self._resources, patches.device.index, index)
        index.add(patches.contiguous())
        return index
