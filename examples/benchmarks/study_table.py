"""The results of the study as one JSON, and as a table: mean and spread over seeds, paired with the control."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch
from study_methods import RUNS
from study_setup import SCALES

from depthaware_uda.version import __version__

SCORES, DIAGNOSIS = "scores.json", "diagnosis.json"
METHODS = [
    "source",
    "control",
    "source-plain",
    "control-plain",
    "minent",
    "advent",
    "advent-isl",
    "intrada",
    "dada",
    "ctrl",
    "advent-depth",
]
METHODS += ["daf", "daf-isl", "daf-isl-isl", "daf-isl-ida", "recipe", "supervised"]
Results = dict[str, Any]


def collect(out: Path, scale: str, seeds: Sequence[int], device: str) -> Results:
    """All measurements of the finished runs."""
    runs: dict[str, Any] = {}
    for name, run in RUNS.items():
        found = {}
        for seed in seeds:
            file = out / scale / f"seed{seed}" / name / SCORES
            if file.is_file():
                found[str(seed)] = _measured(json.loads(file.read_text()))
        if found:
            runs[name] = {"title": run.title, "parent": run.parent, "seeds": found}
    diagnoses = {
        f"seed{seed}/{name}": json.loads(file.read_text())
        for name in RUNS
        for seed in seeds
        if (file := out / scale / f"seed{seed}" / name / DIAGNOSIS).is_file()
    }
    return {
        "study": "MiniCity -> CamVid",
        "date": date.today().isoformat(),
        "device": device,
        "versions": {"depthaware_uda": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "scale": scale,
        "settings": asdict(SCALES[scale]),
        "runs": runs,
        "diagnoses": diagnoses,
    }


def _measured(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The results kept of one run: last iterate with averaged and raw weights, and the label-free choice."""
    checkpoints = [_checkpoint(point) for point in scores["checkpoints"]]
    chosen = max(checkpoints, key=label_free)
    return {
        "steps": scores["steps"],
        "seconds": round(scores["seconds"], 1),
        "miou": scores["final"]["miou"],
        "iou": scores["final"]["iou"],
        "raw_miou": scores["raw"]["miou"],
        "adabn_miou": scores["adabn"]["miou"] if "adabn" in scores else None,
        "adabn_iou": scores["adabn"]["iou"] if "adabn" in scores else None,
        "train_miou": scores["train"]["miou"],
        "train_iou": scores["train"]["iou"],
        "adabn_train_miou": scores["adabn_train"]["miou"] if "adabn" in scores else None,
        "adabn_train_iou": scores["adabn_train"]["iou"] if "adabn" in scores else None,
        "label_free": {
            "step": chosen["step"],
            "miou": chosen["miou"],
            "regret": max(point["miou"] for point in checkpoints) - chosen["miou"],
        },
        "checkpoints": checkpoints,
    }


def label_free(point: Mapping[str, Any]) -> float:
    """The label-free score of a checkpoint, as in `LabelFreeScore`."""
    return float((point["agreement"] * point["certainty"]) ** 0.5)


def _checkpoint(point: Mapping[str, Any]) -> dict[str, Any]:
    """The results kept of a checkpoint: on the training photographs, only the mIoU."""
    kept = {key: value for key, value in point.items() if key != "train"}
    return kept | ({"train_miou": point["train"]["miou"]} if "train" in point else {})


def steps_after_first(results: Results, name: str, seed: str) -> int | None:
    """Steps of a run and its ancestors, without the first run; None for a first run, or if a run is missing."""
    runs = results["runs"]
    if runs[name]["parent"] is None:
        return None
    total, run = 0, name
    while (parent := RUNS[run].parent) is not None:
        if run not in runs or seed not in runs[run]["seeds"]:
            return None
        total += runs[run]["seeds"][seed]["steps"]
        run = parent
    return int(total)


def control_of(name: str) -> str:
    """The control of a run: continued source-only training from the same first network, else "control"."""
    while (parent := RUNS[name].parent) is not None:
        name = parent
    return next((run for run in ("control", "control-plain") if RUNS[run].parent == name), "control")


def gains(results: Results, name: str, *, over: str | None = None, on: str = "miou") -> dict[str, float]:
    """Gain in mIoU points by seed over another run, by default its control; over a control, at equal steps."""
    runs, found, over = results["runs"], {}, over or control_of(name)
    for seed, measured in runs[name]["seeds"].items():
        if over not in runs or seed not in runs[over]["seeds"]:
            continue
        other = runs[over]["seeds"][seed]
        base = other[on]
        if RUNS[over].parent is not None and over.startswith("control"):
            steps = steps_after_first(results, name, seed)
            at = [point[on] for point in other["checkpoints"] if point["step"] == steps]
            if not at:
                continue
            base = at[0]
        found[seed] = 100 * (measured[on] - base)
    return found


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation (omitted for a single value)."""
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def tables(results: Results) -> str:
    """Markdown tables of the methods, then of their variants: scores, class IoU, and training photographs."""
    done = list(results["runs"])
    parts = [[name for name in done if (name in METHODS) == wanted] for wanted in (True, False)]
    kinds = [scores_table, classes_table]
    if all("train_miou" in one for run in results["runs"].values() for one in run["seeds"].values()):
        kinds.append(train_table)
    return "\n\n".join(make(results, names) for names in parts if names for make in kinds)


def scores_table(results: Results, names: Sequence[str]) -> str:
    """Scores of runs, their gain over the control, and label-free choices; a control also with AdaBN."""
    rows = [["", "mIoU", "by seed", "raw weights", "over the control", "label-free choice (regret)"]]
    for name in names:
        run = results["runs"][name]
        seeds = run["seeds"]
        gain = gains(results, name) if not name.startswith(("control", "source")) else {}
        chosen = [100 * one["label_free"]["miou"] for one in seeds.values()]
        regret = [100 * one["label_free"]["regret"] for one in seeds.values()]
        rows.append(
            [
                run["title"],
                *_miou(seeds, "miou"),
                spread([100 * one["raw_miou"] for one in seeds.values()]),
                _paired(list(gain.values())),
                f"{statistics.mean(chosen):.1f} ({statistics.mean(regret):.1f})",
            ]
        )
        if name.startswith("control"):
            gained = [100 * (one["adabn_miou"] - one["miou"]) for one in seeds.values()]
            rows.append(["the same + AdaBN", *_miou(seeds, "adabn_miou"), "", _paired(gained), ""])
    return markdown(rows)


def classes_table(results: Results, names: Sequence[str]) -> str:
    """IoU of every class, as mean over the seeds."""
    rows: list[list[str]] = []
    for name in names:
        run = results["runs"][name]
        means = _mean_iou(run["seeds"], "iou")
        rows = rows or [["", *means]]
        rows.append([run["title"], *means.values()])
        if name.startswith("control"):
            rows.append(["the same + AdaBN", *_mean_iou(run["seeds"], "adabn_iou").values()])
    return markdown(rows)


def train_table(results: Results, names: Sequence[str]) -> str:
    """Scores on the training photographs, and the gain over the control there and on val."""
    rows: list[list[str]] = []
    ons = ("train_miou", "miou")
    for name in names:
        title, seeds = results["runs"][name]["title"], results["runs"][name]["seeds"]
        means = _mean_iou(seeds, "train_iou")
        rows = rows or [["", "train", "by seed", "over the control", "the same on val", *means]]
        alone = name.startswith(("control", "source"))
        gained = ["" if alone else _paired(list(gains(results, name, on=on).values())) for on in ons]
        rows.append([title, *_miou(seeds, "train_miou"), *gained, *means.values()])
        if name.startswith("control"):
            means = _mean_iou(seeds, "adabn_train_iou")
            gained = [_paired([100 * (one[f"adabn_{on}"] - one[on]) for one in seeds.values()]) for on in ons]
            rows.append(["the same + AdaBN", *_miou(seeds, "adabn_train_miou"), *gained, *means.values()])
    return markdown(rows)


def _miou(seeds: Mapping[str, Any], key: str) -> tuple[str, str]:
    """Mean with spread, and the value of each seed."""
    mious = [100 * one[key] for one in seeds.values()]
    each = ", ".join(f"{miou:.1f}" for miou in mious)
    return spread(mious), each if len(seeds) > 1 else f"{each} (seed {next(iter(seeds))})"


def _mean_iou(seeds: Mapping[str, Any], key: str) -> dict[str, str]:
    """Mean IoU of every class over the seeds."""
    every = [one[key] for one in seeds.values()]
    return {label: f"{100 * statistics.mean(iou[label] for iou in every):.1f}" for label in every[0]}


def _paired(gain: Sequence[float]) -> str:
    return f"{statistics.mean(gain):+.1f} ({', '.join(f'{one:+.1f}' for one in gain)})" if gain else ""


def markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])
