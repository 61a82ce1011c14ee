"""Evaluation: one global confusion matrix over a data set, and depth errors where depth is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depthaware_uda.depth import to_metres
from depthaware_uda.files import read_json, write_json
from depthaware_uda.inference import predict_batches
from depthaware_uda.labels import LabelSpace, get_label_space
from depthaware_uda.metrics import DepthErrors, DepthMeter, confusion_matrix, iou_per_class, pixel_accuracy
from depthaware_uda.models.resize import resize
from depthaware_uda.types import SampleDataset

__all__ = ["EvaluationResult", "evaluate"]


@dataclass(frozen=True)
class EvaluationResult:
    """How well a model segments a data set. Fractions are in 0..1; `table` prints percent."""

    miou: float
    """Mean of `iou` over the classes that the labels show; NaN if they show none."""
    iou: dict[str, float]
    """Intersection over union by class name; NaN for a class that no label shows."""
    subsets: dict[str, float]
    """Mean IoU over the named subsets of the label space, such as ``"13"`` (mIoU*)."""
    pixel_accuracy: float
    confusion: list[list[int]] = field(repr=False)
    """Pixel counts; row: label, column: prediction."""
    depth: DepthErrors | None = None
    """Depth errors, or None where the data or the model has no depth."""
    images: int = 0

    @property
    def absent(self) -> list[str]:
        """Names of the classes that no label shows; they are left out of the means."""
        return [name for name, value in self.iou.items() if value != value]

    def table(self) -> str:
        """The result as text: one line a class, then the means, in percent."""
        width = max(map(len, (*self.iou, "pixel accuracy")))
        lines = [f"{name:<{width}}  {100 * value:5.1f}" for name, value in self.iou.items() if value == value]
        lines.append(f"{'mIoU':<{width}}  {100 * self.miou:5.1f}")
        lines += [f"{f'mIoU ({name})':<{width}}  {100 * value:5.1f}" for name, value in self.subsets.items()]
        lines.append(f"{'pixel accuracy':<{width}}  {100 * self.pixel_accuracy:5.1f}")
        if self.depth is not None:
            lines.append(
                f"depth: AbsRel {self.depth.abs_rel:.3f}, RMSE {self.depth.rmse:.2f} m, "
                f"delta < 1.25 {100 * self.depth.delta_1_25:.1f} %"
            )
        if self.absent:
            lines.append(f"not in the labels, left out: {', '.join(self.absent)}")
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
        }

    def save(self, path: str | Path) -> None:
        """Write the result as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> EvaluationResult:
        """Read what `save` wrote."""
        return cls.from_dict(read_json(path))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> EvaluationResult:
        """The result of which `to_dict` gave the values."""

        def number(value: float | None) -> float:
            return float("nan") if value is None else value

        return cls(
            miou=number(record["miou"]),
            iou={name: number(value) for name, value in record["iou"].items()},
            subsets={name: number(value) for name, value in record["subsets"].items()},
            pixel_accuracy=number(record["pixel_accuracy"]),
            confusion=record["confusion"],
            depth=None if record["depth"] is None else DepthErrors(**record["depth"]),
            images=record["images"],
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
        """Derive every measure from a confusion matrix of shape (C, C)."""
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


def evaluate(
    model: nn.Module,
    dataset: SampleDataset,
    *,
    label_space: str | LabelSpace | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    progress: bool = False,
) -> EvaluationResult:
    """Compare a model with the labels (and the depth, where known) of a data set.

    Logits are resized to the label's size before the argmax. The model's training mode is as before afterwards.

    Args:
        model: Any module that maps images (N, 3, H, W) to `SegDepthOutput`.
        dataset: Samples with labels.
        label_space: Names of the classes; by default that of the data set, or of the model, or class indices.
        batch_size: Images at once; more than 1 needs images of one size.
        num_workers: Processes that read samples.
        progress: Show a progress bar.

    Raises:
        ValueError: The data set is empty, a sample has no label, or data and model differ in their classes.
    """
    known = label_space or getattr(dataset, "label_space", None) or getattr(model, "label_space", None)
    space = None if known is None else get_label_space(known)
    confusion: Tensor | None = None
    depth = DepthMeter()
    for batch, output in predict_batches(
        model, dataset, batch_size=batch_size, num_workers=num_workers, progress="evaluate" if progress else None
    ):
        if "label" not in batch:
            raise ValueError(f"{batch['name'][0]}: the sample has no label, evaluation needs one")
        classes = output.logits.shape[1]
        if space is not None and len(space) != classes:
            raise ValueError(
                f"the model predicts {classes} classes, but label space {space.name!r} of the data has {len(space)}"
            )
        label = batch["label"].to(output.logits.device, non_blocking=True)
        counts = confusion_matrix(resize(output.logits, label.shape[-2:]).argmax(1), label, classes)
        confusion = counts if confusion is None else confusion + counts
        if output.inverse_depth is not None and "depth" in batch:
            metres = batch["depth"].to(label.device, non_blocking=True)
            depth.update(to_metres(resize(output.inverse_depth, metres.shape[-2:])), metres)
    assert confusion is not None  # an empty data set has raised
    names = tuple(map(str, range(len(confusion)))) if space is None else space.classes
    subsets = None if space is None else space.subsets
    return EvaluationResult.from_confusion(
        confusion.cpu(), names, subsets=subsets, depth=depth.compute(), images=len(dataset)
    )
