"""The result of an evaluation: as a table beside published results, as JSON, and compared with another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthaware_uda.digests import read_sealed, write_sealed
from depthaware_uda.files import expecting
from depthaware_uda.metrics import DepthErrors, iou_per_class, pixel_accuracy
from depthaware_uda.protocols import AdaptationProtocol, PublishedResult, get_protocol, list_protocols
from depthaware_uda.tables import percent_table

__all__ = ["EvaluationResult"]


@dataclass(frozen=True)
class EvaluationResult:
    """How well a model segments a data set. Fractions are in 0..1; `table` prints percent."""

    miou: float
    """Mean of `iou` over the classes with labelled pixels; NaN if there are none."""
    iou: dict[str, float]
    """Intersection over union by class name; NaN for a class without labelled pixels."""
    subsets: dict[str, float]
    """Mean IoU over the named subsets of the label space, such as ``"13"`` (mIoU*)."""
    pixel_accuracy: float
    """Share of labelled pixels whose class is correct."""
    confusion: list[list[int]] = field(repr=False)
    """Pixel counts; row: label, column: prediction."""
    depth: DepthErrors | None = None
    """Depth errors; None if the data or the model has no depth, or only relative depth."""
    images: int = 0
    """Number of evaluated images."""
    protocol: str | None = None
    """Name of the protocol, or None."""
    image_size: tuple[int, int] | None = None
    """(height, width) of the images that the network saw; None if there were several."""
    label_size: tuple[int, int] | None = None
    """(height, width) at which predictions and labels were compared; None if there were several."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the software that it was measured with."""

    @property
    def absent(self) -> list[str]:
        """Names of the classes without labelled pixels; they are left out of the means."""
        return [name for name, value in self.iou.items() if value != value]

    def table(self) -> str:
        """The result as text, in percent: a line a class, then the means; beside the published results of its protocol.

        Classes without labelled pixels are left out, and named at the end. So are deviations from the protocol: images
        of another size, or labels compared at another size.
        """
        protocol = get_protocol(self.protocol) if self.protocol in list_protocols() else None
        lines = self._plain_rows() if protocol is None or not protocol.published else self._beside_published(protocol)
        if self.depth is not None:
            lines.append(
                f"depth: AbsRel {self.depth.abs_rel:.3f}, RMSE {self.depth.rmse:.2f} m, "
                f"delta < 1.25 {100 * self.depth.delta_1_25:.1f} %"
            )
        if len(self.absent) == len(self.iou):
            lines.append(
                "no label shows any class: there was nothing to compare; look at the labels and their label_map"
            )
        elif self.absent:
            lines.append(f"not in the labels, left out: {', '.join(self.absent)}")
        return "\n".join(lines)

    def _plain_rows(self) -> list[str]:
        shown = {name: value for name, value in _rows_of(self).items() if value == value}
        return percent_table(list(shown), {"": shown})[1:]

    def _beside_published(self, protocol: AdaptationProtocol) -> list[str]:
        columns = {"this": _rows_of(self), **{row.method: _rows_of_published(row) for row in protocol.published}}
        seen = f"{self.images:,} images of {_size(self.image_size)}, compared at {_size(self.label_size)}"
        lines = [f"{protocol.title}; {seen}", *percent_table(list(columns["this"]), columns)]
        if self.image_size not in (None, protocol.target_size):
            wanted = _size(protocol.target_size)
            lines.append(f"not as in the protocol, which shows the network images of {wanted}")
        at_image_size = self.label_size == self.image_size
        if self.image_size is not None and at_image_size == protocol.full_size_labels:
            where = "at the labels' own size" if protocol.full_size_labels else "at the size of the images"
            lines.append(f"not as in the protocol, which compares {where}")
        return lines

    def compare(self, other: EvaluationResult, *, name: str = "this", other_name: str = "other") -> str:
        """Both results and their difference, class by class, as text, with a note if they were not measured alike.

        Args:
            other: The result to compare with.
            name: Heading of this result.
            other_name: Heading of the other one.

        Raises:
            ValueError: The classes are not the same.
        """
        if list(self.iou) != list(other.iou):
            raise ValueError(f"results of different classes cannot be compared: {list(self.iou)} and {list(other.iou)}")
        mine, theirs = _rows_of(self), _rows_of(other)
        difference = {row: mine[row] - theirs[row] for row in mine if row in theirs}
        columns = {name: mine, other_name: theirs, "difference": difference}
        lines = percent_table(list(mine), columns, signed=frozenset({"difference"}))
        for what in ("protocol", "image_size", "label_size", "images"):
            ours, others = getattr(self, what), getattr(other, what)
            if ours != others:
                lines.append(f"not measured alike: {what.replace('_', ' ')} is {ours} here and {others} there")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-ready values (NaN as None)."""

        def number(value: float) -> float | None:
            return value if value == value else None

        return {
            "miou": number(self.miou),
            "iou": {name: number(value) for name, value in self.iou.items()},
            "subsets": {name: number(value) for name, value in self.subsets.items()},
            "pixel_accuracy": number(self.pixel_accuracy),
            "confusion": self.confusion,
            "depth": None if self.depth is None else self.depth.to_dict(),
            "images": self.images,
            "protocol": self.protocol,
            "image_size": self.image_size,
            "label_size": self.label_size,
            "versions": self.versions,
        }

    def save(self, path: str | Path) -> None:
        """Write the result as JSON, with a checksum."""
        write_sealed(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> EvaluationResult:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is not an evaluation, or damaged.
        """
        record = read_sealed(path)
        with expecting("an evaluation that EvaluationResult.save wrote", path):
            return cls.from_dict(record)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> EvaluationResult:
        """The result from the output of `to_dict`, also after JSON; KeyError if a value is missing."""

        def number(value: float | None) -> float:
            return float("nan") if value is None else float(value)

        return cls(
            miou=number(record["miou"]),
            iou={name: number(value) for name, value in record["iou"].items()},
            subsets={name: number(value) for name, value in record["subsets"].items()},
            pixel_accuracy=number(record["pixel_accuracy"]),
            confusion=[[int(count) for count in row] for row in record["confusion"]],
            depth=None if record["depth"] is None else DepthErrors(**record["depth"]),
            images=int(record["images"]),
            # Older results do not have these.
            protocol=record.get("protocol"),
            image_size=_as_size(record.get("image_size")),
            label_size=_as_size(record.get("label_size")),
            versions=dict(record.get("versions", {})),
        )

    @classmethod
    def from_confusion(
        cls,
        confusion: Tensor,
        classes: tuple[str, ...],
        *,
        subsets: Mapping[str, tuple[str, ...]] | None = None,
        depth: DepthErrors | None = None,
        images: int = 0,
    ) -> EvaluationResult:
        """Compute every metric from a confusion matrix.

        Args:
            confusion: Pixel counts of shape (C, C); row: label, column: prediction.
            classes: Names of the C classes, in order.
            subsets: Class names over which a further mean is taken, by name of the subset.
            depth: Depth errors of the same images.
            images: Number of images in the matrix.

        Raises:
            ValueError: The matrix is not (C, C).
        """
        if confusion.shape != (len(classes), len(classes)):
            raise ValueError(f"confusion must be (C, C) of {len(classes)} classes, got {tuple(confusion.shape)}")
        values = iou_per_class(confusion)
        iou = dict(zip(classes, values.tolist(), strict=True))
        return cls(
            miou=float(values.nanmean()),
            iou=iou,
            subsets={
                name: float(torch.tensor([iou[member] for member in members], dtype=torch.float64).nanmean())
                for name, members in (subsets or {}).items()
            },
            pixel_accuracy=pixel_accuracy(confusion),
            confusion=confusion.tolist(),
            depth=depth,
            images=images,
        )


def _rows_of(result: EvaluationResult) -> dict[str, float]:
    """Every fraction of a result by the name of its row, in the order of tables."""
    subsets = {f"mIoU ({name})": value for name, value in result.subsets.items()}
    return {**result.iou, "mIoU": result.miou, **subsets, "pixel accuracy": result.pixel_accuracy}


def _rows_of_published(row: PublishedResult) -> dict[str, float]:
    return {**row.iou, "mIoU": row.miou, **{f"mIoU ({name})": value for name, value in row.subsets.items()}}


def _size(size: tuple[int, int] | None) -> str:
    return "several sizes" if size is None else f"{size[0]} x {size[1]}"


def _as_size(size: Any) -> tuple[int, int] | None:
    return None if size is None else (size[0], size[1])
