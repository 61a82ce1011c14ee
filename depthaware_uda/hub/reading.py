"""Reading checkpoints from anywhere: nothing in them is run, and nothing in them can ask for much memory."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depthaware_uda.tensors import read_tensors

__all__ = ["read_checkpoint"]

_WRAPPERS = ("model_state_dict", "state_dict", "model")
# Scores are often kept beside the weights as numbers of numpy, which hold no code.
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    type(np.dtype("f8")),
    type(np.dtype("f4")),
]


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
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    ):
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
