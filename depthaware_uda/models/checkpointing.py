"""Activation checkpointing: stages forget what is inside them, and compute it again in the backward pass.

Batch norm must not count what it sees twice: `statistics_kept` is around the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

__all__ = ["Checkpointing", "statistics_kept"]

Checkpointing = Literal["none", "norms", "all"]
"""``"norms"`` keeps what convolutions and products gave and forgets norms and activation functions, which hold as much
and cost little to compute; ``"all"`` forgets everything inside a block."""

_PRODUCTS = {
    torch.ops.aten.convolution.default,
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
}


def products_kept() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """`context_fn` of `torch.utils.checkpoint.checkpoint`: the outputs of convolutions and matrix products are kept."""
    return create_selective_checkpoint_contexts(_policy)  # type: ignore[no-untyped-call,no-any-return]


def _policy(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in _PRODUCTS else CheckpointPolicy.PREFER_RECOMPUTE


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
