"""Colour and label of every sample from the face that its ray hits, before lighting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .mesh import Faces, Material
from .noise import cloud_noise, lookup, white_noise, wrap
from .textures import TEXELS, part_textures

__all__ = ["face_colour"]

Float = NDArray[np.float32]
Int = NDArray[np.int64]


def face_colour(
    faces: Faces, material: int, face: NDArray[np.int32], u: Float, v: Float, depth: Float
) -> tuple[Float, Int]:
    """Linear colours (N, 3) and labels (N,) of samples of one material."""
    info = faces.info[face]
    label = info[:, 1]
    if material == Material.FACADE:
        return _facade(np.take(faces.facades.T, info[:, 4], 1), u, v, depth), label
    palette = info[:, 4]
    if material in (Material.PARTS, Material.FOLIAGE):
        textures = part_textures()
        column = (u * TEXELS).astype(np.int32) & (TEXELS - 1)
        row = (v * TEXELS).astype(np.int32) & (TEXELS - 1)
        texel = (info[:, 3] * TEXELS + row) * TEXELS + column
        part = textures.parts.ravel()[texel]
        shade = textures.shade.ravel()[texel] * np.float32(1 / 200)
        # A sample at the very edge of a face may wrap around into a hole: it takes the first colour.
        part = np.maximum(part, 1)
        colour = faces.palettes[palette, part] * shade[:, None]
        return colour, np.where(part >= 8, info[:, 2], label)
    if material == Material.ROOF:
        gable = info[:, 3] == 1
        colour = faces.palettes[palette, 1 + gable]
        tile: Float = np.floor(u * 4) + palette.astype(np.float32) * 17
        tone = 0.85 + 0.3 * lookup(white_noise(), tile, np.floor(v * 4))
        tone += 0.3 * (lookup(cloud_noise(), u * 20, v * 20) - 0.5)
        tone[gable] = 1
        return colour * tone[:, None].astype(np.float32), label
    colour = faces.palettes[palette, 1]
    rounded = info[:, 3] == 1
    shift = palette.astype(np.float32) * 31
    tone = 1 + 0.2 * (lookup(cloud_noise(), u * 90 + shift, v * 90) - 0.5)
    tone *= np.where(rounded, 0.45 + 0.75 * np.sqrt(np.clip(1 - (2 * u - 0.85) ** 2, 0, 1)), 1)
    return colour * tone[:, None].astype(np.float32), label


def _facade(row: Float, u: Float, v: Float, depth: Float) -> Float:
    """Walls with windows; `row` (32, N) holds the facade parameters of `buildings`."""
    base, trim, glass = row[0:3].T, row[3:6].T, row[6:9].T
    bay, floor, wide, tall, sill = row[9], row[10], row[11], row[12], row[13]
    ground_height, ground, brick, seed = row[14], row[15], row[16], row[17]
    height, panes, bands, grime = row[21], row[22], row[23], row[24]
    plastic = row[26:29].T
    noise, white = cloud_noise(), white_noise()
    near = 1 / (1 + depth * np.float32(0.08))
    at_ground = v < ground_height
    level = np.where(at_ground, -1, np.floor((v - ground_height) / floor))
    cell_v = np.where(at_ground, v / ground_height, (v - ground_height) / floor - level)
    bay_number = np.floor(u / bay)
    cell_u = u / bay - bay_number
    cell = lookup(white, bay_number * 7 + seed, level * 13 + seed)
    # The wall: mottled, with courses of bricks near enough to be seen, and streaks of rain and dirt.
    mottle = lookup(noise, u * 24 + seed, v * 24)
    tone = 1 + 0.3 * (mottle - 0.5) + 0.16 * (lookup(white, u * 50, v * 50) - 0.5) * near
    course = np.floor(v / 0.08)
    brick_column = np.floor(u / 0.23 + 0.5 * wrap(course, 2))
    brick_tone = 0.65 + 0.7 * lookup(white, brick_column, course)
    mortar = (wrap(v, 0.08) < 0.014) & (depth < 14)
    tone *= 1 + brick * np.minimum(near * 1.6, 1) * (brick_tone - 1)
    streak = lookup(noise, u * 30 + seed, v * 1.5)
    tone *= 1 - grime * np.clip(0.9 * (streak - 0.45) + 0.25 * (v < 0.8), 0, 0.6)
    colour = base * tone[:, None]
    mortar &= brick > 0.5
    colour[mortar] = 0.6 * colour[mortar] + 0.12
    band = (np.abs(wrap(v - ground_height, floor)) < 0.22) & (bands > 0.3) & ~at_ground
    colour[band] = trim[band] * tone[band, None]
    has_windows = (row[30] > 0.5) & (v < height - 0.3)
    shop = at_ground & (ground == 1)
    door_cell = at_ground & (ground == 2) & (wrap(bay_number, 3) == 1)
    blank = at_ground & (ground == 3)
    du, dv = np.abs(cell_u - 0.5) * 2, cell_v - sill
    window = has_windows & ~shop & ~door_cell & ~blank & (level * floor + ground_height + floor < height + 0.2)
    frame = window & (du < wide + 0.16 / bay * 2) & (dv > -0.05) & (dv < tall + 0.06)
    glazed = window & (du < wide) & (dv > 0) & (dv < tall)
    above, below = (dv >= tall) & (dv < tall + 0.09), (dv < 0) & (dv > -0.06)
    lintel = window & (row[25] > 0.5) & (du < wide + 0.2) & (above | below)
    colour[lintel] = trim[lintel] * 0.9
    frame_only = frame & ~glazed & ~lintel
    colour[frame_only] = 0.5 * colour[frame_only] + 0.5 * plastic[frame_only]
    # Glass reflects a brighter sky towards the top; curtains and blinds differ from window to window.
    inner_v, inner_u = dv / tall, cell_u
    mirror = 0.55 + 0.9 * cell + 0.8 * inner_v * (cell > 0.4)
    pane = glass * mirror[:, None]
    curtain = (cell > 0.72) & (np.abs(inner_u - 0.5) > 0.5 * wide * (0.2 + 0.6 * wrap(cell * 37, 1)))
    pane[curtain] = 0.45
    bars = ((panes >= 1) & (np.abs(inner_v - 0.5) < 0.04)) | ((panes >= 2) & (np.abs(inner_u - 0.5) < 0.02))
    bars |= (panes == 3) & ((np.abs(inner_v - 0.25) < 0.03) | (np.abs(inner_v - 0.75) < 0.03))
    pane = np.where(bars[:, None], plastic, pane)
    colour[glazed] = pane[glazed]
    if shop.any():
        colour[shop] = _shop(row[:, shop], u[shop], cell_v[shop], cell[shop], glass[shop])
    if door_cell.any():
        inside = door_cell & (du < 0.9 / bay * 1.1) & (cell_v < 0.72)
        colour[door_cell & (du < 1.15 / bay * 1.1) & (cell_v < 0.78)] = 0.55
        colour[inside] = row[18:21].T[inside] * 0.8
    return np.clip(colour, 0, 1.2)


def _shop(row: Float, u: Float, v: Float, cell: Float, glass: Float) -> Float:
    """A shop front: stall riser, panes with goods behind them, a fascia with lettering."""
    paint, white = row[18:21].T, white_noise()
    colour = paint * 0.8
    display = (v > 0.14) & (v < 0.76) & (wrap(u, 1.9) > 0.1)
    goods = lookup(white, np.floor(u * 3) + row[17], np.floor(v * 7) + row[17])
    lit = (0.08 + 0.7 * goods * goods * (v < 0.5) + 0.25 * cell)[:, None]
    tint = np.stack([lookup(white, np.floor(u * 3) + k * 50, np.floor(v * 7)) for k in range(3)], 1)
    inside = glass * 0.5 + lit * (0.65 + 0.35 * tint) * 0.45
    colour = np.where(display[:, None], inside, colour)
    fascia = v > 0.8
    board = np.where((cell > 0.35)[:, None], paint, np.float32(0.7))
    letters = fascia & (v > 0.86) & (v < 0.95) & (lookup(white, u * 5 + row[17], np.full_like(u, 3.0)) > 0.45)
    letters &= wrap(u, row[9] * 2) > row[9] * 0.5
    colour = np.where(fascia[:, None], board, colour)
    ink = np.where((board.mean(1) > 0.3)[:, None], np.float32(0.03), np.float32(0.8))
    return np.where(letters[:, None], ink, colour).astype(np.float32)
