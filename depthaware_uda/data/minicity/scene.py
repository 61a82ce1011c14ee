"""A random street: its plan, its objects, the light and the camera."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .buildings import add_building, add_fence, add_hedge, add_wall
from .camera import Camera, Sensor
from .classes import ROAD, SIDEWALK, VEGETATION
from .furniture import (
    add_bollard,
    add_bush,
    add_lamp_post,
    add_overhang,
    add_pole,
    add_sign,
    add_traffic_light,
    add_tree,
)
from .mesh import Faces, MeshBuilder, Pose
from .sky import Light, random_light, random_sensor
from .street import KERB, SideStreet, Street
from .style import Style, choose, vary
from .surface import GroundLook, random_ground
from .vehicles import add_bus, add_car, add_person, add_two_wheeler

__all__ = ["Scene", "random_scene"]

_FAR = 170.0


class Scene(NamedTuple):
    """Everything needed to render an image of any size."""

    faces: Faces
    street: Street
    ground: GroundLook
    camera: Camera
    light: Light
    sensor: Sensor


def random_scene(rng: np.random.Generator, style: Style) -> Scene:
    """A random street with everything in it."""
    street = _random_street(rng, style)
    yaw = rng.normal(0, style.yaw)
    if rng.random() < 0.12:
        yaw += choose(rng, (-1, 1)) * rng.uniform(0.2, 0.5)
    camera = Camera(
        0.0,
        rng.uniform(*style.camera_height),
        float(yaw),
        rng.uniform(*style.pitch),
        rng.uniform(*style.focal),
    )
    builder = MeshBuilder()
    builder.palette((0.5, 0.5, 0.5))
    _add_kerbs(builder, street, rng, style)
    for side in (-1, 1):
        _add_frontage(builder, street, side, rng, style)
        _add_pavement_things(builder, street, side, rng, style)
    _add_side_streets(builder, street, rng, style)
    _add_far_end(builder, street, rng, style)
    _add_traffic(builder, street, rng, style)
    light = random_light(rng, style)
    return Scene(builder.build(), street, random_ground(rng, style), camera, light, random_sensor(rng, style))


def _random_street(rng: np.random.Generator, style: Style) -> Street:
    lanes = int(choose(rng, (2, 2, 2, 3, 4)))
    parking = rng.uniform(0, 2.2) if rng.random() < 0.5 else 0.0
    half = lanes * rng.uniform(*style.lane_width) / 2 + parking
    left_hand = rng.random() < style.left_hand
    across = half - parking - rng.uniform(1.4, 2.0) if rng.random() < 0.85 else rng.uniform(-0.5, half - 1.5)
    side_streets: list[SideStreet] = []
    at = rng.uniform(8, 45)
    while at < 120 and len(side_streets) < 3:
        both = rng.random()
        zebra, box = rng.random() < 0.4, rng.random() < 0.2
        side_streets.append(SideStreet(at, rng.uniform(2.8, 5.5), both < 0.7, both > 0.3, zebra, box))
        at += rng.uniform(25, 70)
    verge = [rng.uniform(1.0, 2.0) if rng.random() < 0.2 else 0.0 for _ in range(2)]
    pavement = [rng.uniform(*style.pavement) + verge[i] for i in range(2)]
    lots = [int(choose(rng, (VEGETATION, VEGETATION, SIDEWALK, ROAD))) for _ in range(2)]
    return Street(
        offset=across if left_hand else -across,
        curvature=float(rng.normal(0, style.curvature)) if rng.random() < 0.6 else 0.0,
        half_width=half,
        pavement=(pavement[0], pavement[1]),
        lots=(lots[0], lots[1]),
        verge=(verge[0], verge[1]),
        side_streets=tuple(side_streets),
        end=rng.uniform(45, 100) if rng.random() < 0.2 else 1000.0,
        lanes=lanes,
    )


def _add_kerbs(builder: MeshBuilder, street: Street, rng: np.random.Generator, style: Style) -> None:
    stone = builder.palette(vary(rng, choose(rng, style.paving)))
    step = 4.0
    for side in (-1, 1):
        across = side * street.half_width
        for start in np.arange(-8.0, min(110.0, street.end), step):
            if not (street.free(start, side, margin=0) and street.free(start + step, side, margin=0)):
                continue
            a, b = street.place(across, start), street.place(across, start + step)
            corners = ((a.x, 0.0, a.z), (b.x, 0.0, b.z), (b.x, KERB, b.z), (a.x, KERB, a.z))
            builder.place(Pose())
            builder.quad(corners, SIDEWALK, stone, two_sided=True)


def _front(street: Street, side: int, back: float) -> tuple[float, float]:
    """Position across the street of the line `back` metres behind the pavement, and the heading to face the street."""
    return side * (street.half_width + street.pavement[(side + 1) // 2] + back), side * math.pi / 2


def _add_frontage(builder: MeshBuilder, street: Street, side: int, rng: np.random.Generator, style: Style) -> None:
    """Lines one side of the street with buildings, walls, fences, hedges and gardens."""
    along = rng.uniform(-22, -12)
    terraced = rng.random() < style.terraced
    setback = 0.0 if terraced and rng.random() < 0.7 else rng.uniform(*style.setback)
    floors = int(rng.integers(style.floors[0], style.floors[1] + 1))
    shops = style.shops if rng.random() < 0.5 else 0.08
    green = rng.uniform(0.02, 0.25) if rng.random() < 0.75 else 0.8
    while along < min(_FAR, street.end - 4):
        green_now = rng.random() < green
        length = rng.uniform(6, 22) if not green_now else rng.uniform(8, 30)
        if along > 70:
            length *= 2
        middle = along + length / 2
        if not all(street.free(along + t * length, side, margin=0.3) for t in (0.0, 0.33, 0.67, 1.0)):
            along += 2.0
            continue
        across, turn = _front(street, side, setback)
        pose = street.place(across, middle, height=KERB, turn=turn)
        if green_now:
            _add_park(builder, street, side, along, length, rng, style)
        else:
            here = max(1, floors + int(rng.integers(-1, 2)))
            add_building(builder, pose, length, rng.uniform(8, 14), style, rng, floors=here, shop=rng.random() < shops)
            if setback > 1.2 and along < 80:
                _add_boundary(builder, street, side, middle, length, rng, style)
                if rng.random() < 0.5:
                    add_bush(builder, street.place(across - side * setback * 0.5, middle, height=KERB), style, rng)
                if rng.random() < 0.3 * style.trees:
                    tree = street.place(across - side * setback * 0.5, middle + rng.uniform(-3, 3), height=KERB)
                    add_tree(builder, tree, style, rng, size=0.7)
        along += length + (0.0 if terraced and rng.random() < 0.85 else rng.uniform(1.0, 6.0))


def _add_boundary(
    builder: MeshBuilder, street: Street, side: int, along: float, length: float, rng: np.random.Generator, style: Style
) -> None:
    """Separates a plot from the pavement: wall, fence, hedge or nothing."""
    across, turn = _front(street, side, 0.1)
    pose = street.place(across, along, height=KERB, turn=turn)
    kind = rng.random()
    if kind < 0.32:
        add_wall(builder, pose, length, rng.uniform(0.6, 2.4), style, rng)
    elif kind < 0.62:
        add_fence(builder, pose, length, style, rng)
    elif kind < 0.85:
        add_hedge(builder, pose, length, style, rng)


def _add_park(
    builder: MeshBuilder, street: Street, side: int, along: float, length: float, rng: np.random.Generator, style: Style
) -> None:
    """Trees behind a boundary, or a car park."""
    _add_boundary(builder, street, side, along + length / 2, length, rng, style)
    edge = side * (street.half_width + street.pavement[(side + 1) // 2])
    for _ in range(int(rng.integers(2, 6))):
        position = street.place(edge + side * rng.uniform(1.5, 14), along + rng.uniform(0, length), height=KERB)
        add_tree(builder, position, style, rng, size=rng.uniform(0.8, 1.4))
    if street.lots[(side + 1) // 2] == ROAD and along < 60:
        for place in np.arange(along + 2, along + length - 2, 2.8):
            if rng.random() < 0.6:
                pose = street.place(edge + side * 5.0, place, turn=choose(rng, (-1, 1)) * math.pi / 2)
                add_car(builder, pose._replace(y=KERB), choose(rng, style.car_kinds), style, rng)


def _add_pavement_things(
    builder: MeshBuilder, street: Street, side: int, rng: np.random.Generator, style: Style
) -> None:
    """Lamp posts, trees, signs, traffic lights, people and parked two-wheelers of one side."""
    pavement = street.pavement[(side + 1) // 2]
    kerb = side * (street.half_width + 0.5)
    metal = builder.palette(vary(rng, choose(rng, ((0.5, 0.51, 0.52), (0.12, 0.12, 0.12), (0.62, 0.62, 0.6)))))
    last = min(110.0, street.end)

    def spot(across: float, along: float, turn: float = 0.0) -> Pose:
        return street.place(across, along, height=KERB, turn=turn)

    spacing, height = rng.uniform(*style.lamp_spacing), rng.uniform(4.5, 9.5)
    arm = -side * rng.uniform(0.6, 2.2)
    if rng.random() < 0.8:
        for along in np.arange(rng.uniform(2, spacing), last, spacing):
            if street.free(along, side):
                add_lamp_post(builder, spot(kerb, along), rng, metal, height, arm)
    if rng.random() < style.trees * 0.6:
        gap = rng.uniform(7, 20)
        for along in np.arange(rng.uniform(1, gap), last, gap):
            if street.free(along, side, margin=2) and rng.random() < 0.85:
                add_tree(builder, spot(kerb + side * 0.4, along), style, rng, size=rng.uniform(0.6, 1.0))
    if rng.random() < 0.12:
        add_overhang(builder, street.place(side * (street.half_width - 0.5), rng.uniform(6, 14)), style, rng)
    if rng.random() < 0.35:
        for along in np.arange(rng.uniform(3, 10), 35, rng.uniform(1.5, 4)):
            if street.free(along, side):
                add_bollard(builder, spot(kerb, along), metal)
    if rng.random() < 0.2:
        start, length = rng.uniform(2, 20), rng.uniform(4, 16)
        if all(street.free(start + t * length, side) for t in (0, 0.5, 1)):
            add_fence(builder, spot(kerb - side * 0.2, start + length / 2, math.pi / 2), length, style, rng)
    for _ in range(int(rng.poisson(1.5 * style.signs))):
        along = rng.uniform(4, 60)
        if street.free(along, side):
            board = rng.random() < 0.15
            add_sign(builder, spot(kerb, along), rng, towards=rng.random() < 0.65, board=board)
    for _ in range(int(rng.poisson(0.6))):
        along = rng.uniform(4, 70)
        if street.free(along, side):
            add_pole(builder, spot(kerb + side * 0.4, along), rng.uniform(6, 9), rng.uniform(0.14, 0.3), metal)
    for junction in street.side_streets:
        if rng.random() < style.lights:
            phase = int(rng.integers(3))
            arm = -side * rng.uniform(2.5, 5) if rng.random() < 0.25 else 0.0
            for beyond in (-1, 1):
                along = junction.at + beyond * (junction.half_width + 1.2)
                towards = rng.random() < 0.7
                if along > 3:
                    add_traffic_light(builder, spot(kerb, along), rng, phase=phase, towards=towards, arm=arm)
    near, far = street.half_width + 0.6, street.half_width + max(1.2, pavement - 0.4)
    for _ in range(int(rng.poisson(style.people / 2))):
        along = rng.uniform(3, 12) if rng.random() < 0.25 else rng.uniform(5, 70)
        across = side * rng.uniform(near, far)
        walking = choose(rng, (0.0, math.pi)) if rng.random() < 0.75 else rng.uniform(0, 6.28)
        level = KERB if street.free(along, side, margin=0) else 0.0
        for _ in range(1 + int(rng.random() < 0.35)):
            at = street.place(across, along, height=level)
            add_person(builder, at.x, at.y, at.z, style, rng, heading=walking)
            across, along = across + side * 0.55, along + rng.normal(0, 0.3)
    for _ in range(int(rng.poisson(0.8))):
        along, motor = rng.uniform(3, 45), rng.random() < 0.4
        turn = choose(rng, (0.0, math.pi / 2, 1.0, -1.2))
        for index in range(int(rng.integers(1, 5))):
            if street.free(along, side):
                at = spot(kerb + side * 0.7, along + index * 0.8, turn + rng.normal(0, 0.1))
                add_two_wheeler(builder, at, style, rng, motor=motor, ridden=False)


def _add_side_streets(builder: MeshBuilder, street: Street, rng: np.random.Generator, style: Style) -> None:
    """Lines side streets with buildings beyond the corners, and closes the view along the side streets."""
    for junction in street.side_streets:
        for side, is_open in ((-1, junction.left), (1, junction.right)):
            if not is_open:
                continue
            start = street.half_width + street.pavement[(side + 1) // 2] + 14
            for beyond, turn in ((-1, math.pi), (1, 0.0)):
                along = junction.at + beyond * (junction.half_width + 2.0)
                for index in range(2):
                    pose = street.place(side * (start + 10 + 20 * index), along, height=KERB, turn=turn)
                    if rng.random() < 0.75:
                        floors = int(rng.integers(1, style.floors[1] + 1))
                        add_building(builder, pose, 19, 9, style, rng, floors=floors, shop=rng.random() < 0.2)
                    else:
                        add_tree(builder, pose, style, rng)
            pose = street.place(side * (start + 62), junction.at, height=KERB, turn=side * math.pi / 2)
            add_building(builder, pose, 60, 9, style, rng, floors=int(rng.integers(2, 5)), shop=False)
            if rng.random() < 0.6:
                across = side * rng.uniform(street.half_width + 5, start + 20)
                pose = street.place(across, junction.at + rng.uniform(-2, 2), turn=choose(rng, (-1, 1)) * math.pi / 2)
                add_car(builder, pose, choose(rng, style.car_kinds), style, rng)


def _add_far_end(builder: MeshBuilder, street: Street, rng: np.random.Generator, style: Style) -> None:
    """Closes the view down the street with buildings and trees."""
    distance = min(street.end + 14, _FAR + 20)
    close = street.end < 500
    for across in np.arange(-90.0, 91.0, 16.0 if not close else 14.0).tolist():
        jitter = 0.0 if close else rng.uniform(-10, 30)
        pose = street.place(across, distance + jitter, height=KERB)
        if rng.random() < (0.75 if close else 0.5):
            floors = int(rng.integers(1, style.floors[1] + 1))
            add_building(builder, pose, rng.uniform(12, 17), 9, style, rng, floors=floors, shop=rng.random() < 0.2)
        else:
            add_tree(builder, pose, style, rng, size=rng.uniform(0.9, 1.6))


def _add_traffic(builder: MeshBuilder, street: Street, rng: np.random.Generator, style: Style) -> None:
    """Parked cars along the kerbs; cars, buses and riders on the lanes."""
    half = street.half_width
    own = -street.offset
    drive = half - 2.0
    last = min(100.0, street.end - 6)
    for side in (-1, 1):
        if rng.random() > style.parked:
            continue
        fill, along = rng.uniform(0.3, 0.95), rng.uniform(-3, 8)
        across = side * (half - 1.0)
        drive = min(drive, half - 3.4)
        if abs(across - own) < 2.1:
            along = max(along, 9.0)
        while along < last:
            if street.free(along, side, margin=3.5) and rng.random() < fill:
                turn = math.pi if (rng.random() < 0.3) != (side * own < 0) else 0.0
                pose = street.place(across + rng.normal(0, 0.1), along, turn=turn + rng.normal(0, 0.02))
                if rng.random() < 0.06:
                    add_bus(builder, pose, "truck", style, rng)
                    along += 3.0
                else:
                    add_car(builder, pose, choose(rng, style.car_kinds), style, rng)
            along += rng.uniform(5.2, 6.5)
    lanes = [(own, 0.0, 7.0), (-own if abs(own) > 1.2 else -own - 3.0, math.pi, 2.5)]
    if street.lanes >= 4:
        lanes += [(own * 0.35, 0.0, 8.0), (-own * 0.35, math.pi, 6.0)]
    for across, turn, first in lanes:
        if abs(across) > half - 1.0:
            continue
        along = first + rng.exponential(12 / max(style.traffic, 0.1))
        while along < last:
            pose = street.place(across + rng.normal(0, 0.2), along, turn=turn + rng.normal(0, 0.03))
            kind = rng.random()
            if kind < 0.12:
                bus = choose(rng, ("single", "double", "coach", "single"))
                pose = street.place(across, along + 5.0, turn=turn)
                add_bus(builder, pose, bus, style, rng)
                along += 11
            elif kind < 0.17:
                add_bus(builder, street.place(across, along + 3.5, turn=turn), "truck", style, rng)
                along += 7
            elif kind < 0.27:
                add_two_wheeler(builder, pose, style, rng, motor=True, ridden=True)
            else:
                add_car(builder, pose, choose(rng, style.car_kinds), style, rng)
            along += 6 + rng.exponential(14 / max(style.traffic, 0.1))
    for _ in range(int(rng.poisson(style.cyclists))):
        side = choose(rng, (-1, 1))
        turn = 0.0 if side * own > 0 else math.pi
        if rng.random() < 0.15:
            turn += choose(rng, (-1, 1)) * math.pi / 2
        pose = street.place(side * (half - rng.uniform(0.6, 2.6)), rng.uniform(5, 45), turn=turn)
        add_two_wheeler(builder, pose, style, rng, motor=False, ridden=True)
    for _ in range(int(rng.poisson(0.5))):
        pose = street.place(rng.uniform(-half, half), rng.uniform(7, 50))
        add_person(builder, pose.x, 0.0, pose.z, style, rng, heading=choose(rng, (-1, 1)) * math.pi / 2)
