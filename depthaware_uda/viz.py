"""Pictures of samples, predictions and training curves.

`colorize_label` and `colorize_depth` need NumPy alone; the figures need matplotlib (``pip install
depthaware-uda[viz]``). Figures are objects of their own: nothing touches pyplot or any global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthaware_uda.files import atomic_path
from depthaware_uda.labels import IGNORE_INDEX, LabelSpace, get_label_space
from depthaware_uda.types import SampleDataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["colorize_depth", "colorize_label", "curves", "panel", "sample_sheet"]

_UNKNOWN_GREY = 128
# Near to far, from a warm yellow over red and violet to a deep blue: evenly falling lightness, one anchor a quarter.
_DEPTH_COLOURS = ((252, 236, 158), (248, 149, 85), (204, 71, 98), (116, 41, 122), (22, 16, 62))
# Lines that stay apart for colour-blind eyes (Okabe and Ito).
_LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_INK, _FAINT = "#222222", "#dddddd"
_DPI = 150


def colorize_label(label: NDArray[np.integer] | Tensor, space: str | LabelSpace) -> NDArray[np.uint8]:
    """Paint a label map (H, W) in the palette of its label space, (H, W, 3); ignored pixels are black.

    Raises:
        ValueError: The label is not (H, W), or holds an index that is neither a class nor 255.
    """
    values = _as_array(label)
    space = get_label_space(space)
    if values.ndim != 2:
        raise ValueError(f"label must have shape (H, W), got {values.shape}")
    unknown = np.setdiff1d(values, [*range(len(space)), IGNORE_INDEX])
    if unknown.size:
        raise ValueError(
            f"label holds {unknown[:5].tolist()}, which are neither classes 0..{len(space) - 1} of "
            f"{space.name!r} nor {IGNORE_INDEX}"
        )
    return space.colorize(values)


def colorize_depth(
    metres: NDArray[np.floating] | Tensor, *, nearest: float = 2.0, farthest: float = 100.0
) -> NDArray[np.uint8]:
    """Paint a depth map (H, W) or (1, H, W) from near (yellow) to far (dark blue), (H, W, 3); unknown is grey.

    The scale is logarithmic and fixed, so pictures of different images can be compared.

    Args:
        metres: Depth, NaN where unknown.
        nearest: Depth in metres of the first colour; what is nearer has it too.
        farthest: Depth in metres of the last colour; what is farther has it too.

    Raises:
        ValueError: The shape is another, or the limits are not ascending and above 0.
    """
    values = np.asarray(_as_array(metres), np.float64)
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 2:
        raise ValueError(f"metres must have shape (H, W) or (1, H, W), got {values.shape}")
    if not 0 < nearest < farthest:
        raise ValueError(f"nearest and farthest must be ascending and above 0, got {nearest} and {farthest}")
    known = ~np.isnan(values)
    logarithm = np.log(np.clip(np.where(known, values, nearest), nearest, farthest))
    position = (logarithm - np.log(nearest)) / (np.log(farthest) - np.log(nearest))
    anchors = np.linspace(0, 1, len(_DEPTH_COLOURS))
    channels = [np.interp(position, anchors, channel) for channel in zip(*_DEPTH_COLOURS, strict=True)]
    painted = np.round(np.stack(channels, axis=-1)).astype(np.uint8)
    painted[~known] = _UNKNOWN_GREY
    return painted


def panel(
    rows: Sequence[Mapping[str, NDArray[Any]]],
    path: str | Path | None = None,
    *,
    title: str | None = None,
    legend: str | LabelSpace | None = None,
) -> Figure:
    """Lay pictures out in a grid: one row a mapping from heading to picture, the headings above the first row.

    Args:
        rows: Pictures by heading, the same headings in every row: (H, W, 3) or (H, W), 8-bit or float in 0..1.
        path: File to save to (``.png``, ``.pdf``, ``.svg``); nothing is saved if None.
        title: Line above the grid.
        legend: Label space whose classes and colours are listed below the grid.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are no rows or no pictures, the headings differ, or a picture has another shape.
    """
    figure_class = _figure_class()
    if not rows or not rows[0]:
        raise ValueError("rows: expected at least one row with at least one picture, got none")
    headings = list(rows[0])
    for number, row in enumerate(rows):
        if set(row) != set(headings):
            raise ValueError(f"rows: row 0 has the headings {headings}, row {number} has {list(row)}")
    pictures = [[_checked_picture(heading, row[heading]) for heading in headings] for row in rows]
    space = None if legend is None else get_label_space(legend)

    # Everything is placed in inches, so that neither the number of rows nor the aspect moves the gaps.
    cell_width = max(1.6, min(3.2, 9.6 / len(headings)))
    heights = [cell_width * max(picture.shape[0] / picture.shape[1] for picture in row) for row in pictures]
    gap, margin = 0.05, 0.08
    head = 0.26 + (0.32 if title else 0.0)
    legend_lines = 0 if space is None else _legend_lines(space, len(headings) * cell_width)
    foot = 0.18 * legend_lines + (0.12 if legend_lines else 0.0)
    width = 2 * margin + len(headings) * cell_width + (len(headings) - 1) * gap
    height = head + sum(heights) + (len(rows) - 1) * gap + foot + margin
    figure = figure_class(figsize=(width, height), dpi=_DPI, facecolor="white")

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
                    middle, (top + 0.07) / height, headings[column], ha="center", va="bottom", fontsize=9, color=_INK
                )
        top -= row_height + gap
    if title:
        figure.text(0.5, 1 - 0.08 / height, title, ha="center", va="top", fontsize=11, weight="bold", color=_INK)
    if space is not None:
        _add_legend(figure, space, legend_lines)
    _save(figure, path)
    return figure


def sample_sheet(dataset: SampleDataset, count: int, path: str | Path) -> Figure:
    """Save a sheet of samples evenly spread over a data set: each with what it has of image, label and depth.

    Args:
        dataset: Any data set of samples; labels are painted if it has a ``label_space``.
        count: How many samples to show.
        path: File to save to.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `count` is not in 1..len(dataset), or samples differ in what they have.
    """
    if not 1 <= count <= len(dataset):
        raise ValueError(f"count must be in 1..{len(dataset)}, the size of the data set, got {count}")
    space: LabelSpace | None = getattr(dataset, "label_space", None)
    rows = []
    has_labels = False
    for index in np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist():
        sample = dataset[index]
        row = {"image": _as_array(sample["image"]).transpose(1, 2, 0)}
        if "label" in sample and space is not None:
            row["label"] = colorize_label(sample["label"], space)
            has_labels = True
        if "depth" in sample:
            row["depth"] = colorize_depth(sample["depth"])
        rows.append(row)
    return panel(rows, path, legend=space if has_labels else None)


def curves(
    series: Mapping[str, Sequence[tuple[int, float]]],
    path: str | Path | None = None,
    *,
    ylabel: str,
    title: str | None = None,
    xlabel: str = "step",
) -> Figure:
    """Draw named curves, such as losses or mIoU over steps.

    Args:
        series: (step, value) points by name; values that are not finite leave a gap.
        path: File to save to (``.png``, ``.pdf``, ``.svg``); nothing is saved if None.
        ylabel: Name of the values.
        title: Line above the axes.
        xlabel: Name of the steps.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are no curves, or one has no points.
    """
    figure_class = _figure_class()
    if not series:
        raise ValueError("series: expected at least one curve, got none")
    if empty := [name for name, points in series.items() if not points]:
        raise ValueError(f"series: curves without points: {empty}")

    figure = figure_class(figsize=(7.2, 4.0), dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(series.items()):
        steps, values = np.asarray(points, np.float64).T
        values = np.where(np.isfinite(values), values, np.nan)
        colour = _LINE_COLOURS[number % len(_LINE_COLOURS)]
        style = ("-", "--", ":")[number // len(_LINE_COLOURS) % 3]
        marker = "o" if len(points) <= 20 else None
        axes.plot(steps, values, style, color=colour, label=name, linewidth=1.6, marker=marker, markersize=3.5)
    axes.set_xlabel(xlabel, color=_INK)
    axes.set_ylabel(ylabel, color=_INK)
    axes.grid(axis="y", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
    if title:
        axes.set_title(title, loc="left", fontsize=11, weight="bold", color=_INK)
    if len(series) > 1:
        figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    _save(figure, path)
    return figure


def _figure_class() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install depthaware-uda[viz]") from error
    return Figure


def _as_array(values: NDArray[Any] | Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    return array


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


def _save(figure: Figure, path: str | Path | None) -> None:
    if path is not None:
        with atomic_path(path) as partial:
            figure.savefig(partial)
