"""Exponential moving average of a model's weights (Polyak averaging)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """A copy of a model that follows it: average <- decay * average + (1 - decay) * weights.

    Over the first steps the decay is smaller, min(decay, (1 + step) / (10 + step)), so that the average soon forgets
    where training started; a stage that goes on from a trained network need not forget it, and can do without (`ramp`).
    Floating-point buffers are averaged too, integer ones copied. Tied weights, which a state has twice, move once.

    Args:
        model: The model to follow; the copy lies on its device.
        decay: In 0..1, the inertia of the average.
        ramp: Begin with the smaller decay; else with `decay` from the first step on.
    """

    def __init__(self, model: nn.Module, decay: float, *, ramp: bool = True) -> None:
        self.decay, self.ramp = decay, ramp
        self.module = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow the model after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.ramp else self.decay
        own, others = (module.state_dict(keep_vars=True).values() for module in (self.module, model))
        pairs = {id(average): (average, weight) for average, weight in zip(own, others, strict=True)}.values()
        # All at once: a GPU's host would take long to start an operation on each of hundreds.
        averages, weights = _apart([pair for pair in pairs if pair[0].is_floating_point()])
        torch._foreach_lerp_(averages, weights, 1 - decay)
        counts, counted = _apart([pair for pair in pairs if not pair[0].is_floating_point()])
        if counts:
            torch._foreach_copy_(counts, counted)


def _apart(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [average for average, _ in pairs], [weight for _, weight in pairs]
