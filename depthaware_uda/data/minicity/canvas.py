"""Draws part textures: shapes in metres, filled with part numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["TEXELS", "Canvas"]

TEXELS = 256
"""Side of every texture; a power of two, so that repeating is a bit mask."""
XY = tuple[float, float]


class Canvas:
    """A texture of part numbers that covers `width` x `height` metres, x from the left, y from the bottom."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._image = Image.new("L", (TEXELS, TEXELS), 0)
        self._draw = ImageDraw.Draw(self._image)

    def _point(self, x: float, y: float) -> XY:
        return x / self.width * TEXELS, (1 - y / self.height) * TEXELS

    def polygon(self, points: Sequence[XY], part: int) -> None:
        """Fills a polygon."""
        self._draw.polygon([self._point(*p) for p in points], fill=part)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, part: int) -> None:
        """Fills a rectangle between two corners."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], part)

    def ellipse(self, x: float, y: float, radius: float, part: int, *, tall: float | None = None) -> None:
        """Fills an ellipse of horizontal radius `radius` and vertical radius `tall`."""
        rise = radius if tall is None else tall
        x0, y1 = self._point(x - radius, y + rise)
        x1, y0 = self._point(x + radius, y - rise)
        self._draw.ellipse([x0, y1, x1, y0], fill=part)

    def ring(self, x: float, y: float, radius: float, thickness: float, part: int) -> None:
        """Draws a circle's outline."""
        points = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 33)]
        for start, end in pairwise(points):
            self.limb(start, end, thickness, thickness, part)

    def limb(self, start: XY, end: XY, start_width: float, end_width: float, part: int) -> None:
        """Fills a tapering bar with round ends."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length / 2, dx / length / 2
        self.polygon(
            [
                (start[0] + nx * start_width, start[1] + ny * start_width),
                (end[0] + nx * end_width, end[1] + ny * end_width),
                (end[0] - nx * end_width, end[1] - ny * end_width),
                (start[0] - nx * start_width, start[1] - ny * start_width),
            ],
            part,
        )
        self.ellipse(*start, start_width / 2, part)
        self.ellipse(*end, end_width / 2, part)

    def path(self, points: Sequence[XY], width: float, part: int) -> None:
        """Draws bars along a line of points."""
        for start, end in pairwise(points):
            self.limb(start, end, width, width, part)

    def parts(self) -> NDArray[np.uint8]:
        """The part numbers; row 0 is the bottom."""
        return np.array(self._image)[::-1].copy()

    def shade(self, rng: np.random.Generator, *, roundness: float = 0.5) -> NDArray[np.uint8]:
        """Relative brightness, 200 is neutral: darker rims, as of round bodies, slight folds; row 0 is the bottom."""
        inside = self._image.point(lambda value: 255 if value else 0)
        soft = np.asarray(inside.filter(ImageFilter.GaussianBlur(TEXELS / 32)), np.float32) / 255
        seams = np.asarray(self._image.filter(ImageFilter.FIND_EDGES), np.float32) > 0
        coarse = Image.fromarray((rng.random((24, 24)) * 255).astype(np.uint8))
        folds = np.asarray(coarse.resize((TEXELS, TEXELS), Image.Resampling.BICUBIC), np.float32) / 255
        uneven = min(1.0, 0.12 + roundness * 2) * 0.36
        shade = 200 * (1 - roundness + roundness * np.clip(soft * 1.3 - 0.25, 0, 1.05)) * (1 + uneven * (folds - 0.5))
        # Higher parts see more of the sky.
        shade *= np.linspace(1.1, 0.85, TEXELS)[:, None]
        shade[seams] *= 0.9
        return np.clip(shade, 0, 255).astype(np.uint8)[::-1].copy()
