"""Figures in a common style: a grid of pictures, and curves.

They need matplotlib (the extra ``viz``). Figures are separate objects: nothing touches pyplot or any global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthaware_uda.files import atomic_path
from depthaware_uda.labels import LabelSpace, get_label_space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FAINT", "INK", "LINE_COLOURS", "curves", "figure_class", "new_chart", "panel", "save_figure"]

# Distinguishable by colour-blind people (Okabe and Ito).
LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of lines and bars, in this order."""
INK, FAINT = "#222222", "#dddddd"
DPI = 150


def panel(
    rows: Sequence[Mapping[str, NDArray[Any]]],
    path: str | Path | None = None,
    *,
    title: str | None = None,
    legend: str | LabelSpace | None = None,
) -> Figure:
    """Lay out pictures in a grid, each row a mapping from heading to picture; headings are above the first row.

    Args:
        rows: Pictures by heading, with the same headings in every row: (H, W, 3) or (H, W), 8-bit or float in 0..1.
        path: File to save to (``.png``, ``.pdf``, ``.svg``); None saves nothing.
        title: Line above the grid.
        legend: Label space whose classes and colours are listed below the grid.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are no rows or no pictures, the headings differ, or a picture has another shape.
    """
    new_figure = figure_class()
    if not rows or not rows[0]:
        raise ValueError("rows: expected at least one row with at least one picture, got none")
    headings = list(rows[0])
    for number, row in enumerate(rows):
        if set(row) != set(headings):
            raise ValueError(f"rows: row 0 has the headings {headings}, row {number} has {list(row)}")
    pictures = [[_checked_picture(heading, row[heading]) for heading in headings] for row in rows]
    space = None if legend is None else get_label_space(legend)

    # Everything is placed in inches, so that gaps do not depend on the number of rows or on aspect ratios.
    cell_width = max(1.6, min(3.2, 9.6 / len(headings)))
    heights = [cell_width * max(picture.shape[0] / picture.shape[1] for picture in row) for row in pictures]
    gap, margin = 0.05, 0.08
    texts = [_broken(heading, cell_width) for heading in headings]
    head = 0.26 + 0.15 * any("\n" in text for text in texts) + (0.32 if title else 0.0)
    legend_lines = 0 if space is None else _legend_lines(space, len(headings) * cell_width)
    foot = 0.18 * legend_lines + (0.12 if legend_lines else 0.0)
    width = 2 * margin + len(headings) * cell_width + (len(headings) - 1) * gap
    height = head + sum(heights) + (len(rows) - 1) * gap + foot + margin
    figure = new_figure(figsize=(width, height), dpi=DPI, facecolor="white")

    top = height - head
    for number, (row_pictures, row_height) in enumerate(zip(pictures, heights, strict=True)):
        for column, picture in enumerate(row_pictures):
            left = margin + column * (cell_width + gap)
            box = (left / width, (top - row_height) / height, cell_width / width, row_height / height)
            axes = figure.add_axes(box)
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255 if picture.dtype == np.uint8 else 1)
            axes.set_axis_off()
            if number == 0:
                middle = (left + cell_width / 2) / width
                figure.text(
                    middle, (top + 0.07) / height, texts[column], ha="center", va="bottom", fontsize=9, color=INK
                )
        top -= row_height + gap
    if title:
        figure.text(0.5, 1 - 0.08 / height, title, ha="center", va="top", fontsize=11, weight="bold", color=INK)
    if space is not None:
        _add_legend(figure, space, legend_lines)
    save_figure(figure, path)
    return figure


def curves(
    series: Mapping[str, Sequence[tuple[int, float]]],
    path: str | Path | None = None,
    *,
    ylabel: str,
    title: str | None = None,
    xlabel: str = "step",
    logarithmic: bool = False,
    size: tuple[float, float] = (7.2, 4.0),
) -> Figure:
    """Draw named curves, such as losses or mIoU over steps.

    Args:
        series: (step, value) points by name; values that are not finite leave a gap.
        path: File to save to (``.png``, ``.pdf``, ``.svg``); None saves nothing.
        ylabel: Label of the value axis.
        title: Line above the axes.
        xlabel: Label of the step axis.
        logarithmic: Use a logarithmic value axis, for losses of different magnitude.
        size: Width and height in inches.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are no curves, or one has no points.
    """
    if not series:
        raise ValueError("series: expected at least one curve, got none")
    if empty := [name for name, points in series.items() if not points]:
        raise ValueError(f"series: curves without points: {empty}")

    figure = new_chart(*size)
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(series.items()):
        steps, values = np.asarray(points, np.float64).T
        values = np.where(np.isfinite(values), values, np.nan)
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        style = ("-", "--", ":")[number // len(LINE_COLOURS) % 3]
        marker = "o" if len(points) <= 20 else None
        axes.plot(steps, values, style, color=colour, label=name, linewidth=1.6, marker=marker, markersize=3.5)
    if all(float(step).is_integer() for points in series.values() for step, _ in points):
        axes.locator_params(axis="x", integer=True)  # there are no half steps
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel(ylabel, color=INK)
    if logarithmic:
        axes.set_yscale("log")
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
    if title:
        axes.set_title(title, loc="left", fontsize=11, weight="bold", color=INK)
    if len(series) > 1:
        figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    save_figure(figure, path)
    return figure


def new_chart(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, with padding at its edges."""
    new_figure = figure_class()
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1)
    return new_figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)


def _broken(heading: str, inches: float) -> str:
    """Break a heading such as "my network: depth-aware" into two lines if it is wider than its picture."""
    return heading.replace(": ", ":\n") if 0.085 * len(heading) > inches else heading


def figure_class() -> type[Figure]:
    """Matplotlib's figure class; the ImportError says what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install matplotlib") from error
    return Figure


def _checked_picture(heading: str, picture: NDArray[Any]) -> NDArray[Any]:
    colour = picture.ndim == 3 and picture.shape[2] == 3
    if picture.size == 0 or not (picture.ndim == 2 or colour):
        raise ValueError(f"picture {heading!r} must have shape (H, W, 3) or (H, W), got {picture.shape}")
    if picture.dtype != np.uint8 and not np.issubdtype(picture.dtype, np.floating):
        raise ValueError(f"picture {heading!r} must be 8-bit or float in 0..1, got {picture.dtype}")
    return picture if picture.dtype == np.uint8 else np.clip(picture, 0, 1)


def _legend_columns(space: LabelSpace, inches: float) -> int:
    widest = 0.35 + 0.075 * max(len(name) for name in space.classes)
    return max(1, min(len(space), int(inches / widest)))


def _legend_lines(space: LabelSpace, inches: float) -> int:
    return -(-len(space) // _legend_columns(space, inches))


def _add_legend(figure: Figure, space: LabelSpace, lines: int) -> None:
    from matplotlib.patches import Patch

    patches = [
        Patch(facecolor=(red / 255, green / 255, blue / 255), label=name)
        for name, (red, green, blue) in zip(space.classes, space.palette, strict=True)
    ]
    figure.legend(
        handles=patches,
        loc="lower center",
        ncols=-(-len(space) // lines),
        frameon=False,
        fontsize=8,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def save_figure(figure: Figure, path: str | Path | None) -> None:
    """Save a figure atomically, in the format of the path's suffix; without a path, do nothing."""
    if path is not None:
        with atomic_path(path) as partial:
            figure.savefig(partial)
