"""MiniCity to CamVid: every method with one budget and several seeds.

Except for the upper bound, no label of a photograph is used in training or choices.

``python examples/benchmarks/study.py --camvid FOLDER`` trains the missing runs, each in its own folder, where an
interrupted run resumes, and prints the tables; the JSON is rewritten after every run. Processes with different
``--seeds`` may share ``--output``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from study_diagnostics import diagnose
from study_figures import draw_curves, draw_depth, draw_panel
from study_methods import RUNS
from study_setup import SCALES, Study
from study_table import DIAGNOSIS, SCORES, Results, collect, label_free, tables
from torch import nn

from depthaware_uda import EvaluationResult, evaluate
from depthaware_uda.data import Selected, sample_names
from depthaware_uda.files import write_json
from depthaware_uda.label_free import label_free_score
from depthaware_uda.tensors import write_tensors
from depthaware_uda.trainers import Callback, Trainer, reestimate_statistics

CURVES = ["control", "advent-depth", "daf", "daf-isl", "daf-isl-ida", "daf-isl-isl", "recipe"]
PANEL = {"control": "control", "daf": "DAF", "daf-isl-ida": "DAF + ISL\n+ IDA", "recipe": "mean teacher"}
PANEL |= {"supervised": "supervised"}
CANDIDATES = ("daf-isl-ida", "recipe")
DIAGNOSED = ("daf", "daf-isl", "recipe")


class Snapshots(Callback):
    """Saves the weights of the network at each validation, and its scores with and without labels.

    At the end, and after each multiple of a stage's steps, it also saves the scores on the training photographs.
    """

    def __init__(self, study: Study, folder: Path) -> None:
        self.study, self.folder = study, folder
        names = sample_names(study.target)
        self.shown = Selected(study.target, names[:: max(1, len(names) // 60)])

    def on_validation(self, trainer: Trainer[Any], step: int, result: EvaluationResult) -> None:
        """Write weights and scores, in files named by the step."""
        network = trainer.predictor()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_tensors(self.folder / f"{step:06d}.safetensors", network.state_dict())
        seems = label_free_score(network, self.shown)
        record: dict[str, Any] = {"step": step, "miou": result.miou}
        record |= {"agreement": seems.agreement, "certainty": seems.certainty}
        last = step == trainer.config.max_steps
        if last:
            record["raw"] = evaluate(trainer.model, trainer.val).to_dict()
        if last or step % self.study.scale.stage_steps == 0:
            record["train"] = evaluate(network, self.study.labelled_target).to_dict()
        write_json(self.folder / f"{step:06d}.json", record)


def train(study: Study, name: str) -> None:
    """Train a run and the runs that it continues, unless they are done."""
    run, folder = RUNS[name], study.folder / name
    if (folder / SCORES).is_file():
        return
    model = network(study, name, trained=False)
    if run.parent is not None:
        train(study, run.parent)
        model.load_state_dict(load_file(study.folder / run.parent / "model" / "model.safetensors"))
    began = time.perf_counter()
    trainer = run.start(study, model, folder)
    record = {"run": name, "title": run.title, "parent": run.parent, "seed": study.seed}
    record |= fitted(study, trainer, folder)
    record["seconds"] = time.perf_counter() - began
    if trainer.config.batch_norm == "joint":
        reestimate_statistics(model, study.target)
        record["adabn"] = evaluate(model, study.val).to_dict()
        record["adabn_train"] = evaluate(model, study.labelled_target).to_dict()
    write_json(folder / SCORES, record)
    miou, seconds = 100 * record["final"]["miou"], record["seconds"]
    print(f"seed {study.seed} {name}: mIoU {miou:.1f}, {seconds:.0f} s", flush=True)


def fitted(study: Study, trainer: Trainer[Any], folder: Path) -> dict[str, Any]:
    """Train, and return the outcome: steps, scores of the last iterate, averaged and raw, and every checkpoint."""
    trainer.callbacks = (Snapshots(study, folder / "snapshots"),)
    final = trainer.fit().final
    assert final is not None  # there is validation data
    checkpoints = [json.loads(file.read_text()) for file in sorted((folder / "snapshots").glob("*.json"))]
    raw = checkpoints[-1].pop("raw")
    scores = {"steps": trainer.step_count, "final": final.to_dict(), "raw": raw, "train": checkpoints[-1]["train"]}
    return {**scores, "checkpoints": checkpoints}


def network(study: Study, name: str, *, trained: bool = True) -> nn.Module:
    """The network of a run on the study's device, with its final weights or untrained."""
    changes, ancestor = RUNS[name].network, RUNS[name].parent
    while ancestor is not None:
        changes, ancestor = {**RUNS[ancestor].network, **changes}, RUNS[ancestor].parent
    model = study.model(**changes).to(study.device)
    if trained:
        model.load_state_dict(load_file(study.folder / name / "model" / "model.safetensors"))
    return model


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    for name in args.runs or RUNS:
        for seed in args.seeds:
            study = set_up(args, seed)
            if not (study.folder / name / SCORES).is_file():
                train(study, name)
                measured(args)
            if name in DIAGNOSED and not (file := study.folder / name / DIAGNOSIS).is_file():
                write_json(file, diagnose(study, network(study, name)))
    results = measured(args)
    print(tables(results))
    if args.export is not None:
        export(args, results, args.export)
    if importlib.util.find_spec("matplotlib") is not None:
        draw_curves(results, CURVES, args.output / f"study-{args.size}-curves.png")
        study = set_up(args, args.seeds[-1])
        done = [name for name in PANEL if (study.folder / name / SCORES).is_file()]
        networks = {PANEL[name]: network(study, name) for name in done}
        if done:
            draw_panel(study, networks, args.output / f"study-{args.size}-panel.png")
        if "daf" in done:
            draw_depth(study, networks[PANEL["daf"]], args.output / f"study-{args.size}-depth.png")


def measured(args: argparse.Namespace) -> Results:
    """The results of all finished runs; also written to a file, so that a kill loses none of them."""
    results = collect(args.output, args.size, args.seeds, args.device or describe_device())
    write_json(args.results or args.output / f"study-{args.size}.json", results)
    return results


def set_up(args: argparse.Namespace, seed: int) -> Study:
    """Data and settings of one seed, by the arguments of the command line."""
    options = {"device": args.device, "workers": args.workers, "backbone": args.backbone}
    return Study(args.size, args.camvid, args.output, seed, **options)


def export(args: argparse.Namespace, results: Results, folder: Path) -> None:
    """Write the network of the candidates with the best label-free score, for `package_weights.py`."""
    points = [
        (label_free(point), name, seed, point["step"])
        for name in CANDIDATES
        if name in results["runs"]
        for seed, run in results["runs"][name]["seeds"].items()
        for point in run["checkpoints"]
    ]
    if not points:
        raise SystemExit(f"--export needs a finished run of {', '.join(CANDIDATES)}")
    score, name, seed, step = max(points)
    study = set_up(args, int(seed))
    model = network(study, name)
    model.load_state_dict(load_file(study.folder / name / "snapshots" / f"{step:06d}.safetensors"))
    model.save_pretrained(folder)
    print(f"{folder}: {RUNS[name].title}, seed {seed}, step {step}, label-free score {score:.3f}")


def describe_device() -> str:
    """Name of the device on which the study runs."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, required=True, help="folder with CamVid's train/ and val/")
    begun = [name for name, scale in SCALES.items() if scale.first_steps]  # the others are for study_larger.py
    parser.add_argument("--size", choices=begun, default="small")
    parser.add_argument("--backbone", help="replaces the size's own, such as timm/tf_efficientnet_lite2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", nargs="+", choices=tuple(RUNS), metavar="RUN", help="run only these, in this order")
    parser.add_argument("--output", type=Path, default=Path("runs/study"))
    parser.add_argument("--results", type=Path, help="JSON file to write; default: in the output folder")
    parser.add_argument("--export", type=Path, help="folder for the best network, chosen without labels")
    parser.add_argument("--device", help="default: CUDA if available")
    parser.add_argument("--workers", type=int, default=2, help="number of rendering processes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
