"""The report of `check_dataset`: as a table, as JSON and as a page of samples."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from depthaware_uda.data.check.page import draw_page
from depthaware_uda.data.contract import known_label_space
from depthaware_uda.files import write_json
from depthaware_uda.types import SampleDataset

__all__ = ["ClassPixels", "DatasetReport", "DepthRange", "Finding"]

_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One problem or remark, and its remedy."""

    severity: Literal["error", "warning", "note"]
    """An error stops or spoils training, a warning may be intended, and a note is for information."""
    kind: str
    """Short name of the kind of finding, the same in every report."""
    message: str
    """What was found."""
    remedy: str
    """How to fix it."""
    count: int = 0
    """Number of affected samples; 0 if it is about the whole data set."""
    names: tuple[str, ...] = ()
    """Names of the first affected samples."""


@dataclass(frozen=True)
class ClassPixels:
    """How often the labels show a class."""

    name: str
    """Name of the class."""
    pixels: int
    """Number of its pixels in all labels."""
    share: float
    """Share of all pixels that have a class, 0..1."""
    images: int
    """Number of samples that show it."""


@dataclass(frozen=True)
class DepthRange:
    """Range of the depth of a data set; values are None if no depth is known."""

    known: float
    """Share of pixels whose depth is known, 0..1."""
    nearest: float | None
    """Smallest depth, in metres."""
    median: float | None
    """Median of the samples' medians, in metres."""
    farthest: float | None
    """Largest depth, in metres."""


@dataclass(frozen=True)
class DatasetReport:
    """The findings about a data set; `ok` if none is an error."""

    dataset: str
    """Class of the data set."""
    samples: int
    """Number of samples."""
    readable: int
    """Number of samples that could be read."""
    sizes: dict[tuple[int, int], int]
    """Number of samples of each (height, width), the most frequent first."""
    classes: tuple[ClassPixels, ...]
    """Label histogram; empty without labels."""
    ignored: float | None
    """Share of label pixels that are ignored, or None without labels."""
    depth: DepthRange | None
    """Range of the depth; None if no sample has depth."""
    findings: tuple[Finding, ...]
    """All findings."""
    source: SampleDataset = field(repr=False, compare=False)
    """The data set."""
    whole: tuple[int, ...] = field(repr=False, compare=False)
    """Indices of the samples that could be read."""

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    def table(self) -> str:
        """The report as text, with shares in percent and the remedy of every finding."""
        lines = [f"{self.dataset}: {self.samples:,} samples, {self.readable:,} of them readable"]
        sizes = [f"{height} x {width} ({count:,})" for (height, width), count in list(self.sizes.items())[:_SHOWN]]
        if len(self.sizes) > _SHOWN:
            sizes.append(f"{len(self.sizes) - _SHOWN} more")
        lines.append(f"height x width: {', '.join(sizes) or 'none'}")
        if self.classes:
            width = max(len(found.name) for found in (*self.classes, ClassPixels("ignored", 0, 0, 0)))
            lines.append(f"{'class':<{width}}  pixels, %   images")
            lines += [f"{one.name:<{width}}  {100 * one.share:9.3f}  {one.images:7,}" for one in self.classes]
            lines.append(f"{'ignored':<{width}}  {100 * (self.ignored or 0):9.3f}  of all pixels")
        else:
            lines.append("no labels")
        if self.depth is None:
            lines.append("no depth")
        elif self.depth.median is None:
            lines.append("depth: known nowhere")
        else:
            lines.append(
                f"depth: {self.depth.nearest:.2f} to {self.depth.farthest:.2f} m, median {self.depth.median:.2f} m, "
                f"known at {100 * self.depth.known:.1f} % of the pixels"
            )
        lines += [line for finding in self.findings for line in _lines(finding)] or ["nothing to mend was found"]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values; infinite depth becomes None."""
        depth = None if self.depth is None else asdict(self.depth)
        return {
            "dataset": self.dataset,
            "samples": self.samples,
            "readable": self.readable,
            "sizes": [{"height": size[0], "width": size[1], "samples": count} for size, count in self.sizes.items()],
            "classes": [asdict(one) for one in self.classes],
            "ignored": self.ignored,
            "depth": depth and {name: None if value == math.inf else value for name, value in depth.items()},
            "findings": [asdict(finding) for finding in self.findings],
            "ok": self.ok,
        }

    def save(self, path: str | Path) -> None:
        """Write the report as JSON."""
        write_json(path, self.to_dict())

    def draw(self, path: str | Path, *, count: int = 6) -> None:
        """Draw samples spread evenly over the data set on one page: image, label and depth, as a PNG.

        Args:
            path: File to write.
            count: Number of samples; fewer if fewer are readable.

        Raises:
            ValueError: `count` is not above 0, or no sample is readable.
        """
        if count < 1:
            raise ValueError(f"count must be above 0, got {count}")
        if not self.whole:
            raise ValueError("no sample of the data set is readable: there is nothing to draw")
        shown = min(count, len(self.whole))
        chosen = [self.whole[i * len(self.whole) // shown] for i in range(shown)]
        draw_page(
            [self.source[index] for index in chosen],
            path,
            title=f"{self.dataset}: {len(chosen)} of {self.samples:,} samples",
            space=known_label_space(self.source),
        )


def sample_finding(
    severity: Literal["error", "warning", "note"], kind: str, names: list[str], message: str, remedy: str
) -> Finding:
    """A finding about some of the samples."""
    return Finding(severity, kind, message, remedy, len(names), tuple(names[:_SHOWN]))


def _lines(finding: Finding) -> list[str]:
    heading = f"{finding.severity.upper()} {finding.kind}: {finding.message}"
    lines = [heading]
    if finding.names:
        more = f" and {finding.count - len(finding.names):,} more" if finding.count > len(finding.names) else ""
        lines.append(f"  in {finding.count:,} of the samples: {', '.join(finding.names)}{more}")
    return [*lines, f"  to mend: {finding.remedy}"]
