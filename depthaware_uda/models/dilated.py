"""The sum of dilated convolutions to few channels, with a backward pass that suits CPUs.

A CPU's library computes gradients of a convolution with 16 output channels and large dilations several times below its
own speed. The same gradients are two matrix products: the gradients of the outputs, shifted by every tap of every
dilation (few channels, so little memory), times the weights and times the features.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["DilatedSum", "sum_of_dilated"]


def sum_of_dilated(features: Tensor, dilations: tuple[int, ...], *parameters: Tensor) -> Tensor:
    """Sum of 3x3 convolutions, each of its dilation and as much padding.

    Args:
        features: Input of all of them.
        dilations: One a convolution.
        parameters: The weights of all, then the biases of all.

    Shape:
        features (N, K, H, W), weights (C, K, 3, 3), biases (C,) -> (N, C, H, W).
    """
    weights, biases = parameters[: len(dilations)], parameters[len(dilations) :]
    branches = zip(weights, biases, dilations, strict=True)
    first, *rest = (F.conv2d(features, w, b, padding=d, dilation=d) for w, b, d in branches)
    for branch in rest:
        first = first + branch
    return first


class DilatedSum(torch.autograd.Function):
    """`sum_of_dilated`, the same to the bit, with gradients by matrix products."""

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, dilations: tuple[int, ...], *parameters: Tensor) -> Tensor:
        """The sum."""
        return sum_of_dilated(features, dilations, *parameters)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the gradients need; apart from `forward`, so that `torch.func` can differentiate too."""
        features, ctx.dilations, *parameters = inputs
        ctx.save_for_backward(features, *parameters[: len(ctx.dilations)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of features, weights and biases from that of the sum."""
        (gradient,) = gradients
        features, *weights = ctx.saved_tensors
        count, classes = len(weights), gradient.shape[1]
        # Row (branch, class, tap): what the output passes back through that tap, moved to where it read its input.
        shifted = torch.cat([F.unfold(gradient, 3, dilation=d, padding=d) for d in ctx.dilations], dim=1)
        of_features = None
        if ctx.needs_input_grad[0]:
            # A tap reads at + its offset and so passes back to - it: the mirrored tap.
            taps = torch.cat([w.flip(2, 3).permute(1, 0, 2, 3).flatten(1) for w in weights], dim=1)
            of_features = torch.matmul(taps, shifted).view_as(features)
        of_weights: list[Tensor | None] = [None] * count
        if any(ctx.needs_input_grad[2 : 2 + count]):
            products = sum(rows @ columns.T for rows, columns in zip(shifted, features.flatten(2), strict=True))
            per_branch = torch.as_tensor(products).view(count, classes, 3, 3, features.shape[1])
            of_weights = [part.permute(0, 3, 1, 2).flip(2, 3).contiguous() for part in per_branch]
        of_bias = gradient.sum(dim=(0, 2, 3))
        return of_features, None, *of_weights, *([of_bias] * count)
