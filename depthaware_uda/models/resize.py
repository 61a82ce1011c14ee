"""The one way maps change size: bilinear, corners aligned, as in the published method."""

from __future__ import annotations

from typing import overload

import torch
import torch.nn.functional as F
from torch import Tensor

from depthaware_uda.losses import at_least_float32
from depthaware_uda.types import JointOutput, SegDepthOutput

__all__ = ["finite_scores", "logits_of", "resize", "resize_output", "size_of"]


def size_of(maps: Tensor) -> tuple[int, int]:
    """Height and width of images or maps (..., H, W)."""
    return maps.shape[-2], maps.shape[-1]


def logits_of(probability: Tensor) -> Tensor:
    """Logits whose softmax is `probability`: its logarithm, finite where it is 0."""
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()


def finite_scores(logits: Tensor) -> Tensor:
    """Class scores with minus infinity (a class that is masked out) replaced by scores whose probability is 0.

    Resizing would turn infinity itself into NaN. Half precision is raised to float32.

    Shape:
        (N, C, h, w) -> (N, C, h, w).
    """
    logits = at_least_float32(logits)
    return logits.maximum(-4 * logits.where(logits.isfinite(), 0).abs().amax() - 1000)


@overload
def resize(maps: Tensor, size: tuple[int, int] | torch.Size) -> Tensor: ...
@overload
def resize(maps: None, size: tuple[int, int] | torch.Size) -> None: ...
def resize(maps: Tensor | None, size: tuple[int, int] | torch.Size) -> Tensor | None:
    """Resize maps bilinearly with aligned corners; None, and maps of that size already, pass through.

    Half precision is raised to float32 first: resized maps feed losses.

    Args:
        maps: Logits, inverse depth or features.
        size: Height and width to reach.

    Shape:
        (N, C, h, w) -> (N, C, H, W).
    """
    if maps is None:
        return None
    maps = at_least_float32(maps)
    if maps.shape[-2:] == torch.Size(size):
        return maps
    return F.interpolate(maps, size=(size[0], size[1]), mode="bilinear", align_corners=True)


@overload
def resize_output(output: SegDepthOutput, size: tuple[int, int] | torch.Size) -> SegDepthOutput: ...
@overload
def resize_output(output: JointOutput, size: tuple[int, int] | torch.Size) -> JointOutput: ...
@overload
def resize_output(
    output: SegDepthOutput | JointOutput, size: tuple[int, int] | torch.Size
) -> SegDepthOutput | JointOutput: ...
def resize_output(
    output: SegDepthOutput | JointOutput, size: tuple[int, int] | torch.Size
) -> SegDepthOutput | JointOutput:
    """All maps of a model's output at one size, usually the input's."""
    if isinstance(output, JointOutput):
        return JointOutput(*(resize(maps, size) for maps in output))
    return SegDepthOutput(resize(output.logits, size), resize(output.inverse_depth, size))
