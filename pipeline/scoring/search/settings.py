"""What the settings of a search ask of a worker, and what is taken where nobody measured. No torch."""

from pipeline.config import SearchConfig
from pipeline.scoring.scorer import Layer, Tuning

TILES = {"cpu": 1024, "cuda": 8192}  # patches a side of one product, where nothing was measured
PRODUCTS = {"cpu": 5e10, "cuda": 1e13}  # multiply-adds a second of modest machines
# What changes no figure on any set (bench/rounding.py). int8 halves the time of CPUs with VNNI or AMX, but changes the
# order of two images on one of nine sets
DTYPES = {"cpu": "fp32", "cuda": "fp16"}


def precision(search: SearchConfig, device: str) -> str:
    """Return the precision of products on a device ("cpu" or "cuda")."""
    if search.dtype != "auto":
        return search.dtype
    return "fp32" if search.kind == "faiss" else DTYPES[device]


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
    return Tuning(kind, TILES[device], PRODUCTS[device], PRODUCTS[device] / 1e3, precision(search, device))
