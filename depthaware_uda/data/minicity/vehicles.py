"""Cars, vans, buses, two-wheelers and people as faces. Vehicles face +z in their own pose."""

from __future__ import annotations

import math

import numpy as np

from .classes import BICYCLE, BUS, CAR, MOTORCYCLE, PERSON, RIDER
from .draw_people import BICYCLE_SIZE, FRONT_SIZE, PERSON_SIZE
from .draw_vehicles import CAR_TYPES
from .mesh import Material, MeshBuilder, Point, Pose
from .style import Colour, Style, choose
from .textures import part_textures

__all__ = ["add_bus", "add_car", "add_person", "add_two_wheeler"]

_GREYS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.62, 0.75, 0.85)
_TRIM = (0.05, 0.05, 0.055)


def _vehicle_palette(builder: MeshBuilder, rng: np.random.Generator, paint: Colour) -> int:
    """A palette for the parts of a vehicle; a quarter have their lamps on."""
    glass, rim, lit = rng.uniform(0.08, 0.3), rng.uniform(0.25, 0.65), rng.random() < 0.25
    second = choose(rng, ((0.9, 0.9, 0.88), (0.15, 0.15, 0.17), (0.85, 0.75, 0.2), (0.2, 0.35, 0.6), paint))
    plate = (0.85, 0.72, 0.2) if rng.random() < 0.5 else (0.85, 0.85, 0.82)
    tail = (1.1, 0.15, 0.1) if lit else (0.5, 0.06, 0.06)
    head = (1.3, 1.3, 1.2) if lit else (0.75, 0.78, 0.8)
    return builder.palette(
        *(paint, (glass, glass * 1.05, glass * 1.1), _TRIM, (0.07, 0.07, 0.07), (rim, rim, rim)),
        *(head, tail, plate, (0.7, 0.7, 0.72), second, (0.9, 0.6, 0.15), (0.04, 0.04, 0.045)),
    )


def add_car(builder: MeshBuilder, pose: Pose, kind: str, style: Style, rng: np.random.Generator) -> None:
    """Adds a car of a type in `CAR_TYPES`, in a random paint."""
    if rng.random() < style.grey_cars:
        grey = _GREYS[int(rng.integers(len(_GREYS)))]
        paint: Colour = (grey, grey * rng.uniform(0.97, 1.02), grey * rng.uniform(0.97, 1.06))
    else:
        paint = choose(rng, style.car_colours)
    palette, car, textures = _vehicle_palette(builder, rng, paint), CAR_TYPES[kind], part_textures()
    stretch = rng.uniform(0.95, 1.05)
    half, rear, front = car.width / 2, -car.length * stretch / 2, car.length * stretch / 2
    belt, roof, nose = car.belt, car.height, car.nose
    base, boot = front - car.bonnet * stretch, rear + car.boot * stretch
    roof_front, roof_rear, inner = base - car.screen, boot + car.back, half - car.inset
    builder.place(pose)
    builder.footprint(half * 0.98, front * 0.97)

    def panel(corners: tuple[Point, Point, Point, Point], texture: int, *, mirrored: bool = False) -> None:
        # Slightly inside the texture: at its very edge it would wrap around to the other side.
        start, extent = ((0.999, 0.001), (-0.998, 0.998)) if mirrored else ((0.001, 0.001), (0.998, 0.998))
        builder.quad(corners, CAR, palette, material=Material.PARTS, texture=texture, start=start, extent=extent)

    side = textures.pick(f"car_side_{kind}", rng)
    upper = textures.pick("glasshouse_panel" if car.panel else "glasshouse", rng)
    panel(((half, 0, rear), (half, 0, front), (half, belt, front), (half, belt, rear)), side)
    panel(((-half, 0, front), (-half, 0, rear), (-half, belt, rear), (-half, belt, front)), side, mirrored=True)
    panel(((half, belt, boot), (half, belt, base), (inner, roof, roof_front), (inner, roof, roof_rear)), upper)
    panel(
        ((-half, belt, base), (-half, belt, boot), (-inner, roof, roof_rear), (-inner, roof, roof_front)),
        upper,
        mirrored=True,
    )
    low = 0.2
    screen, rear_window = textures.pick("window", rng), textures.pick("window_panel" if car.panel else "window", rng)
    rear_panel, front_panel = textures.pick("car_rear", rng), textures.pick("car_front", rng)
    panel(((-half, low, rear), (half, low, rear), (half, belt, rear), (-half, belt, rear)), rear_panel)
    panel(((half, low, front), (-half, low, front), (-half, nose, front), (half, nose, front)), front_panel)
    panel(((half, belt, base), (-half, belt, base), (-inner, roof, roof_front), (inner, roof, roof_front)), screen)
    panel(((-half, belt, boot), (half, belt, boot), (inner, roof, roof_rear), (-inner, roof, roof_rear)), rear_window)
    bonnet = ((half, nose, front), (-half, nose, front), (-half, belt, base), (half, belt, base))
    builder.quad(bonnet, CAR, palette)
    top = ((-inner, roof, roof_rear), (inner, roof, roof_rear), (inner, roof, roof_front), (-inner, roof, roof_front))
    builder.quad(top, CAR, palette)
    if car.boot:
        builder.quad(((-half, belt, rear), (half, belt, rear), (half, belt, boot), (-half, belt, boot)), CAR, palette)
    _add_wheels(builder, CAR, palette, half, (rear + 0.19 * (front - rear), rear + 0.81 * (front - rear)), 0.31)


def _add_wheels(
    builder: MeshBuilder, label: int, palette: int, half: float, axles: tuple[float, float], radius: float
) -> None:
    """Adds four wheels, and the treads of the tyres as seen from behind and from the front."""
    wheel = part_textures().families["wheel"][0]
    dark = builder.palette((0.03, 0.03, 0.03))
    high = 2 * radius
    for z in axles:
        for x in (half + 0.012, -half - 0.012):
            near, far = (z - radius, z + radius) if x > 0 else (z + radius, z - radius)
            builder.quad(
                ((x, 0, near), (x, 0, far), (x, high, far), (x, high, near)),
                label,
                palette,
                material=Material.PARTS,
                texture=wheel,
            )
    for z, sign in ((axles[0] - radius * 0.85, 1.0), (axles[1] + radius * 0.85, -1.0)):
        for x in (half - 0.11, -half + 0.11):
            a, b = x - 0.1 * sign, x + 0.1 * sign
            builder.quad(((a, 0, z), (b, 0, z), (b, radius, z), (a, radius, z)), label, dark)
    low = 0.22
    for z, sign in ((axles[0], 1.0), (axles[1], -1.0)):
        a, b = -half * 0.9 * sign, half * 0.9 * sign
        builder.quad(((a, 0.12, z), (b, 0.12, z), (b, low + 0.1, z), (a, low + 0.1, z)), label, dark)


def add_bus(builder: MeshBuilder, pose: Pose, kind: str, style: Style, rng: np.random.Generator) -> None:
    """Adds a bus (``single``, ``double``, ``coach``), or a ``truck``, which is labelled car."""
    length, height = {"single": (10.5, 3.0), "double": (10.5, 4.3), "coach": (12.0, 3.5), "truck": (7.0, 3.2)}[kind]
    label = CAR if kind == "truck" else BUS
    palette = _vehicle_palette(builder, rng, choose(rng, style.bus_colours))
    textures = part_textures()
    half, rear, front, low = 1.24, -length / 2, length / 2, 0.32
    builder.place(pose)
    builder.footprint(half, front)
    side = textures.families[f"bus_side_{kind}"][0]
    for corners, texture, mirrored in (
        (((half, low, rear), (half, low, front), (half, height, front), (half, height, rear)), side, False),
        (((-half, low, front), (-half, low, rear), (-half, height, rear), (-half, height, front)), side, True),
        (
            ((-half, low, rear), (half, low, rear), (half, height, rear), (-half, height, rear)),
            textures.families[f"bus_rear_{kind}"][0],
            False,
        ),
        (
            ((half, low, front), (-half, low, front), (-half, height, front), (half, height, front)),
            textures.families[f"bus_front_{kind}"][0],
            False,
        ),
    ):
        builder.quad(
            (corners[0], corners[1], corners[2], corners[3]),
            label,
            palette,
            material=Material.PARTS,
            texture=texture,
            start=(1.0, 0.0) if mirrored else (0.0, 0.0),
            extent=(-1.0, 1.0) if mirrored else (1.0, 1.0),
        )
    builder.quad(
        ((-half, height, rear), (half, height, rear), (half, height, front), (-half, height, front)), label, palette
    )
    _add_wheels(builder, label, palette, half, (rear + 0.2 * length, front - 0.2 * length), 0.48)


def _people_colours(rng: np.random.Generator, style: Style) -> tuple[Colour, ...]:
    """Skin, hair, top, legs, shoes, bag."""
    tone = rng.uniform(0.25, 0.85)
    skin = (tone, tone * 0.76, tone * 0.62)
    hair = choose(rng, ((0.08, 0.06, 0.05), (0.25, 0.16, 0.1), (0.6, 0.48, 0.3), (0.5, 0.5, 0.5), (0.1, 0.1, 0.1)))
    top, legs = choose(rng, style.clothes), choose(rng, style.trousers)
    shoes = choose(rng, ((0.08, 0.08, 0.08), (0.3, 0.2, 0.14), (0.75, 0.75, 0.75)))
    return skin, hair, top, legs, shoes, choose(rng, style.clothes)


def add_person(
    builder: MeshBuilder, x: float, y: float, z: float, style: Style, rng: np.random.Generator, *, heading: float
) -> None:
    """Adds a person who walks in the direction of `heading`, on a sheet that faces the camera."""
    textures = part_textures()
    view = math.atan2(x, z)
    across = abs(math.sin(heading - view)) > 0.7
    palette = builder.palette(*_people_colours(rng, style))
    scale = rng.uniform(0.88, 1.03) if rng.random() < 0.88 else rng.uniform(0.55, 0.8)
    builder.place(Pose(x, y, z, view))
    builder.footprint(0.2 * scale, 0.16)
    width = PERSON_SIZE[0] * scale * (1 if rng.random() < 0.5 or not across else -1)
    builder.upright(
        width,
        0,
        PERSON_SIZE[1] * scale,
        PERSON,
        palette,
        material=Material.PARTS,
        texture=textures.pick("person_side" if across else "person_front", rng),
    )


def add_two_wheeler(
    builder: MeshBuilder, pose: Pose, style: Style, rng: np.random.Generator, *, motor: bool, ridden: bool
) -> None:
    """Adds a bicycle or motorcycle, ridden or parked; one nearly parallel to the view is shown end-on."""
    textures = part_textures()
    label = MOTORCYCLE if motor else BICYCLE
    frame = choose(rng, style.car_colours) if rng.random() < 0.6 else (0.08, 0.08, 0.09)
    colours = _people_colours(rng, style)
    if motor or rng.random() < 0.4:
        helmet = choose(rng, ((0.08, 0.08, 0.08), (0.9, 0.9, 0.9), (0.7, 0.1, 0.1), (0.8, 0.75, 0.1)))
        colours = (colours[0], helmet, *colours[2:])
    palette = builder.palette(
        *(*colours, (0.5, 0.5, 0.5), (0.06, 0.06, 0.06), frame, (0.55, 0.55, 0.57)),
        *((0.95, 0.95, 0.85), (0.12, 0.09, 0.07)),
    )
    view = math.atan2(pose.x, pose.z)
    across = math.sin(pose.heading - view)
    names = (("bicycle", "cyclist"), ("motorcycle", "motorcyclist"))
    name = names[motor][ridden]
    main = RIDER if ridden else label
    if abs(across) > 0.5:
        # The sheet stands along the riding direction, which is its right or its left.
        builder.place(pose._replace(heading=pose.heading - math.pi / 2))
        builder.footprint(0.8, 0.12)
        texture, width, height = textures.pick(f"{name}_side", rng), *BICYCLE_SIZE
    else:
        builder.place(pose._replace(heading=view))
        texture, width, height = textures.pick(f"{name}_front", rng), *FRONT_SIZE
    builder.upright(width, 0, height, main, palette, material=Material.PARTS, texture=texture, second_label=label)
