"""Looking a data set through before days of training: every file read, every finding with its remedy."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from depthaware_uda.data.check_report import ClassPixels, DatasetReport, DepthRange, Finding, sample_finding
from depthaware_uda.data.check_sources import source_findings
from depthaware_uda.labels import IGNORE_INDEX, LabelSpace
from depthaware_uda.types import Sample, SampleDataset

__all__ = ["check_dataset"]

# A street's median depth lies well inside of these; outside, the unit is another one.
_NEAREST_MEDIAN, _FARTHEST_MEDIAN = 0.5, 300.0


def check_dataset(dataset: SampleDataset, *, workers: int = 0, progress: bool = True) -> DatasetReport:
    """Read every sample of a data set and report what a training run would stumble over.

    Looked for are files that are missing, damaged, of another size than their image, or without a partner; label ids
    that the map lacks; labels without a class, classes without a label; depth that is nowhere known or in another
    unit; samples that break the contract; images that come twice or are of one colour; and another package of SYNTHIA
    than the published protocols use. Nothing is changed, and an error in one sample does not stop the others.

    Args:
        dataset: Any data set of samples.
        workers: Processes to read with; 0 reads in this one.
        progress: Whether to show a progress bar.

    Returns:
        The report: ``print(report.table())``, ``report.save("report.json")``, ``report.draw("page.png")``.

    Raises:
        ValueError: The data set is empty or `workers` is negative.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
    if len(dataset) == 0:
        raise ValueError("dataset: expected at least one sample, got an empty data set")
    space: LabelSpace | None = getattr(dataset, "label_space", None)
    loader = DataLoader(
        _Looking(dataset, len(space) if space is not None else IGNORE_INDEX),
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        generator=torch.Generator(),
    )
    bar = tqdm(loader, total=len(dataset), desc="checking", unit="image", disable=not progress)
    facts: list[_Facts] = list(bar)
    names = [fact.name for fact in facts]
    whole = [fact for fact in facts if fact.error is None]
    return DatasetReport(
        dataset=type(dataset).__name__,
        samples=len(dataset),
        readable=len(whole),
        sizes=_sizes(whole),
        classes=_class_pixels(whole, space),
        ignored=_ignored(whole),
        depth=_depth_range(whole),
        findings=(*_broken(facts), *_label_findings(whole, space), *_depth_findings(whole), *_image_findings(whole))
        + tuple(source_findings(dataset, names)),
        source=dataset,
        whole=tuple(i for i, fact in enumerate(facts) if fact.error is None),
    )


class _Facts(NamedTuple):
    """What is kept of a sample that was looked at."""

    name: str
    error: tuple[str, str] | None = None
    """Kind of the finding and the message, if the sample could not be read."""
    size: tuple[int, int] = (0, 0)
    keys: tuple[str, ...] = ()
    breaches: tuple[str, ...] = ()
    """Where the sample breaks the contract."""
    pixels: NDArray[np.int64] | None = None
    """Pixels of each label value, (256,)."""
    depth: tuple[float, float, float, float] | None = None
    """Share of pixels whose depth is known; nearest, median and farthest metres."""
    checksum: int = 0
    flat: bool = False


class _Looking(Dataset[_Facts]):
    """Looking as a data set, so that workers of a `DataLoader` do it."""

    def __init__(self, dataset: SampleDataset, classes: int) -> None:
        self.dataset, self.classes = dataset, classes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> _Facts:
        names = getattr(self.dataset, "names", None)
        name = f"sample {index}" if names is None else str(names[index])
        try:
            sample = self.dataset[index]
        except FileNotFoundError as error:
            return _Facts(name, ("missing file", str(error)))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one sample is a line of the report
            kind = "unmapped ids" if "not in the id map" in str(error) else "unreadable"
            return _Facts(name, (kind, str(error) or repr(error)))
        return _look(sample, sample.get("name", name), self.classes)


def _unchanged(facts: _Facts) -> _Facts:
    return facts


def _look(sample: Sample, name: str, classes: int) -> _Facts:
    if "image" not in sample:
        return _Facts(name, ("unreadable", f"{name}: the sample has no image"))
    image = sample["image"].as_subclass(Tensor)
    breaches = []
    if image.dtype != torch.float32 or image.ndim != 3 or len(image) != 3:
        breaches.append(f"image is {image.dtype} {tuple(image.shape)}, expected float32 (3, H, W)")
    elif not (image.isfinite().all() and image.min() >= 0 and image.max() <= 1):
        breaches.append(f"image holds values in {image.min():.3g}..{image.max():.3g}, expected 0..1")
    pixels = depth = None
    if "label" in sample:
        label = sample["label"].as_subclass(Tensor)
        if label.dtype != torch.int64 or label.ndim != 2:
            breaches.append(f"label is {label.dtype} {tuple(label.shape)}, expected int64 (H, W)")
        pixels = np.bincount(label.clamp(0, 255).flatten().numpy(), minlength=256)
        if ((label < 0) | ((label >= classes) & (label != IGNORE_INDEX))).any():
            breaches.append(f"label holds {int(label.min())}..{int(label.max())}, expected 0..{classes - 1} or 255")
    if "depth" in sample:
        metres = sample["depth"].as_subclass(Tensor)
        if metres.dtype != torch.float32 or metres.ndim != 3 or len(metres) != 1:
            breaches.append(f"depth is {metres.dtype} {tuple(metres.shape)}, expected float32 (1, H, W)")
        known = metres[~metres.isnan()]
        if (known < 0).any():
            breaches.append(f"depth holds {float(known.min()):.3g} m, expected 0 or more, or NaN")
        share = known.numel() / max(1, metres.numel())
        near, middle, far = (float(f(known)) if known.numel() else float("nan") for f in _NEAR_MIDDLE_FAR)
        depth = (share, near, middle, far)
    return _Facts(
        name,
        size=(image.shape[-2], image.shape[-1]),
        keys=tuple(key for key in ("image", "label", "depth") if key in sample),
        breaches=tuple(breaches),
        pixels=pixels,
        depth=depth,
        checksum=zlib.crc32(np.ascontiguousarray(image.numpy()).data),
        flat=bool(image.numel()) and bool(image.min() == image.max()),
    )


_NEAR_MIDDLE_FAR = (torch.min, torch.median, torch.max)


def _sizes(facts: list[_Facts]) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for fact in facts:
        found[fact.size] = found.get(fact.size, 0) + 1
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _total(facts: list[_Facts]) -> NDArray[np.int64]:
    return sum((fact.pixels for fact in facts if fact.pixels is not None), np.zeros(256, np.int64))


def _class_pixels(facts: list[_Facts], space: LabelSpace | None) -> tuple[ClassPixels, ...]:
    labelled = [fact.pixels for fact in facts if fact.pixels is not None]
    if not labelled:
        return ()
    total = _total(facts)
    shown = range(len(space)) if space is not None else np.flatnonzero(total[:IGNORE_INDEX]).tolist()
    return tuple(
        ClassPixels(
            name=space.classes[index] if space is not None else str(index),
            pixels=int(total[index]),
            share=int(total[index]) / max(1, int(total[:IGNORE_INDEX].sum())),
            images=sum(int(pixels[index] > 0) for pixels in labelled),
        )
        for index in shown
    )


def _ignored(facts: list[_Facts]) -> float | None:
    total = _total(facts)
    return float(total[IGNORE_INDEX] / total.sum()) if total.any() else None


def _depth_range(facts: list[_Facts]) -> DepthRange | None:
    found = np.array([fact.depth for fact in facts if fact.depth is not None], np.float64)
    if not len(found):
        return None
    some = found[found[:, 0] > 0]
    if not len(some):
        return DepthRange(0.0, None, None, None)
    return DepthRange(
        float(found[:, 0].mean()), float(some[:, 1].min()), float(np.median(some[:, 2])), float(some[:, 3].max())
    )


def _broken(facts: list[_Facts]) -> list[Finding]:
    findings = []
    for kind, remedy in (
        ("missing file", "copy or unpack the files again, or take the images without partners away"),
        (
            "unreadable",
            "copy or download these files again; labels and depth need the size of their image, and the format that "
            "the data set's documentation names",
        ),
        (
            "unmapped ids",
            "add the ids to label_map (255 to ignore them); if there are many, the labels are of another edition of "
            "the data set, or colours instead of ids; unknown='ignore' makes all of them 255",
        ),
    ):
        found = [(fact.name, fact.error[1]) for fact in facts if fact.error is not None and fact.error[0] == kind]
        if found:
            findings.append(sample_finding("error", kind, [name for name, _ in found], found[0][1], remedy))
    breaches = [(fact.name, breach) for fact in facts for breach in fact.breaches]
    if breaches:
        names = list(dict.fromkeys(name for name, _ in breaches))
        remedy = "bring the samples to the contract of depthaware_uda.types.Sample"
        findings.append(sample_finding("error", "broken contract", names, breaches[0][1], remedy))
    return findings


def _label_findings(facts: list[_Facts], space: LabelSpace | None) -> list[Finding]:
    findings = []
    labelled = [fact for fact in facts if fact.pixels is not None]
    without = [fact.name for fact in facts if fact.pixels is None]
    if labelled and without:
        remedy = "give all samples a label, or drop those of all with Unlabelled"
        findings.append(sample_finding("error", "some without label", without, "others have one", remedy))
    empty = [
        fact.name for fact in labelled if fact.pixels is not None and fact.pixels[:IGNORE_INDEX].sum() == 0
    ]
    if empty:
        remedy = "look at the label files; wrong ids or a wrong label_map make a class of nothing; else leave them out"
        findings.append(sample_finding("warning", "all ignored", empty, "no pixel has a class", remedy))
    ignored = _ignored(facts)
    if labelled and not empty and ignored is not None and ignored > 0.5:
        message = f"{100 * ignored:.0f} % of all pixels are ignored"
        findings.append(Finding("warning", "mostly ignored", message, "check label_map: are ids missing in it?"))
    absent = [found.name for found in _class_pixels(facts, space) if not found.pixels]
    if absent and labelled:
        message = f"no label shows {', '.join(absent)}"
        remedy = "evaluation leaves them out; if they ought to be there, check label_map and the label space"
        findings.append(Finding("warning", "classes without a label", message, remedy))
    return findings


def _depth_findings(facts: list[_Facts]) -> list[Finding]:
    findings = []
    known = [(fact.name, fact.depth) for fact in facts if fact.depth is not None]
    without = [fact.name for fact in facts if fact.depth is None]
    if known and without:
        remedy = "give all samples a depth, or none"
        findings.append(sample_finding("error", "some without depth", without, "others have it", remedy))
    if nowhere := [name for name, depth in known if depth[0] == 0]:
        remedy = "look at the depth files; 0 is unknown in encodings of integers"
        findings.append(sample_finding("warning", "no depth known", nowhere, "every pixel is unknown", remedy))
    medians = [depth[2] for _, depth in known if depth[0] > 0]
    if medians and not _NEAREST_MEDIAN <= (median := float(np.median(medians))) <= _FARTHEST_MEDIAN:
        message = f"the median depth is {median:.3g} m"
        remedy = (
            "choose the depth_encoding of the files: centimetres read as millimetres are ten times too near, "
            "millimetres read as centimetres ten times too far, and relative depth has no metres at all"
        )
        findings.append(Finding("warning", "depth of another unit", message, remedy))
    return findings


def _image_findings(facts: list[_Facts]) -> list[Finding]:
    findings = []
    if flat := [fact.name for fact in facts if fact.flat]:
        remedy = "look at the files; leave the images out if they show nothing"
        findings.append(sample_finding("warning", "one colour", flat, "every pixel is alike", remedy))
    first: dict[tuple[int, tuple[int, int]], str] = {}
    again = [
        (fact.name, other)
        for fact in facts
        if not fact.flat and (other := first.setdefault((fact.checksum, fact.size), fact.name)) != fact.name
    ]
    if again:
        message = f"the first of them shows what {again[0][1]} shows"
        remedy = "remove the copies; a copy in the validation split makes results too good"
        findings.append(sample_finding("warning", "same image twice", [name for name, _ in again], message, remedy))
    sizes = _sizes(facts)
    if len(sizes) > 1:
        message = f"{len(sizes)} sizes, from {min(sizes)} to {max(sizes)} (height, width)"
        remedy = "batches of more than one image need the data set's size=, or a cropping transform"
        findings.append(Finding("note", "several sizes", message, remedy))
    return findings
