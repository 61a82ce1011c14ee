"""Segmentation and depth metrics: a confusion matrix over all images, and depth errors where depth is known."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from depthaware_uda.labels import IGNORE_INDEX

__all__ = ["DepthErrors", "DepthMeter", "confusion_matrix", "iou_per_class", "pixel_accuracy"]


def confusion_matrix(
    prediction: Tensor, label: Tensor, num_classes: int, *, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Counts of (label, prediction) pairs, on the device of the inputs.

    Args:
        prediction: Class indices in 0..num_classes-1.
        label: Class indices, `ignore_index` for pixels that are not counted.
        num_classes: Number of classes C.
        ignore_index: The label that is left out.

    Shape:
        prediction and label of equal shape -> (C, C) int64, row: label, column: prediction.

    Raises:
        ValueError: The shapes differ, the values are not integers, or an index is not a class.
    """
    if prediction.shape != label.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} differ in shape")
    for name, index in (("prediction", prediction), ("label", label)):
        if index.is_floating_point():
            raise ValueError(f"{name} is {index.dtype}, expected class indices in integers")
    # Every 8-bit label has a row of the table, so ignored pixels need no mask: their row is dropped.
    rows = max(256, num_classes)
    if _outside(label, rows) or _outside(prediction, num_classes):
        known = label != ignore_index
        label, prediction = label[known], prediction[known]
        _check_classes(label, prediction, num_classes, ignore_index)
    # In 16 bits if they suffice, which is a quarter of the memory traffic.
    bits = torch.int16 if rows * num_classes <= torch.iinfo(torch.int16).max + 1 else torch.int64
    pairs = torch.add(prediction.to(bits), label.to(bits), alpha=num_classes)
    counts = torch.bincount(pairs.flatten(), minlength=rows * num_classes).view(rows, num_classes)
    if 0 <= ignore_index < rows:
        counts[ignore_index] = 0
    if counts[num_classes:].any():
        _check_classes(label[label != ignore_index], prediction, num_classes, ignore_index)
    return counts[:num_classes]


def _outside(index: Tensor, stop: int) -> bool:
    if not index.numel():
        return False
    lowest, highest = index.aminmax()
    # As Python integers: in 8 bits, a larger bound would wrap around.
    return int(lowest) < 0 or int(highest) >= stop


def _check_classes(label: Tensor, prediction: Tensor, num_classes: int, ignore_index: int) -> None:
    for name, index in (("label", label), ("prediction", prediction)):
        if _outside(index, num_classes):
            raise ValueError(
                f"{name} holds indices {int(index.min())}..{int(index.max())}, but there are {num_classes} classes "
                f"(0..{num_classes - 1}, and {ignore_index} to ignore)"
            )


def iou_per_class(confusion: Tensor) -> Tensor:
    """Intersection over union of every class; NaN for classes without labels. Shape: (C, C) -> (C,) float64."""
    counts = confusion.double()
    intersection = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - intersection
    absent = counts.sum(1) == 0
    return (intersection / union.clamp(min=1)).masked_fill(absent, torch.nan)


def pixel_accuracy(confusion: Tensor) -> float:
    """Share of labelled pixels with the correct class; NaN without labelled pixels. Shape: (C, C)."""
    counts = confusion.double()
    return float(counts.diagonal().sum() / counts.sum())


@dataclass(frozen=True)
class DepthErrors:
    """Errors of predicted depth in metres, over `pixels` pixels of known depth (Eigen et al., 2014)."""

    abs_rel: float
    """Mean of |prediction - truth| / truth."""
    rmse: float
    """Root mean squared error, in metres."""
    delta_1_25: float
    """Share of pixels where max(prediction / truth, truth / prediction) is below 1.25."""
    pixels: int

    def to_dict(self) -> dict[str, float | int]:
        """The fields as a dictionary."""
        return asdict(self)


class DepthMeter:
    """Accumulates depth errors over batches; `compute` gives `DepthErrors`, or None if no depth was known.

    Depth is compared where the true depth is known, above 0 and at most `max_metres`.
    """

    def __init__(self, *, max_metres: float = 80.0) -> None:
        self.max_metres = max_metres
        self._sums = torch.zeros(4, dtype=torch.float64)

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add a batch of predicted and true metres (NaN: unknown); ValueError if their shapes differ."""
        if prediction.shape != truth.shape:
            raise ValueError(f"predicted depth {tuple(prediction.shape)} and true {tuple(truth.shape)} differ in shape")
        known = (truth > 0) & (truth <= self.max_metres)
        predicted = prediction[known].double().clamp(min=1e-3)
        true = truth[known].double()
        error = predicted - true
        ratio = torch.maximum(predicted / true, true / predicted)
        count = torch.tensor(float(true.numel()), dtype=torch.float64, device=true.device)
        sums = torch.stack([(error.abs() / true).sum(), error.square().sum(), (ratio < 1.25).double().sum(), count])
        self._sums += sums.cpu()

    def add(self, other: DepthMeter) -> None:
        """Add the errors that another meter has accumulated."""
        self._sums += other._sums

    def compute(self) -> DepthErrors | None:
        """The errors so far."""
        count = int(self._sums[3])
        if count == 0:
            return None
        abs_rel, squared, close = (self._sums[:3] / count).tolist()
        return DepthErrors(abs_rel=abs_rel, rmse=squared**0.5, delta_1_25=close, pixels=count)
