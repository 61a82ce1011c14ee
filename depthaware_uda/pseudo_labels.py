"""Pseudo-labels: a network's own confident predictions on the target, written to disk and read back by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from depthaware_uda.data.images import read_ids
from depthaware_uda.data.masks import LabelMask
from depthaware_uda.data.wrappers import Unlabelled, sample_names
from depthaware_uda.digests import read_sealed, write_sealed
from depthaware_uda.distributed import barrier, gather, gather_by_index, is_writer
from depthaware_uda.files import atomic_path, expecting, flush, safe_join, sha256
from depthaware_uda.inference import batch_names, output_batches
from depthaware_uda.labels import IGNORE_INDEX, LabelSpace, get_label_space
from depthaware_uda.losses import at_least_float32
from depthaware_uda.models.argmax import argmax, argmax_resized
from depthaware_uda.models.slices import map_rows, row_slices
from depthaware_uda.precision import Precision, check_precision
from depthaware_uda.types import Sample, SampleDataset, SegDepthOutput

__all__ = ["PseudoLabelled", "PseudoLabels", "class_thresholds", "pseudo_label", "write_pseudo_labels"]

RECORD_FILE = "pseudo_labels.json"
_BINS = 1000
_PREVIEW_SUFFIX = ".color.png"


def pseudo_label(logits: Tensor, threshold: float | Tensor = 0.0) -> Tensor:
    """The most likely class where its probability reaches the threshold, else 255.

    Args:
        logits: Class scores before softmax.
        threshold: One probability, or one a class; 0 keeps every pixel.

    Shape:
        logits (N, C, H, W), threshold scalar or (C,) -> (N, H, W) int64.
    """
    probability = at_least_float32(logits).softmax(1)
    confidence, label = probability.amax(1), argmax(probability).long()
    if isinstance(threshold, Tensor):
        threshold = threshold.to(confidence)[label]
    return label.masked_fill(confidence < threshold, IGNORE_INDEX)


def class_thresholds(histogram: Tensor, proportion: float, *, ceiling: float = 1.0) -> Tensor:
    """Confidence above which the most confident `proportion` of each class's pixels lie (class-balanced, Zou 2018).

    Args:
        histogram: Pixels by predicted class and confidence bin over 0..1.
        proportion: Share of each class's pixels to keep, in 0..1.
        ceiling: No threshold is higher: more is kept where the network is sure.

    Shape:
        histogram (C, bins) -> (C,).
    """
    bins = histogram.shape[1]
    from_top = histogram.flip(1).cumsum(1)
    # The fewest best bins that hold the share; float64, since float32 cannot count beyond 2 ** 24.
    needed = (from_top < proportion * from_top[:, -1:].double()).sum(1) + 1
    lowest = (bins - needed.clamp(max=bins)).double() / bins
    return lowest.clamp(max=ceiling)


class PseudoLabels:
    """A folder of pseudo-labels that `write_pseudo_labels` wrote; every label is compared with its SHA-256 when read.

    Raises:
        FileNotFoundError: The folder is not there, or its writing was not finished.
        ValueError: The record is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        record_file = self.folder / RECORD_FILE
        if not record_file.is_file():
            raise FileNotFoundError(f"{record_file} is missing: no pseudo-labels there, or their writing was cut off")
        self.record: dict[str, Any] = read_sealed(record_file)
        with expecting("the record of pseudo-labels", record_file):
            self.names: tuple[str, ...] = tuple(self.record["names"])
            if not all(isinstance(name, str) for name in self.names):
                raise TypeError("names are not texts")
            # Records of before digests were kept have none.
            self._digests: dict[str, str] = dict(self.record.get("sha256", {}))

    def path(self, name: str) -> Path:
        """Label file of a sample name."""
        return _label_path(self.folder, name)

    def read(self, name: str) -> Tensor:
        """Label of a sample name, (H, W) int64 with 255 where the network was not sure.

        Raises:
            FileNotFoundError: It has none.
            ValueError: The file is not the one that was written, or the name would leave the folder.
        """
        return torch.from_numpy(read_ids(self._checked(name)).astype(np.int64))

    def check(self) -> PseudoLabels:
        """Read every file and compare it, without decoding; these pseudo-labels themselves.

        Raises:
            FileNotFoundError: A label has gone.
            ValueError: A file is not the one that was written.
        """
        for name in self.names:
            self._checked(name)
        return self

    def _checked(self, name: str) -> Path:
        """Label file of a sample name, which is as it was written."""
        path, written = self.path(name), self._digests.get(name)
        if not path.is_file():
            raise FileNotFoundError(f"{self.folder} holds no pseudo-label of {name!r}")
        if written is not None and sha256(path) != written:
            raise ValueError(
                f"{path}: not the pseudo-label that was written, its SHA-256 in {RECORD_FILE} differs: it is damaged, "
                "or was changed since. Put the file back, or write the labels anew; a stage that trains on them has to "
                "start anew"
            )
        return path


class PseudoLabelled:
    """A data set whose labels are pseudo-labels; labels and depth of its own are dropped.

    Args:
        dataset: The images.
        labels: Pseudo-labels of every one of them.
    """

    def __init__(self, dataset: SampleDataset, labels: PseudoLabels) -> None:
        self.dataset = Unlabelled(dataset)
        self.labels = labels
        self.names = sample_names(dataset)
        if missing := sorted(set(self.names) - set(labels.names)):
            raise ValueError(
                f"{labels.folder} lacks pseudo-labels of {len(missing)} samples, for instance {missing[:3]}"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        image, name = self.dataset[index]["image"], self.names[index]
        label = self.labels.read(name)
        if label.shape != image.shape[-2:]:
            raise ValueError(
                f"pseudo-label of {name!r} has size {tuple(label.shape)}, its image {tuple(image.shape[-2:])}"
            )
        return {"image": image, "label": LabelMask(label), "name": name}


def _label_path(folder: Path, name: str) -> Path:
    path = safe_join(folder, name)
    return path.with_name(f"{path.name}.png")


def write_pseudo_labels(
    model: nn.Module,
    dataset: SampleDataset,
    folder: str | Path,
    *,
    threshold: float = 0.9,
    proportion: float | None = None,
    preview: str | LabelSpace | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    precision: Precision = "float32",
    progress: bool = False,
) -> PseudoLabels:
    """Write the labels of which a model is sure, one 8-bit PNG a sample under its name, and a JSON record.

    The record is written last: a folder with one is complete. Several processes (`distributed.initialize`) share the
    images: all of them call this with one folder, each writes the labels of its share, and rank 0 the record.

    Args:
        model: Any module that maps images to `SegDepthOutput`.
        dataset: The target images; labels they may have are not looked at.
        folder: Where the files go.
        threshold: Least probability of a label; 0 keeps every pixel.
        proportion: Keep at least this share of every class's pixels, the most confident ones: the threshold of a class
            falls below `threshold` where the network is less sure of it. This takes a second pass over the images.
        preview: Label space whose colours a preview beside every label has (`NAME.color.png`); None writes none.
        batch_size: Images at once, as far as they have one size.
        num_workers: Processes that read samples.
        precision: Of the network's forward pass, as in `evaluate`; probabilities are float32.
        progress: Show a progress bar.

    Raises:
        ValueError: threshold or proportion out of 0..1, an empty data set, samples without names, names that share a
            file, or a name that would leave the folder.
    """
    for argument, value in (("threshold", threshold), ("proportion", proportion)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{argument} must lie in 0..1, got {value}")
    if len(dataset) == 0:
        raise ValueError("the data set is empty: there is nothing to label")
    check_precision(precision)
    folder, dataset = Path(folder), Unlabelled(dataset)
    loading: dict[str, Any] = {
        "batch_size": batch_size,
        "num_workers": num_workers,
        "precision": precision,
        "progress": "pseudo-labels" if progress else None,
        "shared": True,
    }
    space = None if preview is None else get_label_space(preview)
    limits: Tensor | None = None
    if proportion is not None:
        limits = class_thresholds(_confidence_histogram(model, dataset, loading), proportion, ceiling=threshold)
    if is_writer():
        (folder / RECORD_FILE).unlink(missing_ok=True)
    barrier()
    named: dict[int, tuple[str, str]] = {}  # names and digests
    written: set[str] = set()
    counts: Tensor = torch.zeros(256, dtype=torch.int64)
    for batch, output in output_batches(model, dataset, **loading):
        size = (batch["image"].shape[-2], batch["image"].shape[-1])
        kept = _labels(output, size, threshold if limits is None else limits).cpu()
        counts += torch.bincount(kept.flatten().long(), minlength=256)
        for index, name, values in zip(batch["index"], batch_names(batch), kept.numpy(), strict=True):
            if name in written:
                raise ValueError(f"two samples share the name {name!r}; names must be unique")
            written.add(name)
            if space is not None:
                _check_preview(name, written)
            path = _label_path(folder, name)
            with atomic_path(path) as partial:
                Image.fromarray(values).save(partial)
                named[index] = name, sha256(partial)
            if space is not None:
                with atomic_path(path.with_suffix(_PREVIEW_SUFFIX)) as partial:
                    Image.fromarray(space.colorize(values)).save(partial)
    digests = gather_by_index(named)
    names = [name for name, _ in digests]
    if len(set(names)) != len(names):
        raise ValueError("two samples of the data set share a name; names must be unique")
    if space is not None:
        for name in names:
            _check_preview(name, set(names))
    counts = torch.stack(gather(counts)).sum(0)
    shown = counts[:IGNORE_INDEX].nonzero()
    record = {
        "threshold": threshold,
        "proportion": proportion,
        "class_thresholds": None if limits is None else limits.tolist(),
        "coverage": 1 - int(counts[IGNORE_INDEX]) / int(counts.sum()),
        "pixels_per_class": counts[: int(shown.max()) + 1].tolist() if len(shown) else [],
        "names": names,
        "sha256": dict(digests),
    }
    # The record says that all labels are there: not before they are on the disk, in case of a power cut.
    paths = [_label_path(folder, name) for name in written]
    for path in (*paths, *{path.parent for path in paths}):
        flush(path)
    barrier()
    if is_writer():
        write_sealed(folder / RECORD_FILE, record)
    barrier()
    return PseudoLabels(folder)


def _check_preview(name: str, others: set[str]) -> None:
    """ValueError if the preview of one sample would be the label of another."""
    ending = _PREVIEW_SUFFIX.removesuffix(".png")
    for plain in {name, name.removesuffix(ending)}:
        if {plain, f"{plain}{ending}"} <= others:
            raise ValueError(
                f"the preview of {plain!r} and the label of {plain + ending!r} would be one file; rename a sample, "
                "or write no previews"
            )


def _labels(output: SegDepthOutput, size: tuple[int, int], threshold: float | Tensor) -> Tensor:
    """Pseudo-labels of an output at a size, as bytes."""
    if not isinstance(threshold, Tensor) and threshold == 0:
        return argmax_resized(output.logits, size).to(torch.uint8)
    return map_rows(output, size, lambda part: pseudo_label(part.logits, threshold).to(torch.uint8))


def _confidence_histogram(model: nn.Module, dataset: SampleDataset, loading: dict[str, Any]) -> Tensor:
    histogram: Tensor | None = None
    for batch, output in output_batches(model, dataset, **loading):
        classes = output.logits.shape[1]
        for _, part in row_slices(output, (batch["image"].shape[-2], batch["image"].shape[-1])):
            probability = part.logits.softmax(1)
            confidence, label = probability.amax(1), argmax(probability).long()
            bins = (confidence * _BINS).long().clamp(max=_BINS - 1)
            counts = torch.bincount((label * _BINS + bins).flatten(), minlength=classes * _BINS)
            histogram = counts if histogram is None else histogram + counts
    histogram = None if histogram is None else histogram.cpu()
    counted = [counts for counts in gather(histogram) if counts is not None]  # an empty data set has raised
    return torch.stack(counted).sum(0).reshape(-1, _BINS)
