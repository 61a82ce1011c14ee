"""The one way maps change size: bilinear, corners aligned, as in the published method. And images, for a network."""

from __future__ import annotations

from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthaware_uda.losses import at_least_float32
from depthaware_uda.types import JointOutput, SegDepthOutput

__all__ = [
    "InputSize",
    "check_input_size",
    "input_size",
    "resize",
    "resize_input",
    "resize_output",
    "scaled",
    "stride_of",
]

InputSize = Literal["auto"] | int | tuple[int, int] | None
"""``"auto"`` is the `image_size` of the model if it has one; else the shorter side, (H, W), or None: no resizing."""


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


def check_input_size(size: int | tuple[int, int] | None) -> None:
    """ValueError if a size is not pixels of the shorter side, (height, width) or None."""
    sides = (size,) if isinstance(size, int) else size
    if sides is not None and (
        not isinstance(sides, tuple) or len(sides) > 2 or not all(isinstance(side, int) and side > 0 for side in sides)
    ):
        raise ValueError(f"size must be pixels of the shorter side, (height, width) or None, got {size!r}")


def input_size(model: nn.Module, size: InputSize) -> int | tuple[int, int] | None:
    """The size that is asked for, or for ``"auto"`` the one that the model was trained at; ValueError if it is none."""
    chosen: int | tuple[int, int] | None = getattr(model, "image_size", None) if size == "auto" else size
    check_input_size(chosen)
    return chosen


def stride_of(model: nn.Module) -> int:
    """The stride that a model tells as ``stride``, the smallest side that it can take; 1 if it tells none."""
    stride = getattr(model, "stride", 1)
    return stride if isinstance(stride, int) else 1  # a convolution's is a pair


def scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Height and width by a factor, each at least 1."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resize_input(image: Tensor, size: int | tuple[int, int] | None, stride: int) -> Tensor:
    """Resize images for a network, with antialiasing; no side becomes shorter than the network's stride.

    Shape:
        RGB (N, 3, H, W) -> (N, 3, h, w).
    """
    own = (image.shape[-2], image.shape[-1])
    height, width = own if size is None else scaled(own, size / min(own)) if isinstance(size, int) else size
    wanted = (max(height, stride), max(width, stride))
    if wanted == own:
        return image
    return F.interpolate(image, size=wanted, mode="bilinear", align_corners=False, antialias=True)
