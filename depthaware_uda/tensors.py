"""Safetensors files: errors name the file, and damaged files cannot claim excessive memory."""

from __future__ import annotations

import errno
import inspect
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

__all__ = ["WEIGHTS_FILE", "check_floating", "read_metadata", "read_tensors", "write_tensors"]

WEIGHTS_FILE = "model.safetensors"
"""Name of the file with a network's weights."""

_MAX_HEADER_BYTES = 16 << 20
# Read rather than map, if safetensors offers it: overwriting a mapped file changes the model, and Windows does not
# allow replacing it.
_READ = {"backend": "pread"} if "backend" in inspect.signature(load_file).parameters else {}


def check_floating(dtype: torch.dtype | None) -> None:
    """Raise a ValueError if the type for weights is neither a floating-point type nor None."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype must be a floating-point type, such as torch.float16, or None, got {dtype!r}")


def read_metadata(file: str | Path) -> dict[str, str]:
    """The metadata in the header of a safetensors file; errors as in `read_tensors`."""
    _check_header(Path(file))
    try:
        with safe_open(file, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file, or cut short: {error}") from error


def read_tensors(
    file: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name.

    Args:
        file: The file.
        device: Device of the tensors.
        dtype: Type to convert floating-point tensors to; None keeps that of the file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is truncated, damaged, or not a safetensors file.
    """
    _check_header(Path(file))
    try:
        tensors: dict[str, Tensor] = load_file(file, device=str(device), **_READ)
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file, or cut short: {error}") from error
    if dtype is not None:
        for key, tensor in tensors.items():  # one at a time: having all of them in both types would need more memory
            tensors[key] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return tensors


def write_tensors(file: str | Path, tensors: Mapping[str, Tensor], *, metadata: dict[str, str] | None = None) -> None:
    """Write tensors by name, with metadata for the header; tensors that share memory (tied weights) are repeated.

    Raises:
        OSError: The disk is full, or the folder cannot be written to.
    """
    apart: dict[str, Tensor] = {}
    held: set[int] = set()
    for key, value in tensors.items():
        memory = value.untyped_storage().data_ptr()
        own, plain = value.detach(), torch.contiguous_format  # files hold no memory format
        apart[key] = own.clone(memory_format=plain) if memory in held else own.contiguous()
        held.add(memory)
    try:
        save_file(apart, file, metadata=metadata)
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        number = errno.EIO if found is None else int(found[1])
        raise OSError(number, f"{file}: could not be written: {error}") from error


def _check_header(file: Path) -> None:
    """Refuse a header larger than any model needs, before anything parses it."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
    if size > min(_MAX_HEADER_BYTES, file.stat().st_size):
        raise ValueError(f"{file}: not a safetensors file, or cut short: its header claims {size} bytes")
