"""What others may add to a run: a protocol of four moments, such as for a logger or for pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from depthaware_uda.evaluation import EvaluationResult

if TYPE_CHECKING:
    from depthaware_uda.trainers.base import Trainer
    from depthaware_uda.trainers.loop import TrainResult

__all__ = ["Callback"]


class Callback(Protocol):
    """Moments of `Trainer.fit` at which something of yours is called. Inherit from it and write those you want.

    The trainer seeds every step by itself, so a callback may draw random numbers and changes no weight by that. What it
    raises ends the run; the last checkpoint stays.
    """

    def on_start(self, trainer: Trainer[Any]) -> None:
        """Before the first step of a call of `fit`, after a resume: `trainer.step_count` says where it goes on.

        Check here what the callback needs, so that a run of days does not end in an error at its first validation.
        """

    def on_log(self, trainer: Trainer[Any], step: int, values: Mapping[str, float]) -> None:
        """Every `log_every` steps: unweighted losses by name, averaged since the last time, learning rate and time."""

    def on_validation(self, trainer: Trainer[Any], step: int, result: EvaluationResult) -> None:
        """After each validation; `trainer.predictor()` is the network that was validated."""

    def on_end(self, trainer: Trainer[Any], result: TrainResult) -> None:
        """After the last step, when the model has its final weights."""
