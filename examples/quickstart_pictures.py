"""The output of the quickstart: a panel of held-out images, curves over all stages, a table and its JSON."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from quickstart_setup import LABELS, STAGES
from torch import nn

from depthaware_uda import EvaluationResult
from depthaware_uda.data import InMemory, Selected
from depthaware_uda.depth import to_metres
from depthaware_uda.files import write_json
from depthaware_uda.inference import predict_batches
from depthaware_uda.trainers import read_log
from depthaware_uda.viz import colorize_depth, colorize_label, curves, panel


def draw_panel(out: Path, val: InMemory, models: dict[str, nn.Module]) -> None:
    """Held-out images: true labels, predictions of the control and of two stages, and depth."""
    shown = Selected(val, val.names[:: max(1, len(val) // 5)][:5])
    rows = []
    for index, sample in enumerate(shown[i] for i in range(len(shown))):
        rows.append({"image": sample["image"].permute(1, 2, 0).numpy()})
        rows[index]["truth"] = colorize_label(sample["label"], LABELS)
    for name in ("control", "daf", "ida"):
        for row, (_, output) in zip(rows, predict_batches(models[name], shown), strict=True):
            row[STAGES[name]] = colorize_label(output.logits.argmax(1)[0], LABELS)
            if name == "ida":
                row["depth"] = colorize_depth(to_metres(output.inverse_depth[0]))
    panel(rows, out / "panel.png", legend=LABELS)


def draw_curves(out: Path, steps: dict[str, int], results: dict[str, EvaluationResult]) -> None:
    """Losses and mIoU over all stages, each drawn from where the stage before it ended."""
    before = {"control": "source", "daf": "source", "isl": "daf", "ida": "isl"}
    end = {"source": steps["source"]}
    losses, mious = {}, {}
    for name in ("source", "control", "daf", "isl", "ida"):
        start = end[before[name]] if name in before else 0
        end[name] = start + steps.get(name, 0)
        log = read_log(out / name)
        losses[STAGES[name]] = [(start + r["step"], r["segmentation"]) for r in log if "segmentation" in r]
        mious[STAGES[name]] = [(start + r["step"], r["val/miou"]) for r in log if "val/miou" in r]
        if name in before:
            mious[STAGES[name]].insert(0, (start, results[before[name]].miou))
    curves(losses, out / "losses.png", ylabel="cross-entropy")
    curves(mious, out / "miou.png", ylabel="mIoU on held-out target images")


def report(
    out: Path, args: argparse.Namespace, steps: dict[str, int], results: dict[str, EvaluationResult], seconds: float
) -> None:
    """Print the table, and write it with its settings and versions as JSON."""
    classes = list(results["ida"].iou)
    print(f"\n{'':<17}{'mIoU':>6}  " + "".join(f"{name[:9]:>10}" for name in classes))
    for name, result in results.items():
        values = "".join(f"{100 * result.iou[label]:>10.1f}" for label in classes)
        print(f"{STAGES[name]:<17}{100 * result.miou:>6.1f}  {values}")
    gain = 100 * (results["ida"].miou - results["control"].miou)
    print(f"\n{gain:+.1f} points over the control of the same number of steps; {seconds:.0f} s; see {out}")
    asked = {name: getattr(args, name) for name in ("target", "seed", "size", "augmentation", "batch_size")}
    used = {"torch": torch.__version__, "device": args.device or ("cuda" if torch.cuda.is_available() else "cpu")}
    measured = {name: result.to_dict() for name, result in results.items()}
    write_json(out / "results.json", {**asked, "steps": steps, "seconds": seconds, **used, "results": measured})
