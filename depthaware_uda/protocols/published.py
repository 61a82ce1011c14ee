"""Figures that papers report, as the papers give them, in fractions instead of percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from depthaware_uda.labels import get_label_space

__all__ = ["PublishedResult"]

PAPER = "Depth Guidance and Intra-Domain Adaptation for Semantic Segmentation"


@dataclass(frozen=True)
class PublishedResult:
    """One row of a published table; what the paper does not say is absent."""

    method: str
    """Name of the method, as the paper gives it."""
    miou: float
    """Mean IoU over all classes of the protocol, 0..1."""
    subsets: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Mean IoU over the named subsets of the label space, such as ``"13"`` (mIoU*)."""
    iou: Mapping[str, float] = field(default_factory=dict, hash=False)
    """IoU by class name."""
    source: str = PAPER
    """Title of the paper that reports it."""


def sixteen(method: str, miou: float, thirteen: float, classes: Sequence[float] = ()) -> PublishedResult:
    """A row of 16 classes, in percent: mIoU, mIoU* and perhaps the classes in the order of ``cityscapes16``."""
    return PublishedResult(method, miou / 100, {"13": thirteen / 100}, _by_name("cityscapes16", classes))


def seven(method: str, miou: float, classes: Sequence[float] = ()) -> PublishedResult:
    """A row of 7 classes, in percent: mIoU and perhaps the classes in the order of ``common7``."""
    return PublishedResult(method, miou / 100, iou=_by_name("common7", classes))


def _by_name(space: str, percent: Sequence[float]) -> dict[str, float]:
    names = get_label_space(space).classes if percent else ()
    return {name: value / 100 for name, value in zip(names, percent, strict=True)}
