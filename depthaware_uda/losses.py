"""Losses and maps of the method, as pure functions.

Half-precision inputs are raised to float32 and float64 stays float64. Every loss is defined where it has nothing to
average: it is 0 and its gradient is 0, so a batch without a valid pixel changes no weight.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from depthaware_uda.labels import IGNORE_INDEX

__all__ = [
    "SOURCE",
    "TARGET",
    "berhu",
    "cross_entropy",
    "domain_loss",
    "entropy_loss",
    "normalized_entropy",
    "scale_shift_invariant",
    "self_information",
]

SOURCE = 0
"""The discriminator's answer for a map of the source."""
TARGET = 1
"""The discriminator's answer for a map of the target."""


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision raised to float32; anything else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def cross_entropy(
    logits: Tensor,
    label: Tensor,
    *,
    ignore_index: int = IGNORE_INDEX,
    class_weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy over the pixels that have a label.

    Args:
        logits: Class scores before softmax.
        label: Class indices, `ignore_index` where there is none.
        ignore_index: The label that is left out.
        class_weight: Optional weight of each class; the mean is then weighted too.
        pixel_weight: Optional factor of each pixel's loss; the mean is not weighted by it, so an image that is trusted
            by half counts by half.

    Shape:
        logits (N, C, H, W), label (N, H, W), class_weight (C,), pixel_weight (N, H, W) -> scalar.

    Raises:
        ValueError: logits and label differ in size, label is not (N, H, W) of integers, class_weight does not have one
            weight for each class, pixel_weight differs from label in shape, or, on a CPU, label holds an index that is
            not a class.
    """
    if label.ndim != 3 or label.is_floating_point():
        raise ValueError(f"label is {label.dtype} {tuple(label.shape)}, expected class indices in integers, (N, H, W)")
    if logits.shape[-2:] != label.shape[-2:]:
        raise ValueError(
            f"logits {tuple(logits.shape)} and label {tuple(label.shape)} differ in height or width; "
            "resize the logits to the label with depthaware_uda.models.resize"
        )
    if pixel_weight is not None and pixel_weight.shape != label.shape:
        raise ValueError(f"pixel_weight {tuple(pixel_weight.shape)} must have the shape of label {tuple(label.shape)}")
    if class_weight is not None and getattr(class_weight, "shape", None) != logits.shape[1:2]:
        raise ValueError(f"class_weight must be a tensor (C,) of {logits.shape[1]} classes, got {class_weight!r}")
    logits, label = at_least_float32(logits), label.long()
    weight = logits.new_ones(logits.shape[1]) if class_weight is None else class_weight.to(logits)
    reduction = "sum" if pixel_weight is None else "none"
    try:
        total = F.cross_entropy(logits, label, weight=weight, ignore_index=ignore_index, reduction=reduction)
    except IndexError as error:
        classes = logits.shape[1]
        raise ValueError(
            f"label holds an index that is none of the {classes} classes (0..{classes - 1}, and {ignore_index} to "
            f"ignore): {error} Map the ids, or give the model more classes"
        ) from error
    if pixel_weight is not None:
        total = (total * pixel_weight.to(total)).sum()
    valid = label != ignore_index
    count = (weight[label.where(valid, label.new_zeros(()))] * valid).sum()
    return total / count.where(count > 0, 1)


def _comparable(prediction: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Both maps of inverse depth in one type, and where the target is known."""
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape; "
            "resize the prediction to the target with depthaware_uda.models.resize"
        )
    if valid is not None and valid.shape != target.shape:
        raise ValueError(f"valid {tuple(valid.shape)} must have the shape of target {tuple(target.shape)}")
    prediction = at_least_float32(prediction)
    target = target.to(prediction.dtype)
    known = target.isfinite() if valid is None else target.isfinite() & valid
    return prediction, target, known


def berhu(
    prediction: Tensor, target: Tensor, *, valid: Tensor | None = None, largest_error: Tensor | None = None
) -> Tensor:
    """Reverse Huber loss of inverse depth (Laina et al., 2016), averaged over pixels of known depth.

    With e = prediction - target and c = 0.2 max|e| (a constant, without gradient): |e| where |e| <= c, else
    (e^2 + c^2) / 2c. A perfect prediction has loss 0.

    Args:
        prediction: Predicted inverse depth.
        target: True inverse depth, NaN where unknown.
        valid: Further mask of the pixels that count.
        largest_error: Stands for max|e|, where these images are a part of a larger batch.

    Shape:
        prediction, target and valid (N, 1, H, W), largest_error scalar -> scalar.

    Raises:
        ValueError: The shapes differ.
    """
    prediction, target, known = _comparable(prediction, target, valid)
    # Where the truth is not known the prediction is compared with itself: no error, no gradient.
    error = (prediction - target.where(known, prediction.detach())).abs()
    threshold = 0.2 * (error.detach().amax() if largest_error is None else largest_error.to(error))
    tiny = torch.finfo(error.dtype).tiny
    quadratic = (error.square() + threshold.square()) / (2 * threshold.clamp(min=tiny))
    loss = torch.where(error <= threshold, error, quadratic)
    return loss.sum() / known.sum().clamp(min=1)


def scale_shift_invariant(prediction: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Mean absolute error of inverse depth that is known, for each image, up to a scale and a shift.

    As in MiDaS (Ranftl et al., 2020, "Towards Robust Monocular Depth Estimation", section 5): both maps are centred at
    their median and divided by their mean absolute deviation from it before they are compared. So the depth of
    photographs can come as files from any monocular network, whatever its unit. The loss and its gradient are 0 for an
    image with fewer than two known pixels, or whose known target is constant.

    Args:
        prediction: Predicted inverse depth.
        target: Inverse depth in any unit, larger = nearer; NaN where unknown.
        valid: Further mask of the pixels that count.

    Shape:
        prediction, target and valid (N, 1, H, W) -> scalar, the mean over the images that have something to compare.

    Raises:
        ValueError: The shapes differ.
    """
    prediction, target, known = (maps.flatten(1) for maps in _comparable(prediction, target, valid))
    error = (_standardized(prediction, known) - _standardized(target, known)).abs().sum(1) / known.sum(1).clamp(min=1)
    comparable = has_relative_depth(target, known)
    return (error * comparable).sum() / comparable.sum().clamp(min=1)


def has_relative_depth(target: Tensor, known: Tensor | None = None) -> Tensor:
    """Which images `scale_shift_invariant` can compare: those whose known pixels differ. (N, ...) -> bool (N,)."""
    known = target.isfinite() if known is None else known
    nearest = target.masked_fill(~known, -torch.inf).flatten(1).amax(1)
    return nearest > target.masked_fill(~known, torch.inf).flatten(1).amin(1)


def _standardized(values: Tensor, known: Tensor) -> Tensor:
    """Values (N, P) without the median of the known ones, over their mean absolute deviation; 0 where unknown."""
    median = values.masked_fill(~known, torch.nan).nanmedian(1, keepdim=True).values
    centred = (values - median).where(known, 0)
    spread = centred.abs().sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)
    return centred / spread.clamp(min=torch.finfo(values.dtype).eps)


def self_information(logits: Tensor) -> Tensor:
    """Weighted self-information map -p log p / log C of AdvEnt (Vu et al., 2019), each value in 0..1/(e log C).

    Its sum over classes is `normalized_entropy`.

    Shape:
        logits (N, C, H, W) -> (N, C, H, W).

    Raises:
        ValueError: The logits have another shape, or fewer than two classes, whose entropy is not defined.
    """
    if logits.ndim != 4:
        raise ValueError(f"logits must be (N, C, H, W), got {tuple(logits.shape)}")
    if logits.shape[1] < 2:
        raise ValueError(f"self-information needs at least 2 classes, got logits of shape {tuple(logits.shape)}")
    log_p = F.log_softmax(at_least_float32(logits), dim=1)
    return log_p.exp() * log_p.clamp(min=torch.finfo(log_p.dtype).min) / -math.log(logits.shape[1])


def normalized_entropy(logits: Tensor) -> Tensor:
    """Entropy of the class distribution at each pixel over its maximum, in 0..1.

    Shape:
        logits (N, C, H, W) -> (N, H, W).
    """
    return self_information(logits).sum(dim=1)


def entropy_loss(logits: Tensor) -> Tensor:
    """Mean normalised entropy, the loss of MinEnt (Vu et al., 2019). Shape: (N, C, H, W) -> scalar."""
    return normalized_entropy(logits).mean()


def domain_loss(scores: Tensor, domain: int) -> Tensor:
    """Binary cross-entropy of discriminator scores against one domain, 0 = source and 1 = target.

    The discriminator minimises it with a map's true domain; the segmentation network, on target maps, with the source.

    Args:
        scores: The discriminator's output before the sigmoid, any shape.
        domain: 0 or 1.

    Raises:
        ValueError: The domain is neither.
    """
    if domain not in (SOURCE, TARGET):
        raise ValueError(f"domain must be {SOURCE} (source) or {TARGET} (target), got {domain}")
    scores = at_least_float32(scores)
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, domain))
