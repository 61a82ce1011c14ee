"""Checkpoints: a folder a step, tensors as safetensors and the rest as JSON, complete and verified or passed over.

A checkpoint is written beside its place, flushed to the disk, and renamed into place, so that a kill or a power cut at
any instant leaves either all of it or nothing. Its `manifest.json` holds the SHA-256 of every file.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthaware_uda.files import atomic_folder, flush, read_json, sha256, write_json
from depthaware_uda.tensors import read_tensors, write_tensors

__all__ = [
    "latest_checkpoint",
    "load_checkpoint",
    "load_optimizer_tensors",
    "optimizer_tensors",
    "save_checkpoint",
]

STATE_FILE = "state.json"
MANIFEST_FILE = "manifest.json"


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
    # Files hold no memory format, and fused kernels take only the one that a parameter has.
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter).copy_(value)


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _checkpoints(root: Path) -> list[Path]:
    return sorted((path for path in root.glob("step-*") if path.name[5:].isdecimal()), key=_step_of)


def _damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None if every file is as it was written."""
    try:
        manifest = read_json(folder / MANIFEST_FILE)
        files = dict(manifest["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its {MANIFEST_FILE} cannot be read ({error})"
    if STATE_FILE not in files:
        return f"its {MANIFEST_FILE} does not name {STATE_FILE}"
    present = {path.name for path in folder.iterdir()} - {MANIFEST_FILE}
    if present != set(files):
        return f"files are missing or left over: {', '.join(sorted(present ^ set(files)))}"
    changed = [name for name, digest in files.items() if sha256(folder / name) != digest]
    return f"{', '.join(changed)} changed after it was written" if changed else None


def latest_checkpoint(root: str | Path) -> Path | None:
    """The folder of the last undamaged step below `root`, or None where there is no checkpoint at all.

    Warns:
        UserWarning: A later checkpoint is damaged; it is named, left alone and passed over.

    Raises:
        ValueError: There are checkpoints, and all of them are damaged.
    """
    found = _checkpoints(Path(root))
    damaged: list[str] = []
    for folder in reversed(found):
        damage = _damage(folder)
        if damage is None:
            for message in damaged:
                warnings.warn(f"{message}; the checkpoint before it is used", stacklevel=2)
            return folder
        damaged.append(f"{folder} is damaged: {damage}")
    if damaged:
        raise ValueError(f"no checkpoint can be used. {'. '.join(damaged)}. Remove the output folder to start anew")
    return None


def save_checkpoint(
    root: str | Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    *,
    keep: int = 2,
) -> Path:
    """Write a checkpoint below `root`; when it is safe on the disk, all but the last `keep` are removed.

    Raises:
        OSError: The disk is full or the folder is read-only; every earlier checkpoint is as it was.
    """
    root = Path(root)
    folder = root / f"step-{step:08d}"
    with atomic_folder(folder) as partial:
        for name, group in tensors.items():
            write_tensors(partial / f"{name}.safetensors", group)
        write_json(partial / STATE_FILE, dict(state), durable=False)
        digests = {path.name: sha256(path) for path in sorted(partial.iterdir())}
        write_json(partial / MANIFEST_FILE, {"step": step, "sha256": digests}, durable=False)
        for path in (*partial.iterdir(), partial):
            flush(path)
    flush(root)
    found = _checkpoints(root)
    current = [path for path in found if _step_of(path) <= step]
    # One of a later step was damaged: a run goes on from the last that is not.
    for stale in {*found} - {*current[-keep:]}:
        retired = root / f".{stale.name}-removed.partial"
        shutil.rmtree(retired, ignore_errors=True)
        stale.replace(retired)
        shutil.rmtree(retired)
    return folder


def load_checkpoint(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Tensors by group, on the CPU, and the JSON state."""
    tensors = {file.stem: read_tensors(file) for file in sorted(folder.glob("*.safetensors"))}
    return tensors, read_json(folder / STATE_FILE)
