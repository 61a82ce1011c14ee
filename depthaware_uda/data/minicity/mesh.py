"""Planar quads, of which scenes are made, collected into arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Faces", "Material", "MeshBuilder", "Point", "Pose"]

Float = NDArray[np.float32]
Int = NDArray[np.int64]
Point = tuple[float, float, float]
_WHITE = (1.0, 1.0, 1.0)


class Material(IntEnum):
    """How the surface of a face is coloured."""

    PLAIN = 0
    """One colour of the palette."""
    PARTS = 1
    """A texture of part numbers; part 0 is a hole, the others are coloured by the palette."""
    FOLIAGE = 2
    """Leaves: coloured as PARTS."""
    FACADE = 3
    """Walls with windows, from a row of facade parameters."""
    ROOF = 4
    """Courses of roof tiles."""


class Pose(NamedTuple):
    """Pose of an object: position of its origin, and heading (radians about the vertical; 0 faces +z)."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    heading: float = 0.0


class Faces(NamedTuple):
    """All faces of a scene in world coordinates; N faces.

    Attributes:
        corners: (N, 4, 3), anticlockwise seen from the front.
        extent: (N, 4): u and v at the first corner, the increase of u to the second and of v to the fourth corner.
        info: (N, 6) integers: material, label, label of parts 8 and above, texture, palette, two-sided.
        palettes: (P, 16, 3), linear colours.
        facades: (F, 32), facade parameters.
        footprints: (M, 4, 2), corners (x, z) of objects close to the ground, which darken it.
    """

    corners: Float
    extent: Float
    info: Int
    palettes: Float
    facades: Float
    footprints: Float


class MeshBuilder:
    """Collects faces, each in the coordinates of the pose that was set last."""

    def __init__(self) -> None:
        self._corners: list[tuple[Point, Point, Point, Point]] = []
        self._extent: list[tuple[float, float, float, float]] = []
        self._info: list[tuple[int, int, int, int, int, int]] = []
        self._owner: list[int] = []
        self._poses: list[Pose] = [Pose()]
        self._palettes: list[list[Sequence[float]]] = []
        self._facades: list[Sequence[float]] = []
        self._footprints: list[tuple[float, ...]] = []

    def place(self, pose: Pose) -> None:
        """Sets the pose of the faces that follow."""
        self._poses.append(pose)

    def palette(self, *colours: Sequence[float]) -> int:
        """Adds a palette of sRGB colours (0..1) for parts 1, 2, ... and returns its index."""
        self._palettes.append([(0.0, 0.0, 0.0), *colours, *([_WHITE] * (15 - len(colours)))])
        return len(self._palettes) - 1

    def facade(self, row: Sequence[float]) -> int:
        """Adds a row of 32 facade parameters and returns its index."""
        self._facades.append(row)
        return len(self._facades) - 1

    def footprint(self, half_width: float, half_length: float) -> None:
        """Darkens the ground below a rectangle around the origin of the pose set last."""
        pose = self._poses[-1]
        cos, sin = math.cos(pose.heading), math.sin(pose.heading)
        corners: list[float] = []
        for x, z in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            across, along = x * half_width, z * half_length
            corners += (pose.x + cos * across + sin * along, pose.z + cos * along - sin * across)
        self._footprints.append(tuple(corners))

    def quad(
        self,
        corners: tuple[Point, Point, Point, Point],
        label: int,
        palette: int,
        *,
        material: Material = Material.PLAIN,
        texture: int = 0,
        extent: tuple[float, float] = (1.0, 1.0),
        start: tuple[float, float] = (0.0, 0.0),
        second_label: int | None = None,
        two_sided: bool = False,
    ) -> None:
        """Adds a quad, corners anticlockwise from the front; `palette` is the facade row for a FACADE.

        Texture coordinates are `start` at the first corner; by `extent`, u grows to the second and v to the fourth.
        """
        self._corners.append(corners)
        self._extent.append((*start, *extent))
        second = label if second_label is None else second_label
        self._info.append((material, label, second, texture, palette, two_sided))
        self._owner.append(len(self._poses) - 1)

    def box(
        self,
        low: Point,
        high: Point,
        label: int,
        palette: int,
        *,
        material: Material = Material.PLAIN,
        texture: int = 0,
    ) -> None:
        """Adds the five visible faces of a box (no bottom); textures are in metres for facades and roofs."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        metric = material in (Material.FACADE, Material.ROOF, Material.FOLIAGE)
        wide, tall, deep = (x1 - x0, y1 - y0, z1 - z0) if metric else (1.0, 1.0, 1.0)
        sides = (
            (((x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)), (wide, tall)),
            (((x1, y0, z1), (x0, y0, z1), (x0, y1, z1), (x1, y1, z1)), (wide, tall)),
            (((x0, y0, z1), (x0, y0, z0), (x0, y1, z0), (x0, y1, z1)), (deep, tall)),
            (((x1, y0, z0), (x1, y0, z1), (x1, y1, z1), (x1, y1, z0)), (deep, tall)),
        )
        for corners, extent in sides:
            self.quad(corners, label, palette, material=material, texture=texture, extent=extent)
        top = ((x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1))
        self.quad(top, label, palette, material=material, texture=texture, extent=(wide, deep))

    def upright(
        self,
        width: float,
        low: float,
        high: float,
        label: int,
        palette: int,
        *,
        material: Material = Material.PLAIN,
        texture: int = 0,
        shift: float = 0.0,
        forward: float = 0.0,
        second_label: int | None = None,
        extent: tuple[float, float] = (1.0, 1.0),
        top_width: float | None = None,
    ) -> None:
        """Adds an upright two-sided sheet, facing -z in the current pose: `shift` to the right, `forward` along z."""
        bottom, top = width / 2, (width if top_width is None else top_width) / 2
        corners = (
            (shift - bottom, low, forward),
            (shift + bottom, low, forward),
            (shift + top, high, forward),
            (shift - top, high, forward),
        )
        self.quad(
            corners,
            label,
            palette,
            material=material,
            texture=texture,
            extent=extent,
            second_label=second_label,
            two_sided=True,
        )

    def build(self) -> Faces:
        """The faces in world coordinates."""
        flat = chain.from_iterable(chain.from_iterable(self._corners))
        local = np.fromiter(flat, np.float32, 12 * len(self._corners)).reshape(-1, 4, 3)
        poses = np.array(self._poses, np.float32)[np.array(self._owner, np.int64)]
        cos, sin = np.cos(poses[:, 3, None]), np.sin(poses[:, 3, None])
        corners = np.empty_like(local)
        corners[..., 0] = cos * local[..., 0] + sin * local[..., 2] + poses[:, 0, None]
        corners[..., 1] = local[..., 1] + poses[:, 1, None]
        corners[..., 2] = cos * local[..., 2] - sin * local[..., 0] + poses[:, 2, None]
        colours = chain.from_iterable(chain.from_iterable(self._palettes))
        palettes = np.fromiter(colours, np.float32).reshape(-1, 16, 3) ** np.float32(2.2)
        return Faces(
            corners,
            np.fromiter(chain.from_iterable(self._extent), np.float32).reshape(-1, 4),
            np.fromiter(chain.from_iterable(self._info), np.int64).reshape(-1, 6),
            palettes,
            np.fromiter(chain.from_iterable(self._facades), np.float32).reshape(-1, 32),
            np.fromiter(chain.from_iterable(self._footprints), np.float32).reshape(-1, 4, 2),
        )
