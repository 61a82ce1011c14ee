"""Activation checkpointing: stages forget what is inside them, and compute it again in the backward pass.

Batch norm must not count what it sees twice: `statistics_kept` is around the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Checkpointing", "statistics_kept"]

Checkpointing = Literal["none", "early", "all"]
"""``"early"`` forgets the stages at large maps, which hold much for little computation, ``"all"`` every block."""


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Within it batch norm in train mode normalises as ever and leaves its running statistics as they are."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    counters: dict[torch.device, Tensor] = {}
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            device = norm.num_batches_tracked.device
            norm.num_batches_tracked = counters.setdefault(device, torch.zeros_like(norm.num_batches_tracked))
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
