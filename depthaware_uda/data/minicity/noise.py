"""Tileable noise, made once per process from a fixed seed and looked up by world coordinates."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["cloud_noise", "lookup", "white_noise", "wrap"]

Float = NDArray[np.float32]
_SIZE = 512


@cache
def white_noise() -> Float:
    """Uniform noise in 0..1, shape (512, 512)."""
    return np.random.default_rng(20210).random((_SIZE, _SIZE), dtype=np.float32)


@cache
def cloud_noise(slope: float = 1.6) -> Float:
    """Tileable fractal noise of spectrum 1 / f ** slope, mean 0.5, clipped to 0..1, shape (512, 512)."""
    rng = np.random.default_rng(20211)
    frequency = np.fft.fftfreq(_SIZE) * _SIZE
    radius = np.hypot(frequency[:, None], frequency[None, : _SIZE // 2 + 1])
    radius[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((_SIZE, _SIZE))) / radius**slope
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(_SIZE, _SIZE))
    noise: Float = np.clip(0.5 + 0.22 * field / field.std(), 0, 1).astype(np.float32)
    return noise


def lookup(texture: Float, x: Float, y: Float) -> Float:
    """Nearest texels of a tileable texture; coordinates in texels, of any sign and shape."""
    column = x.astype(np.int32) & (_SIZE - 1)
    row = y.astype(np.int32) & (_SIZE - 1)
    return texture.ravel()[row * _SIZE + column]


def wrap(x: Float, period: float | np.float32 | Float) -> Float:
    """Remainder in 0..period; several times as fast as `np.mod`, but rounded where that is exact."""
    remainder: Float = x - np.floor(x / period) * period
    return remainder
