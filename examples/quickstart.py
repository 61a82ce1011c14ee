"""The whole method in minutes: source only, DAF, ISL, ranking, IDA, each evaluated on held-out target images.

A network learns from rendered streets (MiniCity) and is carried over to another world without a label of it: to
MiniCity's other style, or to real photographs with ``--target camvid --target-root FOLDER``. It is compared with a
control that sees nothing but the source for as many steps. Prints one table and writes pictures, curves, the split and
the final model into the output folder. Run again, it goes on where it was cut off. With torchrun, several processes
share the work (``torchrun --nproc_per_node 2 examples/quickstart.py``); the batch size must be a multiple of them.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    EntropyRanker,
    EvaluationResult,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    create_model,
    evaluate,
)
from depthaware_uda.data import (
    CamVid,
    InMemory,
    MiniCity,
    RandomView,
    Selected,
    class_weights,
    flip_and_crop,
    strong_augmentation,
)
from depthaware_uda.depth import to_metres
from depthaware_uda.distributed import initialize, is_writer
from depthaware_uda.files import write_json
from depthaware_uda.inference import predict_batches
from depthaware_uda.trainers import Trainer, read_log, reestimate_statistics
from depthaware_uda.trainers.streams import Augmentation
from depthaware_uda.types import SampleDataset
from depthaware_uda.viz import colorize_depth, colorize_label, curves, panel

LABELS, CLASSES = "common7", 7
STEPS = {"source": 600, "daf": 140, "isl": 140, "ida": 140}
PSEUDO_LABELS: dict[str, dict[str, float]] = {
    "minicity": {"threshold": 0.9},
    "camvid": {"threshold": 0.8, "proportion": 0.5},  # few pixels of some classes are confident across a wide gap
}
STAGES = {
    "source": "source only",
    "control": "control",  # source only for as many steps as all stages together
    "adabn": "control + AdaBN",  # the same with batch-norm statistics of the target
    "daf": "DAF",
    "isl": "DAF + ISL",
    "ida": "DAF + ISL + IDA",
}


def main(arguments: Sequence[str] | None = None) -> dict[str, EvaluationResult]:
    args = parse(arguments)
    began = time.perf_counter()
    out: Path = args.output
    steps = {stage: max(2, round(count * args.steps)) for stage, count in STEPS.items()}
    source, target, val = load_data(args)

    shared: dict[str, Any] = {
        **{"optimizer": "adamw", "weight_decay": 0.01, "head_lr_multiplier": 1.0, "batch_size": args.batch_size},
        **{"depth_weight": 5e-3, "class_weights": class_weights(source, CLASSES), "ema_decay": 0.98},
        **{"seed": args.seed, "log_every": 10, "validate_every": 300, "checkpoint_every": 150},
    }
    later = {**shared, "learning_rate": 5e-4, "warmup_steps": 20, "validate_every": 210}
    adapting = {**later, "batch_norm": "target"}
    adversary = {"adversarial_weight": 0.05, "discriminator_learning_rate": 1e-3, "discriminator_channels": 32}
    trainer: dict[str, Any] = {"val": val, "augment": augmentation(args), "device": args.device}
    results: dict[str, EvaluationResult] = {}
    models: dict[str, nn.Module] = {}

    def keep(name: str, network: nn.Module, result: EvaluationResult) -> None:
        models[name], results[name] = copy.deepcopy(network), result
        if is_writer():
            print(f"{STAGES[name]}: mIoU {100 * result.miou:.1f}", flush=True)

    def stage(name: str, fitted: Trainer[Any]) -> None:
        final = fitted.fit().final
        assert final is not None  # there is validation data
        keep(name, fitted.model, final)

    model = create_model(
        "timm/resnet10t",
        CLASSES,
        label_space=LABELS,
        backbone_arguments={"channels": (32, 64, 96, 128), "stem_width": 16},
        dilations=(1, 2, 4, 8),
        seed=args.seed,
    )
    first = DAFConfig.source_only(**shared, learning_rate=2e-3, warmup_steps=50, max_steps=steps["source"])
    stage("source", DAFTrainer(model, source, target, first, out / "source", **trainer))

    alone = DAFConfig.source_only(**later, max_steps=steps["daf"] + steps["isl"] + steps["ida"])
    stage("control", DAFTrainer(copy.deepcopy(model), source, target, alone, out / "control", **trainer))
    control = copy.deepcopy(models["control"])
    reestimate_statistics(control, target)
    keep("adabn", control, evaluate(control, val))

    daf = DAFConfig(**adapting, **adversary, max_steps=steps["daf"])
    stage("daf", DAFTrainer(model, source, target, daf, out / "daf", **trainer))

    refresh = max(1, steps["isl"] // 2)
    pseudo = PSEUDO_LABELS[args.target]
    isl = ISLConfig(**adapting, **pseudo, max_steps=steps["isl"], schedule_steps=None, refresh_every=refresh)
    stage("isl", ISLTrainer(model, target, isl, out / "isl", source=source, **trainer))

    ranking = EntropyRanker(model, fraction=0.66).rank(target)
    split = ranking.split()
    if is_writer():
        ranking.save(out / "ranking.json")
        split.save(out / "split")
    ida = IDAConfig(**adapting, **adversary, max_steps=steps["ida"], schedule_steps=None)
    stage("ida", IDATrainer(model, target, split, ida, out / "ida", source=source, **trainer))

    if is_writer():
        model.save_pretrained(out / "model")
        draw_panel(out, val, models)
        draw_curves(out, steps, results)
        report(out, args, steps, results, time.perf_counter() - began)
    return results


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=("minicity", "camvid"), default="minicity", help="the other domain")
    parser.add_argument("--target-root", type=Path, help="folder of CamVid, with train/ and val/")
    parser.add_argument("--output", type=Path, help="default: runs/quickstart-TARGET-SEED")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=float, default=1.0, help="factor on the steps of every stage")
    parser.add_argument("--images", type=float, default=1.0, help="factor on the number of rendered images")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="default: 96 160, for CamVid 120 160")
    parser.add_argument("--batch-size", type=int, default=4, help="of each domain, over all processes")
    parser.add_argument(
        "--augmentation",
        choices=("flip", "zoom", "strong"),
        help="of every training image: flip, zoom too, or colour, blur and noise too; default: flip, for CamVid strong",
    )
    parser.add_argument("--device", help="default: CUDA if there is any")
    args = parser.parse_args(arguments)
    if args.target == "camvid" and args.target_root is None:
        parser.error("--target camvid needs --target-root, the folder that holds CamVid's train/ and val/")
    args.augmentation = args.augmentation or ("flip" if args.target == "minicity" else "strong")
    args.output = args.output or Path("runs") / f"quickstart-{args.target}-{args.seed}"
    args.size = tuple(args.size or ((96, 160) if args.target == "minicity" else (120, 160)))
    return args


def augmentation(args: argparse.Namespace) -> Augmentation:
    """The same for every stage, the control included."""
    if args.augmentation == "strong":
        return strong_augmentation(args.size)
    if args.augmentation == "zoom":
        return RandomView(args.size, zoom=(0.8, 1.7), aspect=(3 / 4, 4 / 3), flip=0.5)
    return flip_and_crop(args.size)


def load_data(args: argparse.Namespace) -> tuple[InMemory, InMemory, InMemory]:
    """Source, target and held-out target, kept in memory."""

    def count(images: int) -> int:
        return max(4, round(images * args.images))

    source = MiniCity(count(600), size=args.size, labels=LABELS)
    target: SampleDataset
    val: SampleDataset
    if args.target == "camvid":
        target = CamVid(args.target_root, "train", labels=LABELS, size=args.size)
        val = CamVid(args.target_root, "val", labels=LABELS, size=args.size)
    else:
        target = MiniCity(count(300), style="real", size=args.size, seed=1, labels=LABELS)
        val = MiniCity(count(100), style="real", size=args.size, seed=2, labels=LABELS)
    return InMemory(source, workers=2), InMemory(target, workers=2), InMemory(val, workers=2)


def draw_panel(out: Path, val: InMemory, models: dict[str, nn.Module]) -> None:
    """Held-out images: truth, what the control and two stages see, and depth."""
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
    """Losses and mIoU over all stages, each of which goes on from another one."""
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
    """Print the table and write it, with what it was measured with, as JSON."""
    classes = list(results["ida"].iou)
    print(f"\n{'':<17}{'mIoU':>6}  " + "".join(f"{name[:9]:>10}" for name in classes))
    for name, result in results.items():
        values = "".join(f"{100 * result.iou[label]:>10.1f}" for label in classes)
        print(f"{STAGES[name]:<17}{100 * result.miou:>6.1f}  {values}")
    gain = 100 * (results["ida"].miou - results["control"].miou)
    print(f"\n{gain:+.1f} points over the control of the same number of steps; {seconds:.0f} s; see {out}")
    record = {
        "target": args.target,
        **{
            "seed": args.seed,
            "size": args.size,
            "augmentation": args.augmentation,
            "batch_size": args.batch_size,
            "steps": steps,
            "seconds": seconds,
        },
        **{"torch": torch.__version__, "device": args.device or ("cuda" if torch.cuda.is_available() else "cpu")},
        "results": {name: result.to_dict() for name, result in results.items()},
    }
    write_json(out / "results.json", json.loads(json.dumps(record)))


if __name__ == "__main__":
    with initialize():
        main()
