"""Derives the findings of a report, each with its remedy, from facts about every sample."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthaware_uda.data.check.report import ClassPixels, DepthRange, Finding, sample_finding
from depthaware_uda.labels import IGNORE_INDEX, LabelSpace

__all__ = ["DepthFacts", "Facts", "class_histogram", "count_sizes", "depth_range", "findings", "ignored_share"]

# In metres. Streets lie well inside these bounds; depth outside them is in another unit.
_FOREGROUND = (0.5, 15.0)
_MEDIAN = (1.0, 300.0)


class DepthFacts(NamedTuple):
    """Statistics of the depth of a sample, in metres."""

    known: float
    """Share of the pixels whose depth is known."""
    nearest: float = math.nan
    foreground: float = math.nan
    """The first percentile: one pixel in a hundred is nearer."""
    median: float = math.nan
    farthest: float = math.nan


class Facts(NamedTuple):
    """What is recorded about a checked sample."""

    name: str
    error: tuple[str, str] | None = None
    """Kind of the finding and the message, if the sample could not be read."""
    size: tuple[int, int] = (0, 0)
    keys: tuple[str, ...] = ()
    breaches: tuple[str, ...] = ()
    """How the sample breaks the contract of `Sample`."""
    differing: str = ""
    """The sizes of image, label and depth, if they differ."""
    pixels: NDArray[np.int64] | None = None
    """Pixels of each label value, (256,)."""
    depth: DepthFacts | None = None
    checksum: int = 0
    flat: bool = False


def findings(facts: list[Facts], space: LabelSpace | None, *, metric: bool = True) -> list[Finding]:
    """All findings about the samples themselves; only `metric` depth is checked for its unit."""
    whole = [fact for fact in facts if fact.error is None]
    return [*_broken(facts), *_label_findings(whole, space), *_depth_findings(whole, metric), *_image_findings(whole)]


def count_sizes(facts: list[Facts]) -> dict[tuple[int, int], int]:
    """Number of samples of each (height, width), the most frequent first."""
    found: dict[tuple[int, int], int] = {}
    for fact in facts:
        found[fact.size] = found.get(fact.size, 0) + 1
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _total(facts: list[Facts]) -> NDArray[np.int64]:
    return sum((fact.pixels for fact in facts if fact.pixels is not None), np.zeros(256, np.int64))


def class_histogram(facts: list[Facts], space: LabelSpace | None) -> tuple[ClassPixels, ...]:
    """How often the labels show each class of the space, or each index without one."""
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


def ignored_share(facts: list[Facts]) -> float | None:
    """Share of label pixels that are ignored; None without labels."""
    total = _total(facts)
    return float(total[IGNORE_INDEX] / total.sum()) if total.any() else None


def depth_range(facts: list[Facts]) -> DepthRange | None:
    """Where depth lies; None if no sample has any."""
    found = [fact.depth for fact in facts if fact.depth is not None]
    if not found:
        return None
    some = [depth for depth in found if depth.known]
    if not some:
        return DepthRange(0.0, None, None, None)
    return DepthRange(
        known=float(np.mean([depth.known for depth in found])),
        nearest=min(depth.nearest for depth in some),
        median=float(np.median([depth.median for depth in some])),
        farthest=max(depth.farthest for depth in some),
    )


def _broken(facts: list[Facts]) -> list[Finding]:
    findings = []
    for kind, remedy in (
        ("missing file", "copy or unpack the files again, or remove the images without partners"),
        (
            "unreadable",
            "copy or download these files again; labels and depth need the size of their image, and the format that "
            "the data set's documentation names",
        ),
        (
            "unmapped ids",
            "add the ids to label_map (255 to ignore them); if there are many, the labels are of another edition "
            "of the data set, or colours instead of ids; unknown='ignore' ignores all of them",
        ),
    ):
        found = [(fact.name, fact.error[1]) for fact in facts if fact.error is not None and fact.error[0] == kind]
        if found:
            findings.append(sample_finding("error", kind, [name for name, _ in found], found[0][1], remedy))
    breaches = [(fact.name, breach) for fact in facts for breach in fact.breaches]
    breaches += [(fact.name, fact.error[1]) for fact in facts if fact.error and fact.error[0] == "broken contract"]
    if breaches:
        names = list(dict.fromkeys(name for name, _ in breaches))
        remedy = "bring the samples to the contract of depthaware_uda.types.Sample"
        findings.append(sample_finding("error", "broken contract", names, breaches[0][1], remedy))
    return findings


def _label_findings(facts: list[Facts], space: LabelSpace | None) -> list[Finding]:
    findings = []
    labelled = [fact for fact in facts if fact.pixels is not None]
    without = [fact.name for fact in facts if fact.pixels is None]
    if labelled and without:
        remedy = "give all samples a label, or drop all labels with Unlabelled"
        findings.append(sample_finding("error", "some without label", without, "others have one", remedy))
    empty = [fact.name for fact in labelled if fact.pixels is not None and fact.pixels[:IGNORE_INDEX].sum() == 0]
    if empty:
        remedy = "look at the label files: ids or label_map may be wrong; if they are right, leave these samples out"
        findings.append(sample_finding("warning", "all ignored", empty, "no pixel has a class", remedy))
    ignored = ignored_share(facts)
    if labelled and not empty and ignored is not None and ignored > 0.5:
        message = f"{100 * ignored:.0f} % of all pixels are ignored"
        findings.append(Finding("warning", "mostly ignored", message, "check label_map: does it lack ids?"))
    absent = [found.name for found in class_histogram(facts, space) if not found.pixels]
    if absent and labelled:
        message = f"no label shows {', '.join(absent)}"
        remedy = "evaluation leaves them out; if they should be there, check label_map and the label space"
        findings.append(Finding("warning", "classes without a label", message, remedy))
    return findings


def _depth_findings(facts: list[Facts], metric: bool) -> list[Finding]:
    findings = []
    known = [(fact.name, fact.depth) for fact in facts if fact.depth is not None]
    without = [fact.name for fact in facts if fact.depth is None]
    if known and without:
        remedy = "give all samples a depth, or none"
        findings.append(sample_finding("error", "some without depth", without, "others have it", remedy))
    if nowhere := [name for name, depth in known if not depth.known]:
        remedy = "look at the depth files; in integer encodings 0 means unknown"
        findings.append(sample_finding("warning", "no depth known", nowhere, "every pixel is unknown", remedy))
    some = [depth for _, depth in known if depth.known]
    if metric and some:
        foreground, median = (
            float(np.median(values))
            for values in zip(*((depth.foreground, depth.median) for depth in some), strict=True)
        )
        if not (_within(foreground, _FOREGROUND) and _within(median, _MEDIAN)):
            message = f"the foreground is {foreground:.3g} m away, the median depth is {median:.3g} m: not a street's"
            remedy = (
                "set the depth_encoding of the files: centimetres read as millimetres are ten times too near, "
                "millimetres read as centimetres ten times too far, and relative depth has no metres at all"
            )
            findings.append(Finding("warning", "depth of another unit", message, remedy))
    return findings


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def _image_findings(facts: list[Facts]) -> list[Finding]:
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
    if differing := [fact for fact in facts if fact.differing]:
        remedy = "fine for evaluation at full resolution; for training, labels and depth need the size of their image"
        names = [fact.name for fact in differing]
        findings.append(sample_finding("note", "labels of another size", names, differing[0].differing, remedy))
    sizes = count_sizes(facts)
    if len(sizes) > 1:
        message = f"{len(sizes)} sizes, from {min(sizes)} to {max(sizes)} (height, width)"
        remedy = "batches of more than one image need the data set's size=, or a cropping transform"
        findings.append(Finding("note", "several sizes", message, remedy))
    return findings
