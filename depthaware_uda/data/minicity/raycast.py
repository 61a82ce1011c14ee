"""Finds the face that every ray hits first: exact ray-plane geometry, one bounding box of pixels for each face.

In a pinhole image the inverse depth of a plane is an affine function of the pixel, and so are the functions whose
signs tell whether a ray passes inside an edge. So no triangle is clipped or projected: a face is five affine functions
and the box of pixels in which to evaluate them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .mesh import Faces, Material
from .textures import TEXELS, part_textures

__all__ = ["GROUND", "RAISED", "SKY", "Hits", "Projection", "cast", "perspective", "sun_view"]

Float = NDArray[np.float32]
SKY, GROUND, RAISED = -1, -2, -3
"""Face numbers of rays that hit no face: sky, the plane of the road, the plane of the pavements."""
_NEAR = 0.15
_SMALL = 400
"""Boxes of at most this many samples are cast together."""
_HOLED = (int(Material.PARTS), int(Material.FOLIAGE))


class Projection(NamedTuple):
    """Faces as affine functions of the pixel (column, row, 1).

    Attributes:
        order: Indices of the visible faces, nearest first.
        functions: (N, 5, 3): nearness (larger is nearer), then the four edges (inside where all are >= 0).
        texture: (N, 3, 3): texture coordinates as ratios; u = f0 / f2 and v = f1 / f2 up to `offset`.
        offset: (N, 2), to add to the ratios.
        boxes: (N, 4): first column, end column, first row, end row.
    """

    order: NDArray[np.int64]
    functions: Float
    texture: Float
    offset: Float
    boxes: NDArray[np.int64]


class Hits(NamedTuple):
    """The first face of every ray: number (or SKY, GROUND, RAISED) and nearness; shape (H, W)."""

    face: NDArray[np.int32]
    nearness: Float


def texture_axes(faces: Faces) -> tuple[Float, Float]:
    """World vectors U, V of every face: texture coordinates are start + (P - first corner) . (U, V); each (N, 3)."""
    corners = faces.corners
    along = corners[:, 1] - corners[:, 0]
    up = corners[:, 3] - corners[:, 0]
    square = np.maximum((along * along).sum(1, keepdims=True), 1e-12)
    up = up - along * ((along * up).sum(1, keepdims=True) / square)
    u = along * (faces.extent[:, 2:3] / square)
    v = up * (faces.extent[:, 3:] / np.maximum((up * up).sum(1, keepdims=True), 1e-12))
    return u, v


def _boxes(columns: Float, rows: Float, valid: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Pixel boxes around the valid points of every face; points (N, K)."""
    big = np.float32(1e9)
    low_column = np.where(valid, columns, big).min(1)
    high_column = np.where(valid, columns, -big).max(1)
    low_row = np.where(valid, rows, big).min(1)
    high_row = np.where(valid, rows, -big).max(1)
    box = np.stack([np.ceil(low_column), np.floor(high_column) + 1, np.ceil(low_row), np.floor(high_row) + 1], 1)
    box[:, :2] = np.clip(box[:, :2], 0, shape[1])
    box[:, 2:] = np.clip(box[:, 2:], 0, shape[0])
    return box.astype(np.int64)


def perspective(faces: Faces, eye: Float, ray_matrix: NDArray[np.float64], shape: tuple[int, int]) -> Projection:
    """Projects faces for a pinhole at `eye`; nearness is 1 / depth along the optical axis."""
    relative = (faces.corners - eye).astype(np.float64)
    to_sample = np.linalg.inv(ray_matrix)
    homogeneous = relative @ to_sample.T
    depth = homogeneous[..., 2]
    following = np.roll(homogeneous, -1, 1)
    crossing = (depth - _NEAR) * (following[..., 2] - _NEAR) < 0
    share = (_NEAR - depth) / np.where(crossing, following[..., 2] - depth, 1)
    cut = homogeneous + share[..., None] * (following - homogeneous)
    points = np.concatenate([homogeneous, cut], 1)
    valid = np.concatenate([depth >= _NEAR, crossing], 1)
    safe = np.where(valid, points[..., 2], 1)
    boxes = _boxes((points[..., 0] / safe).astype(np.float32), (points[..., 1] / safe).astype(np.float32), valid, shape)
    normal = np.cross(relative[:, 1] - relative[:, 0], relative[:, 2] - relative[:, 0])
    distance = (normal * relative[:, 0]).sum(1)
    seen = (boxes[:, 0] < boxes[:, 1]) & (boxes[:, 2] < boxes[:, 3])
    seen &= (distance > 1e-9) | ((faces.info[:, 5] == 1) & (distance < -1e-9))
    kept = np.flatnonzero(seen)
    order = kept[np.argsort(depth[kept].min(1), kind="stable")]
    relative, normal, distance = relative[order], normal[order], distance[order]
    functions = np.empty((len(order), 5, 3))
    functions[:, 0] = (normal / distance[:, None]) @ ray_matrix
    edges = np.cross(relative, np.roll(relative, -1, 1)) * np.sign(distance)[:, None, None]
    functions[:, 1:] = edges @ ray_matrix
    u, v = texture_axes(faces)
    texture = np.stack([u[order] @ ray_matrix, v[order] @ ray_matrix, functions[:, 0]], 1)
    origin = -relative[:, 0]
    offset = np.stack([(origin * u[order]).sum(1), (origin * v[order]).sum(1)], 1) + faces.extent[order, :2]
    return Projection(
        order, functions.astype(np.float32), texture.astype(np.float32), offset.astype(np.float32), boxes[order]
    )


def sun_view(faces: Faces, to_sun: Float, centre: Float, span: float, size: int) -> tuple[Projection, Float]:
    """Projects faces along the sun's rays onto a square of `span` metres around `centre`.

    Returns the projection, whose nearness is the height towards the sun in metres, and the (3, 4) matrix
    that maps world points to (column, row, height).
    """
    helper = np.array([0, 0, 1], np.float64)
    right = np.cross(helper, to_sun)
    right /= np.linalg.norm(right)
    up = np.cross(to_sun, right)
    scale = size / span
    matrix = np.zeros((3, 4))
    matrix[:, :3] = np.stack([right * scale, up * scale, to_sun])
    matrix[:2, 3] = size / 2 - matrix[:2, :3] @ centre
    points = faces.corners @ matrix[:, :3].T + matrix[:, 3]
    flat = points.astype(np.float32)
    boxes = _boxes(flat[..., 0], flat[..., 1], np.ones(points.shape[:2], bool), (size, size))
    plane = points.copy()
    plane[..., 2] = 1
    area = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    seen = (boxes[:, 0] < boxes[:, 1]) & (boxes[:, 2] < boxes[:, 3]) & (np.abs(area[:, 2]) > 1e-3)
    order = np.flatnonzero(seen)
    order = order[np.argsort(-points[order, :, 2].max(1), kind="stable")]
    points, plane, area = points[order], plane[order], area[order]
    functions = np.empty((len(order), 5, 3))
    slope = -area[:, :2] / area[:, 2:]
    functions[:, 0, :2] = slope
    functions[:, 0, 2] = points[:, 0, 2] - (slope * points[:, 0, :2]).sum(1)
    functions[:, 1:] = np.cross(plane, np.roll(plane, -1, 1)) * np.sign(area[:, 2])[:, None, None]
    u, v = texture_axes(faces)
    u, v = u[order], v[order]
    # A world point on the face is right * a + up * b + to_sun * height, each affine in the sample.
    back = np.linalg.inv(matrix[:, :3])
    affine = np.zeros((len(order), 3, 3))
    affine[:, 0, 0] = affine[:, 1, 1] = 1
    affine[:, :2, 2] = -matrix[:2, 3]
    affine[:, 2] = functions[:, 0]
    world = back @ affine
    texture = np.zeros((len(order), 3, 3))
    texture[:, 0] = (u[:, :, None] * world).sum(1)
    texture[:, 1] = (v[:, :, None] * world).sum(1)
    texture[:, 2, 2] = 1
    origin = faces.corners[order, 0]
    offset = np.stack([-(origin * u).sum(1), -(origin * v).sum(1)], 1) + faces.extent[order, :2]
    projection = Projection(
        order, functions.astype(np.float32), texture.astype(np.float32), offset.astype(np.float32), boxes[order]
    )
    return projection, matrix.astype(np.float32)


def cast(faces: Faces, projection: Projection, hits: Hits) -> None:
    """Enters every face into `hits` where it is the nearest so far. Rays pass through holes of textures."""
    boxes = projection.boxes
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    small = area <= _SMALL
    for row in np.flatnonzero(~small).tolist():
        _cast_large(faces, projection, row, hits)
    _cast_small(faces, projection, np.flatnonzero(small), area[small], hits)


def _solid(textures: NDArray[np.uint8], texture: int | NDArray[np.int64], u: Float, v: Float) -> NDArray[np.bool_]:
    """Whether texels are not holes; texture coordinates in texels."""
    column = u.astype(np.int32) & (TEXELS - 1)
    row = v.astype(np.int32) & (TEXELS - 1)
    return textures[(texture * TEXELS + row) * TEXELS + column] > 0


def _cast_large(faces: Faces, projection: Projection, row: int, hits: Hits) -> None:
    """Enters one face, evaluating its functions on the grid of its box."""
    c0, c1, r0, r1 = projection.boxes[row].tolist()
    number = int(projection.order[row])
    functions = projection.functions[row]
    columns = np.arange(c0, c1, dtype=np.float32)
    rows = np.arange(r0, r1, dtype=np.float32)
    along = functions[:, 0, None, None] * columns
    down = functions[:, 1, None] * rows + functions[:, 2, None]
    values = along + down[:, :, None]
    old = hits.nearness[r0:r1, c0:c1]
    face = hits.face[r0:r1, c0:c1]
    inside = values[1:].min(0) >= 0
    near = values[0]
    inside &= near > old
    if faces.info[number, 0] not in _HOLED:
        np.copyto(old, near, where=inside)
        np.copyto(face, number, where=inside)
        return
    r, c = np.nonzero(inside)
    fu, fv, fw = projection.texture[row]
    column, line = columns[c], rows[r]
    weight = TEXELS / (fw[0] * column + fw[1] * line + fw[2])
    shift_u, shift_v = projection.offset[row] * TEXELS
    u = (fu[0] * column + fu[1] * line + fu[2]) * weight + shift_u
    v = (fv[0] * column + fv[1] * line + fv[2]) * weight + shift_v
    solid = _solid(part_textures().parts.ravel(), int(faces.info[number, 3]), u, v)
    r, c = r[solid], c[solid]
    old[r, c] = near[r, c]
    face[r, c] = number


def _cast_small(
    faces: Faces, projection: Projection, small: NDArray[np.int64], area: NDArray[np.int64], hits: Hits
) -> None:
    """Enters many faces of few pixels at once: all pixels of all boxes in one list."""
    if not small.size:
        return
    boxes = projection.boxes[small]
    owner = np.repeat(np.arange(len(small)), area)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(area) - area, area)
    width = (boxes[:, 1] - boxes[:, 0])[owner]
    line = place // width
    column = place - line * width + boxes[owner, 0]
    line += boxes[owner, 2]
    width_of_image = hits.face.shape[1]
    pixel = line * width_of_image + column
    samples = np.empty((len(owner), 3), np.float32)
    samples[:, 0], samples[:, 1], samples[:, 2] = column, line, 1
    functions = projection.functions[small]
    nearness = hits.nearness.ravel()
    near = np.einsum("ij,ij->i", functions[owner, 0], samples)
    inside = np.flatnonzero(near > nearness[pixel])
    for edge in range(1, 5):
        value = np.einsum("ij,ij->i", functions[owner[inside], edge], samples[inside])
        inside = inside[value >= 0]
    owner, pixel, samples, near = owner[inside], pixel[inside], samples[inside], near[inside]
    info = faces.info[projection.order[small]]
    holed = np.isin(info[:, 0], _HOLED)
    test = np.flatnonzero(holed[owner])
    if test.size:
        of = owner[test]
        ratio = np.einsum("ijk,ik->ij", projection.texture[small][of], samples[test])
        uv = (ratio[:, :2] / ratio[:, 2:] + projection.offset[small][of]) * TEXELS
        solid = _solid(part_textures().parts.ravel(), info[of, 3], uv[:, 0], uv[:, 1])
        keep = np.ones(len(owner), bool)
        keep[test[~solid]] = False
        owner, pixel, near = owner[keep], pixel[keep], near[keep]
    # Of several assignments to one pixel the last one stays, which is the nearest.
    order = np.argsort(near, kind="stable")
    pixel = pixel[order]
    nearness[pixel] = near[order]
    hits.face.ravel()[pixel] = projection.order[small][owner[order]]
