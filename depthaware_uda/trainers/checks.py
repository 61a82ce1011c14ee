"""Whether data, model and settings fit each other, found out before the first step."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from depthaware_uda.inference import evaluating
from depthaware_uda.trainers.batches import to_device
from depthaware_uda.trainers.skipping import Unreadable
from depthaware_uda.types import Batch, Sample, SampleDataset, SegDepthOutput

__all__ = ["check_data", "check_source", "check_target_depth"]


def check_data(model: nn.Module, datasets: Mapping[str, SampleDataset], unreadable: Unreadable) -> tuple[int, bool]:
    """Run a model on the first readable image of every data set, and compare classes.

    Args:
        model: The network, on its device.
        datasets: By argument name; that of the name "val" needs labels, and no sample of it may be unreadable.
        unreadable: How many samples may be passed over.

    Returns:
        The number of classes, and whether the model predicts depth.

    Raises:
        ValueError: A data set is empty, "val" has no labels, or label spaces and classes differ.
    """
    classes, has_depth = 0, False
    for name, dataset in datasets.items():
        if len(dataset) == 0:
            raise ValueError(f"{name} is empty: it needs at least one sample")
        first = dataset[0] if name == "val" else unreadable.first(dataset)
        if name == "val" and "label" not in first:
            raise ValueError("val has no labels; give labelled samples, or no val")
        parameter = next(model.parameters())
        batch = Batch(image=first["image"].as_subclass(Tensor)[None])
        with evaluating(model):
            output: SegDepthOutput = model(to_device(batch, parameter.device, parameter.dtype)["image"])
        classes, has_depth = output.logits.shape[1], output.inverse_depth is not None
        space = getattr(dataset, "label_space", None)
        if space is not None and len(space) != classes:
            raise ValueError(
                f"{name} has the {len(space)} classes of label space {space.name!r}, but the model predicts "
                f"{classes}; create the model with num_classes={len(space)}, or load the data with other labels"
            )
        own = getattr(model, "label_space", None)
        if own is not None and space is not None and own.classes != space.classes:
            raise ValueError(
                f"{name} has the classes {list(space.classes)} of {space.name!r}, but the model was made for "
                f"{list(own.classes)} of {own.name!r}: as many, but not the same; load the data with "
                f"labels={own.name!r}, or create the model with label_space={space.name!r}"
            )
    return classes, has_depth


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
            "of a monocular network, such as SegmentationFolder(..., depth_encoding='relative_inverse_depth')"
        )
