"""Pictures of the study: mIoU over steps, and what networks see, in label colours."""

from __future__ import annotations

import statistics
from pathlib import Path

from study_setup import LABELS, Study
from study_table import Results, steps_after_first
from torch import nn

from depthaware_uda.data import Selected
from depthaware_uda.inference import predict_batches
from depthaware_uda.viz import colorize_label, curves, panel


def draw_curves(results: Results, names: list[str], path: Path) -> None:
    """Mean mIoU of the seeds at every validation, over the steps since the first run."""
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
    curves(lines, path, ylabel="mIoU on CamVid val, %")


def draw_panel(study: Study, networks: dict[str, nn.Module], path: Path, *, count: int = 8) -> None:
    """Labels of some held-out photographs, and what each network says; no photograph is shown."""
    names = study.val.names
    shown = Selected(study.val, names[:: max(1, len(names) // count)][:count])
    rows = [{"truth": colorize_label(shown[index]["label"], LABELS)} for index in range(len(shown))]
    for title, model in networks.items():
        for row, (_, output) in zip(rows, predict_batches(model, shown), strict=True):
            row[title] = colorize_label(output.logits.argmax(1)[0], LABELS)
    panel(rows, path, legend=LABELS)
