"""The nearest patch in another image: a FAISS index, or blocked matrix products, behind `pipeline.method.Search`."""

from typing import Literal

from pipeline.config import SearchConfig
from pipeline.method import Search
from pipeline.precision import DTYPES, keep_fp32_sums
from pipeline.search.gemm import GemmSearch

__all__ = ["GemmSearch", "chosen_kind", "make_search"]


def chosen_kind(config: SearchConfig) -> Literal["gemm", "faiss"]:
    """Return the implementation that `auto` stands for: products were faster at every shape measured on CPU."""
    return "gemm" if config.kind == "auto" else config.kind


def make_search(config: SearchConfig, device: str = "cpu") -> Search:
    """Return the search that the settings name, ready on a device ("cpu" or "cuda")."""
    keep_fp32_sums()
    if chosen_kind(config) == "gemm":
        return GemmSearch(DTYPES[config.dtype])
    from pipeline.search.faiss import FaissSearch  # the library takes seconds to import

    return FaissSearch(device)
