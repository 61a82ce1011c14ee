"""Results as papers report them, as fractions instead of percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from depthaware_uda.labels import get_label_space

__all__ = ["PublishedResult"]

PAPER = "Depth Guidance and Intra-Domain Adaptation for Semantic Segmentation"


@dataclass(frozen=True)
class PublishedResult:
    """One row of a published table; values that the paper does not report are absent."""

    method: str
    """Name of the method in the paper."""
    miou: float
    """Mean IoU over all classes of the protocol, 0..1."""
    subsets: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Mean IoU over the named subsets of the label space, such as ``"13"`` (mIoU*)."""
    iou: Mapping[str, float] = field(default_factory=dict, hash=False)
    """IoU by class name."""
    source: str = PAPER
    """Title of the paper that reports it."""


def sixteen(method: str, miou: float, thirteen: float, classes: Sequence[float] = ()) -> PublishedResult:
    """A row of 16 classes, in percent: mIoU, mIoU* and optionally the classes in the order of ``cityscapes16``."""
    return PublishedResult(method, miou / 100, {"13": thirteen / 100}, _by_name("cityscapes16", classes))


def seven(method: str, miou: float, classes: Sequence[float] = ()) -> PublishedResult:
    """A row of 7 classes, in percent: mIoU and optionally the classes in the order of ``common7``."""
    return PublishedResult(method, miou / 100, iou=_by_name("common7", classes))


def _by_name(space: str, percent: Sequence[float]) -> dict[str, float]:
    names = get_label_space(space).classes if percent else ()
    return {name: value / 100 for name, value in zip(names, percent, strict=True)}
