"""Appearance of the ground: asphalt, markings, paving, grass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .classes import SIDEWALK, VEGETATION
from .noise import cloud_noise, lookup, white_noise, wrap
from .street import Street
from .style import Colour, Style, choose, vary

__all__ = ["GroundLook", "ground_colour", "random_ground"]

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]


class GroundLook(NamedTuple):
    """Colours (linear) and markings of the ground.

    Attributes:
        asphalt: Colour of the road.
        paving: Colour of the pavements.
        grass: Colour of grass.
        paint: Colour of white markings.
        slab: Size of paving slabs in metres; 0 for asphalt.
        centre: 0 none, 1 dashed, 2 solid, 3 double solid.
        edge: 0 none, 1 white line, 2 double yellow lines.
        zigzag: Position at which a zigzag line begins; negative for none.
        arrows: Whether lanes have arrows.
        wear: 0..1, stains, patches and cracks.
        grain: Contrast of the fine grain.
        seed: Shift of the noise.
    """

    asphalt: Colour
    paving: Colour
    grass: Colour
    paint: Colour
    slab: float
    centre: int
    edge: int
    zigzag: float
    arrows: bool
    wear: float
    grain: float
    seed: float


def _linear(colour: Colour) -> Colour:
    return colour[0] ** 2.2, colour[1] ** 2.2, colour[2] ** 2.2


def random_ground(rng: np.random.Generator, style: Style) -> GroundLook:
    """Random colours and markings."""
    return GroundLook(
        asphalt=_linear(vary(rng, choose(rng, style.asphalt))),
        paving=_linear(vary(rng, choose(rng, style.paving))),
        grass=_linear(vary(rng, choose(rng, ((0.32, 0.4, 0.18), (0.3, 0.33, 0.18), (0.36, 0.36, 0.22))), 0.15)),
        paint=_linear(vary(rng, (0.82, 0.82, 0.8), 0.1)),
        slab=rng.uniform(0.4, 0.9) if rng.random() < 0.65 else 0.0,
        centre=int(choose(rng, (0, 1, 1, 1, 2, 3))),
        edge=int(choose(rng, (0, 0, 1, 2))),
        zigzag=rng.uniform(3, 25) if rng.random() < 0.12 else -1.0,
        arrows=rng.random() < 0.25,
        wear=style.wear * rng.uniform(0.4, 1.0),
        grain=rng.uniform(0.1, 0.35),
        seed=rng.uniform(0, 500),
    )


def _markings(look: GroundLook, street: Street, across: Float, along: Float) -> tuple[Mask, Mask]:
    """Masks of white and yellow paint on the main road."""
    half = np.float32(street.half_width)
    side = np.abs(across)
    junction = np.zeros(across.shape, bool)
    white = np.zeros(across.shape, bool)
    yellow = np.zeros(across.shape, bool)
    for street_here in street.side_streets:
        gap = np.abs(along - np.float32(street_here.at))
        near = gap < street_here.half_width + 0.3
        junction |= near
        if street_here.zebra:
            start = street_here.half_width + 1.0
            crossing = (gap > start) & (gap < start + 2.8) & (along < street_here.at)
            white |= crossing & (wrap(across, 1.1) < 0.55)
            junction |= crossing
        else:
            white |= (np.abs(along - (street_here.at - street_here.half_width - 1.2)) < 0.16) & (across < 0)
        if street_here.box_junction:
            lattice = (wrap(across + along, 2.4) < 0.16) | (wrap(across - along, 2.4) < 0.16)
            yellow |= near & lattice & (side < half)
    open_road = ~junction
    if look.centre == 1:
        white |= (side < 0.06) & (wrap(along, 6) < 3) & open_road
    elif look.centre == 2:
        white |= (side < 0.065) & open_road
    elif look.centre == 3:
        white |= (np.abs(side - 0.13) < 0.055) & open_road
    if street.lanes >= 4:
        white |= (np.abs(side - half / 2) < 0.06) & (wrap(along, 6) < 2.5) & open_road
    if look.edge == 1:
        white |= (np.abs(side - (half - 0.4)) < 0.06) & open_road
    elif look.edge == 2:
        yellow |= ((np.abs(side - (half - 0.25)) < 0.05) | (np.abs(side - (half - 0.5)) < 0.05)) & open_road
    if look.zigzag >= 0:
        wave = np.abs(wrap(along, 4.0) - 2.0) * 0.3
        zone = (along > look.zigzag) & (along < look.zigzag + 16)
        white |= (np.abs(side - (half - 1.4) - wave) < 0.06) & zone
        white |= (np.abs(across + 0.3 - wave) < 0.06) & zone
    if look.arrows:
        cycle = wrap(along, 22.0) - 9.0
        for lane in (-half / 2, half / 2):
            offset = np.abs(across - lane)
            white |= (offset < 0.09) & (cycle > 0) & (cycle < 2.6)
            white |= (cycle >= 2.6) & (cycle < 3.8) & (offset < (3.8 - cycle) * 0.4)
    return white, yellow


def ground_colour(
    look: GroundLook, street: Street, label: NDArray[np.uint8], x: Float, z: Float, depth: Float
) -> Float:
    """Linear colours (N, 3) of ground points with given labels; the arguments are (N,)."""
    across = street.across(x, z)
    fade = 1 / (1 + depth * np.float32(0.04))
    seed = np.float32(look.seed)
    coarse = lookup(cloud_noise(1.6), x * 18 + seed, z * 18)
    broad = lookup(cloud_noise(1.6), x * 3 + seed, z * 1.5 + 7)
    grain = lookup(white_noise(), x * 55 + seed, z * 55)
    texture = 1 + np.float32(look.grain) * (grain - 0.5) * fade + np.float32(0.25) * (coarse - 0.5)
    colour = np.empty((len(x), 3), np.float32)
    colour[:] = np.array(look.asphalt, np.float32)
    road = np.flatnonzero(label == 0)
    if road.size:
        a, s = across[road], z[road]
        tone = texture[road] * (1 + np.float32(0.5 * look.wear) * (broad[road] - 0.5))
        # Wheels darken two tracks in each lane; repairs are rectangles of another tone.
        tracks = np.cos(a * np.float32(4 * np.pi / 3.3))
        tone *= 1 - np.float32(0.05 * look.wear) * tracks
        patch = lookup(white_noise(), np.floor(a / 1.7) * 7 + seed, np.floor(s / 5.3) * 13)
        tone *= np.where(patch < 0.12 * look.wear, np.float32(0.8), np.float32(1))
        crack = np.abs(lookup(cloud_noise(1.6), a * 26 + seed, s * 9) - 0.5) < 0.006 * look.wear
        tone[crack & (depth[road] < 25)] *= 0.85
        shade = colour[road] * tone[:, None]
        white, yellow = _markings(look, street, a, s)
        inside = np.abs(a) < street.half_width
        worn = (0.75 + 0.5 * coarse[road] - 0.4 * look.wear * (grain[road] < 0.3))[:, None]
        for mask, paint in ((white & inside, look.paint), (yellow & inside, (0.6, 0.42, 0.05))):
            chosen = np.flatnonzero(mask)
            shade[chosen] = np.array(paint, np.float32) * worn[chosen]
        colour[road] = shade
    paved = np.flatnonzero(label == SIDEWALK)
    if paved.size:
        a, s = across[paved], z[paved]
        tone = texture[paved] * (1 + np.float32(0.4) * (broad[paved] - 0.5))
        if look.slab:
            slab = np.float32(look.slab)
            tone *= 0.9 + 0.2 * lookup(white_noise(), np.floor(a / slab) * 5 + seed, np.floor(s / slab) * 3)
            joint = (wrap(a, slab) < 0.03) | (wrap(s, slab) < 0.03)
            tone[joint & (depth[paved] < 18)] *= 0.75
        rim = np.abs(np.abs(a) - street.half_width - 0.08) < 0.08
        tone[rim] *= 1.2
        colour[paved] = np.array(look.paving, np.float32) * tone[:, None]
    green = np.flatnonzero(label == VEGETATION)
    if green.size:
        tone = 0.55 + 0.5 * coarse[green] + 0.6 * (grain[green] - 0.35) * fade[green] + 0.3 * broad[green]
        colour[green] = np.array(look.grass, np.float32) * tone[:, None]
    return colour
