"""Continues the network that the study chose at 160 x 120 on pictures of 320 x 240, without labels of photographs.

    python examples/benchmarks/study_larger.py --camvid FOLDER --start runs/chosen --export runs/larger

Most of the training was done at the small size; people and vehicles, a few pixels there, are learnt at the larger one.
`--size windows` continues a network of study.py's `--size pretrained`, on windows out of 480 x 360. `taught` is ISL on
labels from an ensemble, the networks of `--teachers`; `taught-ida` is IDA on the same labels, and `self-taught` ISL on
labels from `--start` alone. Each of `--runs` continues the one before it, in that run's folder, or starts from
`--start` with `--apart`; interrupted runs resume. The JSON file beside them has the scores of all finished runs, on val
and on the training photographs, which show more kinds of streets.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from study import describe_device, fitted
from study_figures import draw_panel
from study_methods import Start, ensemble_labels, ida, isl, source_only, teacher
from study_setup import Study
from study_table import SCORES, label_free, markdown
from torch import nn

from depthaware_uda import evaluate, load_pretrained
from depthaware_uda.files import sha256, write_json
from depthaware_uda.models import DepthSegmenter
from depthaware_uda.models.pretrained import WEIGHTS_FILE
from depthaware_uda.trainers import Trainer
from depthaware_uda.version import __version__

EVERY_150 = {"validate_every": 150, "checkpoint_every": 150}


def finish(start: Callable[..., Start], stages: float = 3, **changes: Any) -> Start:
    """More stages of 300 steps, in another sample order, with a learning rate that falls to 0."""

    def begin(study: Study, model: nn.Module, out: Path) -> Trainer[Any]:
        return start(stages, poly_power=0.9, seed=study.seed + 10, **EVERY_150, **changes)(study, model, out)

    return begin


def taught(method: Callable[..., Start], teachers: Sequence[Path], stages: float) -> Start:
    """`finish` with ISL or IDA, on labels of the photographs that an ensemble predicts."""

    def begin(study: Study, model: nn.Module, out: Path) -> Trainer[Any]:
        networks = (load_pretrained(weights, device=study.device) for weights in teachers)
        labels = ensemble_labels(networks, study, out.with_name(f"{out.name}-labels"))
        return finish(method, stages, labels=labels)(study, model, out)

    return begin


STAGES: dict[str, Start] = {
    "control": source_only(1),
    "control-on": source_only(2, **EVERY_150),
    "control-finish": finish(source_only),
    "isl": isl(),
    "ida": ida(),
    "recipe": teacher(2, **EVERY_150),
    "finish": finish(teacher),
}


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    options = {"device": args.device, "workers": args.workers, "far_sky": args.far_sky}
    study = Study(args.size, args.camvid, args.output, args.seed, **options)
    began, folder, folders = args.start, study.folder, []
    own = {"taught": (isl, args.teachers), "taught-ida": (ida, args.teachers), "self-taught": (isl, [args.start])}
    stages = {**STAGES, **{name: taught(*given, args.stages) for name, given in own.items()}}
    for name in args.runs:
        folder = (study.folder if args.apart else folder) / name
        folders.append(folder)
        if not (folder / SCORES).is_file():
            trainer = stages[name](study, at_size(began, study), folder)
            write_json(folder / SCORES, fitted(study, trainer, folder))
        began = args.start if args.apart else folder / "model"
    results = collect(args, study)
    write_json(args.output / f"study-{args.size}-seed{args.seed}.json", results)
    print(table(results))
    if importlib.util.find_spec("matplotlib") is not None:
        networks = {"start": at_size(args.start, study)}
        networks |= {name: at_size(folder / "model", study) for name, folder in zip(args.runs, folders, strict=True)}
        draw_panel(study, networks, args.output / f"study-{args.size}-seed{args.seed}-panel.png")
    if args.export is not None:
        export(folders, study, args)


def at_size(weights: Path, study: Study) -> DepthSegmenter:
    """A trained network on the study's device, set to pictures of the study's size."""
    model: DepthSegmenter = load_pretrained(weights, device=study.device)
    assert model.config is not None  # load_pretrained built it from one
    model.image_size = model.config["image_size"] = min(study.scale.size)
    return model


def collect(args: argparse.Namespace, study: Study) -> dict[str, Any]:
    """Scores of the initial network, at the larger size, and of every finished run."""
    start = at_size(args.start, study)
    measured = {"final": study.val, "train": study.labelled_target}
    runs: dict[str, Any] = {"start": {"steps": 0, **{on: evaluate(start, measured[on]).to_dict() for on in measured}}}
    for file in sorted(study.folder.rglob(SCORES)):
        runs[file.parent.relative_to(study.folder).as_posix()] = json.loads(file.read_text())
    facts = {"study": "MiniCity -> CamVid", "device": args.device or describe_device(), "version": __version__}
    began = sha256(args.start / WEIGHTS_FILE)
    return {**facts, "size": list(study.scale.size), "start_sha256": began, "seed": args.seed, "runs": runs}


def table(results: dict[str, Any]) -> str:
    """Markdown table of all runs: mIoU on val and on the training photographs, and IoU of each class on val."""
    classes = list(results["runs"]["start"]["final"]["iou"])
    rows = [[f"seed {results['seed']}", "val", "train", *classes]]
    for name in ["start", *sorted(results["runs"].keys() - {"start"})]:
        run = results["runs"][name]
        scores = [run["final"]["miou"], run["train"]["miou"], *run["final"]["iou"].values()]
        rows.append([name.replace("/", ", "), *(f"{100 * score:.1f}" for score in scores)])
    return markdown(rows)


def export(folders: list[Path], study: Study, args: argparse.Namespace) -> None:
    """Write the network of these runs with the best label-free score, for `package_weights.py`."""
    points = [
        (label_free(point), folder, point["step"])
        for folder in folders
        for point in json.loads((folder / SCORES).read_text())["checkpoints"]
    ]
    score, folder, step = max(points)
    model = at_size(args.start, study)
    model.load_state_dict(load_file(folder / "snapshots" / f"{step:06d}.safetensors"))
    model.save_pretrained(args.export)
    print(f"{args.export}: {folder}, step {step}, label-free score {score:.3f}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, required=True, help="folder with CamVid's train/ and val/")
    parser.add_argument("--start", type=Path, required=True, help="folder of weights, such as from study.py --export")
    sizes = "320 x 240, or windows of that size out of 480 x 360; default: larger"
    parser.add_argument("--size", choices=("larger", "windows"), default="larger", help=sizes)
    parser.add_argument(
        "--runs", nargs="+", choices=(*STAGES, "taught", "taught-ida", "self-taught"), default=["isl", "ida"]
    )
    parser.add_argument("--teachers", type=Path, nargs="+", default=[], help="folders of weights, for the taught runs")
    length = "length of the taught runs, in stages of 300 steps; default: 3"
    parser.add_argument("--stages", type=float, default=3, help=length)
    parser.add_argument("--apart", action="store_true", help="start each run from --start")
    parser.add_argument(
        "--far-sky", action="store_true", help="give the sky of renders SYNTHIA's far depth; default: unknown"
    )
    parser.add_argument("--seed", type=int, default=2, help="of sample order and augmentation; default: 2")
    parser.add_argument("--output", type=Path, default=Path("runs/study"))
    parser.add_argument("--export", type=Path, help="folder for the best network of --runs, chosen without labels")
    parser.add_argument("--device", help="default: CUDA if available")
    parser.add_argument("--workers", type=int, default=2, help="number of rendering processes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
