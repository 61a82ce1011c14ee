"""Precision of a network's forward pass."""

from __future__ import annotations

import platform
import warnings
from typing import Literal, get_args

import torch

__all__ = ["Precision", "autocast", "check_precision", "fast_half"]

Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""``"float32"`` leaves the types of a network as they are, the others run its convolutions and matrix products in that
type (`torch.autocast`); ``"auto"`` is bfloat16 on GPUs with native support and float32 elsewhere. Half precision on an
x86 processor without AVX-512 takes many times as long as float32, and warns."""


def check_precision(precision: str) -> None:
    """Raise a ValueError for an unknown precision."""
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {get_args(Precision)}, got {precision!r}")


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context that runs a network on a device in this precision."""
    half = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if precision != "auto":
        dtype = half[precision]
    else:
        dtype = torch.bfloat16 if device.type == "cuda" and _multiplies_in_bfloat16(device) else None
    if dtype is not None and device.type == "cpu" and not fast_half():
        warnings.warn(
            f"precision={precision!r} on a CPU without AVX-512: its convolutions take many times as long as in float32",
            stacklevel=2,
        )
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def _multiplies_in_bfloat16(device: torch.device) -> bool:
    """Whether a GPU supports bfloat16 natively; torch can only ask the current one."""
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def fast_half() -> bool:
    """Whether torch has fast half-precision kernels for this processor; without them, convolutions are very slow."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return not x86 or torch.backends.cpu.get_cpu_capability() == "AVX512"
