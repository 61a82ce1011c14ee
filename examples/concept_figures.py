"""Draws the figures of docs/concepts.md with the weights inside the package, on streets rendered by MiniCity.

python examples/concept_figures.py --output docs/images
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from depthaware_uda import EntropyRanker, load_pretrained, write_pseudo_labels
from depthaware_uda.data import InMemory, MiniCity, Selected
from depthaware_uda.losses import berhu
from depthaware_uda.viz import colorize_label, curves, model_panel, panel, ranking_sheet

LABELS = "common7"
SIZE = (240, 320)  # of the images that the packaged weights were trained on
LARGEST = 50


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--images", type=int, default=48, help="number of streets to rank, at least 4")
    args = parser.parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)

    model = load_pretrained("daf-ida-minicity")
    streets = InMemory(MiniCity(args.images, style="real", size=SIZE, labels=LABELS, seed=7))
    shown = Selected(streets, [streets.names[index] for index in (1, 2, 3)])

    draw_berhu(args.output / "concepts_berhu.png")
    model_panel(
        {"predicted": model},
        shown,
        args.output / "concepts_maps.png",
        count=3,
        maps=("labels", "depth", "entropy", "depth_aware"),
    )
    draw_pseudo_labels(model, shown, args.output / "concepts_pseudo_labels.png")
    ranking = EntropyRanker(model).rank(streets)
    ranking_sheet(ranking, streets, args.output / "concepts_ranking.png", count=2)
    for path in sorted(args.output.glob("concepts_*.png")):
        with Image.open(path) as picture:
            smaller = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        smaller.save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def draw_berhu(path: Path) -> None:
    """The loss of one error in a batch whose largest error is `LARGEST`."""

    def loss(error: int) -> float:
        # Mean over two pixels; the other one sets the threshold, and its share is subtracted again.
        pair = berhu(torch.tensor([error, LARGEST]).float().view(1, 1, 1, 2), torch.zeros(1, 1, 1, 2))
        alone = berhu(torch.full((1, 1, 1, 1), float(LARGEST)), torch.zeros(1, 1, 1, 1))
        return float(2 * pair - alone)

    errors = range(LARGEST + 1)
    curves(
        {"absolute error": [(e, float(e)) for e in errors], "berHu, c = 10": [(e, loss(e)) for e in errors]},
        path,
        xlabel=f"error of inverse depth, at most {LARGEST}",
        ylabel="loss of the pixel",
        size=(5.6, 2.8),
    )


def draw_pseudo_labels(model: nn.Module, dataset: Selected, path: Path) -> None:
    """The network's own labels that pass a threshold, or belong to the most confident share of their class."""
    settings = {
        "every pixel": {"threshold": 0.0},
        "threshold 0.9": {"threshold": 0.9},
        "0.9, or half of a class": {"threshold": 0.9, "proportion": 0.5},
    }
    samples = [dataset[index] for index in range(len(dataset))]
    rows = [
        {"image": one["image"].permute(1, 2, 0).numpy(), "truth": colorize_label(one["label"], LABELS)}
        for one in samples
    ]
    with tempfile.TemporaryDirectory() as folder:
        for number, (heading, options) in enumerate(settings.items()):
            labels = write_pseudo_labels(model, dataset, Path(folder) / str(number), **options)
            for row, sample in zip(rows, samples, strict=True):
                row[heading] = colorize_label(labels.read(sample["name"]), LABELS)
    panel(rows, path, legend=LABELS)


if __name__ == "__main__":
    main()
