"""From your own renders and photographs to an adapted network: check, source-only training, DAF, ISL, report.

    python examples/own_folders.py --renders RENDERS --photos PHOTOS [--checked CHECKED] --classes common7

RENDERS holds ``images``, ``labels`` and ``depth``; CHECKED, to measure on, holds ``images`` and ``labels``; a picture
has the same path in each. If files have errors, it lists them and trains nothing. Run again, it resumes where it
stopped. ``--smoke`` takes seconds, in folders that it fills itself. With torchrun, several processes share the work.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streets import TINY, write_streets

from depthaware_uda import DAFConfig, DAFTrainer, EvaluationResult, ISLConfig, ISLTrainer, create_model
from depthaware_uda.data import SegmentationFolder, check_dataset, class_weights, strong_augmentation
from depthaware_uda.distributed import initialize, is_writer
from depthaware_uda.labels import get_label_space
from depthaware_uda.report import PanelCallback, ReportCallback


def main(arguments: Sequence[str] | None = None) -> EvaluationResult | None:
    args = parse(arguments)
    space, size = get_label_space(args.classes), tuple(args.size)
    renders, photos, checked = args.renders, args.photos, args.checked
    options: dict[str, Any] = {"label_space": space, "size": size}
    source = SegmentationFolder(renders / "images", renders / "labels", renders / "depth", **options)
    target = SegmentationFolder(photos, pad=True, **options)
    val = None if checked is None else SegmentationFolder(checked / "images", checked / "labels", pad=True, **options)
    if is_writer() and not args.output.exists():
        stop_at_errors({"renders": source, "photos": target, "checked": val})

    model = create_model(args.model, len(space), label_space=space, image_size=min(size), **args.network)
    shared = {"optimizer": "adamw", "learning_rate": 5e-4, "weight_decay": 0.01, "head_lr_multiplier": 1.0}
    shared |= {"batch_size": args.batch_size, "class_weights": class_weights(source, len(space)), "ema_decay": 0.98}
    adversary = {"batch_norm": "target", "adversarial_weight": 0.05}
    pictures = [PanelCallback(val or target, count=3), ReportCallback()]
    trainer: dict[str, Any] = {"val": val, "augment": strong_augmentation(size)}

    first = DAFConfig.source_only(**shared, max_steps=args.steps)
    DAFTrainer(model, source, target, first, args.output / "source", **trainer).fit()
    aligned = DAFConfig(**shared, **adversary, max_steps=args.steps // 2)
    DAFTrainer(model, source, target, aligned, args.output / "daf", **trainer, callbacks=pictures).fit()
    taught = ISLConfig(**shared, batch_norm="target", max_steps=args.steps // 2, schedule_steps=None, proportion=0.5)
    trainer |= {"source": source, "callbacks": pictures}
    result = ISLTrainer(model, target, taught, args.output / "isl", **trainer).fit()
    if is_writer():
        model.save_pretrained(args.output / "model")
        print(f"{args.output / 'model'}: load_pretrained reads it; {args.output / 'isl' / 'index.html'} shows the run")
        print("" if result.final is None else result.final.table())
    return result.final


def stop_at_errors(folders: Mapping[str, SegmentationFolder | None]) -> None:
    """Check every file, print the findings with their remedies, and exit if there are errors."""
    errors = []
    for name, dataset in folders.items():
        if dataset is not None:
            report = check_dataset(dataset)
            print(f"{name}: {report.table()}")
            errors += [
                f"{name}: {found.kind}: {found.message}" for found in report.findings if found.severity == "error"
            ]
    if errors:
        raise SystemExit("\n  ".join(["nothing was trained; fix these errors as told above, and run again:", *errors]))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renders", type=Path, help="folder with images, labels and depth")
    parser.add_argument("--photos", type=Path, help="folder of photographs")
    parser.add_argument("--checked", type=Path, help="folder with images and labels of photographs, to measure on")
    parser.add_argument("--classes", default="common7", help="label space of the label images; default: common7")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 512), metavar=("H", "W"), help="of network inputs")
    parser.add_argument("--model", default="timm/resnet50")
    parser.add_argument("--steps", type=int, default=4000, help="of the first stage; the others take half")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path("runs/own"))
    parser.add_argument("--smoke", action="store_true", help="run for seconds, in folders that are filled first")
    args = parser.parse_args(arguments)
    args.network = {"pretrained_backbone": args.model.startswith("timm/")}
    if args.smoke:
        data = args.output.with_name("data")
        args.renders, args.checked = write_streets(data / "renders", "synthetic"), write_streets(data / "real", "real")
        args.photos = args.checked / "images"
        args.size, args.steps, args.batch_size, args.model = (48, 64), 2, 2, "timm/resnet10t"
        args.network = TINY
    elif args.renders is None or args.photos is None:
        parser.error("--renders and --photos are required without --smoke")
    return args


if __name__ == "__main__":
    with initialize():
        main()
