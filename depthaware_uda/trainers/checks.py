"""Whether data, model and settings fit each other, found out before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from depthaware_uda.inference import evaluating, output_of
from depthaware_uda.labels import IGNORE_INDEX, LabelSpace
from depthaware_uda.trainers.batches import to_device
from depthaware_uda.trainers.skipping import Unreadable
from depthaware_uda.types import Batch, Sample, SampleDataset

__all__ = ["check_data", "check_source", "check_target_depth"]

_LABELLED = ("source", "val")
_EXPECTED = {
    "image": (3, True, "RGB in 0..1 in floating point, (3, H, W); divide 8 bits by 255"),
    "label": (2, False, "class indices in integers, (H, W)"),
    "depth": (3, True, "metres in floating point, (1, H, W)"),
}
"""Number of dimensions of a sample's tensors, whether they are floating-point numbers, and that in words."""


def check_data(model: nn.Module, datasets: Mapping[str, SampleDataset], unreadable: Unreadable) -> tuple[int, bool]:
    """Run a model on the first readable image of every data set, and compare classes.

    Args:
        model: The network, on its device.
        datasets: By argument name; that of the name "val" needs labels, and no sample of it may be unreadable.
        unreadable: How many samples may be passed over.

    Returns:
        The number of classes, and whether the model predicts depth.

    Raises:
        TypeError: The model returns something else than `SegDepthOutput`.
        ValueError: The model's weights are in half precision; a data set is empty, or its first sample is not what
            `Sample` says; "val" has no labels; or label spaces, labels and classes differ.
    """
    parameter = next(model.parameters())
    if parameter.dtype in (torch.float16, torch.bfloat16):
        raise ValueError(
            f"the model's weights are {parameter.dtype}, too coarse to be trained; call model.float(), and let "
            "precision='bfloat16' compute in half precision"
        )
    classes, has_depth = 0, False
    for name, dataset in datasets.items():
        if len(dataset) == 0:
            raise ValueError(f"{name} is empty: it needs at least one sample")
        first = dataset[0] if name == "val" else unreadable.first(dataset)
        if name not in _LABELLED and "image" in first:
            first = Sample(image=first["image"])  # what else a target knows is not looked at: it may be anything
        _check_sample(first, f"the first sample of {name}")
        if name == "val" and "label" not in first:
            raise ValueError("val has no labels; give labelled samples, or no val")
        batch = Batch(image=first["image"].as_subclass(Tensor)[None])
        with evaluating(model):
            output = output_of(model, to_device(batch, parameter.device, parameter.dtype)["image"])
        classes, has_depth = output.logits.shape[1], output.inverse_depth is not None
        _check_classes(first, name, getattr(dataset, "label_space", None), getattr(model, "label_space", None), classes)
    return classes, has_depth


def _check_classes(sample: Sample, name: str, space: LabelSpace | None, own: LabelSpace | None, classes: int) -> None:
    """Compare the classes of a data set, and the labels of a sample of it, with those of the model."""
    if space is not None and len(space) != classes:
        raise ValueError(
            f"{name} has the {len(space)} classes of label space {space.name!r}, but the model predicts "
            f"{classes}; create the model with num_classes={len(space)}, or load the data with other labels"
        )
    if own is not None and space is not None and own.classes != space.classes:
        raise ValueError(
            f"{name} has the classes {list(space.classes)} of {space.name!r}, but the model was made for "
            f"{list(own.classes)} of {own.name!r}: as many, but not the same; load the data with "
            f"labels={own.name!r}, or create the model with label_space={space.name!r}"
        )
    if "label" not in sample:
        return
    label = sample["label"].as_subclass(Tensor)
    foreign = label[((label < 0) | (label >= classes)) & (label != IGNORE_INDEX)]
    if foreign.numel():
        raise ValueError(
            f"the first sample of {name} has the labels {sorted({*foreign.tolist()})[:5]}, but the model predicts "
            f"{classes} classes (0..{classes - 1}, and {IGNORE_INDEX} to ignore); map the ids, or create the model "
            "with more classes"
        )


def _check_sample(sample: Sample, what: str) -> None:
    """Compare the tensors of a sample with what `Sample` says of them."""
    if "image" not in sample:
        raise ValueError(f"{what} has no 'image'; a sample is a dict with one, and 'label', 'depth', 'name' if known")
    for key, (dimensions, floating, expected) in _EXPECTED.items():
        value: Any = sample.get(key)
        if value is None:
            continue
        if not isinstance(value, Tensor):
            raise ValueError(f"{key} of {what} is a {type(value).__name__}, expected a tensor: {expected}")
        if value.ndim != dimensions or value.is_floating_point() != floating:
            raise ValueError(f"{key} of {what} is {value.dtype} {tuple(value.shape)}, expected {expected}")
    lowest, highest = (float(value) for value in sample["image"].as_subclass(Tensor).aminmax())
    if not (lowest > -0.5 and highest < 1.5):  # resampling may overshoot a little
        raise ValueError(
            f"image of {what} has values in {lowest:.3g}..{highest:.3g}, expected 0..1; the model normalises by itself"
        )


def check_source(sample: Sample, *, needs_depth: bool) -> None:
    """Check that a sample of a source has labels, and depth where a depth loss asks for it.

    Raises:
        ValueError: It has not.
    """
    if "label" not in sample:
        raise ValueError("source has no labels; the source domain is the labelled one")
    if needs_depth and "depth" not in sample:
        raise ValueError(
            "source has no depth, but the model predicts it and depth_weight is not 0; "
            "load the source with depth, or set depth_weight=0"
        )


def check_target_depth(sample: Sample, *, has_depth: bool) -> None:
    """Check that the model and a sample of the target have the depth that `target_depth_weight` asks for.

    Raises:
        ValueError: One has not.
    """
    if not has_depth:
        raise ValueError("target_depth_weight teaches depth, which this model does not predict; give it a depth head")
    if "depth" not in sample:
        raise ValueError(
            "target_depth_weight compares with the target's depth, which its samples do not have; load it with files "
            "of a monocular network, such as SegmentationFolder(..., depth_encoding='relative_inverse')"
        )
