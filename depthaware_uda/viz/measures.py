"""Figures of results: the confusion matrix, and IoU bars of every class beside published ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthaware_uda.evaluation import EvaluationResult
from depthaware_uda.viz.figures import FAINT, INK, LINE_COLOURS, new_chart, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["class_bars", "confusion_figure"]


def confusion_figure(result: EvaluationResult, path: str | Path | None = None, *, title: str | None = None) -> Figure:
    """Draw a confusion matrix: the percentage of each class's pixels (row) that are predicted as each class (column).

    Classes without labelled pixels have an empty row.

    Args:
        result: The result of `evaluate`.
        path: File to save to; None saves nothing.
        title: Line above the matrix.

    Raises:
        ImportError: matplotlib is not installed.
    """
    counts = np.asarray(result.confusion, np.float64)
    totals = counts.sum(1, keepdims=True)
    percent = 100 * np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    names = list(result.iou)
    side = max(3.6, 0.38 * len(names))
    figure = new_chart(side + 1.6, side + 1.2)
    axes = figure.add_subplot()
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(percent):
        if value >= 0.5:
            colour = "white" if value > 55 else INK
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("predicted, percent of each label", color=INK)
    axes.set_ylabel("label", color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title, loc="left", fontsize=11, weight="bold", color=INK)
    save_figure(figure, path)
    return figure


def class_bars(
    rows: Mapping[str, EvaluationResult | Mapping[str, float]],
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw the IoU of every class as bars, one colour a row, to compare results with each other or published ones.

    Args:
        rows: Results by name: those of `evaluate`, or IoU in 0..1 by class name (`PublishedResult.iou`). The first row
            sets the classes; a missing value, or NaN, has no bar.
        path: File to save to; None saves nothing.
        title: Line above the bars.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are no rows, a row shares no class with the first, or values do not lie in 0..1.
    """
    if not rows:
        raise ValueError("rows: expected at least one result, got none")
    values = {name: dict(row.iou if isinstance(row, EvaluationResult) else row) for name, row in rows.items()}
    classes = list(next(iter(values.values())))
    for name, row in values.items():
        if not set(row) & set(classes):
            raise ValueError(f"rows: {name!r} has none of the classes {classes}")
        if wrong := {key: value for key, value in row.items() if not (math.isnan(value) or 0 <= value <= 1)}:
            raise ValueError(f"rows: {name!r} holds {wrong}; IoU is a fraction in 0..1, not percent")

    width = 0.8 / len(values)
    figure = new_chart(max(6.0, 0.62 * len(classes) + 1), 3.6)
    axes = figure.add_subplot()
    for number, (name, row) in enumerate(values.items()):
        heights = [100 * row.get(label, math.nan) for label in classes]
        left = np.arange(len(classes)) + (number - (len(values) - 1) / 2) * width
        axes.bar(left, heights, width * 0.92, label=name, color=LINE_COLOURS[number % len(LINE_COLOURS)])
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_ylabel("IoU, percent", color=INK)
    axes.set_ylim(0, 100)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    if title:
        axes.set_title(title, loc="left", fontsize=11, weight="bold", color=INK)
    figure.legend(loc="outside upper right", frameon=False, fontsize=8, ncols=min(4, len(values)))
    save_figure(figure, path)
    return figure
