"""Drawings of people, bicycles, motorcycles and their riders.

Parts of the person: 1 skin, 2 hair or helmet, 3 top, 4 legs, 5 shoes, 6 bag or scarf; of the vehicle: 8 tyre and
black, 9 frame or fairing, 10 metal, 11 lamp, 12 seat.
"""

from __future__ import annotations

import math

import numpy as np

from .canvas import XY, Canvas

__all__ = [
    "bicycle_front",
    "bicycle_side",
    "cyclist",
    "motorcycle_front",
    "motorcycle_side",
    "motorcyclist",
    "person",
]

SKIN, HAIR, TOP, LEGS, SHOES, BAG = 1, 2, 3, 4, 5, 6
BLACK, FRAME, METAL, LAMP, SEAT = 8, 9, 10, 11, 12
PERSON_SIZE = (1.0, 1.9)
BICYCLE_SIZE = (1.9, 1.9)
FRONT_SIZE = (0.95, 1.9)


def _knee(hip: XY, foot: XY, bend: float) -> XY:
    return (hip[0] + foot[0]) / 2 + bend, (hip[1] + foot[1]) / 2 + 0.02


def person(rng: np.random.Generator, *, side: bool) -> Canvas:
    """A person standing or walking, seen from the side (walking right) or from the front; 1.0 x 1.9 m."""
    canvas = Canvas(*PERSON_SIZE)
    middle, hip_y, neck_y = 0.5, rng.uniform(0.86, 0.96), rng.uniform(1.42, 1.5)
    build = rng.uniform(0.85, 1.25)
    stride = rng.uniform(0.05, 0.36) if side else 0.0
    lean = rng.uniform(0, 0.06) if side else 0.0
    coat, skirt = rng.random() < 0.4, rng.random() < 0.2
    spread = (0.07 if side else rng.uniform(0.07, 0.12)) * build
    leg_part = SKIN if skirt else LEGS
    for sign in (-1, 1):
        hip = (middle + sign * (0.02 if side else spread * 0.8), hip_y)
        foot = (middle + sign * (stride if side else spread), 0.06 + (0.05 if sign < 0 else 0) * stride / 0.3)
        knee = _knee(hip, foot, 0.05 if side else 0.0)
        canvas.limb(hip, knee, 0.19 * build, 0.13 * build, leg_part)
        canvas.limb(knee, foot, 0.13 * build, 0.09, leg_part)
        toe = 0.12 if side else sign * 0.02
        canvas.limb(foot, (foot[0] + toe, 0.04), 0.09, 0.07, SHOES)
    shoulders = (0.13 if side else 0.2) * build
    waist = (0.13 if side else 0.16) * build
    hem = hip_y - (rng.uniform(0.15, 0.5) if coat else 0.06)
    chest = middle + lean
    if skirt:
        flare = waist * 1.35
        canvas.polygon(
            [
                (middle - flare, hip_y - 0.42),
                (middle + flare, hip_y - 0.42),
                (middle + waist, hip_y + 0.05),
                (middle - waist, hip_y + 0.05),
            ],
            LEGS,
        )
    canvas.polygon(
        [
            (middle - waist * 1.15, hem),
            (middle + waist * 1.15, hem),
            (middle + waist, hip_y + 0.18),
            (chest + shoulders, neck_y - 0.1),
            (chest + shoulders * 0.6, neck_y),
            (chest - shoulders * 0.6, neck_y),
            (chest - shoulders, neck_y - 0.1),
            (middle - waist, hip_y + 0.18),
        ],
        TOP,
    )
    swing = stride * 0.9
    for sign in (-1, 1):
        shoulder = (chest if side else chest + sign * shoulders, neck_y - 0.08)
        bent = rng.random() < 0.3
        elbow = (shoulder[0] - sign * swing * 0.5 if side else shoulder[0] + sign * 0.05, neck_y - 0.36)
        hand = (
            elbow[0] + (0.16 if side else -sign * 0.1) if bent else elbow[0] + (-sign * swing * 0.4 if side else 0),
            neck_y - (0.38 if bent else 0.6),
        )
        canvas.limb(shoulder, elbow, 0.12 * build, 0.1 * build, TOP)
        canvas.limb(elbow, hand, 0.1 * build, 0.07, TOP)
        canvas.ellipse(*hand, 0.045, SKIN)
    head = (chest + lean, neck_y + 0.17)
    canvas.limb((chest, neck_y - 0.02), head, 0.1, 0.1, SKIN)
    canvas.ellipse(*head, 0.085, SKIN, tall=0.115)
    away = not side and rng.random() < 0.5
    if away:
        canvas.ellipse(head[0], head[1] + 0.01, 0.095, HAIR, tall=0.12)
    else:
        canvas.ellipse(head[0] - (0.025 if side else 0), head[1] + 0.055, 0.095, HAIR, tall=0.075)
        if rng.random() < 0.35:
            canvas.ellipse(head[0] - 0.06, head[1] - 0.03, 0.05, HAIR, tall=0.12)
    kind = rng.random()
    if kind < 0.25:
        canvas.ellipse(chest - (0.17 if side else 0), neck_y - 0.25, 0.1 * build, BAG, tall=0.2)
    elif kind < 0.45:
        canvas.rectangle(chest + 0.15, hip_y - 0.25, chest + 0.33, hip_y + 0.02, BAG)
    elif kind < 0.6:
        canvas.limb((chest - 0.06, neck_y), (chest + 0.06, neck_y), 0.08, 0.08, BAG)
    return canvas


def _bicycle(canvas: Canvas, rng: np.random.Generator) -> None:
    rear, front, radius = (0.5, 0.34), (1.52, 0.34), 0.32
    for hub in (rear, front):
        canvas.ring(*hub, radius, 0.055, BLACK)
        canvas.ring(*hub, radius - 0.045, 0.015, METAL)
        turn = rng.uniform(0, 1)
        for spoke in range(7):
            angle = turn + spoke * math.pi * 2 / 7
            canvas.limb(hub, (hub[0] + 0.28 * math.cos(angle), hub[1] + 0.28 * math.sin(angle)), 0.012, 0.012, METAL)
    pedal, saddle, head = (0.95, 0.32), (0.78, 0.92), (1.36, 0.86)
    low = rng.random() < 0.4
    canvas.path([rear, pedal, (0.8, 0.8), rear], 0.05, FRAME)
    canvas.path([pedal, head, (0.84, 0.5) if low else (0.8, 0.8)], 0.055, FRAME)
    canvas.path([head, front], 0.05, FRAME)
    canvas.path([head, (1.34, 1.02), (1.22, 1.05)], 0.045, BLACK)
    canvas.limb((0.66, 0.95), (0.92, 0.94), 0.09, 0.05, BLACK)
    canvas.limb((0.8, 0.8), saddle, 0.04, 0.04, METAL)
    canvas.ellipse(*pedal, 0.09, BLACK)
    if rng.random() < 0.4:
        canvas.rectangle(1.36, 0.82, 1.68, 1.05, SEAT)
    if rng.random() < 0.5:
        canvas.path([(0.3, 0.66), (0.55, 0.7), (0.78, 0.62)], 0.035, BLACK)


def bicycle_side(rng: np.random.Generator) -> Canvas:
    """A bicycle from its right side; 1.9 x 1.9 m, empty above."""
    canvas = Canvas(*BICYCLE_SIZE)
    _bicycle(canvas, rng)
    return canvas


def _bicycle_front(canvas: Canvas) -> None:
    canvas.limb((0.475, 0.05), (0.475, 0.62), 0.07, 0.07, BLACK)
    canvas.limb((0.475, 0.5), (0.475, 1.0), 0.07, 0.06, FRAME)
    canvas.path([(0.2, 1.02), (0.35, 1.05), (0.6, 1.05), (0.75, 1.02)], 0.05, BLACK)
    canvas.ellipse(0.475, 0.82, 0.05, LAMP)
    canvas.path([(0.33, 0.25), (0.62, 0.4)], 0.05, BLACK)


def bicycle_front(rng: np.random.Generator) -> Canvas:
    """A bicycle seen from the front or the back; 0.95 x 1.9 m."""
    canvas = Canvas(*FRONT_SIZE)
    _bicycle_front(canvas)
    if rng.random() < 0.5:
        canvas.rectangle(0.33, 0.75, 0.62, 0.95, SEAT)
    return canvas


def _torso(canvas: Canvas, hip: XY, neck: XY, width: float) -> None:
    canvas.limb(hip, neck, width, width * 1.1, TOP)
    head = (neck[0] + 0.05, neck[1] + 0.2)
    canvas.limb(neck, head, 0.1, 0.1, SKIN)
    canvas.ellipse(*head, 0.085, SKIN, tall=0.11)
    canvas.ellipse(head[0] - 0.02, head[1] + 0.05, 0.105, HAIR, tall=0.08)


def cyclist(rng: np.random.Generator, *, side: bool) -> Canvas:
    """A rider on a bicycle, riding to the right or seen end-on; sizes as of the bicycles."""
    if side:
        canvas = Canvas(*BICYCLE_SIZE)
        _bicycle(canvas, rng)
        hip, neck = (0.78, 0.98), (rng.uniform(0.95, 1.12), rng.uniform(1.38, 1.48))
        angle = rng.uniform(0, math.pi)
        for turn in (0.0, math.pi):
            foot = (0.95 + 0.17 * math.cos(angle + turn), 0.32 + 0.17 * math.sin(angle + turn))
            knee = _knee(hip, foot, 0.22)
            canvas.limb(hip, knee, 0.19, 0.14, LEGS)
            canvas.limb(knee, foot, 0.13, 0.08, LEGS)
            canvas.limb(foot, (foot[0] + 0.14, foot[1] - 0.03), 0.08, 0.06, SHOES)
        _torso(canvas, hip, neck, 0.24)
        canvas.limb((neck[0] + 0.02, neck[1] - 0.06), (1.28, 1.08), 0.11, 0.07, TOP)
        canvas.ellipse(1.28, 1.07, 0.05, SKIN)
        if rng.random() < 0.4:
            canvas.ellipse(neck[0] - 0.15, neck[1] - 0.15, 0.14, BAG, tall=0.22)
        return canvas
    canvas = Canvas(*FRONT_SIZE)
    _bicycle_front(canvas)
    for sign, foot_y in ((-1, rng.uniform(0.15, 0.4)), (1, rng.uniform(0.15, 0.4))):
        canvas.limb((0.475 + sign * 0.1, 0.98), (0.475 + sign * 0.15, 0.6 + foot_y * 0.4), 0.19, 0.14, LEGS)
        canvas.limb((0.475 + sign * 0.15, 0.6 + foot_y * 0.4), (0.475 + sign * 0.12, foot_y), 0.13, 0.09, LEGS)
        canvas.ellipse(0.475 + sign * 0.12, foot_y, 0.06, SHOES)
        canvas.limb((0.475 + sign * 0.17, 1.36), (0.475 + sign * 0.26, 1.06), 0.12, 0.09, TOP)
    canvas.limb((0.475, 1.0), (0.475, 1.34), 0.34, 0.38, TOP)
    canvas.ellipse(0.475, 1.62, 0.085, SKIN, tall=0.11)
    canvas.ellipse(0.475, 1.68, 0.1, HAIR, tall=0.08)
    if rng.random() < 0.4:
        canvas.ellipse(0.475, 1.22, 0.15, BAG, tall=0.2)
    return canvas


def _motorcycle(canvas: Canvas, rng: np.random.Generator) -> None:
    scooter = rng.random() < 0.4
    rear, front, radius = (0.42, 0.3), (1.52, 0.3), 0.25 if scooter else 0.29
    for hub in (rear, front):
        canvas.ellipse(*hub, radius, BLACK)
        canvas.ellipse(*hub, radius * 0.6, METAL)
        canvas.ellipse(*hub, radius * 0.3, BLACK)
    if scooter:
        canvas.polygon([(0.25, 0.42), (0.95, 0.3), (0.95, 0.72), (0.3, 0.78)], FRAME)
        canvas.polygon([(0.9, 0.22), (1.3, 0.22), (1.3, 0.34), (0.9, 0.36)], FRAME)
        canvas.limb((1.32, 0.3), (1.22, 0.98), 0.2, 0.14, FRAME)
    else:
        canvas.polygon([(0.6, 0.25), (1.2, 0.22), (1.28, 0.6), (0.7, 0.62)], METAL)
        canvas.polygon([(0.75, 0.6), (1.3, 0.55), (1.28, 0.9), (0.9, 0.86)], FRAME)
        canvas.limb((0.22, 0.72), (0.7, 0.62), 0.12, 0.14, FRAME)
        canvas.limb((0.35, 0.3), (1.0, 0.26), 0.1, 0.06, METAL)
    canvas.limb((0.4, 0.8), (0.88, 0.8), 0.12, 0.12, SEAT)
    canvas.limb(front, (1.28, 0.98), 0.08, 0.07, BLACK)
    canvas.limb((1.3, 0.98), (1.16, 1.06), 0.05, 0.05, BLACK)
    canvas.ellipse(1.36, 0.86, 0.09, LAMP)


def motorcycle_side(rng: np.random.Generator) -> Canvas:
    """A motorcycle or scooter from its right side; 1.9 x 1.9 m."""
    canvas = Canvas(*BICYCLE_SIZE)
    _motorcycle(canvas, rng)
    return canvas


def _motorcycle_front(canvas: Canvas) -> None:
    canvas.limb((0.475, 0.08), (0.475, 0.5), 0.15, 0.15, BLACK)
    canvas.limb((0.475, 0.5), (0.475, 0.9), 0.36, 0.3, FRAME)
    canvas.path([(0.15, 1.02), (0.35, 0.98), (0.6, 0.98), (0.8, 1.02)], 0.06, BLACK)
    canvas.ellipse(0.475, 0.8, 0.1, LAMP)
    canvas.rectangle(0.38, 0.5, 0.57, 0.6, METAL)


def motorcycle_front(rng: np.random.Generator) -> Canvas:
    """A motorcycle seen from the front or the back; 0.95 x 1.9 m."""
    canvas = Canvas(*FRONT_SIZE)
    _motorcycle_front(canvas)
    if rng.random() < 0.5:
        canvas.rectangle(0.3, 0.85, 0.65, 1.15, SEAT)
    return canvas


def motorcyclist(rng: np.random.Generator, *, side: bool) -> Canvas:
    """A rider on a motorcycle, riding to the right or seen end-on; sizes as of the motorcycles."""
    if side:
        canvas = Canvas(*BICYCLE_SIZE)
        _motorcycle(canvas, rng)
        hip, neck = (0.66, 0.92), (rng.uniform(0.75, 0.92), 1.42)
        canvas.limb(hip, (1.08, 0.78), 0.2, 0.16, LEGS)
        canvas.limb((1.08, 0.78), (0.92, 0.32), 0.15, 0.1, LEGS)
        canvas.limb((0.92, 0.3), (1.08, 0.28), 0.09, 0.08, SHOES)
        canvas.limb(hip, neck, 0.3, 0.32, TOP)
        canvas.limb((neck[0] + 0.03, neck[1] - 0.05), (1.2, 1.08), 0.13, 0.09, TOP)
        canvas.ellipse(neck[0] + 0.05, neck[1] + 0.22, 0.14, HAIR, tall=0.15)
        return canvas
    canvas = Canvas(*FRONT_SIZE)
    _motorcycle_front(canvas)
    for sign in (-1, 1):
        canvas.limb((0.475 + sign * 0.15, 0.95), (0.475 + sign * 0.27, 0.65), 0.2, 0.16, LEGS)
        canvas.limb((0.475 + sign * 0.27, 0.65), (0.475 + sign * 0.22, 0.25), 0.14, 0.1, LEGS)
        canvas.limb((0.475 + sign * 0.2, 1.36), (0.475 + sign * 0.32, 1.06), 0.15, 0.1, TOP)
    canvas.limb((0.475, 1.0), (0.475, 1.34), 0.4, 0.44, TOP)
    canvas.ellipse(0.475, 1.62, 0.14, HAIR, tall=0.15)
    return canvas
