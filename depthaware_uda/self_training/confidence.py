"""Confidence of the pseudo-labels of an image or of a pixel, as their weight in the loss."""

from __future__ import annotations

from torch import Tensor

from depthaware_uda.losses import at_least_float32

__all__ = ["confident_share", "pixel_confidence"]


def confident_share(logits: Tensor, threshold: float = 0.968) -> Tensor:
    """Share of an image's pixels whose confidence exceeds a threshold: the weight of its pseudo-labels.

    This is the weight of DACS (Tranheden et al., 2021), computed per image as in DAFormer (Hoyer et al., 2022).

    Args:
        logits: Class scores before softmax, of the teacher.
        threshold: Probability that a confident pixel exceeds.

    Shape:
        logits (N, C, H, W) -> (N,), in 0..1.

    Raises:
        ValueError: The logits have another shape, or the threshold is not in 0..1.
    """
    confidence = _confidence(logits, threshold)
    return (confidence > threshold).to(confidence).mean(dim=(1, 2))


def pixel_confidence(logits: Tensor, threshold: float = 0.0) -> Tensor:
    """Probability of each pixel's most likely class, 0 below a threshold: the weight of its pseudo-label.

    Args:
        logits: Class scores before softmax, of the teacher.
        threshold: Probability that a pixel must reach to count.

    Shape:
        logits (N, C, H, W) -> (N, H, W), in 0..1.

    Raises:
        ValueError: The logits have another shape, or the threshold is not in 0..1.
    """
    confidence = _confidence(logits, threshold)
    return confidence.where(confidence >= threshold, 0.0)


def _confidence(logits: Tensor, threshold: float) -> Tensor:
    """Probability of each pixel's most likely class; checks both arguments."""
    if logits.ndim != 4:
        raise ValueError(f"logits must be (N, C, H, W), got {tuple(logits.shape)}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must lie in 0..1, got {threshold}")
    return at_least_float32(logits).softmax(1).amax(1)
