"""The two styles: contents of the streets, colours, and photography."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

__all__ = ["STYLES", "Colour", "Style", "StyleName", "choose", "vary"]

StyleName = Literal["synthetic", "real"]
Colour = tuple[float, float, float]
Range = tuple[float, float]
T = TypeVar("T")


def choose(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, all equally likely."""
    return options[int(rng.random() * len(options))]


def vary(rng: np.random.Generator, colour: Colour, amount: float = 0.08) -> Colour:
    """A random colour near `colour`, varied in brightness and, less so, in hue."""
    common, *own = rng.standard_normal(4).tolist()
    factor = 1 + amount * common
    red, green, blue = (
        min(1.0, max(0.02, c * factor * (1 + amount / 4 * n))) for c, n in zip(colour, own, strict=True)
    )
    return red, green, blue


@dataclass(frozen=True)
class Style:
    """Distributions of one style: pairs are ranges, other tuples choices, numbers rates, strengths or probabilities.

    Colours are sRGB in 0..1, lengths metres, angles radians.
    """

    number: int
    camera_height: Range
    focal: Range
    pitch: Range
    yaw: float
    lane_width: Range
    pavement: Range
    curvature: float
    left_hand: float
    terraced: float
    setback: Range
    floors: tuple[int, int]
    floor_height: Range
    walls: tuple[Colour, ...]
    bricks: tuple[Colour, ...]
    brick: float
    shops: float
    pitched_roofs: float
    grime: float
    parked: float
    traffic: float
    people: float
    cyclists: float
    trees: float
    bare_trees: float
    leaves: tuple[Colour, ...]
    lamp_spacing: Range
    signs: float
    lights: float
    asphalt: tuple[Colour, ...]
    wear: float
    paving: tuple[Colour, ...]
    grey_cars: float
    car_colours: tuple[Colour, ...]
    car_kinds: tuple[str, ...]
    bus_colours: tuple[Colour, ...]
    clothes: tuple[Colour, ...]
    trousers: tuple[Colour, ...]
    sunny: float
    sun_height: Range
    sun_strength: Range
    shade: Range
    sky_brightness: Range
    wet: float
    haze: Range
    underexposed: float


_SYNTHETIC = Style(
    number=0,
    camera_height=(1.15, 1.9),
    focal=(0.85, 1.35),
    pitch=(-0.09, 0.05),
    yaw=0.12,
    lane_width=(2.9, 4.0),
    pavement=(1.6, 4.5),
    curvature=1 / 160,
    left_hand=0.6,
    terraced=0.6,
    setback=(1.5, 7.0),
    floors=(1, 6),
    floor_height=(2.7, 3.6),
    walls=(
        *((0.82, 0.8, 0.74), (0.72, 0.62, 0.5), (0.62, 0.6, 0.56), (0.85, 0.74, 0.58), (0.7, 0.45, 0.38)),
        *((0.55, 0.6, 0.64), (0.9, 0.9, 0.88), (0.45, 0.42, 0.4), (0.76, 0.7, 0.42), (0.6, 0.68, 0.6)),
        *((0.32, 0.32, 0.34), (0.66, 0.55, 0.55)),
    ),
    bricks=((0.5, 0.27, 0.2), (0.42, 0.25, 0.2), (0.6, 0.48, 0.34), (0.36, 0.28, 0.25), (0.64, 0.55, 0.42)),
    brick=0.45,
    shops=0.4,
    pitched_roofs=0.5,
    grime=0.3,
    parked=0.45,
    traffic=0.9,
    people=9.0,
    cyclists=1.1,
    trees=0.75,
    bare_trees=0.5,
    leaves=(
        *((0.3, 0.42, 0.16), (0.22, 0.34, 0.14), (0.38, 0.46, 0.2), (0.2, 0.28, 0.17), (0.45, 0.42, 0.2)),
        *((0.42, 0.34, 0.2), (0.16, 0.26, 0.16)),
    ),
    lamp_spacing=(18, 40),
    signs=0.6,
    lights=0.55,
    asphalt=((0.3, 0.3, 0.31), (0.22, 0.22, 0.23), (0.4, 0.4, 0.4), (0.36, 0.34, 0.33), (0.47, 0.46, 0.45)),
    wear=0.4,
    paving=((0.6, 0.58, 0.55), (0.48, 0.47, 0.46), (0.7, 0.67, 0.62), (0.5, 0.44, 0.4), (0.38, 0.37, 0.37)),
    grey_cars=0.55,
    car_colours=(
        *((0.6, 0.08, 0.08), (0.1, 0.16, 0.4), (0.08, 0.25, 0.16), (0.75, 0.7, 0.55), (0.3, 0.05, 0.08)),
        *((0.25, 0.45, 0.65), (0.75, 0.55, 0.12), (0.15, 0.35, 0.35), (0.45, 0.1, 0.1), (0.3, 0.4, 0.3)),
        *((0.12, 0.12, 0.3), (0.5, 0.42, 0.3)),
    ),
    car_kinds=("hatchback", "hatchback", "saloon", "saloon", "estate", "suv", "mpv", "city", "van", "small_van"),
    bus_colours=((0.65, 0.1, 0.1), (0.85, 0.85, 0.82), (0.15, 0.3, 0.55), (0.2, 0.45, 0.3), (0.85, 0.65, 0.1)),
    clothes=(
        *((0.08, 0.08, 0.1), (0.15, 0.17, 0.25), (0.35, 0.33, 0.32), (0.6, 0.12, 0.12), (0.75, 0.72, 0.68)),
        *((0.2, 0.35, 0.55), (0.35, 0.4, 0.25), (0.55, 0.45, 0.3), (0.85, 0.85, 0.2), (0.5, 0.25, 0.45)),
        *((0.12, 0.12, 0.12), (0.25, 0.2, 0.18)),
    ),
    trousers=((0.08, 0.08, 0.1), (0.15, 0.2, 0.32), (0.3, 0.28, 0.26), (0.5, 0.45, 0.36), (0.2, 0.2, 0.22)),
    sunny=0.5,
    sun_height=(0.3, 1.1),
    sun_strength=(0.7, 1.5),
    shade=(0.45, 0.75),
    sky_brightness=(1.0, 1.0),
    wet=0.0,
    haze=(0.0, 0.004),
    underexposed=0.14,
)
_REAL = Style(
    number=1,
    camera_height=(1.25, 1.5),
    focal=(1.0, 1.15),
    pitch=(-0.05, 0.02),
    yaw=0.09,
    lane_width=(3.0, 3.5),
    pavement=(1.8, 3.2),
    curvature=1 / 220,
    left_hand=0.0,
    terraced=0.75,
    setback=(2.0, 5.0),
    floors=(2, 5),
    floor_height=(2.9, 3.9),
    walls=(
        *((0.78, 0.75, 0.68), (0.8, 0.7, 0.52), (0.7, 0.66, 0.6), (0.88, 0.86, 0.82), (0.66, 0.58, 0.5)),
        *((0.74, 0.6, 0.48), (0.6, 0.58, 0.55)),
    ),
    bricks=((0.48, 0.3, 0.23), (0.4, 0.29, 0.24), (0.58, 0.47, 0.36)),
    brick=0.35,
    shops=0.55,
    pitched_roofs=0.65,
    grime=0.9,
    parked=0.65,
    traffic=0.8,
    people=12.0,
    cyclists=1.4,
    trees=0.6,
    bare_trees=0.35,
    leaves=((0.24, 0.32, 0.13), (0.3, 0.36, 0.16), (0.18, 0.26, 0.13), (0.34, 0.34, 0.18)),
    lamp_spacing=(22, 34),
    signs=0.8,
    lights=0.6,
    asphalt=((0.33, 0.33, 0.34), (0.4, 0.4, 0.4), (0.28, 0.28, 0.3)),
    wear=1.0,
    paving=((0.55, 0.53, 0.5), (0.5, 0.49, 0.49), (0.6, 0.56, 0.5)),
    grey_cars=0.75,
    car_colours=((0.5, 0.06, 0.08), (0.1, 0.14, 0.3), (0.12, 0.2, 0.16), (0.5, 0.46, 0.38), (0.2, 0.3, 0.42)),
    car_kinds=("hatchback", "saloon", "saloon", "estate", "estate", "suv", "suv", "city", "van"),
    bus_colours=((0.85, 0.7, 0.12), (0.9, 0.9, 0.88), (0.6, 0.12, 0.12)),
    clothes=(
        *((0.07, 0.07, 0.08), (0.14, 0.15, 0.2), (0.3, 0.29, 0.29), (0.45, 0.14, 0.13), (0.68, 0.66, 0.64)),
        *((0.2, 0.28, 0.42), (0.3, 0.32, 0.24), (0.48, 0.4, 0.3), (0.11, 0.11, 0.11)),
    ),
    trousers=((0.07, 0.07, 0.08), (0.14, 0.17, 0.25), (0.24, 0.23, 0.22), (0.42, 0.38, 0.32)),
    sunny=0.55,
    sun_height=(0.12, 0.7),
    sun_strength=(1.2, 2.8),
    shade=(0.3, 0.6),
    sky_brightness=(1.0, 2.5),
    wet=0.25,
    haze=(0.0005, 0.004),
    underexposed=0.1,
)
STYLES: dict[str, Style] = {"synthetic": _SYNTHETIC, "real": _REAL}
