"""Batch norm that trains faster on a CPU: torch sums its mean and variance there one number at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["BatchNorm2d"]


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, the same but for rounding, with a forward pass that is faster when it trains on a CPU.

    On other devices, in other types than float32 and compiled it is torch's own.

    Shape:
        (N, C, H, W) -> (N, C, H, W).
    """

    def forward(self, input: Tensor) -> Tensor:  # the name that torch gives it
        """Normalise by the batch's statistics in training, by the running ones otherwise."""
        plain = input.device.type != "cpu" or input.dtype != torch.float32 or torch.compiler.is_compiling()
        if plain or not self.training or input.dim() != 4 or input.numel() <= self.num_features:
            return super().forward(input)
        with torch.no_grad():
            mean = input.mean((0, 2, 3), keepdim=True)
            variance = (input - mean).square_().mean((0, 2, 3))
            mean = mean.flatten()
            self._count(mean, variance, input.numel() // self.num_features)
        out: Tensor = _Normalize.apply(input, self.weight, self.bias, mean, variance, self.eps)
        return out

    def _count(self, mean: Tensor, variance: Tensor, values: int) -> None:
        """Move the running statistics."""
        if self.running_mean is None or self.running_var is None:
            return
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if share is None else share
        self.running_mean.lerp_(mean, share or 0.0)
        self.running_var.lerp_(variance * (values / (values - 1)), share or 0.0)


class _Normalize(torch.autograd.Function):
    """Batch norm by statistics that are known already, with the gradient through them."""

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float
    ) -> Tensor:
        return torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, mean, variance, ctx.eps = inputs
        ctx.save_for_backward(x, weight, mean, (variance + ctx.eps).rsqrt())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_deviation = ctx.saved_tensors
        needed = list(ctx.needs_input_grad[:3])
        gradients = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, inverse_deviation, True, ctx.eps, needed
        )
        return (*gradients, None, None, None)
