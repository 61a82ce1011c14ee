"""What of a trainer is saved, how it goes on from there, and what makes its run that run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthaware_uda.data.wrappers import known_names, sample_names
from depthaware_uda.distributed import is_writer
from depthaware_uda.files import remove_partial
from depthaware_uda.trainers.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
)
from depthaware_uda.trainers.run_folder import digest
from depthaware_uda.types import SampleDataset

if TYPE_CHECKING:
    from depthaware_uda.trainers.base import Trainer
    from depthaware_uda.trainers.config import TrainerConfig

__all__ = ["defaults", "describe", "resume", "save"]


def save(trainer: Trainer[Any], output_dir: Path | None) -> None:
    """Write a checkpoint of the current step, in rank 0; without a folder do nothing."""
    if output_dir is None or not is_writer():
        return
    tensors = {f"module-{name}": module.state_dict() for name, module in trainer.modules().items()}
    tensors |= {f"optimizer-{name}": optimizer_tensors(opt) for name, opt in trainer.optimizers.items()}
    state = {
        "step": trainer.step_count,
        **trainer.validation.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "means": trainer.means.state_dict(),
        "skipped_steps": trainer.guard.skipped,
        "unreadable": trainer.unreadable.names,
    }
    keep = trainer.config.keep_checkpoints
    save_checkpoint(output_dir / "checkpoints", trainer.step_count, tensors, state, keep=keep)


def resume(trainer: Trainer[Any], output_dir: Path | None) -> None:
    """Put a trainer where the last checkpoint of a folder left it; without one it stays as it is.

    Raises:
        ValueError: The checkpoint is behind the trainer, or none of them can be used.
    """
    if output_dir is None:
        return
    if is_writer():
        remove_partial(output_dir)
    folder = latest_checkpoint(output_dir / "checkpoints")
    if folder is None:
        return
    tensors, state = load_checkpoint(folder)
    if state["step"] < trainer.step_count:
        raise ValueError(f"{folder} is behind this trainer, which is at step {trainer.step_count}; make a new trainer")
    for name, module in trainer.modules().items():
        module.load_state_dict(tensors[f"module-{name}"])
    for name, optimizer in trainer.optimizers.items():
        load_optimizer_tensors(optimizer, tensors[f"optimizer-{name}"])
    trainer.scaler.load_state_dict(state["scaler"])
    trainer.means.load_state_dict(state["means"])
    # Checkpoints of before these were counted have neither.
    trainer.guard.skipped = state.get("skipped_steps", 0)
    trainer.unreadable.names = list(state.get("unreadable", []))
    trainer.validation.load_state_dict(state)
    trainer.step_count = state["step"]


def describe(trainer: Trainer[Any]) -> dict[str, Any]:
    """What makes a run this run: its stage, configuration, model and data."""
    tensors = [(key, list(value.shape)) for key, value in trainer.model.state_dict().items()]
    return {
        "trainer": type(trainer).__name__,
        "config": dataclasses.asdict(trainer.config),
        "model": getattr(trainer.model, "config", None) or type(trainer.model).__name__,
        "model_tensors": digest(tensors),
        "data": {name: _identity(dataset) for name, dataset in trainer.fixed_datasets().items()},
        "labels": None if trainer.labels is None else digest(trainer.labels.record),
    }


def _identity(dataset: SampleDataset) -> str:
    """What tells one data set from another: its names, or its length where they would have to be read one by one."""
    return digest(len(dataset) if known_names(dataset) is None else sample_names(dataset))


def defaults(config: TrainerConfig) -> dict[str, Any]:
    """What each setting is unless it is given: what it was to a version that did not have it yet."""
    return {setting.name: setting.default for setting in dataclasses.fields(config)}
