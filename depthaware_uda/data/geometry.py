"""Resizing an image with its label and depth: stretched, or padded to keep the aspect ratio."""

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
    """Return a (height, width) in pixels as a tuple of int, or None; raise a ValueError for anything else."""
    if size is None:
        return None
    values = tuple(size) if isinstance(size, Iterable) else (size,)
    if len(values) != 2 or not all(is_integer(value) and value > 0 for value in values):
        raise ValueError(f"size must be (height, width) in whole pixels above 0, got {size!r}")
    return int(values[0]), int(values[1])


def is_integer(value: object) -> bool:
    """Whether a value is an integer of Python or NumPy; True and False are not."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


@dataclass(frozen=True)
class Geometry:
    """How samples are resized when they are read.

    Args:
        size: (height, width) to resize to; None keeps the size of the files.
        pad: Keep the aspect ratio: images are resized to fit into `size`, placed at the upper left, and padded at the
            right or at the bottom. Otherwise they are stretched.
        full_size_labels: Leave labels and depth at the resolution of their files; with `pad`, pad them to the aspect
            ratio of `size`.
        interpolation: How images are resized, antialiased in either case. ``"bicubic"`` agrees with Pillow, which the
            published code uses, within one of 255 levels.

    Raises:
        ValueError: `size` is not a size, or `interpolation` is neither of the two.
    """

    size: Size | None = None
    pad: bool = False
    full_size_labels: bool = False
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        check_choice("interpolation", self.interpolation, get_args(Interpolation))
        object.__setattr__(self, "size", check_size(self.size))  # accepts a list, such as one from a settings file

    def image(self, pixels: NDArray[np.uint8]) -> Tensor:
        """A resized image, padded with black.

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
        """Resized labels or depth, not padded yet: each new pixel takes the old one under its centre.

        Shape:
            (H, W) -> (h, w).
        """
        if self.size is None or self.full_size_labels:
            return values
        return _resize_nearest(values, self._content(values.shape))

    def filled(self, values: NDArray[Any], fill: float) -> NDArray[Any]:
        """The output of `pixels`, padded with `fill` at the right or at the bottom if `pad` is set."""
        if self.size is None or not self.pad:
            return values
        height, width = self._padded(values.shape) if self.full_size_labels else self.size
        rows, columns = height - values.shape[0], width - values.shape[1]
        return np.pad(values, ((0, rows), (0, columns)), constant_values=fill) if rows or columns else values

    def _content(self, shape: tuple[int, ...]) -> Size:
        """(height, width) that an image of this shape takes up within `size`."""
        assert self.size is not None
        (height, width), (rows, columns) = shape[:2], self.size
        if not self.pad:
            return self.size
        if width * rows >= height * columns:  # wider than the size
            return max(1, height * columns // width), columns
        return rows, max(1, width * rows // height)

    def _padded(self, shape: tuple[int, ...]) -> Size:
        """(height, width) of an image of this shape after padding to the aspect ratio of `size`."""
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
