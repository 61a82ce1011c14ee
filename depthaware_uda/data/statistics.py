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
        ValueError: A sample has no label, or a label outside 0..num_classes-1 that is not 255; the sample is named.
    """
    counts = torch.zeros(num_classes, dtype=torch.int64)
    for index in range(len(dataset)):
        sample = dataset[index]
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
        counts += torch.bincount(labelled.long(), minlength=num_classes)
    return counts


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
