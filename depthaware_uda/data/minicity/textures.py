"""The part textures of everything that is not a plain wall: people, two-wheelers, vehicles, signs, leaves, fences.

A texel says which *part* of an object it shows (skin, coat, tyre, window; 0 is a hole). Colours come from the palette
of the instance and labels from the part, so one drawing serves many objects of different colours.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .canvas import TEXELS, Canvas
from .draw_people import bicycle_front, bicycle_side, cyclist, motorcycle_front, motorcycle_side, motorcyclist, person
from .draw_plants import branches, crown, hedge
from .draw_street import FENCES, SIGNS, fence, sign, traffic_light
from .draw_vehicles import (
    BUS_SIDES,
    CAR_TYPES,
    bus_end,
    bus_side,
    car_front,
    car_rear,
    car_side,
    glasshouse,
    van_doors,
    wheel,
    window,
)

__all__ = ["TEXELS", "PartTextures", "part_textures"]


class PartTextures(NamedTuple):
    """All part textures.

    Attributes:
        parts: (T, 256, 256) part numbers, row 0 at the bottom.
        shade: (T, 256, 256) relative brightness, 200 is neutral.
        families: Indices of the variants of each kind of texture, by name.
    """

    parts: NDArray[np.uint8]
    shade: NDArray[np.uint8]
    families: dict[str, tuple[int, ...]]

    def pick(self, family: str, rng: np.random.Generator) -> int:
        """The index of a random variant of a family."""
        variants = self.families[family]
        return variants[int(rng.random() * len(variants))]


@lru_cache(maxsize=1)
def part_textures() -> PartTextures:
    """Draws all textures, once per process, from a fixed seed."""
    rng = np.random.default_rng(1975)
    drawn: list[tuple[str, Canvas, float]] = []

    def add(family: str, canvas: Canvas, roundness: float = 0.5) -> None:
        drawn.append((family, canvas, roundness))

    for _ in range(20):
        add("person_side", person(rng, side=True))
        add("person_front", person(rng, side=False))
    for _ in range(4):
        add("bicycle_side", bicycle_side(rng), 0.1)
        add("bicycle_front", bicycle_front(rng), 0.1)
        add("motorcycle_side", motorcycle_side(rng), 0.3)
        add("motorcycle_front", motorcycle_front(rng), 0.3)
        add("cyclist_side", cyclist(rng, side=True))
        add("cyclist_front", cyclist(rng, side=False))
        add("motorcyclist_side", motorcyclist(rng, side=True))
        add("motorcyclist_front", motorcyclist(rng, side=False))
    for density in (0.9, 0.8, 0.65, 0.45):
        for _ in range(3):
            add("crown", crown(rng, density), 0.3)
    for _ in range(3):
        add("conifer", crown(rng, 0.85, pointed=True), 0.3)
    for _ in range(8):
        add("bare", branches(rng, trunk=True), 0.1)
        add("twigs", branches(rng, trunk=False), 0.1)
    for _ in range(3):
        add("hedge", hedge(rng), 0.0)
    for kind in FENCES:
        add(f"fence_{kind}", fence(rng, kind), 0.0)
    for kind in SIGNS:
        add("sign", sign(rng, kind), 0.05)
    for phase in ("red", "amber", "green"):
        add("light", traffic_light(phase), 0.05)
    for _ in range(3):
        for kind, car in CAR_TYPES.items():
            add(f"car_side_{kind}", car_side(rng, car), 0.1)
        add("glasshouse", glasshouse(rng, panel=False), 0.05)
        add("window", window(rng), 0.05)
        add("car_front", car_front(rng), 0.15)
        add("car_rear", car_rear(rng), 0.15)
    add("glasshouse_panel", glasshouse(rng, panel=True), 0.05)
    for _ in range(3):
        add("window_panel", van_doors(rng), 0.05)
    add("wheel", wheel(rng), 0.2)
    for kind in BUS_SIDES:
        add(f"bus_side_{kind}", bus_side(rng, kind), 0.1)
        add(f"bus_front_{kind}", bus_end(rng, kind, front=True), 0.1)
        add(f"bus_rear_{kind}", bus_end(rng, kind, front=False), 0.1)
    families: dict[str, tuple[int, ...]] = {}
    for index, (family, _, _) in enumerate(drawn):
        families[family] = (*families.get(family, ()), index)
    parts = np.stack([canvas.parts() for _, canvas, _ in drawn])
    shade = np.stack([canvas.shade(rng, roundness=roundness) for _, canvas, roundness in drawn])
    return PartTextures(parts, shade, families)
