"""Collates samples of one domain into a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from depthaware_uda.types import Batch, Sample

__all__ = ["check_pixels", "check_some_pixels", "check_tensor", "collate"]


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples into a batch of plain tensors: image (N, 3, H, W), label (N, H, W), depth (N, 1, H, W), names.

    For ``DataLoader(collate_fn=collate)``.

    Raises:
        ValueError: There are no samples, they differ in their keys or sizes or hold something other than tensors, or an
            image is in 0..255 or normalised instead of in 0..1.
    """
    if not samples:
        raise ValueError("collate expected at least one sample, got none")
    first = samples[0]
    for sample in samples:
        if sample.keys() != first.keys():
            raise ValueError(
                f"samples of a batch must have the same keys: {_name(first)} has {sorted(first)}, "
                f"{_name(sample)} has {sorted(sample)}; give depth that is not known as NaN and labels as 255, or "
                "let Unlabelled drop both of all"
            )
    batch = Batch()
    if "image" in first:
        batch["image"] = _stack("image", samples, [sample["image"] for sample in samples])
        for sample in samples:
            check_some_pixels(sample["image"], f"image of {_name(sample)}")
    if "label" in first:
        batch["label"] = _stack("label", samples, [sample["label"] for sample in samples])
    if "depth" in first:
        batch["depth"] = _stack("depth", samples, [sample["depth"] for sample in samples])
    if "name" in first:
        batch["name"] = [sample["name"] for sample in samples]
    return batch


def check_tensor(value: object, key: str, what: str) -> None:
    """Raise a ValueError if a value of a sample is not a tensor, but None or an array; `what` names the sample."""
    if value is None:
        raise ValueError(f"{key} of {what} is None; leave out the keys of unknown values")
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{key} of {what} is a {type(value).__name__}, expected a tensor; torch.from_numpy converts an array "
            "(images: RGB in 0..1, (3, H, W))"
        )


def check_pixels(image: Tensor, what: str) -> None:
    """Raise a ValueError if an image is in 0..255 or normalised instead of in 0..1; `what` names it."""
    _check_range(*image.as_subclass(Tensor).aminmax(), what)


def check_some_pixels(image: Tensor, what: str) -> None:
    """`check_pixels` on every eighth pixel of every eighth row, in about 1 % of the time that reading takes.

    It skips images on a GPU, which it would have to wait for, integer images, and images with NaN or infinity.
    """
    some = image.as_subclass(Tensor)[..., ::8, ::8]
    if some.is_cpu and some.is_floating_point() and some.numel():
        lowest, highest = some.aminmax()
        if lowest.isfinite() and highest.isfinite():
            _check_range(lowest, highest, what)


def _check_range(lowest: Tensor, highest: Tensor, what: str) -> None:
    if not (lowest > -0.5 and highest < 1.5):  # resampling may overshoot a little
        raise ValueError(
            f"{what} has values in {float(lowest):.3g}..{float(highest):.3g}, expected 0..1; the model normalises by "
            "itself"
        )


def _stack(key: str, samples: Sequence[Sample], tensors: list[Tensor]) -> Tensor:
    for sample, tensor in zip(samples, tensors, strict=True):
        check_tensor(tensor, key, _name(sample))
        if tensor.shape != tensors[0].shape:
            raise ValueError(
                f"samples of a batch must have the same size: {key} of {_name(samples[0])} is "
                f"{tuple(tensors[0].shape)}, of {_name(sample)} {tuple(tensor.shape)}; resize them with "
                "the data set's `size` or a transform such as resize(size) or flip_and_crop(size)"
            )
    return torch.stack([tensor.as_subclass(Tensor) for tensor in tensors])


def _name(sample: Sample) -> str:
    return repr(sample["name"]) if "name" in sample else "a sample without a name"
