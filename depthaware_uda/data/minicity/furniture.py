"""Trees and street furniture: lamp posts, traffic lights, signs, bollards."""

from __future__ import annotations

import math

import numpy as np

from .classes import LIGHT, POLE, SIGN, VEGETATION
from .mesh import Material, MeshBuilder, Pose
from .style import Colour, Style, choose, vary
from .textures import part_textures

__all__ = [
    "add_bollard",
    "add_bush",
    "add_lamp_post",
    "add_overhang",
    "add_pole",
    "add_sign",
    "add_traffic_light",
    "add_tree",
]

_METALS: tuple[Colour, ...] = (
    *((0.5, 0.51, 0.52), (0.1, 0.11, 0.11), (0.3, 0.31, 0.32), (0.65, 0.65, 0.65), (0.12, 0.2, 0.16)),
    (0.4, 0.36, 0.3),
)
_SIGN_INKS: tuple[Colour, ...] = (
    *((0.92, 0.92, 0.9), (0.75, 0.07, 0.08), (0.06, 0.22, 0.6), (0.05, 0.05, 0.05), (0.9, 0.75, 0.08)),
    *((0.02, 0.3, 0.18), (0.5, 0.5, 0.5)),
)


def _facing(pose: Pose) -> Pose:
    """The pose, turned so that its -z side faces the camera."""
    return pose._replace(heading=math.atan2(pose.x, pose.z))


def add_tree(builder: MeshBuilder, pose: Pose, style: Style, rng: np.random.Generator, *, size: float = 1.0) -> None:
    """Adds a leafy, bare or conical tree of random size."""
    textures = part_textures()
    leaf = vary(rng, choose(rng, style.leaves), 0.15)
    bark = vary(rng, choose(rng, ((0.28, 0.23, 0.18), (0.36, 0.33, 0.3), (0.2, 0.17, 0.15))), 0.1)
    depth = rng.uniform(0.4, 0.62)
    palette = builder.palette(leaf, (leaf[0] * depth, leaf[1] * depth, leaf[2] * depth), bark)
    pose = _facing(pose)
    builder.place(pose)
    builder.footprint(0.4, 0.4)
    height = size * rng.uniform(4.5, 15)
    kind = rng.random()
    if kind < style.bare_trees:
        if rng.random() < 0.7:
            # So many twigs that the crown looks solid from afar, light where the sky shines through.
            twig = vary(rng, choose(rng, ((0.62, 0.52, 0.4), (0.5, 0.46, 0.42), (0.4, 0.33, 0.25))), 0.15)
            twigs = builder.palette(twig, bark, bark)
            _add_clumps(builder, twigs, height, rng.uniform(1.5, 3), rng)
        for turn in (0.0, 1.2):
            builder.place(pose._replace(heading=pose.heading + turn))
            width = height * rng.uniform(0.8, 1.2) * choose(rng, (-1.0, 1.0))
            texture = textures.pick("bare", rng)
            builder.upright(width, 0, height, VEGETATION, palette, material=Material.PARTS, texture=texture)
        return
    if kind < style.bare_trees + 0.1:
        texture = textures.pick("conifer", rng)
        width = height * rng.uniform(0.35, 0.6)
        builder.upright(width, 0.2, height, VEGETATION, palette, material=Material.FOLIAGE, texture=texture)
        return
    trunk = rng.uniform(0.12, 0.4) * (0.5 + height / 16)
    dark = builder.palette(bark)
    builder.upright(trunk, 0, height * 0.7, VEGETATION, dark, texture=1, top_width=trunk * 0.6)
    _add_clumps(builder, palette, height, rng.uniform(1.6, 3.2), rng)


def _add_clumps(builder: MeshBuilder, palette: int, height: float, clear: float, rng: np.random.Generator) -> None:
    """Adds the crown of a tree of this height; the lowest `clear` metres of the trunk stay free."""
    textures = part_textures()
    radius = height * rng.uniform(0.24, 0.4)
    middle = max(clear + radius * 0.7, height - radius)
    for _ in range(int(rng.integers(4, 8))):
        across, up = rng.normal(0, radius * 0.5), rng.normal(0, radius * 0.4)
        clump = radius * rng.uniform(0.75, 1.2)
        builder.upright(
            2 * clump * choose(rng, (-1.0, 1.0)),
            max(middle + up - clump, clear * 0.9),
            middle + up + clump * rng.uniform(0.7, 1.0),
            VEGETATION,
            palette,
            material=Material.FOLIAGE,
            texture=textures.pick("crown", rng),
            shift=across,
            forward=rng.normal(0, radius * 0.5),
        )


def add_overhang(builder: MeshBuilder, pose: Pose, style: Style, rng: np.random.Generator) -> None:
    """Adds a bough, bare or in leaf, that hangs into the picture from above."""
    textures = part_textures()
    leaf = vary(rng, choose(rng, style.leaves), 0.15)
    palette = builder.palette(leaf, (leaf[0] * 0.5, leaf[1] * 0.5, leaf[2] * 0.5), vary(rng, (0.22, 0.18, 0.15)))
    bare = rng.random() < 0.6
    builder.place(_facing(pose))
    low = rng.uniform(2.8, 4.2)
    for _ in range(2):
        width, tall, shift = rng.uniform(2.5, 5), rng.uniform(2, 3.5), rng.normal(0, 1.2)
        texture = textures.pick("twigs" if bare else "crown", rng)
        material = Material.PARTS if bare else Material.FOLIAGE
        corners = (
            (shift - width / 2, low, 0.0),
            (shift + width / 2, low, 0.0),
            (shift + width / 2, low + tall, 0.0),
            (shift - width / 2, low + tall, 0.0),
        )
        # The texture is upside down, so that the twigs fan out downwards.
        builder.quad(
            corners,
            VEGETATION,
            palette,
            material=material,
            texture=texture,
            start=(0.0, 0.999),
            extent=(1.0, -0.998),
            two_sided=True,
        )


def add_bush(builder: MeshBuilder, pose: Pose, style: Style, rng: np.random.Generator) -> None:
    """Adds a bush."""
    leaf = vary(rng, choose(rng, style.leaves), 0.2)
    palette = builder.palette(leaf, (leaf[0] * 0.5, leaf[1] * 0.5, leaf[2] * 0.5))
    builder.place(_facing(pose))
    for _ in range(2):
        width, height = rng.uniform(1.0, 2.6), rng.uniform(0.7, 2.0)
        texture = part_textures().pick("crown", rng)
        shift, forward = rng.normal(0, 0.5), rng.normal(0, 0.4)
        builder.upright(
            width,
            -0.2,
            height,
            VEGETATION,
            palette,
            material=Material.FOLIAGE,
            texture=texture,
            shift=shift,
            forward=forward,
        )


def add_pole(builder: MeshBuilder, pose: Pose, height: float, width: float, palette: int) -> None:
    """Adds a round pole, as a sheet that faces the camera and is shaded like a cylinder."""
    builder.place(_facing(pose))
    builder.upright(width, 0, height, POLE, palette, texture=1, top_width=width * 0.8)


def add_lamp_post(
    builder: MeshBuilder, pose: Pose, rng: np.random.Generator, palette: int, height: float, arm: float
) -> None:
    """Adds a lamp post whose arm reaches `arm` metres along its own x."""
    add_pole(builder, pose, height, rng.uniform(0.12, 0.2), palette)
    builder.place(pose)
    rise = rng.uniform(0.0, 0.5)
    reach = ((0.0, height - 0.1, 0.0), (arm, height + rise - 0.08, 0.0), (arm, height + rise, 0.0), (0.0, height, 0.0))
    builder.quad(reach, POLE, palette, two_sided=True)
    lamp = builder.palette((0.6, 0.6, 0.58))
    low, high = sorted((arm * 0.85, arm * 1.2))
    builder.box((low, height + rise - 0.12, -0.12), (high, height + rise + 0.05, 0.12), POLE, lamp)


def add_bollard(builder: MeshBuilder, pose: Pose, palette: int) -> None:
    """Adds a bollard."""
    add_pole(builder, pose, 1.0, 0.16, palette)


def add_traffic_light(
    builder: MeshBuilder, pose: Pose, rng: np.random.Generator, *, phase: int, towards: bool, arm: float = 0.0
) -> None:
    """Adds a traffic light on a pole, facing `towards` the driver or away, `arm` metres out over the road."""
    textures = part_textures()
    high = arm != 0
    top = rng.uniform(5.0, 5.8) if high else rng.uniform(3.0, 3.6)
    metal = builder.palette(choose(rng, _METALS))
    add_pole(builder, pose, top, 0.18 if high else 0.12, metal)
    lamps: tuple[Colour, ...] = ((1.5, 0.1, 0.06), (1.4, 0.7, 0.05), (0.15, 1.4, 0.7))
    off = (0.06, 0.06, 0.06)
    rim: Colour = choose(rng, ((0.88, 0.88, 0.86), (0.05, 0.05, 0.05), (0.85, 0.7, 0.1)))
    housing = choose(rng, ((0.04, 0.04, 0.04), (0.04, 0.04, 0.04), (0.1, 0.2, 0.15), (0.7, 0.6, 0.15)))
    palette = builder.palette(housing, rim, *lamps, off)
    back = builder.palette(housing)
    builder.place(pose._replace(heading=pose.heading + rng.normal(0, 0.1) + (0 if towards else math.pi)))
    reach = arm if towards else -arm
    if high:
        beam = ((0.0, top - 0.2, 0.02), (reach, top - 0.12, 0.02), (reach, top, 0.02), (0.0, top, 0.02))
        builder.quad(beam, POLE, metal, two_sided=True)
    wide, tall = rng.uniform(0.32, 0.45), rng.uniform(0.95, 1.15)
    for across, base in ((reach, top - 0.9), (0.0, 2.2)) if high else ((0.0, top - tall),):
        low, head = (across - wide / 2, base, -0.25), (across + wide / 2, base + tall, -0.02)
        builder.box((low[0] + 0.05, base, -0.23), head, LIGHT, back)
        corners = (
            (low[0], base, -0.25),
            (head[0], base, -0.25),
            (head[0], base + tall, -0.25),
            (low[0], base + tall, -0.25),
        )
        texture = textures.families["light"][phase]
        builder.quad(corners, LIGHT, palette, material=Material.PARTS, texture=texture, extent=(0.999, 0.999))


def add_sign(builder: MeshBuilder, pose: Pose, rng: np.random.Generator, *, towards: bool, board: bool = False) -> None:
    """Adds one or two traffic signs on a pole; a `board` is a large direction sign."""
    textures = part_textures()
    metal = builder.palette(choose(rng, _METALS))
    low = rng.uniform(2.0, 2.6)
    count = 1 if board or rng.random() < 0.7 else 2
    size = rng.uniform(0.6, 0.95)
    inks = builder.palette(*(vary(rng, ink, 0.06) for ink in _SIGN_INKS))
    grey = builder.palette(*([(0.42, 0.43, 0.44)] * 7))
    wide, tall = (rng.uniform(1.3, 2.6), rng.uniform(0.9, 1.6)) if board else (size, size)
    add_pole(builder, pose, low + tall * count, 0.09, metal)
    builder.place(pose._replace(heading=pose.heading + rng.normal(0, 0.15)))
    variants = textures.families["sign"]
    for index in range(count):
        texture = variants[int(choose(rng, (7, 8))) if board else int(rng.integers(len(variants)))]
        builder.upright(
            wide,
            low + index * tall,
            low + index * tall + tall,
            SIGN,
            inks if towards else grey,
            material=Material.PARTS,
            texture=texture,
            forward=-0.06,
            extent=(0.999, 0.999),
        )
