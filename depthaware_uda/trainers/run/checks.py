"""Whether data, model and settings fit each other, found out before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from depthaware_uda.data.collate import check_pixels, check_tensor
from depthaware_uda.data.contract import check_dataset_type, check_sample_type, known_label_space
from depthaware_uda.inference import evaluating, output_of
from depthaware_uda.labels import IGNORE_INDEX, LabelSpace
from depthaware_uda.labels.space import check_same_classes
from depthaware_uda.trainers.config import TrainerConfig
from depthaware_uda.trainers.run.skipping import Unreadable
from depthaware_uda.trainers.step.batches import to_device
from depthaware_uda.types import Batch, Sample, SampleDataset

__all__ = [
    "check_batch",
    "check_data",
    "check_depth",
    "check_first_image",
    "check_labels",
    "check_losses",
    "check_needs_no_target",
    "check_optimized",
    "check_sample",
    "check_source",
    "check_target_depth",
]

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
        TypeError: The model returns something other than `SegDepthOutput`; a data set gives no samples by index, or
            samples that are not dictionaries with an image.
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
        check_dataset_type(dataset, name)
        if len(dataset) == 0:
            raise ValueError(f"{name} is empty: it needs at least one sample")
        first = dataset[0] if name == "val" else unreadable.first(dataset)
        check_sample_type(first, f"the first sample of {name}")
        if name not in _LABELLED:
            first = Sample(image=first["image"])  # what else a target knows is not looked at: it may be anything
        check_sample(first, f"the first sample of {name}")
        if name == "val" and "label" not in first:
            raise ValueError("val has no labels; give labelled samples, or no val")
        batch = Batch(image=first["image"].as_subclass(Tensor)[None])
        with evaluating(model):
            output = output_of(model, to_device(batch, parameter.device, parameter.dtype)["image"])
        classes, has_depth = output.logits.shape[1], output.inverse_depth is not None
        _check_classes(first, name, known_label_space(dataset), known_label_space(model), classes)
    return classes, has_depth


def _check_classes(sample: Sample, name: str, space: LabelSpace | None, own: LabelSpace | None, classes: int) -> None:
    """Compare the classes of a data set, and the labels of a sample of it, with those of the model."""
    if space is not None and len(space) != classes:
        raise ValueError(
            f"{name} has the {len(space)} classes of label space {space.name!r}, but the model predicts "
            f"{classes}; create the model with num_classes={len(space)}, or load the data with other labels"
        )
    check_same_classes(space, own, name)
    if "label" not in sample:
        return
    check_labels(sample, classes, f"the first sample of {name}")


def check_labels(sample: Sample, classes: int, what: str) -> None:
    """Check that the labels of a sample are classes that a model predicts, or 255.

    Raises:
        ValueError: Some are not, or they are no tensor.
    """
    check_tensor(sample["label"], "label", what)
    label = sample["label"].as_subclass(Tensor)
    foreign = ((label < 0) | (label >= classes)) & (label != IGNORE_INDEX)
    if foreign.any():
        raise ValueError(
            f"{what} has the labels {sorted({*label[foreign].tolist()})[:5]}, but the model predicts {classes} classes "
            f"(0..{classes - 1}, and {IGNORE_INDEX} to ignore); map the ids, or create the model with more classes"
        )


def check_depth(sample: Sample, what: str) -> None:
    """ValueError if the depth of a labelled sample is 0 or below somewhere, or no tensor."""
    check_tensor(sample["depth"], "depth", what)
    if (sample["depth"].as_subclass(Tensor) <= 0).any():
        raise ValueError(
            f"depth of {what} is 0 or below at some pixels; depth is in metres, and NaN where it is not known: 0 would "
            "be learnt as the nearest of all"
        )


def check_needs_no_target(config: TrainerConfig, trainer: str) -> None:
    """Raise a ValueError if a setting needs the target's images; called for trainers, by name, that have none."""
    for setting, value in (("batch_norm", "target"), ("validation", "label_free")):
        if getattr(config, setting) == value:
            raise ValueError(f"{setting}={value!r} looks at the target's images: {trainer} needs an attribute `target`")


def check_optimized(modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
    """ValueError if an optimiser moves weights that no checkpoint would hold."""
    kept = {id(parameter) for module in modules.values() for parameter in module.parameters()}
    for name, optimizer in optimizers.items():
        if any(id(parameter) not in kept for group in optimizer.param_groups for parameter in group["params"]):
            raise ValueError(
                f"optimizers[{name!r}] moves weights of a module that modules() does not name, and that a resumed run "
                "would begin anew with; return it there, beside those of super().modules()"
            )


def check_losses(losses: object, trainer: str) -> None:
    """TypeError if what `compute` of a trainer returned is not its losses by name, each a tensor of one number."""
    expected = f"compute() of {trainer} must return its losses by name, each a tensor without dimensions"
    if not isinstance(losses, Mapping) or not losses:
        raise TypeError(f"{expected}; it returned {losses!r}")
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.ndim:
            got = f"{loss.dtype} {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise TypeError(f"{expected}; {name!r} is {got}")


def check_sample(sample: Sample, what: str) -> None:
    """Compare the tensors of a sample with what `Sample` says of them."""
    for key, (dimensions, floating, expected) in _EXPECTED.items():
        if key not in sample:
            continue
        value: Any = sample[key]  # type: ignore[literal-required]
        check_tensor(value, key, what)
        if value.ndim != dimensions or value.is_floating_point() != floating:
            raise ValueError(f"{key} of {what} is {value.dtype} {tuple(value.shape)}, expected {expected}")
    check_pixels(sample["image"], f"image of {what}")


def check_batch(batch: Batch, domain: str, *, labelled: bool) -> None:
    """Check that a batch of a domain has what a step needs of it, at one size.

    Raises:
        ValueError: It lacks images or labels, they differ in height or width, or images are not in floating point.
    """
    needed = ("image", "label") if labelled else ("image",)
    if missing := [key for key in needed if key not in batch]:
        raise ValueError(f"the {domain} batch has no {missing[0]!r}; it has {sorted(batch)}")
    image = batch["image"]
    if image.ndim != 4 or not image.is_floating_point():
        raise ValueError(
            f"image of the {domain} batch is {image.dtype} {tuple(image.shape)}, expected RGB in 0..1 in floating "
            "point, (N, 3, H, W); divide 8 bits by 255"
        )
    if not labelled:
        return  # whatever else it has is not looked at
    height, width = image.shape[-2:]
    for key, maps in (("label", batch.get("label")), ("depth", batch.get("depth"))):
        if maps is not None and maps.shape[-2:] != (height, width):
            raise ValueError(
                f"{key} of the {domain} batch has {maps.shape[-2]} x {maps.shape[-1]} pixels, its images "
                f"{height} x {width}; resize both, and let `augment` change both together"
            )


def check_first_image(batch: Batch, domain: str) -> None:
    """Check the values of the first image of a batch; only before the first step, since that waits for the device.

    Raises:
        ValueError: They are not RGB in 0..1. NaN is left to `TrainingDiverged`.
    """
    first = batch["image"][:1]
    if first.isfinite().all():
        check_pixels(first, f"the first image of the {domain} batch")


def check_source(sample: Sample, *, needs_depth: bool) -> None:
    """Check that a sample of a source has labels, and depth where a depth loss asks for it.

    Raises:
        ValueError: One is missing.
    """
    if "label" not in sample:
        raise ValueError("source has no labels; the source domain is the labelled one, load it with its labels")
    if needs_depth and "depth" not in sample:
        raise ValueError(
            "source has no depth, but the model predicts it and depth_weight is not 0; "
            "load the source with depth, or set depth_weight=0"
        )
    if needs_depth:
        check_depth(sample, "the first sample of source")


def check_target_depth(sample: Sample, *, has_depth: bool) -> None:
    """Check that the model and a sample of the target have the depth that `target_depth_weight` asks for.

    Raises:
        ValueError: One of them lacks it.
    """
    if not has_depth:
        raise ValueError("target_depth_weight teaches depth, which this model does not predict; give it a depth head")
    if "depth" not in sample:
        raise ValueError(
            "target_depth_weight compares with the target's depth, which its samples do not have; load it with files "
            "of a monocular network, such as SegmentationFolder(..., depth_encoding='relative_inverse')"
        )
