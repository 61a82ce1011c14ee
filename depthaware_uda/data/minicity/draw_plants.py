"""Drawings of leaves, hedges and bare branches. Parts: 1 lit leaves, 2 shaded leaves, 3 bark."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .canvas import TEXELS, Canvas
from .noise import cloud_noise, white_noise

__all__ = ["branches", "crown", "hedge"]

LEAF, DARK_LEAF, BARK = 1, 2, 3


class _Painted(Canvas):
    """A texture made from an array of part numbers (row 0 at the bottom)."""

    def __init__(self, parts: NDArray[np.uint8]) -> None:
        super().__init__(1.0, 1.0)
        self._image.frombytes(np.ascontiguousarray(parts[::-1]).tobytes())


def _noise(rng: np.random.Generator, scale: int) -> NDArray[np.float32]:
    """A random window of fractal noise; a larger scale is rougher."""
    shift = rng.integers(0, 512, 2)
    field = np.roll(cloud_noise(1.6), tuple(int(s) for s in shift), (0, 1))
    index = np.arange(TEXELS) * scale // 2 % 512
    window: NDArray[np.float32] = field[np.ix_(index, index)]
    return window


def crown(rng: np.random.Generator, density: float, *, pointed: bool = False) -> Canvas:
    """A clump of leaves with a ragged rim and gaps; `density` 0..1."""
    y, x = np.mgrid[0:TEXELS, 0:TEXELS].astype(np.float32) / (TEXELS / 2) - 1
    if pointed:
        radius = np.abs(x) / np.maximum(0.08 + 0.42 * (1 - y), 0.02) + 0.15 * np.sin(y * 25 + 3 * np.abs(x))
        radius = np.maximum(radius, np.abs(y))
    else:
        angle = np.arctan2(y, x)
        lobes = sum(rng.uniform(0.02, 0.08) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 7))
        radius = np.hypot(x, y) / (0.82 + lobes)
    rough, fine = _noise(rng, 2), _noise(rng, 4)
    grain = white_noise()[:TEXELS, :TEXELS]
    solid = radius + 0.9 * (rough - 0.5) + 0.5 * (fine - 0.5) + 0.3 * (grain - 0.5) < 0.55 + 0.45 * density
    solid &= (fine * 0.7 + grain * 0.3 > 0.62 * (1 - density)) & (np.maximum(np.abs(x), np.abs(y)) < 0.985)
    lit = (rough - 0.5) * 1.2 + (fine - 0.5) * 0.8 + (grain - 0.5) * 0.7 + 0.35 * y - 0.15 * x > 0
    return _Painted(np.where(solid, np.where(lit, LEAF, DARK_LEAF), 0).astype(np.uint8))


def hedge(rng: np.random.Generator) -> Canvas:
    """Leaves without holes, ragged along the top."""
    fine, grain = _noise(rng, 4), white_noise()[-TEXELS:, -TEXELS:]
    parts = np.where(fine + 0.5 * (grain - 0.5) > 0.47, LEAF, DARK_LEAF).astype(np.uint8)
    top = (TEXELS * (0.9 + 0.1 * _noise(rng, 4)[0])).astype(int)
    parts[np.arange(TEXELS)[:, None] > top[None]] = 0
    return _Painted(parts)


def branches(rng: np.random.Generator, *, trunk: bool) -> Canvas:
    """A bare tree; without a trunk, twigs that fan out from the lower edge."""
    canvas = Canvas(1.0, 1.0)

    def grow(x: float, y: float, angle: float, length: float, width: float, depth: int) -> None:
        end = (x + length * math.sin(angle), y + length * math.cos(angle))
        canvas.limb((x, y), end, width, width * 0.72, BARK)
        if depth == 0:
            return
        for _ in range(3 if depth > 1 or rng.random() < 0.6 else 2):
            turn = rng.normal(0, 0.5)
            grow(*end, angle * 0.9 + turn, length * rng.uniform(0.62, 0.85), width * 0.6, depth - 1)

    if trunk:
        grow(0.5, 0.0, rng.normal(0, 0.04), rng.uniform(0.22, 0.3), 0.035, 5)
    else:
        for _ in range(4):
            grow(rng.uniform(0.3, 0.7), 0.02, rng.normal(0, 0.5), 0.26, 0.016, 4)
    return canvas
