"""Which state of a trainer a checkpoint holds, and how a run resumes from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthaware_uda.distributed import is_writer
from depthaware_uda.files import remove_partial
from depthaware_uda.trainers.run.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
)

if TYPE_CHECKING:
    from depthaware_uda.trainers.base import Trainer

__all__ = ["resume", "save"]


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
