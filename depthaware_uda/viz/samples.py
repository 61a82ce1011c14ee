"""Sheets of samples, and panels of what networks see in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from depthaware_uda.data.contract import chosen_label_space, known_label_space, sample_names
from depthaware_uda.data.wrappers import Selected
from depthaware_uda.depth import to_metres
from depthaware_uda.inference import predict_batches
from depthaware_uda.labels import LabelSpace
from depthaware_uda.losses import normalized_entropy
from depthaware_uda.models.fusion import DepthAwareFusion
from depthaware_uda.paint import as_array, colorize_depth, colorize_fraction, colorize_label
from depthaware_uda.ranking import Ranking
from depthaware_uda.types import Sample, SampleDataset, SegDepthOutput
from depthaware_uda.viz.figures import panel, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PanelMap", "model_panel", "ranking_sheet", "sample_sheet", "spread"]

PanelMap = Literal["labels", "depth", "entropy", "depth_aware", "confidence"]
"""What a panel shows of a network: classes, depth, normalised entropy, depth-aware map, probability of the class."""


def sample_sheet(dataset: SampleDataset, path: str | Path | None = None, *, count: int = 4) -> Figure:
    """Draw a sheet of samples evenly spread over a data set: each with what it has of image, label and depth.

    Args:
        dataset: Any data set of samples; labels are painted if it has a ``label_space``.
        path: File to save to.
        count: How many samples to show.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `count` is not in 1..len(dataset), or samples differ in what they have.
    """
    space = known_label_space(dataset)
    rows = []
    has_labels = False
    for index in spread(len(dataset), count):
        sample = dataset[index]
        row = {"image": _picture(sample)}
        if "label" in sample and space is not None:
            row["label"] = colorize_label(sample["label"], space)
            has_labels = True
        if "depth" in sample:
            row["depth"] = colorize_depth(sample["depth"])
        rows.append(row)
    return panel(rows, path, legend=space if has_labels else None)


def model_panel(
    models: Mapping[str, nn.Module],
    dataset: SampleDataset,
    path: str | Path | None = None,
    *,
    names: Sequence[str] | None = None,
    count: int = 4,
    maps: Sequence[PanelMap] = ("labels", "depth"),
    fusion: DepthAwareFusion | None = None,
    label_space: str | LabelSpace | None = None,
    title: str | None = None,
) -> Figure:
    """Draw what several networks see in the same images: image, truth where it is known, then each network's maps.

    Args:
        models: Networks by the heading over their pictures.
        dataset: Where the images come from.
        path: File to save to; nothing is saved if None.
        names: Names of the images; by default `count` images evenly spread over the data set.
        count: How many images, where no names are given.
        maps: What is shown of every network. The depth-aware map is summed over classes and divided by its largest
            value in the row, so networks can be compared within a row.
        fusion: The depth-aware map; by default `DepthAwareFusion()`.
        label_space: Classes and colours; by default those of the data set, or of the first model that has some.
        title: Line above the panel.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: No models or one called "image" or "truth", an unknown map or name, no label space, or a depth map
            of a model without depth.
    """
    if not models:
        raise ValueError("models: expected at least one network, got none")
    if taken := {"image", "truth"} & set(models):
        raise ValueError(f"models: {sorted(taken)} head other columns; call the networks otherwise")
    if not maps or set(maps) - set(get_args(PanelMap)):
        raise ValueError(f"maps must be one or more of {get_args(PanelMap)}, got {tuple(maps)}")
    space = chosen_label_space(label_space, dataset, *models.values())
    if space is None:
        raise ValueError("label_space: neither the data set nor a model names its classes; pass a label space")
    if names is None:
        known_names = sample_names(dataset)
        names = [known_names[index] for index in spread(len(dataset), count)]
    shown = Selected(dataset, names)
    samples = [shown[index] for index in range(len(shown))]
    rows = [_truth(sample, space, depth="depth" in maps) for sample in samples]
    outputs = {heading: [output for _, output in predict_batches(model, shown)] for heading, model in models.items()}
    fusion = DepthAwareFusion() if fusion is None else fusion
    for index, row in enumerate(rows):
        seen = {heading: _maps(outputs[heading][index], maps, fusion, heading) for heading in models}
        largest = max(
            (float(found["depth_aware"].max()) for found in seen.values() if "depth_aware" in found), default=0
        )
        for heading, found in seen.items():
            for kind, values in found.items():
                text = heading if kind == "labels" else f"{heading}: {kind.replace('_', '-')}"
                row[text] = _painted(kind, values, space, largest)
    return panel(rows, path, title=title, legend=space)


def ranking_sheet(
    ranking: Ranking,
    dataset: SampleDataset,
    path: str | Path | None = None,
    *,
    count: int = 4,
    title: str | None = None,
) -> Figure:
    """Show the easiest and the hardest images of a ranking side by side, each with its rank and score.

    Args:
        ranking: The ranking.
        dataset: Where its images are.
        path: File to save to; nothing is saved if None.
        count: How many of each.
        title: Line above the sheet.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `count` is larger than half of the ranking, or the data set lacks one of its images.
    """
    total = len(ranking.names)
    if not 1 <= count <= total // 2:
        raise ValueError(f"count must be in 1..{total // 2}, half of the {total} ranked images, got {count}")
    easy, hard = Selected(dataset, ranking.names[:count]), Selected(dataset, ranking.names[-count:][::-1])
    rows = [{"easiest": _picture(easy[index]), "hardest": _picture(hard[index])} for index in range(count)]
    figure = panel(rows, title=title)
    ranks = [rank for index in range(count) for rank in (index, total - 1 - index)]
    box = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
    for axes, rank in zip(figure.axes, ranks, strict=True):
        text = f"{rank + 1} of {total}: {ranking.scores[rank]:.4g}"
        axes.text(0.02, 0.04, text, transform=axes.transAxes, fontsize=7, color="white", bbox=box)
    save_figure(figure, path)
    return figure


def spread(total: int, count: int) -> list[int]:
    """Positions evenly spread over a data set of a size."""
    if not 1 <= count <= total:
        raise ValueError(f"count must be in 1..{total}, the size of the data set, got {count}")
    positions: list[int] = np.linspace(0, total - 1, count).round().astype(int).tolist()
    return positions


def _picture(sample: Sample) -> NDArray[Any]:
    picture: NDArray[Any] = as_array(sample["image"]).transpose(1, 2, 0)
    return picture


def _truth(sample: Sample, space: LabelSpace, *, depth: bool) -> dict[str, NDArray[Any]]:
    row = {"image": _picture(sample)}
    if "label" in sample:
        row["truth"] = colorize_label(sample["label"], space)
    if depth and "depth" in sample:
        row["truth: depth"] = colorize_depth(sample["depth"])
    return row


def _maps(
    output: SegDepthOutput, kinds: Sequence[PanelMap], fusion: DepthAwareFusion, heading: str
) -> dict[PanelMap, torch.Tensor]:
    """The maps of one image, each (H, W)."""
    if output.inverse_depth is None and {"depth", "depth_aware"} & set(kinds):
        raise ValueError(f"maps: model {heading!r} has no depth; leave out 'depth' and 'depth_aware'")
    found: dict[PanelMap, torch.Tensor] = {}
    for kind in kinds:
        if kind == "labels":
            found[kind] = output.logits.argmax(1)[0]
        elif kind == "confidence":
            found[kind] = output.logits.softmax(1).amax(1)[0]
        elif kind == "entropy":
            found[kind] = normalized_entropy(output.logits)[0]
        elif kind == "depth_aware":
            found[kind] = fusion(output.logits, output.inverse_depth).sum(1)[0].clamp(min=0)
        elif output.inverse_depth is not None:
            found[kind] = to_metres(output.inverse_depth[0, 0])
    return found


def _painted(kind: PanelMap, values: torch.Tensor, space: LabelSpace, largest: float) -> NDArray[np.uint8]:
    if kind == "labels":
        return colorize_label(values, space)
    if kind == "depth":
        return colorize_depth(values)
    return colorize_fraction(values / largest if kind == "depth_aware" and largest > 0 else values)
