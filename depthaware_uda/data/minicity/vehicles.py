"""Cars, vans, buses and two-wheelers as faces. All look along +z in their own pose."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .classes import BICYCLE, BUS, CAR, MOTORCYCLE, RIDER
from .mesh import Material, MeshBuilder, Pose
from .style import Style, choose
from .textures import part_textures

__all__ = ["CAR_TYPES", "add_bus", "add_car", "add_two_wheeler", "vehicle_palette"]


class CarType(NamedTuple):
    """Metres: length, width, height, belt; bonnet and its height at the nose; runs of the windscreen and rear window; boot."""

    length: float
    width: float
    height: float
    belt: float
    bonnet: float
    nose: float
    screen: float
    back: float
    boot: float
    panel: bool = False


CAR_TYPES = {
    "hatchback": CarType(3.9, 1.68, 1.46, 0.92, 0.85, 0.72, 0.75, 0.45, 0.0),
    "saloon": CarType(4.5, 1.76, 1.43, 0.92, 1.1, 0.7, 0.85, 0.75, 0.65),
    "estate": CarType(4.6, 1.76, 1.48, 0.94, 1.1, 0.72, 0.8, 0.35, 0.0),
    "suv": CarType(4.6, 1.88, 1.76, 1.08, 1.05, 0.95, 0.6, 0.25, 0.0),
    "mpv": CarType(4.4, 1.8, 1.68, 1.0, 0.7, 0.82, 1.0, 0.2, 0.0),
    "city": CarType(3.4, 1.6, 1.5, 0.95, 0.55, 0.78, 0.7, 0.2, 0.0),
    "van": CarType(5.0, 1.95, 2.15, 1.2, 0.75, 0.95, 0.7, 0.06, 0.0, panel=True),
    "small_van": CarType(4.2, 1.72, 1.8, 1.02, 0.85, 0.8, 0.65, 0.05, 0.0, panel=True),
}
_GREYS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.62, 0.75, 0.85)


def vehicle_palette(builder: MeshBuilder, rng: np.random.Generator, style: Style) -> int:
    """Random paint; lamps are lit now and then."""
    if rng.random() < style.grey_cars:
        grey = _GREYS[int(rng.integers(len(_GREYS)))]
        paint = (grey, grey * rng.uniform(0.97, 1.02), grey * rng.uniform(0.97, 1.06))
    else:
        paint = choose(rng, style.car_colours)
    glass = rng.uniform(0.08, 0.3)
    lit = rng.random() < 0.25
    rim = rng.uniform(0.25, 0.65)
    second = choose(rng, ((0.9, 0.9, 0.88), (0.15, 0.15, 0.17), (0.85, 0.75, 0.2), (0.2, 0.35, 0.6), paint))
    plate = (0.85, 0.72, 0.2) if rng.random() < 0.5 else (0.85, 0.85, 0.82)
    tail = (1.1, 0.15, 0.1) if lit else (0.5, 0.06, 0.06)
    head = (1.3, 1.3, 1.2) if lit else (0.75, 0.78, 0.8)
    trim = (0.05, 0.05, 0.055)
    return builder.palette(
        *(paint, (glass, glass * 1.05, glass * 1.1), trim, (0.07, 0.07, 0.07), (rim, rim, rim)),
        *(head, tail, plate, (0.7, 0.7, 0.72), second, (0.9, 0.6, 0.15), (0.04, 0.04, 0.045)),
    )


def add_car(builder: MeshBuilder, pose: Pose, kind: str, palette: int, rng: np.random.Generator) -> None:
    """Adds a car of a type of `CAR_TYPES`."""
    car, textures = CAR_TYPES[kind], part_textures()
    size = rng.uniform(0.94, 1.06)
    half, length, height = car.width / 2, car.length * size, car.height * rng.uniform(0.96, 1.04)
    rear, front, low, belt = -length / 2, length / 2, 0.2, car.belt
    base = front - car.bonnet
    roof_front, boot_end = base - car.screen, rear + car.boot
    roof_rear, inset = boot_end + car.back, half - (0.06 if car.panel else 0.2)
    roof_half = inset
    builder.place(pose)
    side = textures.pick("car_side", rng)
    upper = textures.pick("glasshouse_panel" if car.panel else "glasshouse", rng)

    def panel(corners: tuple[tuple[float, float, float], ...], texture: int) -> None:
        builder.quad(
            (corners[0], corners[1], corners[2], corners[3]), CAR, palette, material=Material.PARTS, texture=texture
        )

    def painted(corners: tuple[tuple[float, float, float], ...]) -> None:
        builder.quad((corners[0], corners[1], corners[2], corners[3]), CAR, palette)

    nose, tail = car.nose, belt if car.boot == 0 else belt * 0.98
    right = ((half, low, rear), (half, low, front), (half, nose, front), (half, tail, rear))
    # The sides are cut at the bonnet's base; both pieces show one drawing, so its length is given for each.
    share = (base - rear) / length
    for x in (half, -half):
        cabin = ((x, low, rear), (x, low, base), (x, belt, base), (x, tail, rear))
        hood = ((x, low, front), (x, low, base), (x, belt, base), (x, nose, front))
        for piece, extent in ((cabin, share), (hood, -(1 - share))):
            corners = piece if (x > 0) == (piece is cabin) else (piece[1], piece[0], piece[3], piece[2])
            flipped = corners is not piece
            # u must grow from rear to front whichever way round the corners run.
            builder.strip(corners, CAR, palette, side, extent, flipped)
        glass = ((x, belt, boot_end), (x, belt, base), (x, height, roof_front), (x, height, roof_rear))
        inner = math.copysign(roof_half, x)
        glass = (glass[0], glass[1], (inner, height, roof_front), (inner, height, roof_rear))
        if x < 0:
            glass = (glass[1], glass[0], glass[3], glass[2])
        panel(glass, upper)
    del right
    painted(((-half, nose, front), (half, nose, front), (half, belt, base), (-half, belt, base))[::-1])
