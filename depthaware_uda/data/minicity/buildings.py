"""Buildings, walls, fences and hedges that line a street."""

from __future__ import annotations

import math

import numpy as np

from .classes import BUILDING, FENCE, VEGETATION, WALL
from .draw_street import FENCES
from .mesh import Material, MeshBuilder, Pose
from .style import Colour, Style, choose, vary
from .textures import part_textures

__all__ = ["add_building", "add_fence", "add_hedge", "add_wall"]

WINDOWS, SHOP, DOOR, BLANK = 0.0, 1.0, 2.0, 3.0
"""Kinds of a facade's ground floor."""
_ROOFS: tuple[Colour, ...] = (
    *((0.3, 0.28, 0.3), (0.42, 0.24, 0.18), (0.34, 0.3, 0.27), (0.25, 0.26, 0.28), (0.5, 0.32, 0.24)),
    (0.2, 0.2, 0.21),
)
_SHOPS: tuple[Colour, ...] = (
    *((0.55, 0.08, 0.08), (0.08, 0.2, 0.45), (0.08, 0.3, 0.18), (0.1, 0.1, 0.1), (0.85, 0.83, 0.78)),
    *((0.75, 0.55, 0.1), (0.35, 0.2, 0.35), (0.3, 0.35, 0.4), (0.2, 0.4, 0.45), (0.6, 0.3, 0.1)),
)
_PLASTIC: tuple[Colour, ...] = ((0.92, 0.92, 0.9), (0.3, 0.3, 0.32), (0.45, 0.3, 0.2), (0.75, 0.72, 0.65))


def _linear(colour: Colour) -> tuple[float, ...]:
    return tuple(c**2.2 for c in colour)


def _facade_row(
    rng: np.random.Generator, style: Style, height: float, ground: float, *, floor: float, windows: bool = True
) -> list[float]:
    """Random facade parameters; `materials` reads them by column."""
    brick = rng.random() < style.brick
    base = vary(rng, choose(rng, style.bricks if brick else style.walls))
    trim = choose(rng, (vary(rng, choose(rng, style.walls)), (0.88, 0.87, 0.84), vary(rng, base, 0.2)))
    glass = rng.uniform(0.12, 0.42)
    ribbon = rng.random() < 0.15
    bay = rng.uniform(1.6, 3.6)
    wide, tall = (0.98, rng.uniform(0.4, 0.6)) if ribbon else (rng.uniform(0.32, 0.68), rng.uniform(0.42, 0.66))
    return [
        *_linear(base),
        *_linear(trim),
        *_linear((glass, glass * 1.04, glass * 1.1)),
        *(bay, floor, wide, tall, rng.uniform(0.16, 0.3)),
        *(rng.uniform(3.0, 3.9) if ground == SHOP else floor, ground, float(brick), float(rng.integers(1 << 14))),
        *_linear(vary(rng, choose(rng, _SHOPS))),
        *(height, choose(rng, (0.0, 1.0, 2.0, 3.0)), rng.uniform(0, 1) if rng.random() < 0.4 else 0.0),
        *(style.grime * rng.uniform(0.3, 1.0), float(rng.random() < 0.6)),
        *_linear(choose(rng, _PLASTIC)),
        *(rng.uniform(0.0, 0.35), float(windows), 0.0),
    ]


def add_building(
    builder: MeshBuilder,
    pose: Pose,
    width: float,
    depth: float,
    style: Style,
    rng: np.random.Generator,
    *,
    floors: int,
    shop: bool,
) -> float:
    """Adds a building whose front is centred on the pose and faces -z; returns the height of its walls."""
    floor = rng.uniform(*style.floor_height)
    height = floor * floors + rng.uniform(0.2, 0.9) + (0.5 if shop else 0.0)
    ground = SHOP if shop else (DOOR if rng.random() < 0.8 else WINDOWS)
    row = _facade_row(rng, style, height, ground, floor=floor)
    front = builder.facade(row)
    plain = list(row)
    plain[15], plain[30] = BLANK, float(rng.random() < 0.35)
    sides = builder.facade(plain)
    builder.place(pose)
    half = width / 2
    corners = ((-half, 0.0, 0.0), (half, 0.0, 0.0), (half, height, 0.0), (-half, height, 0.0))
    builder.quad(corners, BUILDING, front, material=Material.FACADE, extent=(width, height))
    for x, z0, z1 in ((half, 0.0, depth), (-half, depth, 0.0)):
        builder.quad(
            ((x, 0, z0), (x, 0, z1), (x, height, z1), (x, height, z0)),
            BUILDING,
            sides,
            material=Material.FACADE,
            extent=(depth, height),
        )
    tiles = builder.palette(vary(rng, choose(rng, _ROOFS), 0.15), vary(rng, base_of(row), 0.02))
    if floors <= 4 and rng.random() < style.pitched_roofs:
        _add_pitched_roof(builder, half, height, depth, tiles, sides, rng)
    else:
        # A parapet or a cornice that protrudes a little.
        edge = builder.palette(vary(rng, choose(rng, style.walls), 0.1))
        out, tall = rng.uniform(0.05, 0.35), rng.uniform(0.2, 0.6)
        builder.box((-half, height - tall * 0.5, -out), (half, height + tall * 0.5, depth), BUILDING, edge)
        if rng.random() < 0.3:
            x = rng.uniform(-half * 0.6, half * 0.6)
            builder.box((x - 1.2, height, depth * 0.3), (x + 1.2, height + 2.2, depth * 0.6), BUILDING, edge)
    if shop and rng.random() < 0.5:
        _add_awning(builder, half, rng)
    if rng.random() < 0.25 and not shop and floors <= 3:
        bay = builder.facade([*row[:15], WINDOWS, *row[16:]])
        x, tall = rng.uniform(-half * 0.4, half * 0.4), min(height, floor * rng.integers(1, 3))
        builder.box((x - 1.2, 0, -0.8), (x + 1.2, tall, 0), BUILDING, bay, material=Material.FACADE)
    return height


def base_of(row: list[float]) -> Colour:
    """The sRGB wall colour of a facade row."""
    return (row[0] ** (1 / 2.2), row[1] ** (1 / 2.2), row[2] ** (1 / 2.2))


def _add_awning(builder: MeshBuilder, half: float, rng: np.random.Generator) -> None:
    palette = builder.palette(choose(rng, _SHOPS))
    out, low, high = rng.uniform(0.6, 1.3), 2.3, 2.9
    builder.quad(
        ((-half * 0.9, low, -out), (half * 0.9, low, -out), (half * 0.9, high, 0), (-half * 0.9, high, 0)),
        BUILDING,
        palette,
        two_sided=True,
    )


def _add_pitched_roof(
    builder: MeshBuilder, half: float, height: float, depth: float, tiles: int, walls: int, rng: np.random.Generator
) -> None:
    """Adds a roof whose ridge runs along the street or, less often, whose gable faces it; often with a chimney."""
    rise = rng.uniform(0.35, 0.6) * depth / 2
    eave = 0.25
    if rng.random() < 0.75:
        ridge, run = depth / 2, math.hypot(rise, depth / 2)
        front = (
            (-half, height, -eave),
            (half, height, -eave),
            (half, height + rise, ridge),
            (-half, height + rise, ridge),
        )
        builder.quad(front, BUILDING, tiles, material=Material.ROOF, extent=(2 * half, run))
        for x, z0, z1 in ((half, 0.0, depth), (-half, depth, 0.0)):
            peak = (x, height + rise, ridge)
            gable = ((x, height, z0), (x, height, z1), peak, peak)
            builder.quad(gable, BUILDING, tiles, material=Material.ROOF, texture=1, extent=(depth, rise))
        top = height + rise
    else:
        rise = rng.uniform(0.5, 0.9) * half
        top = height + rise
        peak = (0.0, top, -0.02)
        builder.quad(
            ((-half, height, -0.02), (half, height, -0.02), peak, peak),
            BUILDING,
            tiles,
            material=Material.ROOF,
            texture=1,
            extent=(2 * half, rise),
        )
        for low, sign in ((-half, 1.0), (half, -1.0)):
            eaves, back = (low, height, -eave), (low, height, depth)
            slope = ((0.0, top, -eave), (0.0, top, depth))
            corners = (back, eaves, slope[0], slope[1]) if sign > 0 else (eaves, back, slope[1], slope[0])
            builder.quad(corners, BUILDING, tiles, material=Material.ROOF, extent=(depth, math.hypot(rise, half)))
    if rng.random() < 0.6:
        stack = builder.palette(vary(rng, (0.45, 0.3, 0.24)))
        x = half * choose(rng, (-0.85, 0.85, 0.3))
        z = depth * 0.45
        builder.box((x - 0.4, height, z - 0.35), (x + 0.4, top + 0.9, z + 0.35), BUILDING, stack)


def add_wall(
    builder: MeshBuilder, pose: Pose, length: float, height: float, style: Style, rng: np.random.Generator
) -> None:
    """Adds a free-standing wall centred on the pose, along x."""
    row = _facade_row(rng, style, height, BLANK, floor=3.0, windows=False)
    builder.place(pose)
    material = Material.FACADE
    builder.box((-length / 2, 0, 0), (length / 2, height, 0.3), WALL, builder.facade(row), material=material)
    coping = builder.palette(vary(rng, (0.6, 0.57, 0.53)))
    builder.box((-length / 2, height, -0.05), (length / 2, height + 0.08, 0.35), WALL, coping)


def add_fence(builder: MeshBuilder, pose: Pose, length: float, style: Style, rng: np.random.Generator) -> None:
    """Adds a fence centred on the pose, along x."""
    del style
    kind = choose(rng, FENCES)
    metal: tuple[Colour, ...] = ((0.08, 0.09, 0.08), (0.45, 0.46, 0.47), (0.85, 0.85, 0.83), (0.15, 0.28, 0.2))
    wood: tuple[Colour, ...] = ((0.45, 0.32, 0.2), (0.88, 0.87, 0.84), (0.35, 0.25, 0.18), (0.5, 0.45, 0.38))
    main = vary(rng, choose(rng, wood if kind in ("picket", "panel") else metal))
    palette = builder.palette(main, (main[0] * 0.75, main[1] * 0.75, main[2] * 0.75))
    height = {"railing": 1.3, "guard": 1.1, "picket": 1.0, "panel": 1.8, "mesh": 1.9, "bars": 1.5}[kind]
    builder.place(pose)
    builder.upright(
        length,
        0,
        height * rng.uniform(0.85, 1.15),
        FENCE,
        palette,
        material=Material.PARTS,
        texture=part_textures().families[f"fence_{kind}"][0],
        extent=(length / 2.0, 0.999),
    )


def add_hedge(builder: MeshBuilder, pose: Pose, length: float, style: Style, rng: np.random.Generator) -> None:
    """Adds a hedge centred on the pose, along x."""
    green = vary(rng, choose(rng, style.leaves), 0.15)
    palette = builder.palette(green, (green[0] * 0.5, green[1] * 0.52, green[2] * 0.5))
    height, depth = rng.uniform(0.7, 2.4), rng.uniform(0.6, 1.2)
    texture = part_textures().pick("hedge", rng)
    builder.place(pose)
    for forward in (0.0, depth):
        builder.upright(
            length,
            0,
            height,
            VEGETATION,
            palette,
            material=Material.FOLIAGE,
            texture=texture,
            forward=forward,
            extent=(length / 2.5, 0.999),
        )
    sides = ((length / 2, 0.0, depth), (-length / 2, depth, 0.0))
    for x, z0, z1 in sides:
        builder.quad(
            ((x, 0, z0), (x, 0, z1), (x, height, z1), (x, height, z0)),
            VEGETATION,
            palette,
            material=Material.FOLIAGE,
            texture=texture,
            extent=(depth / 2.5, 0.999),
        )
