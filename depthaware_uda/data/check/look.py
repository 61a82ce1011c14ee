"""Checks a data set before days of training: reads every file, and gives every finding with its remedy."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from depthaware_uda.data.check.findings import (
    DepthFacts,
    Facts,
    class_histogram,
    count_sizes,
    depth_range,
    findings,
    ignored_share,
)
from depthaware_uda.data.check.report import DatasetReport
from depthaware_uda.data.check.sources import source_findings
from depthaware_uda.data.contract import (
    check_dataset_type,
    check_loading,
    has_metric_depth,
    known_label_space,
    known_names,
)
from depthaware_uda.labels import IGNORE_INDEX, UnmappedIdsError
from depthaware_uda.types import Sample, SampleDataset

__all__ = ["check_dataset"]


def check_dataset(dataset: SampleDataset, *, num_workers: int = 0, progress: bool = True) -> DatasetReport:
    """Read every sample of a data set and report what a training run would stumble over.

    It finds files that are missing, damaged, of another size than their image, or without a partner; label ids that are
    not in the map; labels without a class, and classes without a label; depth that is known nowhere or in another unit;
    samples that break the contract of `Sample`; duplicate images and images of one colour; and a package of SYNTHIA
    other than that of the published protocols. Nothing is changed, and an error in one sample does not stop the check.

    Args:
        dataset: Any data set of samples.
        num_workers: Processes that read samples; 0 reads in this one.
        progress: Whether to show a progress bar.

    Returns:
        The report: ``print(report.table())``, ``report.save("report.json")``, ``report.draw("page.png")``.

    Raises:
        TypeError: The data set gives no samples by index.
        ValueError: The data set is empty or `num_workers` is negative.
    """
    check_loading(num_workers=num_workers)
    check_dataset_type(dataset)
    if len(dataset) == 0:
        raise ValueError("dataset: expected at least one sample, got an empty data set")
    space = known_label_space(dataset)
    loader = DataLoader(
        _Looking(dataset, len(space) if space is not None else IGNORE_INDEX),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_unchanged,
        generator=torch.Generator(),
    )
    bar = tqdm(loader, total=len(dataset), desc="checking", unit="image", disable=not progress)
    facts: list[Facts] = list(bar)
    whole = [fact for fact in facts if fact.error is None]
    found = findings(facts, space, metric=has_metric_depth(dataset))
    return DatasetReport(
        dataset=type(dataset).__name__,
        samples=len(dataset),
        readable=len(whole),
        sizes=count_sizes(whole),
        classes=class_histogram(whole, space),
        ignored=ignored_share(whole),
        depth=depth_range(whole),
        findings=(*found, *source_findings(dataset, [fact.name for fact in facts])),
        source=dataset,
        whole=tuple(i for i, fact in enumerate(facts) if fact.error is None),
    )


class _Looking(Dataset[Facts]):
    """A data set whose items are the facts about samples, so that workers of a `DataLoader` check them."""

    def __init__(self, dataset: SampleDataset, classes: int) -> None:
        self.dataset, self.classes, self.names = dataset, classes, known_names(dataset) or ()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Facts:
        listed = self.names[index] if index < len(self.names) else None
        name = f"sample {index}" if listed is None else str(listed)
        try:
            sample = self.dataset[index]
        except FileNotFoundError as error:
            return Facts(name, ("missing file", str(error)))
        except Exception as error:  # anything wrong with one sample becomes a finding
            kind = "unmapped ids" if isinstance(error, UnmappedIdsError) else "unreadable"
            return Facts(name, (kind, str(error) or repr(error)))
        if isinstance(sample, Mapping):
            name = str(sample.get("name", name))
        problem = _unusable(sample)
        if problem:
            return Facts(name, ("broken contract", problem))
        try:
            facts = _look(sample, name, self.classes)
        except Exception as error:  # such as a type that NumPy does not have, or a tensor on a GPU
            return Facts(name, ("broken contract", f"its tensors cannot be read: {error}"))
        return facts._replace(breaches=(*facts.breaches, *_misnamed(sample, listed)))


def _unchanged(facts: Any) -> Any:
    return facts


def _unusable(sample: Any) -> str:
    """Why the pixels of a sample cannot be checked; empty if they can."""
    if not isinstance(sample, Mapping):
        return f"the sample is a {type(sample).__name__}, expected a dict with 'image', and 'label', 'depth' if known"
    if "image" not in sample:
        return "the sample has no image"
    for key in _KEYS:
        value = sample.get(key)
        if key in sample and not isinstance(value, Tensor):
            return f"{key} is a {type(value).__name__}, expected a tensor"
        if isinstance(value, Tensor) and (value.ndim < 2 or not value.numel()):
            return f"{key} has the shape {tuple(value.shape)}, expected one with height and width"
    return ""


def _misnamed(sample: Sample, listed: str | None) -> list[str]:
    """What is wrong with the name of a sample, given the name that its data set lists, if any."""
    if "name" not in sample:
        return []
    name: object = sample["name"]
    if not isinstance(name, str):
        return [f"name is a {type(name).__name__}, expected a str"]
    return (
        [f"the sample is called {name!r}, but {listed!r} in the data set's names"] if listed not in (None, name) else []
    )


def _look(sample: Sample, name: str, classes: int) -> Facts:
    image = sample["image"].as_subclass(Tensor)
    breaches = []
    if image.dtype != torch.float32 or image.ndim != 3 or len(image) != 3:
        breaches.append(f"image is {image.dtype} {tuple(image.shape)}, expected float32 (3, H, W)")
    elif not (image.isfinite().all() and image.min() >= 0 and image.max() <= 1):
        breaches.append(f"image holds values in {image.min():.3g}..{image.max():.3g}, expected 0..1")
    pixels: NDArray[np.int64] | None = None
    depth: DepthFacts | None = None
    if "label" in sample:
        label = sample["label"].as_subclass(Tensor)
        if label.dtype != torch.int64 or label.ndim != 2:
            breaches.append(f"label is {label.dtype} {tuple(label.shape)}, expected int64 (H, W)")
        pixels = np.bincount(label.clamp(0, 255).flatten().long().numpy(), minlength=256)
        if ((label < 0) | ((label >= classes) & (label != IGNORE_INDEX))).any():
            breaches.append(f"label holds {int(label.min())}..{int(label.max())}, expected 0..{classes - 1} or 255")
    if "depth" in sample:
        metres = sample["depth"].as_subclass(Tensor)
        if metres.dtype != torch.float32 or metres.ndim != 3 or len(metres) != 1:
            breaches.append(f"depth is {metres.dtype} {tuple(metres.shape)}, expected float32 (1, H, W)")
        known = metres[~metres.isnan()]
        if (known <= 0).any():
            breaches.append(f"depth holds {float(known.min()):.3g} m, expected more than 0, or NaN where it is unknown")
        depth = DepthFacts(known.numel() / metres.numel())
        if known.numel():
            foreground = known.kthvalue(1 + known.numel() // 100).values
            depth = DepthFacts(depth.known, *(float(m) for m in (known.min(), foreground, known.median(), known.max())))
    present = [key for key in _KEYS if key in sample]
    sizes = {key: tuple(sample[key].shape[-2:]) for key in present}  # type: ignore[literal-required]
    return Facts(
        name,
        size=(image.shape[-2], image.shape[-1]),
        keys=tuple(present),
        breaches=tuple(breaches),
        differing=f"(height, width) of {sizes}" if len(set(sizes.values())) > 1 else "",
        pixels=pixels,
        depth=depth,
        checksum=_checksum(image),
        flat=bool((image.amin((-2, -1)) == image.amax((-2, -1))).all()),
    )


def _checksum(image: Tensor) -> int:
    """64 bits to tell images apart: with 32, one in twenty data sets of 20,000 would show a false duplicate."""
    content = np.ascontiguousarray(image.numpy()).data
    return zlib.crc32(content) << 32 | zlib.adler32(content)


_KEYS = ("image", "label", "depth")
