"""Renders (seed, index, style, size) to image, label and depth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from .camera import develop
from .classes import ROAD, SKY_CLASS
from .materials import face_colour
from .mesh import Material
from .raycast import GROUND, RAISED, SKY, Hits, cast, perspective, sun_view, texture_axes
from .scene import Scene, random_scene
from .sky import sky_colour
from .street import KERB
from .style import STYLES, StyleName
from .surface import ground_colour

__all__ = ["Rendering", "make_scene", "mirror", "render", "render_scene"]

Float = NDArray[np.float32]
_FAR = 400.0
_OVERSAMPLING = 2


class Rendering(NamedTuple):
    """A rendered scene.

    Attributes:
        image: (H, W, 3), 8-bit RGB.
        label: (H, W), 8-bit indices of the classes of ``cityscapes16``.
        depth: (H, W), metres along the optical axis; NaN in the sky.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    depth: Float


def make_scene(seed: int, index: int, *, style: StyleName) -> Scene:
    """The scene that `render` shows."""
    look = STYLES[style]
    return random_scene(np.random.default_rng([seed, index, look.number]), look)


def render(seed: int, index: int, *, style: StyleName = "synthetic", size: tuple[int, int] = (96, 160)) -> Rendering:
    """Renders one street scene; the same arguments give the same arrays.

    Args:
        seed: Seed of the scenes, 0 or greater; different seeds share no scene.
        index: Number of the scene, 0 or greater.
        style: ``"synthetic"`` or ``"real"``.
        size: (height, width) in pixels; every size shows the same scene.
    """
    noise = np.random.default_rng([seed, index, STYLES[style].number, 1])
    return render_scene(make_scene(seed, index, style=style), size, noise)


def _cast_ground(scene: Scene, rays: Float, hits: Hits) -> None:
    """Enters the planes of the road and of the pavements: every ray that points down hits one of them."""
    eye = scene.camera.height
    fall = -rays[..., 1]
    below = np.flatnonzero((fall > eye / _FAR).ravel())
    ray = rays.reshape(-1, 3)[below]
    fall = -ray[:, 1]
    face, nearness = hits.face.ravel(), hits.nearness.ravel()
    face[below] = GROUND
    nearness[below] = fall / np.float32(eye)
    depth = np.float32(eye - KERB) / fall
    x, z = ray[:, 0] * depth, ray[:, 2] * depth
    raised = below[~scene.street.on_road(scene.street.across(x, z), z)]
    face[raised] = RAISED
    nearness[raised] = -rays.reshape(-1, 3)[raised, 1] / np.float32(eye - KERB)


def render_scene(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> Rendering:
    """Renders a scene; `rng` draws the sensor's noise."""
    height, width = size
    scale = _OVERSAMPLING
    shape = (scale * height + 1, scale * width + 1)
    matrix = scene.camera.ray_matrix(height, width, scale)
    rays = np.empty((*shape, 3), np.float32)
    for axis in range(3):
        along, down, constant = matrix[axis].tolist()
        row_part = np.arange(shape[0]) * down + constant
        rays[..., axis] = (np.arange(shape[1]) * along)[None] + row_part[:, None]
    eye = np.array([0, scene.camera.height, 0], np.float32)
    hits = Hits(np.full(shape, SKY, np.int32), np.full(shape, 1 / 2000, np.float32))
    _cast_ground(scene, rays, hits)
    cast(scene.faces, perspective(scene.faces, eye, matrix, shape), hits)
    light, label = _shade(scene, rays.reshape(-1, 3), eye, hits)
    light, label = light.reshape(*shape, 3), label.reshape(shape)
    if scene.light.wet:
        mirror(light, label == ROAD, rays, rng)
    # A tent filter over 3 x 3 samples centred on the pixel; label and depth are those at its centre.
    pixels = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        fine = light[..., channel]
        fine = 0.25 * (fine[:-1:2] + fine[2::2]) + 0.5 * fine[1::2]
        pixels[..., channel] = 0.25 * (fine[:, :-1:2] + fine[:, 2::2]) + 0.5 * fine[:, 1::2]
    label = label[1::2, 1::2].copy()
    depth = np.reciprocal(hits.nearness[1::2, 1::2])
    depth[label == SKY_CLASS] = np.nan
    return Rendering(develop(pixels, scene.sensor, rng), label, depth)


def mirror(light: Float, road: NDArray[np.bool_], rays: Float, rng: np.random.Generator) -> None:
    """Adds reflections to a wet road, in place: of what is as far above the horizon as the road is below it.

    Their strength follows Schlick (1994), dimmed; rough asphalt smears them upwards.

    Args:
        light: (H, W, 3), linear.
        road: (H, W), mask of the road.
        rays: (H, W, 3), directions of the samples; each row has one elevation.
        rng: Draws how far a sample's reflection is smeared.
    """
    rise = rays[:, 0, 1]
    horizon = int(np.argmax(rise < 0))
    cosine = -rise / np.sqrt((rays[:, rays.shape[1] // 2] ** 2).sum(1))
    share = (0.02 + 0.7 * (1 - np.clip(cosine, 0, 1)) ** 5).astype(np.float32)[:, None]
    row, column = np.nonzero(road)
    smear = 1 + 0.6 * rng.random(len(row), dtype=np.float32)
    above = np.clip(horizon - 1 - (row - horizon) * smear, 0, None).astype(np.int64)
    light[row, column] = (1 - share[row]) * 0.5 * light[row, column] + share[row] * light[above, column]


def _shadow(scene: Scene, points: Float) -> Float:
    """Share of direct sunlight at world points (N, 3): 0 or 1, blended at the edges of shadows."""
    size, span = 288 if len(points) < 200_000 else 768, 80.0
    to_sun = np.array(scene.light.to_sun)
    centre = np.array([0.0, 1.0, 26.0])
    projection, matrix = sun_view(scene.faces, to_sun, centre, span, size)
    hits = Hits(np.zeros((size, size), np.int32), np.full((size, size), -1e6, np.float32))
    cast(scene.faces, projection, hits)
    column = points @ matrix[0, :3] + matrix[0, 3]
    row = points @ matrix[1, :3] + matrix[1, 3]
    level = points @ matrix[2, :3] + matrix[2, 3] + np.float32(0.35)
    heights = hits.nearness.ravel()
    inside = np.flatnonzero((column > 1) & (column < size - 2) & (row > 1) & (row < size - 2))
    column, row, level = column[inside], row[inside], level[inside]
    c, r = column.astype(np.int32), row.astype(np.int32)
    right, up = column - c, row - r
    first = r * size + c
    lit = np.ones(len(points), np.float32)
    # The comparisons, not the heights, are blended between the four texels around a point.
    low = (heights[first] <= level) * (1 - right) + (heights[first + 1] <= level) * right
    high = (heights[first + size] <= level) * (1 - right) + (heights[first + size + 1] <= level) * right
    lit[inside] = low * (1 - up) + high * up
    return lit


def _contact(scene: Scene, x: Float, z: Float) -> Float:
    """Share of the sky that ground points see past objects above them: 0.25 under a car, 1 in the open."""
    texels = 6.0
    width, length = int(50 * texels), int(60 * texels)
    image = Image.new("L", (width, length), 255)
    draw = ImageDraw.Draw(image)
    corners = scene.faces.footprints * np.float32(texels) + np.array([width / 2, 0], np.float32)
    for polygon in corners.reshape(-1, 8).tolist():
        draw.polygon(polygon, fill=40)
    seen = np.asarray(image.filter(ImageFilter.BoxBlur(2)), np.float32).ravel() / 255
    column = np.clip((x * texels + width / 2).astype(np.int32), 0, width - 1)
    row = np.clip((z * texels).astype(np.int32), 0, length - 1)
    result: Float = seen[row * width + column]
    return result


def _shade(scene: Scene, rays: Float, eye: Float, hits: Hits) -> tuple[Float, NDArray[np.uint8]]:
    """Light and label of every sample."""
    faces, light = scene.faces, scene.light
    face, depth = hits.face.ravel(), np.reciprocal(hits.nearness.ravel())
    colour = np.zeros((len(face), 3), np.float32)
    label = np.full(len(face), SKY_CLASS, np.uint8)
    points = np.empty_like(rays)
    for axis in range(3):
        points[:, axis] = rays[:, axis] * depth + eye[axis]
    sun_facing = np.ones(len(face), np.float32)
    sky_facing = np.ones(len(face), np.float32)
    ground = np.flatnonzero((face == GROUND) | (face == RAISED))
    if ground.size:
        x, z = points[ground, 0], points[ground, 2]
        raised = np.flatnonzero(face[ground] == RAISED)
        label[ground] = ROAD
        label[ground[raised]] = scene.street.raised_label(scene.street.across(x[raised], z[raised]), z[raised])
        colour[ground] = ground_colour(scene.ground, scene.street, label[ground], x, z, depth[ground])
        sun_facing[ground] = light.to_sun[1]
        sky_facing[ground] = _contact(scene, x, z)
    u_axis, v_axis = texture_axes(faces)
    start_u = faces.extent[:, 0] - (faces.corners[:, 0] * u_axis).sum(1)
    start_v = faces.extent[:, 1] - (faces.corners[:, 0] * v_axis).sum(1)
    axes = np.concatenate([u_axis, start_u[:, None], v_axis, start_v[:, None]], 1)
    normals = -np.cross(faces.corners[:, 1] - faces.corners[:, 0], faces.corners[:, 3] - faces.corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    lambert = normals @ np.array(light.to_sun, np.float32)
    kinds = faces.info[:, 0]
    # Sheets represent round objects: they are lit by the sun whatever way they face.
    sheet = faces.info[:, 5] == 1
    lambert = np.where(sheet, 0.55, np.clip(lambert, 0, 1)).astype(np.float32)
    upward = np.where(sheet, 0.85, 0.8 + 0.2 * normals[:, 1]).astype(np.float32)
    solid = face >= 0
    kind_here = np.where(solid, kinds[np.maximum(face, 0)], -1)
    for material in Material:
        chosen = np.flatnonzero(kind_here == material)
        if not chosen.size:
            continue
        number, point = face[chosen], points[chosen]
        basis = axes[number]
        u = np.einsum("ij,ij->i", point, basis[:, 0:3]) + basis[:, 3]
        v = np.einsum("ij,ij->i", point, basis[:, 4:7]) + basis[:, 7]
        colour[chosen], label[chosen] = face_colour(faces, material, number, u, v, depth[chosen])
        sun_facing[chosen] = lambert[number]
        sky_facing[chosen] = upward[number]
    # Points near the ground see less of the sky.
    occlusion = sky_facing * (0.72 + 0.28 * np.clip(points[:, 1] / 2.5 + (face < 0), 0, 1))
    direct = sun_facing * _shadow(scene, points) if light.sun[1] > 0 else np.zeros_like(depth)
    clear = np.exp(-np.float32(light.haze) * depth)
    # Channel by channel: arrays whose innermost axis has length 3 are several times as slow.
    for channel in range(3):
        plane = colour[:, channel]
        plane *= occlusion * np.float32(light.ambient[channel]) + direct * np.float32(light.sun[channel])
        plane -= np.float32(light.horizon[channel])
        plane *= clear
        plane += np.float32(light.horizon[channel])
    sky = np.flatnonzero(face == SKY)
    colour[sky] = sky_colour(light, rays[sky])
    return colour, label
