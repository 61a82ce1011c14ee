"""The class with the greatest score, also at a larger size than the network's, without all the scores at that size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from depthaware_uda.models.slices import map_rows, positions
from depthaware_uda.types import SegDepthOutput

__all__ = ["argmax", "argmax_resized"]

_BLOCK_BYTES = 2**19
_LEAST_FACTOR = 3  # below it cells have so few pixels that rows are faster


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


def argmax_resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """`argmax(resize(logits, size))` without the scores of all pixels at once; only rounding may decide otherwise.

    A CPU looks at the cells between four neighbouring points of the network's map: a class that another one beats at
    all four corners wins nowhere inside, since bilinear scores lie between those of the corners. Most cells have one
    class left and nothing to compute, most others two.

    A class of minus infinity, such as one that is masked out, wins nowhere.

    Shape:
        (N, C, h, w) -> (N, H, W), integers: bytes on a CPU, as `argmax` gives them.
    """
    height, width = logits.shape[-2:]
    logits = _finite(logits.detach())
    large = size[0] >= _LEAST_FACTOR * height and size[1] >= _LEAST_FACTOR * width
    if large and min(height, width) > 1 and logits.is_cpu and logits.shape[1] <= 255:
        half = logits.dtype in (torch.float16, torch.bfloat16)
        return _argmax_by_cells(logits.float() if half else logits, size)
    return map_rows(SegDepthOutput(logits, None), size, lambda part: argmax(part.logits))


def _finite(logits: Tensor) -> Tensor:
    """Scores with infinity replaced by finite values beyond all others: infinity times a weight of 0 would be NaN."""
    beyond = 4 * logits.where(logits.isfinite(), 0).abs().amax() + 1
    return logits.where(logits < torch.inf, beyond).where(logits > -torch.inf, -beyond)


class _Axis(NamedTuple):
    """The pixels of each interval between two points of a map, along one side."""

    interval: Tensor
    """Of every pixel."""
    pixel: Tensor
    """(intervals, most pixels): its pixels, the last one again where it has fewer."""
    weight: Tensor
    """(intervals, most pixels): of the point after, at those pixels."""


def _axis(points: int, pixels: int, dtype: torch.dtype) -> _Axis:
    before, after = positions(points, pixels, dtype)
    interval = before.clamp(max=points - 2)  # the last pixel lies on the last point: at the end of its interval
    after = torch.where(before > interval, 1, after)
    count = torch.bincount(interval, minlength=points - 1)
    steps = torch.arange(int(count.max())).minimum(count[:, None] - 1)
    pixel = (count.cumsum(0) - count)[:, None] + steps
    return _Axis(interval, pixel, after[pixel])


def _argmax_by_cells(logits: Tensor, size: tuple[int, int]) -> Tensor:
    count, classes, height, width = logits.shape
    down, right = _axis(height, size[0], logits.dtype), _axis(width, size[1], logits.dtype)
    corner_label = argmax(logits)
    wide = corner_label.flatten(0, 1).gather(1, right.interval.expand(count * height, -1))
    pixels = wide.index_select(0, (torch.arange(count)[:, None] * height + down.interval).flatten()).flatten()
    # Scores that are nearer than this may change places when they are rounded.
    margin = 8 * torch.finfo(logits.dtype).eps * logits.abs().amax()
    image, row, column = _undecided(logits, corner_label, margin).nonzero().unbind(1)
    cell = (image * height + row) * width + column
    corners = torch.stack([cell, cell + 1, cell + width, cell + width + 1])
    scores = logits.transpose(0, 1).flatten(1).index_select(1, corners.flatten()).view(classes, 4, -1)
    possible = _possible(scores, corner_label.flatten()[corners].long(), margin)
    # The possible classes of every cell come first, in order; cells with many come before those with few.
    number, order = possible.sum(0).sort(descending=True, stable=True)
    names = torch.arange(classes)[:, None]
    choices = torch.where(possible, names, classes)[:, order].sort(0).values
    image, row, column, scores = image[order], row[order], column[order], scores[:, :, order]
    most = max(1, _BLOCK_BYTES // (down.pixel.shape[1] * right.pixel.shape[1] * logits.element_size()))
    for start in range(0, len(order), most):
        at = slice(start, start + most)
        winner = _winners(scores[:, :, at], choices[:, at], number[at], down.weight[row[at]], right.weight[column[at]])
        first = (image[at, None] * size[0] + down.pixel[row[at]]) * size[1]
        pixels.scatter_(0, (first[:, :, None] + right.pixel[column[at]][:, None]).flatten(), winner.flatten())
    return pixels.view(count, *size)


def _undecided(logits: Tensor, label: Tensor, margin: Tensor) -> Tensor:
    """(N, h - 1, w - 1): cells whose corners have several classes, or one that barely leads."""
    near = (logits >= logits.amax(1, keepdim=True) - margin).sum(1) > 1
    sure = label.short().masked_fill(near, -1)
    first = sure[:, :-1, :-1]
    others = sure[:, :-1, 1:], sure[:, 1:, :-1], sure[:, 1:, 1:]
    same = first >= 0
    for other in others:
        same &= first == other
    return ~same


def _possible(scores: Tensor, winners: Tensor, margin: Tensor) -> Tensor:
    """(C, cells): classes that may win inside: those that no corner's winner beats at all corners.

    Args:
        scores: (C, 4, cells).
        winners: (4, cells).
        margin: By which a class must be ahead of one that comes before it, which wins where they are equal.
    """
    names = torch.arange(len(scores))[:, None]
    possible = torch.ones(len(scores), scores.shape[-1], dtype=torch.bool)
    for winner in winners:
        bar = scores.gather(0, winner.expand(1, 4, -1))
        lead = (scores - bar).amax(1)  # at the corner where it is nearest
        beaten = lead <= torch.where(names < winner, -margin, 0)
        possible &= ~beaten | (names == winner)
    return possible


def _winners(scores: Tensor, choices: Tensor, number: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """(cells, rows, columns) of bytes: the class of every pixel of some cells.

    Args:
        scores: (C, 4, cells), at the corners.
        choices: Classes to compare; (C, cells), the possible ones first, in order.
        number: How many of them each cell has, in descending order.
        down: Weights of the lower corners; (cells, rows).
        across: Weights of the right corners; (cells, columns).
    """
    greatest = label = torch.empty(0)
    for at in range(int(number[0])):
        cells = slice(0, int((number > at).sum()))
        name = choices[at, cells]
        corner = scores[..., cells].gather(0, name.expand(1, 4, -1))[0, :, :, None]
        upper, lower = (torch.lerp(left, right, across[cells]) for left, right in (corner[:2], corner[2:]))
        value = torch.lerp(upper[:, None], lower[:, None], down[cells, :, None])
        byte = name.to(torch.uint8)[:, None, None]
        if at == 0:
            greatest, label = value, byte.expand(value.shape).contiguous()
            continue
        # As in `argmax`: a later class has a larger number.
        wins = (value > greatest[cells]).view(torch.uint8).mul_(byte)
        torch.maximum(label[cells], wins, out=label[cells])
        torch.maximum(greatest[cells], value, out=greatest[cells])
    return label
