"""What fp32, fp16 and bf16 mean to torch."""

import torch

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def keep_fp32_sums() -> None:
    """Forbid TF32 and sums in half precision, which CUDA kernels take by default: scores would differ from a CPU's."""
    torch.backends.cudnn.allow_tf32 = False
    matmul = torch.backends.cuda.matmul
    matmul.allow_tf32 = False
    matmul.allow_fp16_reduced_precision_reduction = False
    matmul.allow_bf16_reduced_precision_reduction = False
