"""Maps at the size of an image, a few rows at a time: what is used only once is never held as a whole.

Scores of 19 classes at 2048 x 1024 are 160 MB an image. Where only their greatest, their mean or a threshold is wanted,
rows are resized as `models.resize` does, used and forgotten; on a CPU they stay in its cache meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from depthaware_uda.models.resize import resize
from depthaware_uda.types import SegDepthOutput

__all__ = ["map_rows", "positions", "row_slices"]

_CACHE_BYTES = 2**22
_DEVICE_BYTES = 2**28


def positions(points: int, pixels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Where a resize puts pixels between the points of a map, along one side, rounded as torch's own rounds it.

    Returns:
        The point before every pixel, and the weight of the one after it, both (pixels,).
    """
    step = (points - 1) / max(pixels - 1, 1)
    position = torch.arange(pixels, dtype=dtype) * torch.tensor(step, dtype=dtype)
    before = position.long()
    return before, position - before


class _Resized:
    """Maps (N, C, h, w) that are resized to a height and a width when rows of them are asked for."""

    def __init__(self, maps: Tensor, size: tuple[int, int]) -> None:
        height = maps.shape[-2]
        self.wide = resize(maps, (height, size[1]))
        self.exact = height == size[0]
        self.above, weight = positions(height, size[0], self.wide.dtype)
        self.below = (self.above + 1).clamp(max=height - 1)
        self.weight = weight.to(self.wide.device, non_blocking=True)[:, None]

    def rows(self, rows: slice) -> Tensor:
        if self.exact:
            return self.wide[:, :, rows]
        first, last = int(self.above[rows.start]), int(self.above[rows.stop - 1])
        if first == last:  # between two rows of the map: nothing to gather
            below = int(self.below[rows.start])
            above_maps, below_maps = self.wide[:, :, first : first + 1], self.wide[:, :, below : below + 1]
        else:
            device = self.wide.device
            above_maps = self.wide[:, :, self.above[rows].to(device, non_blocking=True)]
            below_maps = self.wide[:, :, self.below[rows].to(device, non_blocking=True)]
        return torch.lerp(above_maps, below_maps, self.weight[rows])

    def slices(self, size: tuple[int, int]) -> Iterator[slice]:
        """Rows that fit into the cache of a CPU and lie between two rows of the map, or a bounded part of a GPU."""
        count, classes = self.wide.shape[:2]
        row_bytes = max(count * classes * size[1] * self.wide.element_size(), 1)
        if not self.wide.is_cpu:
            most = max(1, _DEVICE_BYTES // row_bytes)
            yield from (slice(start, min(start + most, size[0])) for start in range(0, size[0], most))
            return
        most, start = max(1, _CACHE_BYTES // row_bytes), 0
        between = self.above.tolist()
        for row in range(1, size[0] + 1):
            apart = row == size[0] or (not self.exact and between[row] != between[start] and row - start >= 4)
            if apart or row - start == most:
                yield slice(start, row)
                start = row


def row_slices(output: SegDepthOutput, size: tuple[int, int]) -> Iterator[tuple[slice, SegDepthOutput]]:
    """Yield the rows of a model's output at a size, from top to bottom, and which rows they are.

    Args:
        output: Logits (N, C, h, w) and inverse depth (N, 1, h', w') or None.
        size: Height and width to reach.
    """
    logits = _Resized(output.logits, size)
    depth = None if output.inverse_depth is None else _Resized(output.inverse_depth, size)
    for rows in logits.slices(size):
        yield rows, SegDepthOutput(logits.rows(rows), None if depth is None else depth.rows(rows))


def map_rows(output: SegDepthOutput, size: tuple[int, int], function: Callable[[SegDepthOutput], Tensor]) -> Tensor:
    """What a function of pixels gives of an output at a size: rows (N, ..., rows, W) are put together again."""
    return torch.cat([function(part) for _, part in row_slices(output, size)], dim=-2)
