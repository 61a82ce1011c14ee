"""Batches on their way into a step: to the device, ahead of time, and into parts for gradient accumulation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from depthaware_uda.types import Batch

__all__ = ["divide", "prefetched", "to_device"]


def to_device(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """The batch with its tensors on a device, images in a precision, labels as the losses want them."""
    moved = Batch(**batch)
    for key in ("image", "label", "depth"):
        if key in batch:
            moved[key] = batch[key].to(device, non_blocking=True)
    moved["image"] = moved["image"].to(dtype)
    if "label" in moved:
        moved["label"] = moved["label"].long()
    return moved


def prefetched(
    batches: Iterable[dict[str, Batch]], device: torch.device, dtype: torch.dtype
) -> Iterator[dict[str, Batch]]:
    """The batches of all domains on a device; on a GPU each is copied while the one before it is computed.

    The copies run on a stream of their own, so they want batches in pinned memory. A CPU has them where they are.
    """
    if device.type != "cuda":
        yield from batches
        return
    copies: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    ahead: dict[str, Batch] | None = None
    for batch in batches:
        with torch.cuda.stream(copies):
            moved = {domain: to_device(part, device, dtype) for domain, part in batch.items()}
        if ahead is not None:
            yield ahead  # the step that uses it is queued before the next copy is waited for
        torch.cuda.current_stream(device).wait_stream(copies)
        for part in moved.values():
            for value in part.values():
                if isinstance(value, torch.Tensor):
                    value.record_stream(torch.cuda.current_stream(device))
        ahead = moved
    if ahead is not None:
        yield ahead


def divide(batch: Batch, count: int, *, domain: str) -> list[Batch]:
    """A batch as `count` equal parts.

    Raises:
        ValueError: It cannot be divided into so many.
    """
    if count == 1:
        return [batch]
    images = len(batch["image"])
    if images % count:
        raise ValueError(
            f"the {domain} batch of {images} images cannot be divided into {count} equal parts; change the batch, or "
            "accumulation"
        )
    size = images // count
    bounds = [slice(i * size, (i + 1) * size) for i in range(count)]
    return [Batch(**{key: value[part] for key, value in batch.items()}) for part in bounds]  # type: ignore[typeddict-item,index]
