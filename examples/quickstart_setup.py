"""The command-line arguments, the data and the settings that the quickstart trains with."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depthaware_uda.data import (
    CamVid,
    InMemory,
    MiniCity,
    RandomView,
    class_weights,
    flip_and_crop,
    strong_augmentation,
)
from depthaware_uda.trainers import Augmentation

LABELS, CLASSES = "common7", 7
NETWORK: dict[str, Any] = {
    "backbone_arguments": {"channels": (32, 64, 96, 128), "stem_width": 16},
    "dilations": (1, 2, 4, 8),
}
STAGES = {
    "source": "source only",
    "control": "control",  # source only for as many steps as all stages together
    "adabn": "control + AdaBN",  # the same with batch-norm statistics of the target
    "daf": "DAF",
    "isl": "DAF + ISL",
    "ida": "DAF + ISL + IDA",
}
STEPS = {"source": 600, "daf": 140, "isl": 140, "ida": 140}
ADVERSARY = {"adversarial_weight": 0.05, "discriminator_learning_rate": 1e-3, "discriminator_channels": 32}
PSEUDO_LABELS: dict[str, dict[str, float]] = {
    "minicity": {"threshold": 0.9},
    "camvid": {"threshold": 0.8, "proportion": 0.5},  # few pixels of some classes are confident across a wide gap
}


def parse(arguments: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=("minicity", "camvid"), default="minicity", help="the target domain")
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
    parser.add_argument("--device", help="default: CUDA if available")
    args = parser.parse_args(arguments)
    if args.target == "camvid" and args.target_root is None:
        parser.error("--target camvid needs --target-root, the folder that holds CamVid's train/ and val/")
    args.augmentation = args.augmentation or ("flip" if args.target == "minicity" else "strong")
    args.output = args.output or Path("runs") / f"quickstart-{args.target}-{args.seed}"
    args.size = tuple(args.size or ((96, 160) if args.target == "minicity" else (120, 160)))
    return args


def augmentation(args: argparse.Namespace) -> Augmentation:
    """The augmentation of every stage, including the control."""
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
    if args.target == "camvid":
        target, val = (CamVid(args.target_root, split, labels=LABELS, size=args.size) for split in ("train", "val"))
    else:
        target = MiniCity(count(300), style="real", size=args.size, seed=1, labels=LABELS)
        val = MiniCity(count(100), style="real", size=args.size, seed=2, labels=LABELS)
    return InMemory(source, num_workers=2), InMemory(target, num_workers=2), InMemory(val, num_workers=2)


def settings(args: argparse.Namespace, source: InMemory) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Settings of the first stage, of every later stage, and of the later stages that use the target."""
    shared: dict[str, Any] = {
        **{"optimizer": "adamw", "weight_decay": 0.01, "head_lr_multiplier": 1.0, "batch_size": args.batch_size},
        **{"depth_weight": 5e-3, "class_weights": class_weights(source, CLASSES), "ema_decay": 0.98},
        **{"seed": args.seed, "log_every": 10, "validate_every": 300, "checkpoint_every": 150},
    }
    later = {**shared, "learning_rate": 5e-4, "warmup_steps": 20, "validate_every": 210}
    return {**shared, "learning_rate": 2e-3, "warmup_steps": 50}, later, {**later, "batch_norm": "target"}
