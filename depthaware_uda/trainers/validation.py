"""Validation within a run: the last result, the best one, and where its weights go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from depthaware_uda.distributed import is_writer
from depthaware_uda.evaluation import EvaluationResult, evaluate
from depthaware_uda.types import SampleDataset

__all__ = ["Validation", "export"]


class Validation:
    """What a run knows from its validations."""

    def __init__(self) -> None:
        self.final: EvaluationResult | None = None
        """The last result."""
        self.best: tuple[float, int] | None = None
        """The highest mIoU, and the step it was reached at."""

    def run(self, model: nn.Module, data: SampleDataset, step: int) -> tuple[EvaluationResult, bool]:
        """The result of a model at a step on labelled samples, and whether it is the best so far."""
        self.final = evaluate(model, data)
        # Never with NaN: labels without a class.
        is_best = self.final.miou > (-1.0 if self.best is None else self.best[0])
        if is_best:
            self.best = (self.final.miou, step)
        return self.final, is_best

    def state_dict(self) -> dict[str, Any]:
        """JSON-ready state."""
        return {"best": self.best, "final": None if self.final is None else self.final.to_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        best, final = state["best"], state["final"]
        self.best = None if best is None else (float(best[0]), int(best[1]))
        self.final = None if final is None else EvaluationResult.from_dict(final)


def export(model: nn.Module, folder: Path | None) -> None:
    """Write weights that `load_pretrained` reads, in rank 0, if there is a folder and the model knows how."""
    save = getattr(model, "save_pretrained", None)
    if folder is None or save is None or getattr(model, "config", True) is None or not is_writer():
        return
    save(folder)
