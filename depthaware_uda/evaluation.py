"""Evaluation: one global confusion matrix over a data set, and depth errors where depth is known."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from depthaware_uda.data.contract import chosen_label_space, has_metric_depth, known_label_space
from depthaware_uda.depth import to_metres
from depthaware_uda.distributed import gather, gather_by_index, sum_of_counts
from depthaware_uda.inference import evaluating, image_batches, output_of, warn_of_nan
from depthaware_uda.labels import LabelSpace
from depthaware_uda.labels.space import check_same_classes
from depthaware_uda.metrics import DepthMeter, confusion_matrix
from depthaware_uda.models.argmax import argmax_resized
from depthaware_uda.models.input_size import InputSize, input_size, resize_input, stride_of
from depthaware_uda.models.resize import resize, size_of
from depthaware_uda.precision import Precision, check_precision
from depthaware_uda.protocols import AdaptationProtocol, get_protocol
from depthaware_uda.results import EvaluationResult
from depthaware_uda.types import SampleDataset
from depthaware_uda.version import __version__

__all__ = ["EvaluationResult", "evaluate"]


def evaluate(
    model: nn.Module,
    dataset: SampleDataset | None = None,
    *,
    protocol: str | AdaptationProtocol | None = None,
    roots: Mapping[str, str | Path] | None = None,
    label_space: str | LabelSpace | None = None,
    size: InputSize = None,
    batch_size: int = 1,
    num_workers: int = 0,
    precision: Precision = "float32",
    progress: bool = False,
) -> EvaluationResult:
    """Compare a model with the labels (and the depth, where known) of a data set or of a protocol.

    ``evaluate(model, val)`` takes any data set; ``evaluate(model, protocol="ep1", roots={"cityscapes": FOLDER})`` takes
    the validation data of a protocol, and the result's `table` shows the published results beside it. Logits are
    resized once, to the label's size, before the argmax, and one confusion matrix counts all images, both on the
    model's device. Depth is compared in metres, where the data has any; relative depth, that of a data set or a model
    whose attribute ``is_metric`` is false, is left out. The model's training mode is restored. Several processes
    (`distributed.initialize`) share the batches: all of them call this, and each gets the result that one process
    would get.

    Args:
        model: Any module that maps images (N, 3, H, W) to `SegDepthOutput`.
        dataset: Samples with labels; by default the protocol's validation data.
        protocol: Name of a protocol (`list_protocols`), or an `AdaptationProtocol`. A `dataset`, for instance a cached
            one, replaces the protocol's validation data.
        roots: Folder of each data set that the protocol reads, by name.
        label_space: Names of the classes; by default that of the data set, or of the model, or class indices.
        size: Resize images for the network, as `predict` does: to this shorter side, to (height, width), or with
            ``"auto"`` to the size that the model was trained at, if it records one. Labels and depth keep their size,
            and the output is compared at it. None resizes nothing.
        batch_size: Images at once, as far as they, and their labels, have one size.
        num_workers: Processes that read samples.
        precision: Of the network's forward pass: ``"auto"`` is bfloat16 on GPUs that have it, faster by far there;
            scores, resizing and maps stay float32.
        progress: Show a progress bar.

    Warns:
        RuntimeWarning: Scores of some images are NaN; one is named.

    Raises:
        TypeError: Neither a data set nor a protocol was given.
        ValueError: The data set is empty, a sample has no label, data and model differ in their classes, the precision
            is not known, or the protocol is not known or lacks a root.
    """
    check_precision(precision)
    chosen = None if protocol is None else get_protocol(protocol)
    if dataset is None:
        if chosen is None:
            raise TypeError("evaluate needs a data set, or the name of a protocol and the roots of its data")
        dataset = chosen.validation_data(roots)
    space = _label_space(model, dataset, label_space, chosen)
    shown_at, stride = input_size(model, size), stride_of(model)
    measures_depth = has_metric_depth(dataset) and getattr(model, "is_metric", True)
    confusion: Tensor | None = None
    undefined: list[str] = []
    # One a batch, by its first image, so that they add up in the same order in any number of processes.
    meters: dict[int, DepthMeter] = {}
    image_sizes: set[tuple[int, int]] = set()
    label_sizes: set[tuple[int, int]] = set()
    batches = image_batches(
        model,
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        progress="evaluate" if progress else None,
        shared=True,
    )
    with evaluating(model):
        for batch, image in batches:
            if "label" not in batch:
                raise ValueError(f"{batch.get('name', ['a sample'])[0]}: the sample has no label, evaluation needs one")
            image = resize_input(image, shown_at, stride)
            output = output_of(model, image, precision)
            classes = output.logits.shape[1]
            if space is not None and len(space) != classes:
                raise ValueError(
                    f"the model predicts {classes} classes, but label space {space.name!r} of the data has "
                    f"{len(space)}; load the data with the model's labels"
                )
            for place in output.logits.isnan().flatten(1).any(1).nonzero().flatten().tolist():
                undefined.append(batch["name"][place] if "name" in batch else f"sample {batch['index'][place]}")
            label = batch["label"].to(output.logits.device, non_blocking=True)
            image_sizes.add(size_of(image))
            label_sizes.add(size_of(label))
            prediction = argmax_resized(output.logits, size_of(label))
            try:
                counts = confusion_matrix(prediction, label, classes)
            except ValueError as error:
                raise ValueError(f"{', '.join(batch.get('name', ['a sample']))}: {error}") from error
            confusion = counts if confusion is None else confusion + counts
            meter = meters[batch["index"][0]] = DepthMeter()
            if measures_depth and output.inverse_depth is not None and "depth" in batch:
                metres = batch["depth"].to(label.device, non_blocking=True)
                meter.update(to_metres(resize(output.inverse_depth, metres.shape[-2:])), metres)
    if undefined := [name for names in gather(undefined) for name in names]:
        warn_of_nan(f"{len(undefined)} of {len(dataset)} images, such as {undefined[0]}", stacklevel=2)
    confusion = sum_of_counts(confusion)
    image_sizes, label_sizes = set().union(*gather(image_sizes)), set().union(*gather(label_sizes))
    depth = DepthMeter()
    for meter in gather_by_index(meters):
        depth.add(meter)
    result = EvaluationResult.from_confusion(
        confusion,
        tuple(map(str, range(len(confusion)))) if space is None else space.classes,
        subsets=None if space is None else space.subsets,
        depth=depth.compute(),
        images=len(dataset),
    )
    return replace(
        result,
        protocol=None if chosen is None else chosen.name,
        image_size=image_sizes.pop() if len(image_sizes) == 1 else None,
        label_size=label_sizes.pop() if len(label_sizes) == 1 else None,
        versions={"depthaware_uda": __version__, "torch": torch.__version__, "python": platform.python_version()},
    )


def _label_space(
    model: nn.Module, dataset: SampleDataset, asked: str | LabelSpace | None, protocol: AdaptationProtocol | None
) -> LabelSpace | None:
    """The classes that were asked for, else those of the data set, else the model's; ValueError if they differ."""
    check_same_classes(known_label_space(dataset), known_label_space(model), "the data set")
    space = chosen_label_space(asked, dataset, model)
    if protocol is not None and space is not None and space.classes != protocol.classes.classes:
        raise ValueError(
            f"protocol {protocol.name!r} has the classes of {protocol.label_space!r}, the data those of "
            f"{space.name!r}; load the data with the protocol's labels"
        )
    return space
