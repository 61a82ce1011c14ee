"""The size that images are resized to for a network."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from depthaware_uda.models.resize import size_of

__all__ = ["InputSize", "check_input_size", "input_size", "is_size", "resize_input", "scaled", "stride_of"]

InputSize = Literal["auto"] | int | tuple[int, int] | None
"""``"auto"`` is the `image_size` of the model if it has one; else the shorter side, (H, W), or None: no resizing."""


def is_size(value: object, *, least: int = 1) -> bool:
    """Whether a value is (height, width) in whole pixels, both at least `least`."""
    sides = value if isinstance(value, (tuple, list)) else ()
    return len(sides) == 2 and all(isinstance(side, int) and side >= least for side in sides)


def check_input_size(size: int | tuple[int, int] | None) -> None:
    """Raise a ValueError if a size is not pixels of the shorter side, (height, width) or None."""
    if size is not None and not is_size((size, size) if isinstance(size, int) else size):
        raise ValueError(f"size must be pixels of the shorter side, (height, width) or None, got {size!r}")


def input_size(model: nn.Module, size: InputSize) -> int | tuple[int, int] | None:
    """The size that is asked for, or for ``"auto"`` the one that the model was trained at; checked."""
    chosen: int | tuple[int, int] | None = getattr(model, "image_size", None) if size == "auto" else size
    check_input_size(chosen)
    return chosen


def stride_of(model: nn.Module) -> int:
    """A model's ``stride``, the smallest side of an image that it can take; 1 if it has no such attribute."""
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
    own = size_of(image)
    height, width = own if size is None else scaled(own, size / min(own)) if isinstance(size, int) else size
    wanted = (max(height, stride), max(width, stride))
    if wanted == own:
        return image
    return F.interpolate(image, size=wanted, mode="bilinear", align_corners=False, antialias=True)
