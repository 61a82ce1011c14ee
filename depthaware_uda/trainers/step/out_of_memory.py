"""What to say when a GPU's memory does not suffice for a step."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from depthaware_uda.trainers.config import TrainerConfig
from depthaware_uda.types import Batch

__all__ = ["explained"]


def explained(
    error: torch.OutOfMemoryError, config: TrainerConfig, batches: Mapping[str, Batch]
) -> torch.OutOfMemoryError:
    """An error of the same type that says what the step was, and what of it to change, cheapest first."""
    shapes = [f"{domain} {' x '.join(map(str, batch['image'].shape))}" for domain, batch in batches.items()]
    images = min(len(batch["image"]) for batch in batches.values())
    larger = [parts for parts in range(config.accumulation + 1, images + 1) if images % parts == 0]
    remedies = []
    if config.precision == "float32":
        remedies.append("precision='bfloat16'")
    if larger:
        remedies.append(f"accumulation={larger[0]} (is {config.accumulation})")
    if config.checkpointing != "all":
        remedies.append(f"checkpointing='all' (is {config.checkpointing!r})")
    remedies.append("smaller training images (transforms.flip_and_crop)")
    if images > 1:
        remedies.append(f"a smaller batch_size (is {config.batch_size})")
    return torch.OutOfMemoryError(
        f"a training step does not fit into the device's memory: {', '.join(shapes)}. The weights are those before the "
        f"step. Try, in this order: {'; '.join(remedies)}. trainers.estimate_memory predicts what each needs. "
        f"The device said: {error}"
    )
