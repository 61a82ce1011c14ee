"""Depth and inverse depth: the one place where metres become the unit that networks predict.

The published method trains on inverse depth 65536 / (d + 1) of a depth d in centimetres, which is
655.36 / (metres + 0.01); berHu compares that, and depth-aware maps are multiplied by it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["MAX_METRES", "centimetres_to_metres", "metres_to_centimetres", "to_inverse_depth", "to_metres"]

_NUMERATOR = 655.36
_OFFSET = 0.01
MAX_METRES = 655.35
"""The farthest depth that a 16-bit file in centimetres holds."""


def to_inverse_depth(metres: Tensor) -> Tensor:
    """Inverse depth 655.36 / (metres + 0.01) of a depth in metres; NaN (unknown) stays NaN. Any shape."""
    return _NUMERATOR / (metres + _OFFSET)


def to_metres(inverse_depth: Tensor, *, max_metres: float = MAX_METRES) -> Tensor:
    """Depth in metres of an inverse depth, in 0..`max_metres`; NaN stays NaN. Any shape.

    A network has no activation on its inverse depth: zero and below read as `max_metres`.
    """
    farthest = _NUMERATOR / (max_metres + _OFFSET)
    return (_NUMERATOR / inverse_depth.clamp(min=farthest) - _OFFSET).clamp(min=0)


def centimetres_to_metres(encoded: NDArray[np.integer]) -> NDArray[np.float32]:
    """Metres of a 16-bit depth image in centimetres; 0 is unknown and becomes NaN. Any shape."""
    metres = np.asarray(encoded, np.float32) / np.float32(100)
    return np.where(np.asarray(encoded) == 0, np.float32(np.nan), metres)


def metres_to_centimetres(metres: Tensor | NDArray[np.floating]) -> NDArray[np.uint16]:
    """The 16-bit centimetres of a depth in metres, as written to PNG files: NaN becomes 0, far is clipped."""
    values: NDArray[np.floating] = (
        metres.detach().cpu().numpy() if isinstance(metres, torch.Tensor) else np.asarray(metres)
    )
    centimetres = np.clip(np.round(values * 100), 1, 65535)
    return np.where(np.isnan(values), 0, centimetres).astype(np.uint16)
