"""Bringing a picture and what is known of its pixels to one size: stretched, or padded to keep the aspect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize_image

from depthaware_uda.data.listing import check_choice
from depthaware_uda.data.packing import unit_range

__all__ = ["Geometry", "Interpolation", "check_size", "is_integer"]

Size = tuple[int, int]
Interpolation = Literal["bilinear", "bicubic"]
"""How photographs are resized; labels and depth take the nearest pixel."""


def check_size(size: Size | None) -> Size | None:
    """Give back a (height, width) in pixels as a tuple of int, or None; ValueError if it is anything else."""
    if size is None:
        return None
    values = tuple(size) if isinstance(size, Iterable) else (size,)
    if len(values) != 2 or not all(is_integer(value) and value > 0 for value in values):
        raise ValueError(f"size must be (height, width) in whole pixels above 0, got {size!r}")
    return int(values[0]), int(values[1])


def is_integer(value: object) -> bool:
    """Whether a value is a whole number of Python or NumPy; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


@dataclass(frozen=True)
class Geometry:
    """How samples are resized while they are read.

    Args:
        size: (height, width) to resize to; None keeps the files' own size.
        pad: Keep the aspect: the picture is resized to fit into `size`, at the upper left, and filled up at the right
            or below. Otherwise it is stretched.
        full_size_labels: Leave labels and depth at the resolution of their files; with `pad`, filled up to the aspect
            of `size`.
        interpolation: How photographs are resized, antialiased in either case. ``"bicubic"`` is Pillow's, within one
            level of 255, and what the published code has.

    Raises:
        ValueError: `size` is not a size, or `interpolation` none of the two.
    """

    size: Size | None = None
    pad: bool = False
    full_size_labels: bool = False
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        check_choice("interpolation", self.interpolation, get_args(Interpolation))
        object.__setattr__(self, "size", check_size(self.size))  # a list from a file of settings is as good

    def image(self, pixels: NDArray[np.uint8]) -> Tensor:
        """A resized photograph, filled up with black.

        Shape:
            (H, W, 3), 8-bit -> (3, h, w), float32 in 0..1.
        """
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        if self.size is not None:
            content = self._content(pixels.shape[:2])
            if content != pixels.shape[:2]:
                image = resize_image(image, list(content), InterpolationMode(self.interpolation), antialias=True)
            if content != self.size:
                image = functional.pad(image, (0, self.size[1] - content[1], 0, self.size[0] - content[0]))
        return torch.from_numpy(unit_range(image.numpy()))

    def pixels(self, values: NDArray[Any]) -> NDArray[Any]:
        """Resized labels or depth, not filled up yet: each new pixel takes the old one under its centre.

        Shape:
            (H, W) -> (h, w).
        """
        if self.size is None or self.full_size_labels:
            return values
        return _resize_nearest(values, self._content(values.shape))

    def filled(self, values: NDArray[Any], fill: float) -> NDArray[Any]:
        """What `pixels` gave, filled up at the right or below where samples are padded."""
        if self.size is None or not self.pad:
            return values
        height, width = self._padded(values.shape) if self.full_size_labels else self.size
        rows, columns = height - values.shape[0], width - values.shape[1]
        return np.pad(values, ((0, rows), (0, columns)), constant_values=fill) if rows or columns else values

    def _content(self, shape: tuple[int, ...]) -> Size:
        """Height and width that a picture of a shape takes up within `size`."""
        assert self.size is not None
        (height, width), (rows, columns) = shape[:2], self.size
        if not self.pad:
            return self.size
        if width * rows >= height * columns:  # wider than the size
            return max(1, height * columns // width), columns
        return rows, max(1, width * rows // height)

    def _padded(self, shape: tuple[int, ...]) -> Size:
        """Height and width of a picture of a shape, filled up to the aspect of `size`."""
        assert self.size is not None
        (height, width), (rows, columns) = shape[:2], self.size
        if width * rows >= height * columns:
            return width * rows // columns, width
        return height, height * columns // rows


def _resize_nearest(values: NDArray[Any], size: Size) -> NDArray[Any]:
    """Resize (H, W) to `size`; each new pixel takes the old pixel under its centre."""
    if values.shape == size:
        return values
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for new, old in zip(size, values.shape, strict=True)
    )
    resized: NDArray[Any] = values.take(rows, axis=0).take(columns, axis=1)
    return resized
