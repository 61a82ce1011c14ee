"""Drawings of signs, traffic lights and fences."""

from __future__ import annotations

import math

import numpy as np

from .canvas import Canvas

__all__ = ["FENCES", "SIGNS", "fence", "sign", "traffic_light"]

FENCES = ("railing", "guard", "picket", "panel", "mesh", "bars")
SIGNS = (
    *("speed", "no_entry", "warning", "yield", "stop", "blue_disc", "parking", "direction", "green_board"),
    *("plate", "arrow", "no_waiting"),
)
WHITE, RED, BLUE, BLACK, YELLOW, GREEN, GREY = 1, 2, 3, 4, 5, 6, 7


def sign(rng: np.random.Generator, kind: str) -> Canvas:
    """A traffic sign that fills the unit square; parts: white, red, blue, black, yellow, green, grey."""
    canvas = Canvas(1.0, 1.0)
    if kind == "speed":
        canvas.ellipse(0.5, 0.5, 0.49, RED)
        canvas.ellipse(0.5, 0.5, 0.36, WHITE)
        canvas.ring(0.39, 0.5, 0.09, 0.05, BLACK)
        canvas.ring(0.62, 0.5, 0.09, 0.05, BLACK)
    elif kind == "no_entry":
        canvas.ellipse(0.5, 0.5, 0.49, RED)
        canvas.rectangle(0.16, 0.42, 0.84, 0.58, WHITE)
    elif kind in ("warning", "yield"):
        flip = -1 if kind == "yield" else 1
        for size, part in ((0.5, RED), (0.33, WHITE)):
            corners = [(0.5, 0.47 + flip * size * 1.02), (0.5 - size, 0.43 - flip * size * 0.8)]
            canvas.polygon([*corners, (0.5 + size, 0.43 - flip * size * 0.8)], part)
        if kind == "warning":
            canvas.limb((0.5, 0.32), (0.5, 0.58), 0.07, 0.07, BLACK)
    elif kind == "stop":
        for radius, part in ((0.49, WHITE), (0.45, RED)):
            turns = [math.pi / 8 + k * math.pi / 4 for k in range(8)]
            canvas.polygon([(0.5 + radius * math.cos(a), 0.5 + radius * math.sin(a)) for a in turns], part)
        canvas.rectangle(0.2, 0.42, 0.8, 0.58, WHITE)
    elif kind in ("blue_disc", "arrow"):
        canvas.ellipse(0.5, 0.5, 0.49, BLUE)
        canvas.limb((0.65, 0.68), (0.38, 0.38), 0.09, 0.09, WHITE)
        canvas.polygon([(0.28, 0.28), (0.55, 0.32), (0.32, 0.55)], WHITE)
    elif kind == "no_waiting":
        canvas.ellipse(0.5, 0.5, 0.49, RED)
        canvas.ellipse(0.5, 0.5, 0.38, BLUE)
        canvas.limb((0.24, 0.76), (0.76, 0.24), 0.09, 0.09, RED)
    else:
        base = {"parking": BLUE, "direction": BLUE, "green_board": GREEN, "plate": WHITE}[kind]
        canvas.rectangle(0.02, 0.02, 0.98, 0.98, BLACK if base == WHITE else WHITE)
        canvas.rectangle(0.05, 0.05, 0.95, 0.95, base)
        ink = BLACK if base == WHITE else WHITE
        if kind == "parking":
            canvas.rectangle(0.34, 0.18, 0.44, 0.82, ink)
            canvas.ring(0.52, 0.64, 0.13, 0.1, ink)
        else:
            for row in range(3):
                canvas.rectangle(0.12, 0.72 - 0.26 * row, rng.uniform(0.5, 0.88), 0.82 - 0.26 * row, ink)
    return canvas


def traffic_light(phase: str) -> Canvas:
    """The face of a traffic light; parts: 1 housing, 2 rim, 3 red, 4 amber, 5 green lamp, 6 unlit lamp."""
    canvas = Canvas(1.0, 2.6)
    canvas.rectangle(0, 0, 1, 2.6, 2)
    canvas.rectangle(0.08, 0.08, 0.92, 2.52, 1)
    for height, name, part in ((2.05, "red", 3), (1.3, "amber", 4), (0.55, "green", 5)):
        canvas.ellipse(0.5, height, 0.3, part if name == phase else 6)
    return canvas


def fence(rng: np.random.Generator, kind: str) -> Canvas:
    """A fence segment that tiles sideways, 2 m long, of full height; parts: 1 main colour, 2 second colour."""
    canvas = Canvas(2.0, 1.0)
    if kind in ("railing", "bars", "guard"):
        step, width = {"railing": (0.125, 0.035), "bars": (0.2, 0.05), "guard": (0.1, 0.025)}[kind]
        for index in range(round(2 / step)):
            canvas.rectangle(index * step, 0.05, index * step + width, 0.97, 1)
        for height in (0.1, 0.86):
            canvas.rectangle(0, height, 2, height + 0.06, 1)
        canvas.rectangle(0.0, 0, 0.08, 1, 1)
        canvas.rectangle(1.0, 0, 1.08, 1, 1)
    elif kind == "picket":
        for index in range(10):
            left = index * 0.2
            tip = [(left + 0.13, 0.85), (left + 0.065, 0.98), (left, 0.85)]
            canvas.polygon([(left, 0.04), (left + 0.13, 0.04), *tip], 1)
        for height in (0.25, 0.65):
            canvas.rectangle(0, height, 2, height + 0.08, 2)
    elif kind == "panel":
        canvas.rectangle(0, 0, 2, rng.uniform(0.95, 1.0), 1)
        for index in range(13):
            canvas.rectangle(index * 0.154, 0, index * 0.154 + 0.018, 1, 2)
        canvas.rectangle(0, 0, 0.09, 1, 2)
    else:
        for index in range(-14, 28):
            canvas.limb((index * 0.145, 0), (index * 0.145 + 1, 1), 0.02, 0.02, 1)
            canvas.limb((index * 0.145, 1), (index * 0.145 + 1, 0), 0.02, 0.02, 1)
        for left in (0.0, 1.0):
            canvas.rectangle(left, 0, left + 0.07, 1, 2)
        canvas.rectangle(0, 0.94, 2, 1, 2)
    return canvas
