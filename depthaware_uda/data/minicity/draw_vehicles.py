"""Drawings of the panels of cars, vans and buses.

Parts: 1 paint, 2 glass, 3 black trim, 4 tyre, 5 rim, 6 head lamp, 7 tail lamp, 8 plate, 9 chrome, 10 second paint,
11 lit sign, 12 interior seen through a window.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .canvas import Canvas

__all__ = [
    "BUS_SIDES",
    "CAR_TYPES",
    "CarType",
    "bus_end",
    "bus_side",
    "car_front",
    "car_rear",
    "car_side",
    "glasshouse",
    "van_doors",
    "wheel",
    "window",
]

PAINT, GLASS, TRIM, TYRE, RIM, HEAD, TAIL, PLATE, CHROME, PAINT2, LIT, INSIDE = range(1, 13)


class CarType(NamedTuple):
    """The shape of a car in metres.

    Attributes:
        length: From bumper to bumper.
        width: Without mirrors.
        height: Of the roof.
        belt: Height of the lower edge of the windows.
        bonnet: Length of the bonnet.
        nose: Height of the bonnet's front edge.
        screen: Horizontal run of the windscreen.
        back: Horizontal run of the rear window.
        boot: Length of the boot.
        inset: How far the sides of the roof are inside those of the body.
        panel: True for a van without side windows behind the driver.
    """

    length: float
    width: float
    height: float
    belt: float
    bonnet: float
    nose: float
    screen: float
    back: float
    boot: float
    inset: float = 0.2
    panel: bool = False


CAR_TYPES = {
    "hatchback": CarType(3.9, 1.68, 1.46, 0.92, 0.85, 0.72, 0.75, 0.45, 0.0),
    "saloon": CarType(4.5, 1.76, 1.43, 0.92, 1.1, 0.7, 0.85, 0.75, 0.65),
    "estate": CarType(4.6, 1.76, 1.48, 0.94, 1.1, 0.72, 0.8, 0.35, 0.0),
    "suv": CarType(4.6, 1.88, 1.76, 1.08, 1.05, 0.95, 0.6, 0.25, 0.0, inset=0.16),
    "mpv": CarType(4.4, 1.8, 1.68, 1.0, 0.7, 0.82, 1.0, 0.2, 0.0, inset=0.17),
    "city": CarType(3.4, 1.6, 1.5, 0.95, 0.55, 0.78, 0.7, 0.2, 0.0),
    "van": CarType(5.0, 1.95, 2.15, 1.2, 0.75, 0.95, 0.7, 0.06, 0.0, inset=0.07, panel=True),
    "small_van": CarType(4.2, 1.72, 1.8, 1.02, 0.85, 0.8, 0.65, 0.05, 0.0, inset=0.08, panel=True),
}
BUS_SIDES = ("single", "double", "coach", "truck")


def car_side(rng: np.random.Generator, car: CarType) -> Canvas:
    """The lower body from rear (left) to front, up to the belt; the area above the sloping bonnet is a hole."""
    canvas = Canvas(car.length, car.belt)
    length, belt = car.length, car.belt
    base = length - car.bonnet
    canvas.polygon(
        [
            *((0.06, 0.2), (length - 0.06, 0.2), (length, 0.3), (length, car.nose + 0.03)),
            # The upper edge lies a little above the bonnet's face, so that no gap shows between them.
            *((base, belt + 0.03), (0.0, belt + 0.03), (0.0, 0.3)),
        ],
        PAINT,
    )
    canvas.rectangle(0.06, 0.2, length - 0.06, 0.3, TRIM)
    for middle in (0.19 * length, 0.81 * length):
        canvas.ellipse(middle, 0.3, 0.37, TRIM)
        canvas.rectangle(middle - 0.37, 0.0, middle + 0.37, 0.2, 0)
    back_door, middle, front_door = 0.27 * length, 0.47 * length, base - 0.05
    for seam in (back_door, middle, front_door):
        canvas.rectangle(seam, 0.3, seam + 0.025, belt, TRIM)
    for handle in (back_door, middle):
        canvas.rectangle(handle + 0.08, belt - 0.2, handle + 0.26, belt - 0.15, CHROME if rng.random() < 0.4 else TRIM)
    if rng.random() < 0.4:
        canvas.rectangle(0.1, 0.5, length - 0.1, 0.55, TRIM if rng.random() < 0.6 else CHROME)
    canvas.rectangle(0.0, belt * 0.7, 0.14, belt * 0.94, TAIL)
    canvas.rectangle(length - 0.28, car.nose - 0.2, length, car.nose - 0.06, HEAD)
    return canvas


def glasshouse(rng: np.random.Generator, *, panel: bool) -> Canvas:
    """The upper side of a car from rear to front; a panel van has glass at the front only."""
    canvas = Canvas(1.0, 1.0)
    canvas.rectangle(0, 0, 1, 1, PAINT)
    if panel:
        canvas.polygon([(0.72, 0.08), (0.97, 0.08), (0.9, 0.85), (0.72, 0.85)], GLASS)
        return canvas
    canvas.polygon([(0.05, 0.06), (0.95, 0.06), (0.92, 0.86), (0.08, 0.86)], GLASS)
    for pillar in (0.28 if rng.random() < 0.7 else 0.22, 0.6):
        canvas.rectangle(pillar, 0, pillar + 0.035, 1, TRIM if rng.random() < 0.5 else PAINT)
    canvas.ellipse(rng.uniform(0.42, 0.5), 0.3, 0.05, INSIDE, tall=0.3)
    canvas.ellipse(rng.uniform(0.72, 0.78), 0.35, 0.05, INSIDE, tall=0.35)
    return canvas


def window(rng: np.random.Generator) -> Canvas:
    """A windscreen or rear window in its frame, and the interior seen through it."""
    canvas = Canvas(1.0, 1.0)
    canvas.rectangle(0, 0, 1, 1, PAINT)
    canvas.polygon([(0.04, 0.04), (0.96, 0.04), (0.92, 0.93), (0.08, 0.93)], GLASS)
    for seat in (0.28, 0.72):
        canvas.ellipse(seat, 0.25, 0.1, INSIDE, tall=0.32)
    if rng.random() < 0.5:
        canvas.rectangle(0.45, 0.75, 0.55, 0.88, INSIDE)
    canvas.rectangle(0.04, 0.02, 0.96, 0.08, TRIM)
    return canvas


def van_doors(rng: np.random.Generator) -> Canvas:
    """The upper back of a panel van: two doors, with or without small windows."""
    canvas = Canvas(1.0, 1.0)
    canvas.rectangle(0, 0, 1, 1, PAINT)
    if rng.random() < 0.7:
        canvas.rectangle(0.1, 0.2, 0.45, 0.8, GLASS)
        canvas.rectangle(0.55, 0.2, 0.9, 0.8, GLASS)
    canvas.rectangle(0.49, 0, 0.51, 1, TRIM)
    return canvas


def _plate(canvas: Canvas, height: float) -> None:
    canvas.rectangle(0.34, height, 0.66, height + 0.12, PLATE)
    for index in range(6):
        canvas.rectangle(0.37 + index * 0.045, height + 0.03, 0.395 + index * 0.045, height + 0.09, TRIM)


def car_front(rng: np.random.Generator) -> Canvas:
    """The face of a car below the bonnet: lamps, grille, bumper, plate."""
    canvas = Canvas(1.0, 1.0)
    canvas.rectangle(0, 0, 1, 1, PAINT)
    canvas.rectangle(0, 0, 1, 0.14, TRIM)
    lamp, grille = rng.uniform(0.18, 0.26), rng.uniform(0.2, 0.3)
    for low, high in ((0.03, 0.03 + lamp), (0.97 - lamp, 0.97)):
        canvas.rectangle(low, 0.62, high, 0.9, HEAD)
    canvas.rectangle(0.5 - grille, 0.66, 0.5 + grille, 0.88, TRIM)
    if rng.random() < 0.5:
        canvas.rectangle(0.5 - grille, 0.76, 0.5 + grille, 0.79, CHROME)
    canvas.rectangle(0.2, 0.18, 0.8, 0.32, TRIM)
    canvas.rectangle(0, 0.52, 1, 0.55, TRIM)
    _plate(canvas, 0.36)
    return canvas


def car_rear(rng: np.random.Generator) -> Canvas:
    """The back of a car below the window: lamps, plate, bumper."""
    canvas = Canvas(1.0, 1.0)
    canvas.rectangle(0, 0, 1, 1, PAINT)
    canvas.rectangle(0, 0, 1, 0.16, TRIM)
    lamp, low = rng.uniform(0.1, 0.24), rng.uniform(0.5, 0.68)
    for left, right in ((0.02, 0.02 + lamp), (0.98 - lamp, 0.98)):
        canvas.rectangle(left, low, right, 0.97, TAIL)
        canvas.rectangle(left, low, right, low + 0.07, HEAD)
    canvas.rectangle(0, 0.44, 1, 0.47, TRIM)
    if rng.random() < 0.4:
        canvas.rectangle(0.0, 0.16, 1.0, 0.42, TRIM)
    _plate(canvas, 0.56 if rng.random() < 0.6 else 0.24)
    return canvas


def wheel(rng: np.random.Generator) -> Canvas:
    """A wheel: tyre, rim and holes."""
    canvas = Canvas(1.0, 1.0)
    canvas.ellipse(0.5, 0.5, 0.49, TYRE)
    canvas.ellipse(0.5, 0.5, 0.33, RIM)
    turn = rng.uniform(0, 1)
    for spoke in range(6):
        angle = turn + spoke * math.pi / 3
        canvas.ellipse(0.5 + 0.2 * math.cos(angle), 0.5 + 0.2 * math.sin(angle), 0.07, TRIM)
    return canvas


def bus_side(rng: np.random.Generator, kind: str) -> Canvas:
    """The side of a bus or lorry from rear to front."""
    canvas = Canvas(1.0, 1.0)
    canvas.rectangle(0, 0, 1, 1, PAINT)
    canvas.rectangle(0, 0, 1, 0.08, TRIM)
    if kind == "truck":
        canvas.rectangle(0, 0.22, 0.78, 1, PAINT2)
        canvas.rectangle(0.78, 0.1, 0.8, 1, TRIM)
        canvas.polygon([(0.84, 0.45), (0.98, 0.45), (0.96, 0.72), (0.84, 0.72)], GLASS)
        canvas.rectangle(0.12, 0.42, 0.62, 0.72, PAINT)
    else:
        rows = {"single": ((0.44, 0.84),), "double": ((0.25, 0.47), (0.64, 0.86)), "coach": ((0.5, 0.88),)}[kind]
        canvas.rectangle(0, rows[0][1] + 0.02, 1, rows[0][1] + 0.08, PAINT2)
        canvas.rectangle(0, 0.12, 1, 0.2, PAINT2)
        for low, high in rows:
            canvas.rectangle(0.02, low, 0.98, high, GLASS)
            for index in range(9):
                canvas.rectangle(0.02 + 0.12 * index, low, 0.03 + 0.12 * index, high, TRIM)
                if rng.random() < 0.5:
                    canvas.ellipse(0.08 + 0.12 * index, low, 0.015, INSIDE, tall=(high - low) * 0.5)
        for door in ((0.86, 0.95), (0.5, 0.58)) if kind != "coach" else ((0.9, 0.96),):
            canvas.rectangle(door[0], 0.1, door[1], rows[0][1], GLASS)
            canvas.rectangle(sum(door) / 2, 0.1, sum(door) / 2 + 0.005, rows[0][1], TRIM)
        if kind == "double":
            canvas.rectangle(0.2, 0.5, 0.55, 0.61, LIT)
    return canvas


def bus_end(rng: np.random.Generator, kind: str, *, front: bool) -> Canvas:
    """The front or the back of a bus or lorry."""
    canvas = Canvas(1.0, 1.0)
    canvas.rectangle(0, 0, 1, 1, PAINT if front or kind != "truck" else PAINT2)
    canvas.rectangle(0, 0, 1, 0.08, TRIM)
    high = 0.47 if kind == "double" else 0.8
    if kind == "truck":
        if front:
            canvas.rectangle(0.0, 0.75, 1, 1, PAINT2)
            canvas.rectangle(0.06, 0.42, 0.94, 0.68, GLASS)
        else:
            canvas.rectangle(0.49, 0.2, 0.51, 0.98, TRIM)
    else:
        low = 0.22 if kind == "double" else 0.36
        canvas.rectangle(0.05, low, 0.95, high, GLASS)
        canvas.rectangle(0.3, high + 0.02, 0.8, high + 0.09, LIT if front else PAINT2)
        if kind == "double":
            canvas.rectangle(0.05, 0.64, 0.95, 0.9, GLASS)
        if not front:
            canvas.rectangle(0.2, 0.1, 0.8, low - 0.05, TRIM if rng.random() < 0.5 else PAINT2)
    lamp = HEAD if front else TAIL
    for left in (0.06, 0.82):
        canvas.rectangle(left, 0.11, left + 0.12, 0.18, lamp)
    canvas.rectangle(0.38, 0.09, 0.62, 0.13, PLATE)
    return canvas
