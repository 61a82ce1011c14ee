"""Precision of a network's forward pass."""

from __future__ import annotations

from typing import Literal, get_args

import torch

__all__ = ["Precision", "autocast", "check_precision"]

Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""``"float32"`` leaves a network its own types, the others convert its convolutions and products (`torch.autocast`);
``"auto"`` is bfloat16 on GPUs that multiply in it and float32 elsewhere."""


def check_precision(precision: str) -> None:
    """ValueError if there is no such precision."""
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {get_args(Precision)}, got {precision!r}")


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a network on a device computes in a precision."""
    half = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if precision != "auto":
        dtype = half[precision]
    else:
        multiplies = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = torch.bfloat16 if multiplies else None
    return torch.autocast(device.type, dtype, enabled=dtype is not None)
