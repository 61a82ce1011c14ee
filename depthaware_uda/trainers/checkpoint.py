"""Checkpoints: a folder a step, tensors as safetensors and the rest as JSON, complete or not there at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from depthaware_uda.files import atomic_folder, read_json, write_json

__all__ = ["latest_checkpoint", "load_checkpoint", "load_optimizer_tensors", "optimizer_tensors", "save_checkpoint"]

STATE_FILE = "state.json"


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of an optimiser as named tensors. Its hyperparameters are the configuration's and not part of it."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _checkpoints(root: Path) -> list[Path]:
    return sorted((path for path in root.glob("step-*") if (path / STATE_FILE).is_file()), key=_step_of)


def latest_checkpoint(root: str | Path) -> Path | None:
    """The folder of the last step below `root`, or None."""
    found = _checkpoints(Path(root))
    return found[-1] if found else None


def save_checkpoint(
    root: str | Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> Path:
    """Write a checkpoint below `root`; when it is complete, those of earlier steps are removed."""
    folder = Path(root) / f"step-{step:08d}"
    with atomic_folder(folder) as partial:
        for name, group in tensors.items():
            save_file(
                {key: value.detach().contiguous() for key, value in group.items()}, partial / f"{name}.safetensors"
            )
        write_json(partial / STATE_FILE, dict(state))
    for earlier in _checkpoints(Path(root)):
        if _step_of(earlier) < step:
            shutil.rmtree(earlier)
    return folder


def load_checkpoint(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Tensors by group, on the CPU, and the JSON state."""
    tensors = {file.stem: load_file(file) for file in sorted(folder.glob("*.safetensors"))}
    return tensors, read_json(folder / STATE_FILE)
