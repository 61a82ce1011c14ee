"""The plan of a street: where road, pavements and side streets are, and what lies beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .classes import SIDEWALK, VEGETATION
from .mesh import Pose

__all__ = ["KERB", "SideStreet", "Street"]

KERB = 0.12
"""Height of pavements above the road in metres."""
Float = NDArray[np.float32]


class SideStreet(NamedTuple):
    """A street that meets the main one: position along it, half its width, and the sides on which it opens."""

    at: float
    half_width: float
    left: bool
    right: bool
    zebra: bool
    box_junction: bool


@dataclass(frozen=True)
class Street:
    """A street along z, gently curved: its axis is at x = offset + curvature * z ** 2 / 2.

    Attributes:
        offset: Metres from the camera to the axis beside it, positive to the right.
        curvature: 1 / metres; positive bends to the right.
        half_width: From the axis to the kerbs.
        pavement: Widths of the left and the right pavement.
        lots: Label of the ground behind the left and the right pavement.
        verge: Widths of the left and the right grass verge.
        side_streets: In order of distance.
        end: Position of the junction in which the street ends; the ground beyond it is pavement.
        lanes: Number of lanes, both ways.
    """

    offset: float
    curvature: float
    half_width: float
    pavement: tuple[float, float]
    lots: tuple[int, int]
    verge: tuple[float, float]
    side_streets: tuple[SideStreet, ...]
    end: float
    lanes: int

    def place(self, across: float, along: float, *, height: float = 0.0, turn: float = 0.0) -> Pose:
        """The pose of an object `across` metres to the right of the axis, heading along the street plus `turn`."""
        x = self.offset + across + self.curvature * along**2 / 2
        return Pose(x, height, along, math.atan(self.curvature * along) + turn)

    def across(self, x: Float, z: Float) -> Float:
        """Distance of world points to the right of the axis, in metres."""
        return x - np.float32(self.offset) - np.float32(self.curvature / 2) * z * z

    def in_side_street(self, across: Float, along: Float, *, margin: float = 0.0) -> NDArray[np.bool_]:
        """Whether points lie on the road of a side street, which extends from the axis to its open sides only."""
        inside = np.zeros(across.shape, bool)
        for side in self.side_streets:
            near = np.abs(along - np.float32(side.at)) < side.half_width + margin
            if not side.left:
                near &= across > 0
            if not side.right:
                near &= across < 0
            inside |= near
        return inside

    def on_road(self, across: Float, along: Float) -> NDArray[np.bool_]:
        """Whether points lie at the road's level."""
        main = (np.abs(across) < self.half_width) & (along < self.end)
        return main | self.in_side_street(across, along)

    def free(self, along: float, side: int, *, margin: float = 1.0) -> bool:
        """Whether no side street opens at `along` on a side (-1 left, 1 right)."""
        for street in self.side_streets:
            open_here = street.left if side < 0 else street.right
            if open_here and abs(along - street.at) < street.half_width + margin:
                return False
        return along < self.end - margin

    def raised_label(self, across: Float, along: Float) -> NDArray[np.uint8]:
        """Labels of ground that is not road: pavement, verge or lot."""
        right = across > 0
        beyond = np.abs(across) - np.float32(self.half_width)
        pavement = np.where(right, np.float32(self.pavement[1]), np.float32(self.pavement[0]))
        verge = np.where(right, np.float32(self.verge[1]), np.float32(self.verge[0]))
        lot = np.where(right, np.uint8(self.lots[1]), np.uint8(self.lots[0]))
        label = np.where(beyond > pavement, lot, np.uint8(SIDEWALK))
        label[(beyond > 0.18) & (beyond < verge)] = VEGETATION
        corner = self.in_side_street(across, along, margin=2.0) | (along > self.end)
        label[corner] = SIDEWALK
        return label
