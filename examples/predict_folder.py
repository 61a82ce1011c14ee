"""Predict a folder: files for every photograph, a table of what they show, and a panel of the least certain ones.

    python examples/predict_folder.py PHOTOS [-o OUTPUT] [--model NAME-OR-FOLDER] [--flip]

After an interruption, run it again to predict the remaining photographs. Without ``--model`` it uses the small network
inside the package. ``--smoke`` renders its own photographs.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from streets import write_streets

from depthaware_uda import load_pretrained, write_predictions
from depthaware_uda.viz import panel

SHOWN = 4


def main(arguments: Sequence[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="folder of photographs, including its subfolders")
    parser.add_argument("-o", "--output", type=Path, default=Path("predictions"))
    parser.add_argument("--model", default="daf-ida-minicity", help="name or folder of weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    parser.add_argument("--smoke", action="store_true", help="use three photographs that are rendered first")
    args = parser.parse_args(arguments)
    if args.smoke:
        args.photos = write_streets(args.output.with_name("data"), "real") / "images"
    elif args.photos is None:
        parser.error("PHOTOS, a folder, is required without --smoke")

    model = load_pretrained(args.model, device=args.device)
    if model.label_space is None or model.depth_head is None:
        raise SystemExit(f"{args.model}: this example needs a network with named classes and with depth")
    kinds = ("labels", "overlays", "depth", "depth_pictures", "entropy")
    names = write_predictions(model, args.photos, args.output, files=kinds, flip=args.flip, progress=True)

    classes = model.label_space.classes
    rows = [(name, *measured(args.output, name, len(classes))) for name in names]
    rows.sort(key=lambda row: -row[1])
    with (args.output / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["photograph", "entropy", "median depth in metres", *classes])
        writer.writerows((name, *(f"{value:.4f}" for value in values)) for name, *values in rows)

    shown = [pictures(args, name) for name, *_ in rows[:SHOWN]]
    panel(shown, args.output / "least_certain.png", title="the least certain photographs", legend=model.label_space)
    print(f"{len(names)} photographs; {args.output / 'table.csv'} and {args.output / 'least_certain.png'} sum them up")
    return names


def measured(folder: Path, name: str, classes: int) -> list[float]:
    """Mean entropy in 0..1, median depth, and the share of every class, from the files of a photograph."""
    label, depth, entropy = (read(folder / kind / name, ".png") for kind in ("labels", "depth", "entropy"))
    shares = np.bincount(label.ravel(), minlength=classes)[:classes] / label.size
    return [float(entropy.mean()) / 255, float(np.median(depth)) / 100, *shares.tolist()]


def pictures(args: argparse.Namespace, name: str) -> dict[str, np.ndarray]:
    """A photograph and its predictions."""
    kinds = {"classes": ("overlays", ".jpg"), "depth": ("depth_pictures", ".png"), "entropy": ("entropy", ".png")}
    seen = {heading: read(args.output / kind / name, suffix) for heading, (kind, suffix) in kinds.items()}
    with Image.open(args.photos / name) as photograph:
        return {"photograph": np.array(ImageOps.exif_transpose(photograph).convert("RGB")), **seen}


def read(path: Path, suffix: str) -> np.ndarray:
    with Image.open(path.with_suffix(suffix)) as image:
        return np.array(image)


if __name__ == "__main__":
    main()
