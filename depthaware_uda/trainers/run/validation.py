"""Validation within a run: the last result, the best one, and where its weights go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Subset

from depthaware_uda.distributed import is_writer
from depthaware_uda.evaluation import EvaluationResult, evaluate
from depthaware_uda.files import atomic_path
from depthaware_uda.label_free import LabelFreeScore, label_free_score
from depthaware_uda.tensors import WEIGHTS_FILE, write_tensors
from depthaware_uda.trainers.config import TrainerConfig
from depthaware_uda.trainers.run.skipping import UNREADABLE
from depthaware_uda.types import SampleDataset

__all__ = ["Validation", "export"]


class Validation:
    """What a run knows from its validations; `TrainerConfig.validation` says which of them is the best one."""

    def __init__(self, config: TrainerConfig) -> None:
        self.config = config
        self.final: EvaluationResult | None = None
        """The last result, if there are labels."""
        self.label_free: LabelFreeScore | None = None
        """The last score without labels, if there is one; of this call of `fit`."""
        self.best: tuple[float, int] | None = None
        """The highest score (of the oracle: mIoU), and the step it was reached at."""
        self.best_miou: float | None = None
        """mIoU at that step, if there are labels."""
        self._seen: SampleDataset | None = None

    def run(
        self, model: nn.Module, val: SampleDataset | None, target: SampleDataset | None, step: int
    ) -> tuple[dict[str, Any], bool]:
        """Measure a model at a step: the values for the log, and whether it is the best so far.

        Args:
            model: The network.
            val: Labelled samples, all of which must be readable.
            target: Samples for a score without labels, if it is asked for.
            step: The step of the run.

        Raises:
            ValueError: A labelled sample cannot be read or has no label; it is named.
        """
        values: dict[str, Any] = {}
        score = -1.0  # never the best: no labels, or labels without a class
        if val is not None:
            try:
                self.final = evaluate(model, val, num_workers=self.config.num_workers)
            except UNREADABLE as error:
                raise ValueError(f"validation after step {step}: {error}") from error
            values = {"val/miou": self.final.miou, "val/pixel_accuracy": self.final.pixel_accuracy}
            values["val/iou"] = self.final.to_dict()["iou"]
            score = self.final.miou
        if self.config.validation == "label_free":
            assert target is not None  # `Trainer.check_inputs` has looked
            self.label_free = seen = label_free_score(model, target, num_workers=self.config.num_workers)
            values |= {"label_free/score": seen.score, "label_free/agreement": seen.agreement}
            values["label_free/certainty"] = seen.certainty
            score = seen.score
        is_best = score > (-1.0 if self.best is None else self.best[0])
        if is_best:
            self.best = (score, step)
            self.best_miou = None if val is None else values["val/miou"]
        return values, is_best

    def seen(self, target: SampleDataset, readable: Callable[[SampleDataset], SampleDataset]) -> SampleDataset:
        """The images of the target that a score without labels looks at, of those that are `readable`."""
        if self.config.validation != "label_free":
            return target
        if self._seen is None:
            count = min(self.config.label_free_images, len(target))
            places = [index * len(target) // count for index in range(count)]
            self._seen = Subset(target, places)  # type: ignore[arg-type]  # of any data set, named or not
        return readable(self._seen)

    def state_dict(self) -> dict[str, Any]:
        """JSON-ready state."""
        final = None if self.final is None else self.final.to_dict()
        return {"best": self.best, "best_miou": self.best_miou, "final": final}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        best, final = state["best"], state["final"]
        self.best = None if best is None else (float(best[0]), int(best[1]))
        # Checkpoints of before there was another score have the mIoU as the best one.
        self.best_miou = state.get("best_miou", None if best is None else float(best[0]))
        self.final = None if final is None else EvaluationResult.from_dict(final)


def export(model: nn.Module, folder: Path | None) -> None:
    """Write a model's weights, in rank 0, if there is a folder.

    `load_pretrained` reads those of a network of `create_model`. Of any other network only `model.safetensors` is
    written, its ``state_dict()``.
    """
    if folder is None or not is_writer():
        return
    save = getattr(model, "save_pretrained", None)
    if save is not None and getattr(model, "config", True) is not None:
        save(folder)
        return
    with atomic_path(folder / WEIGHTS_FILE, durable=True) as partial:
        write_tensors(partial, model.state_dict())
