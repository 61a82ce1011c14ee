"""Overlapping tiles: which ones an image is cut into, how their maps are blended, and how large they may be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Tile", "blend_window", "pixels_that_fit", "tile_within", "tiles"]

BYTES_PER_PIXEL = 2048
"""Of a forward pass in float32: 0.9 KiB were measured for the published ResNet-101 and for ConvNeXt-T, both at output
stride 8 with 19 classes; twice that leaves room for other networks."""
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
    """Pixels that may go through a network at once: half of the device's whole memory over the bytes a pixel takes.

    It is the memory the machine has, not what is free just now, so that a result does not depend on the moment.
    """
    bytes_per_pixel = BYTES_PER_PIXEL * torch.finfo(dtype).bits // 32
    return _device_memory(device) // 2 // bytes_per_pixel


def tile_within(size: tuple[int, int], pixels: int) -> tuple[int, int] | None:
    """The tile for an image of a size that is too large to go through at once; None if it is not.

    Tiles are as square as the image lets them, in steps of 32 pixels and no smaller than 256.
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
    """Where tiles of one side begin: evenly spread, neighbours share at least a quarter."""
    if side >= length:
        return [0]
    step = side - side // 4
    count = -(-(length - side) // step) + 1
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def tiles(size: tuple[int, int], tile: tuple[int, int]) -> Iterator[Tile]:
    """Cut an image of a size into overlapping tiles that cover it, row by row; none is larger than the image."""
    height, width = (min(side, length) for side, length in zip(tile, size, strict=True))
    for top in _starts(size[0], height):
        for left in _starts(size[1], width):
            yield Tile(top, left, height, width)


def blend_window(height: int, width: int) -> Tensor:
    """Weights of a tile's pixels: 1 inside, falling towards its borders over a quarter of each side; (height, width).

    No weight is 0, so that the borders of the image, which one tile alone covers, are defined.
    """

    def ramp(length: int) -> Tensor:
        position = torch.arange(length) + 0.5
        return (torch.minimum(position, length - position) / max(1, length // 4)).clamp(max=1)

    return ramp(height)[:, None] * ramp(width)
