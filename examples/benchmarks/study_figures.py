"""Figures of the study: mIoU over steps, predictions in label colours, and the depth that weights the maps."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from study_setup import LABELS, Study
from study_table import Results, steps_after_first
from torch import nn

from depthaware_uda.data import Selected, sample_names
from depthaware_uda.depth import to_metres
from depthaware_uda.inference import predict_batches
from depthaware_uda.types import SampleDataset, SegDepthOutput
from depthaware_uda.viz import colorize_depth, colorize_label, curves, panel


def draw_curves(results: Results, names: list[str], path: Path) -> None:
    """Mean mIoU over the seeds at every validation, by steps since the first run; draws nothing if no run is done."""
    lines = {}
    for name in names:
        run = results["runs"].get(name)
        if run is None:
            continue
        seeds = run["seeds"]
        totals = {seed: steps_after_first(results, name, seed) for seed in seeds}
        if any(total is None for total in totals.values()):
            continue
        points: dict[int, list[float]] = {}
        for seed, measured in seeds.items():
            start = (totals[seed] or 0) - measured["steps"]
            if run["parent"] is not None and seed in results["runs"][run["parent"]]["seeds"]:
                points.setdefault(start, []).append(results["runs"][run["parent"]]["seeds"][seed]["miou"])
            for point in measured["checkpoints"]:
                points.setdefault(start + point["step"], []).append(point["miou"])
        lines[run["title"]] = [(step, 100 * statistics.mean(mious)) for step, mious in sorted(points.items())]
    if lines:
        curves(lines, path, ylabel="mIoU on CamVid val, %")


def draw_panel(study: Study, networks: dict[str, nn.Module], path: Path, *, count: int = 8) -> None:
    """Labels of some held-out photographs, and the prediction of each network; no photograph is shown."""
    shown = _spread_out(study.val, count)
    rows = [{"truth": colorize_label(shown[index]["label"], LABELS)} for index in range(len(shown))]
    for title, model in networks.items():
        for row, (_, output) in zip(rows, predict_batches(model, shown), strict=True):
            row[title] = colorize_label(output.logits.argmax(1)[0], LABELS)
    panel(rows, path, legend=LABELS)


def draw_depth(study: Study, model: nn.Module, path: Path, *, count: int = 4) -> None:
    """True and predicted depth of renders, and predicted depth of photographs, which are not shown themselves."""
    renders, photographs = (_spread_out(dataset, count) for dataset in (study.source, study.val))
    rows = []
    predicted = zip(predict_batches(model, renders), predict_batches(model, photographs), strict=True)
    for index, ((_, of_render), (_, of_photograph)) in enumerate(predicted):
        render = renders[index]
        row = {"render": render["image"].permute(1, 2, 0).numpy(), "its depth": colorize_depth(render["depth"])}
        row["its depth, predicted"] = _painted_depth(of_render)
        row["labels of a photograph"] = colorize_label(photographs[index]["label"], LABELS)
        row["depth, predicted"] = _painted_depth(of_photograph)
        rows.append(row)
    panel(rows, path, legend=LABELS)


def _spread_out(dataset: SampleDataset, count: int) -> Selected:
    names = sample_names(dataset)
    return Selected(dataset, names[:: max(1, len(names) // count)][:count])


def _painted_depth(output: SegDepthOutput) -> NDArray[np.uint8]:
    assert output.inverse_depth is not None  # a network with a depth head
    return colorize_depth(to_metres(output.inverse_depth[0]))
