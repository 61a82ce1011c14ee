"""Statistics of a data set's labels: pixels of each class, and weights that balance the classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from depthaware_uda.data.wrappers import label_sample
from depthaware_uda.labels import IGNORE_INDEX
from depthaware_uda.types import SampleDataset

__all__ = ["class_pixels", "class_weights", "sample_pixels"]


def class_pixels(dataset: SampleDataset, num_classes: int) -> Tensor:
    """Number of labelled pixels of every class in a data set, (C,) int64.

    Raises:
        ValueError: A sample has no label, or a label outside 0..num_classes-1 that is not 255 (the message names it);
            or `num_classes` is not above 0.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be above 0, got {num_classes}")
    counts = torch.zeros(num_classes, dtype=torch.int64)
    for index in range(len(dataset)):
        counts += sample_pixels(dataset, index, num_classes)
    return counts


def sample_pixels(dataset: SampleDataset, index: int, num_classes: int) -> Tensor:
    """Number of labelled pixels of every class in one sample, (C,) int64; errors as in `class_pixels`."""
    sample = label_sample(dataset, index)
    name = sample.get("name", f"sample {index}")
    if "label" not in sample:
        raise ValueError(f"{name!r} has no label to count")
    label = sample["label"].as_subclass(Tensor)
    labelled = label[label != IGNORE_INDEX]
    foreign = labelled[(labelled < 0) | (labelled >= num_classes)]
    if foreign.numel() or label.is_floating_point():
        raise ValueError(
            f"labels of {name!r} hold {sorted({*foreign.tolist()})[:5] or label.dtype}, expected integers in "
            f"0..{num_classes - 1}, or {IGNORE_INDEX} to ignore"
        )
    return torch.bincount(labelled.long(), minlength=num_classes)


def class_weights(dataset: SampleDataset, num_classes: int, *, power: float = 0.5) -> tuple[float, ...]:
    """Weights frequency ** -power of every class, for `TrainerConfig.class_weights`; the mean over pixels is 1.

    Args:
        dataset: Labelled samples; the labels of all are read.
        num_classes: Number of classes C.
        power: 0 weights all pixels equally, 1 all classes; values between favour rare classes without drowning others.

    Raises:
        ValueError: No pixel has a class, `power` is negative, or as in `class_pixels`.
    """
    if not (math.isfinite(power) and power >= 0):
        raise ValueError(f"power must be 0 or more, got {power}")
    pixels = class_pixels(dataset, num_classes).double()
    if not pixels.any():
        raise ValueError("the data set labels no pixel: there is nothing to weight classes by")
    frequency = pixels / pixels.sum()
    # A class without pixels gets the weight of the rarest class that has some.
    weights = frequency.clamp(min=float(frequency[frequency > 0].min())) ** -power
    weights = weights / (weights * frequency).sum()
    return tuple(weights.tolist())
