"""Indices of the classes that MiniCity renders: those of the label space ``cityscapes16``."""

from __future__ import annotations

__all__ = [
    "BICYCLE",
    "BUILDING",
    "BUS",
    "CAR",
    "FENCE",
    "LIGHT",
    "MOTORCYCLE",
    "PERSON",
    "POLE",
    "RIDER",
    "ROAD",
    "SIDEWALK",
    "SIGN",
    "SKY_CLASS",
    "VEGETATION",
    "WALL",
]

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN = range(8)
VEGETATION, SKY_CLASS, PERSON, RIDER, CAR, BUS, MOTORCYCLE, BICYCLE = range(8, 16)
