"""From scores to pseudo-labels: the confident pixels, by one threshold or by one for each class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from depthaware_uda.distributed import sum_of_counts
from depthaware_uda.inference import output_batches
from depthaware_uda.labels import IGNORE_INDEX
from depthaware_uda.losses import at_least_float32
from depthaware_uda.models.argmax import argmax, argmax_resized
from depthaware_uda.models.resize import size_of
from depthaware_uda.models.slices import map_rows, row_slices
from depthaware_uda.types import SampleDataset, SegDepthOutput

__all__ = ["class_thresholds", "pseudo_label"]

_BINS = 1000


def pseudo_label(logits: Tensor, threshold: float | Tensor = 0.0) -> Tensor:
    """The most likely class where its probability reaches the threshold, else 255, also where it is NaN.

    Args:
        logits: Class scores before softmax.
        threshold: One probability, or one a class; 0 keeps every pixel.

    Shape:
        logits (N, C, H, W), threshold scalar or (C,) -> (N, H, W) int64.

    Raises:
        ValueError: The logits have another shape, there are not as many thresholds as classes, or a threshold that is a
            number does not lie in 0..1.
    """
    if logits.ndim != 4:
        raise ValueError(f"logits must be (N, C, H, W), got {tuple(logits.shape)}")
    if isinstance(threshold, Tensor):
        if threshold.shape not in ((), (logits.shape[1],)):
            raise ValueError(f"threshold has shape {tuple(threshold.shape)}, expected one a class of {logits.shape[1]}")
        threshold = threshold.expand(logits.shape[1])
    elif not 0 <= threshold <= 1:
        raise ValueError(f"threshold must lie in 0..1, got {threshold}")
    probability = at_least_float32(logits).softmax(1)
    confidence, label = probability.amax(1), argmax(probability).long()
    if isinstance(threshold, Tensor):
        threshold = threshold.to(confidence)[label]
    return label.masked_fill(~(confidence >= threshold), IGNORE_INDEX)


def class_thresholds(histogram: Tensor, proportion: float, *, ceiling: float = 1.0) -> Tensor:
    """Confidence above which the most confident `proportion` of each class's pixels lie (class-balanced, Zou 2018).

    Args:
        histogram: Pixels by predicted class and confidence bin over 0..1.
        proportion: Share of each class's pixels to keep, in 0..1.
        ceiling: No threshold is higher: more is kept where the network is sure.

    Shape:
        histogram (C, bins) -> (C,).

    Raises:
        ValueError: The histogram has another shape, or the proportion is not in 0..1.
    """
    if histogram.ndim != 2:
        raise ValueError(f"histogram must be (C, bins), got {tuple(histogram.shape)}")
    if not 0 <= proportion <= 1:
        raise ValueError(f"proportion must lie in 0..1, got {proportion}")
    bins = histogram.shape[1]
    from_top = histogram.flip(1).cumsum(1)
    # The fewest best bins that hold the share; float64, since float32 cannot count beyond 2 ** 24.
    needed = (from_top < proportion * from_top[:, -1:].double()).sum(1) + 1
    lowest = (bins - needed).double() / bins
    return lowest.clamp(max=ceiling)


def labels_at(output: SegDepthOutput, size: tuple[int, int], threshold: float | Tensor) -> Tensor:
    """Pseudo-labels of an output at a size, as bytes; ValueError if the classes are more than bytes can tell."""
    if (classes := output.logits.shape[1]) > IGNORE_INDEX:
        raise ValueError(
            f"pseudo-labels are 8-bit images, with {IGNORE_INDEX} for none: {classes} classes are too many"
        )
    if not isinstance(threshold, Tensor) and threshold == 0 and not output.logits.isnan().any():
        return argmax_resized(output.logits, size).to(torch.uint8)
    return map_rows(output, size, lambda part: pseudo_label(part.logits, threshold).to(torch.uint8))


def confidence_histogram(model: nn.Module, dataset: SampleDataset, loading: dict[str, Any]) -> Tensor:
    """Pixels of a data set by predicted class and confidence, (C, bins), as `class_thresholds` takes them.

    Those whose scores are NaN, which get no label, are left out.
    """
    histogram: Tensor | None = None
    for batch, output in output_batches(model, dataset, **loading):
        classes = output.logits.shape[1]
        for _, part in row_slices(output, size_of(batch["image"])):
            probability = part.logits.softmax(1)
            confidence, label = probability.amax(1), argmax(probability).long()
            bins = (confidence * _BINS).long().clamp(max=_BINS - 1)
            places = (label * _BINS + bins)[~confidence.isnan()]
            counts = torch.bincount(places, minlength=classes * _BINS)
            histogram = counts if histogram is None else histogram + counts
    return sum_of_counts(histogram).reshape(-1, _BINS)
