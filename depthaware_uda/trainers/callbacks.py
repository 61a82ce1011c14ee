"""How users hook into a run, for instance with a logger or with pictures: a protocol of five moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from depthaware_uda.evaluation import EvaluationResult
from depthaware_uda.label_free import LabelFreeScore

if TYPE_CHECKING:
    from depthaware_uda.trainers.base import Trainer
    from depthaware_uda.trainers.run.loop import TrainResult

__all__ = ["Callback", "check_callbacks"]


class Callback(Protocol):
    """Moments of `Trainer.fit` at which your code is called. Inherit from it and override those you want.

    The trainer seeds every step itself, so a callback may draw random numbers without changing any weight. An error
    that it raises ends the run; the last checkpoint stays.

    Among several processes only rank 0 calls them. What all processes take part in, such as `evaluate`,
    `EntropyRanker` and `write_pseudo_labels`, would wait there for the others forever; with ``batch_norm="target"`` so
    would `trainer.predictor()` in `on_start` and `on_log`, where it re-estimates statistics.
    """

    def on_start(self, trainer: Trainer[Any]) -> None:
        """Before the first step of a call of `fit`, after a resume: `trainer.step_count` says where it goes on.

        Check here what the callback needs, so that a run of days does not end in an error at its first validation.
        """

    def on_log(self, trainer: Trainer[Any], step: int, values: Mapping[str, float]) -> None:
        """Every `log_every` steps: unweighted losses by name, averaged since the last time, learning rate and time."""

    def on_validation(self, trainer: Trainer[Any], step: int, result: EvaluationResult) -> None:
        """After each validation on `val`; `trainer.predictor()` is the network that was validated."""

    def on_label_free(self, trainer: Trainer[Any], step: int, score: LabelFreeScore) -> None:
        """After each validation with ``validation="label_free"``, behind `on_validation` if there is a `val` too."""

    def on_end(self, trainer: Trainer[Any], result: TrainResult) -> None:
        """After the last step, when the model has its final weights."""


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Raise a TypeError for anything that is not a callback, before the first step rather than at its moment."""
    if not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks must be a list of Callback, got {type(callbacks).__name__}; put it into a list")
    moments = [name for name in vars(Callback) if name.startswith("on_")]
    for callback in callbacks:
        if isinstance(callback, type) or not all(hasattr(callback, moment) for moment in moments):
            raise TypeError(f"callbacks must be instances of classes that inherit from Callback, got {callback!r}")
