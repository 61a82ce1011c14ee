"""Maps at the size of an image, a few rows at a time: what is looked at once is never held as a whole.

Scores of 19 classes at 2048 x 1024 are 160 MB an image. Where only their greatest, their mean or a threshold is wanted,
rows are resized as `models.resize` does, used and forgotten; on a CPU they stay in its cache meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from depthaware_uda.models.resize import resize
from depthaware_uda.types import SegDepthOutput

__all__ = ["argmax", "argmax_resized", "map_rows", "row_slices"]

_CACHE_BYTES = 2**22
_DEVICE_BYTES = 2**28


class _Resized:
    """Maps (N, C, h, w) that are resized to a height and a width when rows of them are asked for."""

    def __init__(self, maps: Tensor, size: tuple[int, int]) -> None:
        height = maps.shape[-2]
        self.wide = resize(maps, (height, size[1]))
        self.exact = height == size[0]
        step = (height - 1) / (size[0] - 1) if size[0] > 1 else 0.0
        # The positions are rounded as torch's own resize rounds them.
        position = torch.arange(size[0], dtype=self.wide.dtype) * torch.tensor(step, dtype=self.wide.dtype)
        self.above = position.long().clamp(max=height - 1)
        self.below = (self.above + 1).clamp(max=height - 1)
        self.weight = (position - self.above).to(self.wide.device)[:, None]

    def rows(self, rows: slice, columns: Tensor | None = None) -> Tensor:
        if self.exact:
            return self.wide[:, :, rows]
        first, last = int(self.above[rows.start]), int(self.above[rows.stop - 1])
        if first == last:  # between two rows of the map: nothing to gather
            below = int(self.below[rows.start])
            above_maps, below_maps = self.wide[:, :, first : first + 1], self.wide[:, :, below : below + 1]
        else:
            device = self.wide.device
            above_maps = self.wide[:, :, self.above[rows].to(device)]
            below_maps = self.wide[:, :, self.below[rows].to(device)]
        if columns is not None:
            above_maps, below_maps = above_maps.index_select(3, columns), below_maps.index_select(3, columns)
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


def argmax_resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The class with the greatest score at every pixel of a size, without the scores of all pixels at once.

    Between four neighbouring points of the network's map that agree on the class, bilinear scores agree too: on a CPU
    only the pixels between others are resized.

    Shape:
        (N, C, h, w) -> (N, H, W), integers: bytes on a CPU, as `argmax` gives them.
    """
    height, width = logits.shape[-2:]
    if logits.is_cpu and min(height, width) > 1 and size[0] >= 2 * height and size[1] >= 2 * width:
        return torch.stack([_argmax_between(one[None], size) for one in logits])
    return map_rows(SegDepthOutput(logits, None), size, lambda part: argmax(part.logits))


def argmax(scores: Tensor) -> Tensor:
    """`scores.argmax(1)`; a CPU compares class after class, several times as fast as torch does, and gives bytes."""
    if not scores.is_cpu or scores.shape[1] > 255:
        return scores.argmax(1)
    scores = scores.detach()
    greatest = scores[:, 0].clone()
    label = torch.zeros_like(greatest, dtype=torch.uint8)
    for index in range(1, scores.shape[1]):
        # Bytes, many at a time: the index where it wins, and larger than any before it.
        wins = (scores[:, index] > greatest).view(torch.uint8)
        torch.maximum(label, wins.mul_(index), out=label)
        torch.maximum(greatest, scores[:, index], out=greatest)
    return label


def _argmax_between(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """`argmax_resized` of one image (1, C, h, w) -> (H, W)."""
    height, width = logits.shape[-2:]
    corners = argmax(logits)[0]
    top, bottom = corners[:-1], corners[1:]
    agree = (top[:, :-1] == top[:, 1:]) & (bottom[:, :-1] == bottom[:, 1:]) & (top[:, :-1] == bottom[:, :-1])
    resized = _Resized(logits, size)
    across = torch.arange(size[1], dtype=resized.wide.dtype) * torch.tensor((width - 1) / (size[1] - 1))
    left = across.long().clamp(max=width - 2)
    label = torch.empty(size, dtype=corners.dtype)
    for rows in resized.slices(size):
        first, last = (min(int(resized.above[row]), height - 2) for row in (rows.start, rows.stop - 1))
        # The last row and column of pixels lie on the map's; a strip that touches two intervals needs both to agree.
        same = agree[first : last + 1].all(0) & (top[first] == top[last])[:-1]
        label[rows] = top[first].index_select(0, left)
        columns = (~same).index_select(0, left).nonzero().flatten()
        if len(columns):
            label[rows].index_copy_(1, columns, argmax(resized.rows(rows, columns))[0])
    return label
