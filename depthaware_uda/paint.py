"""Painting maps with NumPy alone: classes in their palette, depth and fractions in a colour ramp."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthaware_uda.labels import IGNORE_INDEX, LabelSpace, get_label_space

__all__ = ["as_array", "colorize_depth", "colorize_fraction", "colorize_label", "overlay"]

_UNKNOWN_GREY = 128
# Near to far, from warm yellow through red and violet to deep blue, with evenly falling lightness; evenly spaced.
_DEPTH_COLOURS = ((252, 236, 158), (248, 149, 85), (204, 71, 98), (116, 41, 122), (22, 16, 62))

# Enough steps to show every colour: neighbours differ by at most half a level.
_RAMP = np.round(
    [np.interp(np.linspace(0, 4, 1025), range(5), channel) for channel in zip(*_DEPTH_COLOURS, strict=True)]
).T.astype(np.uint8)


def as_array(values: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Convert an array, or a tensor on any device, to an array."""
    array: NDArray[Any] = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    return array


def colorize_label(label: NDArray[np.integer] | Tensor, space: str | LabelSpace) -> NDArray[np.uint8]:
    """Paint a label map (H, W) in the palette of its label space, (H, W, 3); ignored pixels are black.

    Raises:
        ValueError: The label is not (H, W), not of integers, or holds a value that is neither a class nor 255.
    """
    values = as_array(label)
    space = get_label_space(space)
    if values.ndim != 2:
        raise ValueError(f"label must have shape (H, W), got {values.shape}")
    if values.dtype.kind not in "biu":
        raise ValueError(f"label must hold integers, got {values.dtype}")
    foreign = values[(values < 0) | ((values >= len(space)) & (values != IGNORE_INDEX))]
    if foreign.size:
        raise ValueError(
            f"label holds {np.unique(foreign)[:5].tolist()}, which are neither classes 0..{len(space) - 1} of "
            f"{space.name!r} nor {IGNORE_INDEX}"
        )
    return space.colorize(values)


def colorize_depth(
    metres: NDArray[np.floating] | Tensor, *, nearest: float = 2.0, farthest: float = 100.0
) -> NDArray[np.uint8]:
    """Paint a depth map (H, W) or (1, H, W) from near (yellow) to far (dark blue), (H, W, 3); unknown is grey.

    The scale is logarithmic and fixed, so pictures of different images can be compared.

    Args:
        metres: Depth, NaN where unknown.
        nearest: Depth in metres of the first colour, which anything nearer has, too.
        farthest: Depth in metres of the last colour, which anything farther has, too.

    Raises:
        ValueError: The shape is wrong, or the limits are not finite, ascending and above 0.
    """
    values = np.asarray(as_array(metres), np.float32)
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 2:
        raise ValueError(f"metres must have shape (H, W) or (1, H, W), got {values.shape}")
    if not 0 < nearest < farthest < np.inf:
        raise ValueError(f"nearest and farthest must be finite, ascending and above 0, got {nearest} and {farthest}")
    position = np.log(np.clip(values, nearest, farthest) / np.float32(nearest)) / np.float32(np.log(farthest / nearest))
    return _painted(position)


def colorize_fraction(values: NDArray[np.floating] | Tensor) -> NDArray[np.uint8]:
    """Paint a map (H, W) of values in 0..1, such as entropy or confidence: 0 dark blue, 1 light yellow; NaN is grey.

    Values outside 0..1 are clipped.

    Raises:
        ValueError: The shape is wrong.
    """
    fractions = np.asarray(as_array(values), np.float32)
    if fractions.ndim != 2:
        raise ValueError(f"values must have shape (H, W), got {fractions.shape}")
    return _painted(1 - np.clip(fractions, 0, 1))


def overlay(
    image: NDArray[np.uint8] | Tensor,
    label: NDArray[np.integer] | Tensor,
    space: str | LabelSpace,
    *,
    opacity: float = 0.5,
) -> NDArray[np.uint8]:
    """Lay the colours of a label map (H, W) over its image (H, W, 3); ignored pixels show the image alone.

    Args:
        image: RGB in 0..255, 8-bit.
        label: Class indices, 255 where ignored.
        space: The label space.
        opacity: Share of the colours in 0..1.

    Raises:
        ValueError: The sizes differ, the image is not 8-bit, the label holds an index that is neither a class nor 255,
            or `opacity` is out of range.
    """
    pixels, indices = as_array(image), as_array(label)
    if pixels.shape != (*indices.shape, 3):
        raise ValueError(f"image must have shape {(*indices.shape, 3)} to fit the label, got {pixels.shape}")
    if pixels.dtype != np.uint8:
        raise ValueError(f"image must be 8-bit, 0..255, got {pixels.dtype}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must lie in 0..1, got {opacity}")
    colours = colorize_label(indices, space)
    mixed = np.round(pixels * np.float32(1 - opacity) + colours * np.float32(opacity)).astype(np.uint8)
    return np.where((indices == IGNORE_INDEX)[..., None], pixels, mixed)


def _painted(position: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours along the ramp, (H, W) to (H, W, 3): 0 is the first, 1 the last; NaN (unknown) is grey."""
    unknown = np.isnan(position)
    steps = np.where(unknown, 0, position * np.float32(len(_RAMP) - 1) + np.float32(0.5)).astype(np.intp)
    painted: NDArray[np.uint8] = _RAMP.take(steps, axis=0)
    painted[unknown] = _UNKNOWN_GREY
    return painted
