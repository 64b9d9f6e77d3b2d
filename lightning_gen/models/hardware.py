"""What the machine at hand is good for."""

import platform

import torch


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 natively; elsewhere it is two to three times slower."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def check_precision(precision: str, device: torch.device) -> None:
    """Raises ValueError for weights in half precision, and for a CPU that it would only slow down."""
    if precision in ("bf16-true", "16-true"):
        mixed = precision.replace("true", "mixed")
        raise ValueError(
            f"with precision {precision}, counts and averages would be in half precision and soon "
            f"stand still; use --trainer.precision {mixed}, in which only the networks compute so"
        )
    half = precision.startswith(("bf16", "16", "transformer-engine"))
    if half and device.type == "cpu" and not cpu_has_bf16():
        raise ValueError(
            f"precision {precision} is two to three times slower than 32 on this CPU, which has no "
            "bfloat16 instructions; use --trainer.precision 32, or a GPU"
        )
