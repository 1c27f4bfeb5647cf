"""Which precision products have where the settings say auto."""

import pytest

from pipeline.config import SearchConfig
from pipeline.scoring.search.settings import precision, untuned


@pytest.mark.parametrize(
    ("dtype", "kind", "device", "taken"),
    [
        ("auto", "auto", "cpu", "fp32"),
        ("auto", "auto", "cuda", "fp16"),
        ("auto", "gemm", "cuda", "fp16"),
        ("auto", "faiss", "cuda", "fp32"),
        ("fp32", "auto", "cuda", "fp32"),
        ("int8", "auto", "cpu", "int8"),
        ("bf16", "gemm", "cuda", "bf16"),
    ],
)
def test_the_precision_is_the_settings_or_the_devices(dtype: str, kind: str, device: str, taken: str) -> None:
    search = SearchConfig.model_validate({"dtype": dtype, "kind": kind})
    assert precision(search, device) == taken
    assert untuned(search, device).dtype == taken
