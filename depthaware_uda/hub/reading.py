"""Reading files of tensors from anywhere: nothing in them is run, and nothing in them can ask for much memory."""

from __future__ import annotations

import inspect
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

__all__ = ["read_checkpoint", "read_metadata", "read_tensors"]

_MAX_HEADER_BYTES = 16 << 20
_WRAPPERS = ("model_state_dict", "state_dict", "model")
# Read rather than map, where safetensors offers it: a mapped file that is written over changes the model, and Windows
# does not let it be replaced.
_READ = {"backend": "pread"} if "backend" in inspect.signature(load_file).parameters else {}
# Scores are often kept beside the weights as numbers of numpy, which hold no code.
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    type(np.dtype("f8")),
    type(np.dtype("f4")),
]


def read_metadata(file: str | Path) -> dict[str, str]:
    """The texts in the header of a safetensors file."""
    _check_header(Path(file))
    try:
        with safe_open(file, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file, or cut short: {error}") from error


def read_tensors(
    file: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Tensors of a safetensors file, floating-point ones in `dtype` if one is given."""
    _check_header(Path(file))
    try:
        tensors: dict[str, Tensor] = load_file(file, device=str(device), **_READ)
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file, or cut short: {error}") from error
    if dtype is not None:
        for key, tensor in tensors.items():  # one after the other: all of them in both types would need more memory
            tensors[key] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return tensors


def _check_header(file: Path) -> None:
    """Refuse a header of a size that no model needs, before anything parses it."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
    if size > min(_MAX_HEADER_BYTES, file.stat().st_size):
        raise ValueError(f"{file}: not a safetensors file, or cut short: its header claims {size} bytes")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name of a `.pth` or `.safetensors` file, without wrapping dict and ``module.`` prefix.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file wants to run code when it is read (it does not get to), or holds no tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a checkpoint (.pth or .safetensors)")
    content: Any = read_tensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        found = f"{type(content).__name__}" + (f" with {list(content)[:5]}" if isinstance(content, Mapping) else "")
        raise ValueError(f"{path}: expected tensors by name, bare or under one of {_WRAPPERS}; got {found}")
    return {key.removeprefix("module."): value for key, value in content.items()}


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: PyTorch stores tensors as they are, without compression."""
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
        return  # of the older format without an archive, or damaged, which PyTorch finds out
    if claimed > path.stat().st_size:
        raise ValueError(
            f"{path}: refused, it would unpack to {claimed} bytes, more than PyTorch writes into such a file"
        )


def _unpickled(path: Path) -> Any:
    _check_archive(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line), "not plain tensors")
        raise ValueError(
            f"{path}: refused, and nothing in it was run. Beside tensors it holds objects that run code when they are "
            f"read ({wanted}). If you trust its origin, load it where it was made and save its state_dict() alone"
        ) from error
    except Exception as error:  # damaged bytes make the reader raise nearly anything
        raise ValueError(f"{path}: not a checkpoint of PyTorch, or cut short: {error}") from error
