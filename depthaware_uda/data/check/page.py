"""A page of samples, drawn with Pillow alone: image, label and depth side by side, with a legend of the classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from depthaware_uda.files import atomic_path
from depthaware_uda.labels import LabelSpace
from depthaware_uda.paint import colorize_depth
from depthaware_uda.types import Sample

__all__ = ["draw_page"]

_CELL, _GAP, _LINE = 360, 6, 20
_INK, _PAPER = (34, 34, 34), (255, 255, 255)


def draw_page(samples: list[Sample], path: str | Path, *, title: str, space: LabelSpace | None) -> None:
    """Draw each sample as a row: its image, its label in the colours of `space` and its depth, as far as it has them.

    Depth is painted by `colorize_depth`: near is yellow, far is dark blue, unknown is grey.
    """
    columns = [key for key in ("image", "label", "depth") if any(key in sample for sample in samples)]
    rows = [{key: _picture(sample, key, space) for key in columns if key in sample} for sample in samples]
    heights = [max(picture.height for picture in row.values()) for row in rows]
    width = _GAP + len(columns) * (_CELL + _GAP)
    legend = _legend(space, width) if space is not None and "label" in columns else []
    above = 2 * _LINE + _GAP
    height = above + sum(rows_height + _LINE + _GAP for rows_height in heights) + _LINE * len(legend) + _GAP
    page = Image.new("RGB", (width, height), _PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    pen.text((_GAP, _GAP), title, _INK, ImageFont.load_default(15))
    for number, key in enumerate(columns):
        pen.text((_GAP + number * (_CELL + _GAP), _LINE + _GAP), key, _INK, font)
    top = above
    for sample, row, row_height in zip(samples, rows, heights, strict=True):
        for number, key in enumerate(columns):
            if key in row:
                page.paste(row[key], (_GAP + number * (_CELL + _GAP), top))
        pen.text((_GAP, top + row_height + 2), sample.get("name", ""), _INK, font)
        top += row_height + _LINE + _GAP
    for line in legend:
        for left, name, colour in line:
            pen.rectangle((left, top + 3, left + 12, top + 15), colour, _INK)
            pen.text((left + 18, top), name, _INK, font)
        top += _LINE
    with atomic_path(path) as partial:
        page.save(partial, "PNG")


def _picture(sample: Sample, key: str, space: LabelSpace | None) -> Image.Image:
    """One cell of the page; a sample that breaks the contract is drawn, too, if it has height and width."""
    tensor: Tensor = sample[key].as_subclass(Tensor)  # type: ignore[literal-required]
    planes = tensor.reshape(-1, *tensor.shape[-2:])
    if key == "image":
        colours = planes[:3] if len(planes) >= 3 else planes[:1].expand(3, -1, -1)
        if colours.is_floating_point():
            colours = (colours.clamp(0, 1) * 255).round()
        pixels = colours.byte().permute(1, 2, 0).numpy()
    elif key == "label":
        values = planes[0].clamp(0, 255).numpy()
        pixels = space.colorize(values) if space is not None else np.repeat(values[..., None] * 37 % 256, 3, -1)
    else:
        pixels = colorize_depth(planes[0])
    height = max(1, round(_CELL * pixels.shape[0] / pixels.shape[1]))
    how = Image.Resampling.BILINEAR if key == "image" else Image.Resampling.NEAREST
    return Image.fromarray(pixels.astype(np.uint8)).resize((_CELL, height), how)


def _legend(space: LabelSpace, width: int) -> list[list[tuple[int, str, tuple[int, int, int]]]]:
    """Left edge, name and colour of every class, in lines."""
    font = ImageFont.load_default(13)
    lines: list[list[tuple[int, str, tuple[int, int, int]]]] = [[]]
    left = _GAP
    for name, colour in (*zip(space.classes, space.palette, strict=True), ("ignored", (0, 0, 0))):
        room = 36 + round(font.getlength(name))
        if lines[-1] and left + room > width:
            lines.append([])
            left = _GAP
        lines[-1].append((left, name, colour))
        left += room
    return lines
