"""Overlapping tiles: how an image is cut into them, how their maps are blended, and how large they may be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Tile", "blend_window", "pixels_that_fit", "tile_within", "tiles"]

BYTES_PER_PIXEL = 2048
"""Memory of a forward pass in float32: 0.9 KiB were measured for the published ResNet-101 and for ConvNeXt-T, both at
output stride 8 with 19 classes; twice that leaves room for other networks."""
_SMALLEST_TILE = 256
_ASSUMED_MEMORY = 8 << 30


class Tile(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    """First row."""
    left: int
    """First column."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the tile."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def _device_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return _ASSUMED_MEMORY


def pixels_that_fit(device: torch.device, dtype: torch.dtype) -> int:
    """Pixels that may go through a network at once: half of the device's memory divided by the bytes per pixel.

    It takes the total memory, not what is free at the moment, so that results do not depend on the latter.
    """
    bytes_per_pixel = BYTES_PER_PIXEL * torch.finfo(dtype).bits // 32
    return _device_memory(device) // 2 // bytes_per_pixel


def tile_within(size: tuple[int, int], pixels: int) -> tuple[int, int] | None:
    """The size of tiles for an image that is too large to go through at once; None if it is not.

    Tiles are as square as the image allows, with sides that are multiples of 32 pixels and at least 256, or the side of
    the image if that is smaller.
    """
    height, width = size
    if height * width <= pixels:
        return None

    def rounded(side: int, limit: int) -> int:
        return min(limit, max(_SMALLEST_TILE, side // 32 * 32))

    shorter, longer = min(size), max(size)
    short = rounded(int(pixels**0.5), shorter)
    long = rounded(pixels // short, longer)
    return (short, long) if height <= width else (long, short)


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along one axis: evenly spread, with neighbours overlapping by at least a quarter."""
    if side >= length:
        return [0]
    step = side - side // 4
    count = -(-(length - side) // step) + 1
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def tiles(size: tuple[int, int], tile: tuple[int, int]) -> Iterator[Tile]:
    """Overlapping tiles that cover an image of this size, row by row; none is larger than the image."""
    height, width = (min(side, length) for side, length in zip(tile, size, strict=True))
    for top in _starts(size[0], height):
        for left in _starts(size[1], width):
            yield Tile(top, left, height, width)


def blend_window(height: int, width: int) -> Tensor:
    """Weights of a tile's pixels, (height, width): 1 inside, falling towards the borders over a quarter of each side.

    No weight is 0, so that the borders of the image, which only one tile covers, are defined.
    """

    def ramp(length: int) -> Tensor:
        position = torch.arange(length) + 0.5
        return (torch.minimum(position, length - position) / max(1, length // 4)).clamp(max=1)

    return ramp(height)[:, None] * ramp(width)
