"""Batches on their way into a step: to the device, and into parts for gradient accumulation."""

from __future__ import annotations

import torch

from depthaware_uda.types import Batch

__all__ = ["divide", "to_device"]


def to_device(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """The batch with its tensors on a device, images in a precision."""
    moved = Batch(**batch)
    for key in ("image", "label", "depth"):
        if key in batch:
            moved[key] = batch[key].to(device, non_blocking=True)
    moved["image"] = moved["image"].to(dtype)
    return moved


def divide(batch: Batch, count: int, *, domain: str) -> list[Batch]:
    """A batch as `count` equal parts.

    Raises:
        ValueError: It cannot be divided into so many.
    """
    if count == 1:
        return [batch]
    images = len(batch["image"])
    if images % count:
        raise ValueError(f"the {domain} batch of {images} images cannot be divided into {count} equal parts")
    size = images // count
    bounds = [slice(i * size, (i + 1) * size) for i in range(count)]
    return [Batch(**{key: value[part] for key, value in batch.items()}) for part in bounds]  # type: ignore[typeddict-item,index]
