"""The nearest patch in another image: a FAISS index, or blocked matrix products, behind musc's `Search`."""

from pipeline.precision import keep_fp32_sums
from pipeline.scoring.musc import Search
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.tuning import Tuning, tune, untuned

__all__ = ["GemmSearch", "Tuning", "make_search", "tune", "untuned"]


def make_search(tuning: Tuning, dtype: str = "fp32", device: str = "cpu") -> Search:
    """Return the search that was chosen, ready on a device ("cpu" or "cuda")."""
    keep_fp32_sums()
    if tuning.kind == "gemm":
        return GemmSearch(dtype, tuning.tile)
    from pipeline.scoring.search.faiss import FaissSearch  # the library takes seconds to import

    return FaissSearch(device)
