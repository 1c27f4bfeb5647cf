"""What the settings of a search ask of a worker, and what is taken where nobody measured. No torch."""

from pipeline.config import SearchConfig
from pipeline.scoring.scorer import Layer, Tuning

TILES = {"cpu": 1024, "cuda": 8192}  # patches a side of one product, where nothing was measured
PRODUCTS = {"cpu": 5e10, "cuda": 1e13}  # multiply-adds a second of modest machines


def question(search: SearchConfig, layer: Layer, compared: int) -> dict[str, object]:
    """Return what the fastest search depends on, for vectors of `compared` values, as JSON."""
    return {
        "kind": search.kind,
        "dtype": search.dtype,
        "grid": list(layer.grid),
        "width": layer.width,
        "compared": compared,
    }


def untuned(search: SearchConfig, device: str) -> Tuning:
    """Return the search that is taken without measuring."""
    kind = "faiss" if search.kind == "faiss" else "gemm"
    return Tuning(kind, TILES[device], PRODUCTS[device], PRODUCTS[device] / 1e3)
