"""What a data set's labels show: pixels of each class, and the weights that balance them."""

from __future__ import annotations

import torch
from torch import Tensor

from depthaware_uda.labels import IGNORE_INDEX
from depthaware_uda.types import SampleDataset

__all__ = ["class_pixels", "class_weights"]


def class_pixels(dataset: SampleDataset, num_classes: int) -> Tensor:
    """Labelled pixels of every class over a data set, (C,) int64.

    Raises:
        ValueError: A sample has no label, or a label outside 0..num_classes-1 that is not 255.
    """
    counts = torch.zeros(256, dtype=torch.int64)
    for index in range(len(dataset)):
        sample = dataset[index]
        if "label" not in sample:
            raise ValueError(f"{sample.get('name', f'sample {index}')!r} has no label to count")
        counts += torch.bincount(sample["label"].as_subclass(Tensor).flatten().long(), minlength=256)
    if counts[num_classes:IGNORE_INDEX].any():
        unknown = counts[num_classes:IGNORE_INDEX].nonzero().flatten() + num_classes
        raise ValueError(f"labels hold {unknown.tolist()}, but there are {num_classes} classes and {IGNORE_INDEX}")
    return counts[:num_classes]


def class_weights(dataset: SampleDataset, num_classes: int, *, power: float = 0.5) -> tuple[float, ...]:
    """Weights frequency ** -power of every class, for `TrainerConfig.class_weights`; the mean over pixels is 1.

    Args:
        dataset: Labelled samples; all are read.
        num_classes: Number of classes C.
        power: 0 weighs all pixels alike, 1 all classes; in between, rare classes gain without drowning the others.

    Raises:
        ValueError: The data set shows no class at all, or `class_pixels` objects.
    """
    pixels = class_pixels(dataset, num_classes).double()
    if not pixels.any():
        raise ValueError("the data set labels no pixel: there is nothing to weigh classes by")
    frequency = pixels / pixels.sum()
    # A class that is never seen weighs as much as the rarest one that is.
    weights = frequency.clamp(min=float(frequency[frequency > 0].min())) ** -power
    weights = weights / (weights * frequency).sum()
    return tuple(weights.tolist())
