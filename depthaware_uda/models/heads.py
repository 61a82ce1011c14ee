"""Heads of the method: depth with channel-wise attention, the gate from depth to semantics, the ASPP-v2 classifier.

Each works alone, on feature maps from anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthaware_uda.models.batch_norm import BatchNorm2d
from depthaware_uda.models.dilated import DilatedSum, sum_of_dilated

__all__ = ["ASPPv2", "ChannelAttention", "DadaDepthHead", "DepthAttentionHead", "DepthGate"]


def _interpolate(features: Tensor, size: torch.Size) -> Tensor:
    if features.shape[-2:] == size:
        return features
    return F.interpolate(features, size=size, mode="bilinear", align_corners=True)


class ConvBlock(nn.Sequential):
    """Convolution without bias, batch norm, ReLU; the size is kept. Shape: (N, C, H, W) -> (N, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
            BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class ChannelAttention(nn.Module):
    """Weigh channels by what the whole image shows (squeeze and excitation; Hu et al., 2018).

    Args:
        channels: Channels C of the features.
        reduction: C over the width of the bottleneck.

    Shape:
        (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.excite = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Multiply each channel by its weight in 0..1."""
        pooled = features.mean(dim=(2, 3), keepdim=True)
        return features * torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))


class DepthAttentionHead(nn.Module):
    """Depth head with channel-wise attention (the DAF paper's depth branch).

    Every stage is weighed by `ChannelAttention`, projected to `hidden` channels (5x5 convolution, batch norm, ReLU) and
    resized to the size of one of them; the stages are concatenated and merged into the **depth features**, from
    which two further 5x5 convolutions predict inverse depth. There is no activation on the prediction.

    Args:
        in_channels: Channels of each stage, any number of stages of any strides.
        hidden: Channels that each stage is projected to.
        reduction: Bottleneck of the attention.
        attention: Set to False to leave the attention out.
        output_stage: Index of the stage whose size the depth takes.

    Shape:
        stages (N, C_i, H_i, W_i) -> inverse depth (N, 1, h, w) and depth features (N, hidden * stages, h, w).

    Raises:
        TypeError: In `forward`, the stages are not a list.
        ValueError: `in_channels` is empty; or, in `forward`, the stages do not have those channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        hidden: int = 16,
        reduction: int = 16,
        *,
        attention: bool = True,
        output_stage: int = -1,
    ) -> None:
        super().__init__()
        if not in_channels:
            raise ValueError("in_channels is empty: the depth head needs at least one stage of features")
        if not -len(in_channels) <= output_stage < len(in_channels):
            raise ValueError(f"output_stage {output_stage} is not one of the {len(in_channels)} stages")
        self.in_channels = tuple(in_channels)
        self.output_stage = output_stage
        self.out_channels = width = hidden * len(in_channels)
        self.attention = nn.ModuleList(
            ChannelAttention(channels, reduction=reduction) if attention else nn.Identity() for channels in in_channels
        )
        self.projections = nn.ModuleList(ConvBlock(channels, hidden, 5) for channels in in_channels)
        self.merge = ConvBlock(width, width, 5)
        self.refine = ConvBlock(width, width, 5)
        self.predict = nn.Conv2d(width, 1, 5, padding=2)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Predict (inverse_depth, depth_features) from one feature map a stage."""
        if not isinstance(features, (list, tuple)):
            raise TypeError(
                f"features must be a list of one map a stage, got {type(features).__name__}; make a list of the "
                "values of a dictionary"
            )
        if len(features) != len(self.in_channels):
            raise ValueError(f"expected features of {len(self.in_channels)} stages, got {len(features)}")
        if any(stage.ndim != 4 or stage.shape[1] != n for stage, n in zip(features, self.in_channels, strict=True)):
            raise ValueError(
                f"expected stages (N, C, H, W) with C of {self.in_channels}, in this order, got "
                f"{[tuple(stage.shape) for stage in features]}"
            )
        size = features[self.output_stage].shape[-2:]
        stages = zip(self.attention, self.projections, features, strict=True)
        projected = [_interpolate(project(attend(stage)), size) for attend, project, stage in stages]
        depth_features = self.merge(torch.cat(projected, dim=1))
        return self.predict(self.refine(depth_features)), depth_features


class DadaDepthHead(nn.Module):
    """Depth head of DADA (Vu et al., 2019b): three convolutions on the last stage, averaged into inverse depth.

    1x1 C -> C/4, 3x3, 1x1 -> 128, ReLU between; the mean over the 128 channels is the inverse depth.

    Args:
        in_channels: Channels of each stage; only the last stage is used.
        out_channels: Channels of the depth features.

    Shape:
        stages (N, C_i, H_i, W_i) -> inverse depth (N, 1, h, w) and depth features (N, out_channels, h, w) of the last.

    Raises:
        ValueError: There are no stages.
    """

    def __init__(self, in_channels: Sequence[int], *, out_channels: int = 128) -> None:
        super().__init__()
        if not in_channels:
            raise ValueError("in_channels is empty: the depth head needs at least one stage of features")
        self.out_channels = out_channels
        widths = (in_channels[-1], in_channels[-1] // 4, in_channels[-1] // 4, out_channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, padding=kernel // 2)
            for (before, after), kernel in zip(pairwise(widths), (1, 3, 1), strict=True)
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Predict (inverse_depth, depth_features) from the last stage."""
        first, middle, last = self.convolutions
        depth_features = last(F.relu(middle(F.relu(first(features[-1])))))
        return depth_features.mean(dim=1, keepdim=True), depth_features


class DepthGate(nn.Module):
    """Multiply semantic features by a 1x1 convolution and ReLU of depth features, resized to them if need be.

    Args:
        depth_channels: Channels of the depth features.
        channels: Channels C of the semantic features.

    Shape:
        features (N, C, H, W), depth_features (N, depth_channels, h, w) -> (N, C, H, W).
    """

    def __init__(self, depth_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(depth_channels, channels, 1)

    def forward(self, features: Tensor, depth_features: Tensor) -> Tensor:
        """Gate the features."""
        return features * F.relu(self.conv(_interpolate(depth_features, features.shape[-2:])))


class ASPPv2(nn.Module):
    """Classifier of DeepLab-v2 (Chen et al., 2017): the sum of dilated 3x3 convolutions.

    Args:
        in_channels: Channels of the features.
        num_classes: Classes C.
        dilations: Dilation, and padding, of each convolution.

    Shape:
        (N, in_channels, H, W) -> logits (N, C, H, W).

    Raises:
        ValueError: There are no dilations, or one is not a whole number above 0.
    """

    def __init__(self, in_channels: int, num_classes: int, *, dilations: Sequence[int] = (6, 12, 18, 24)) -> None:
        super().__init__()
        if not dilations:
            raise ValueError("dilations is empty: the classifier is the sum of one convolution a dilation")
        if isinstance(dilations, int) or not all(isinstance(dilation, int) and dilation > 0 for dilation in dilations):
            raise ValueError(f"dilations must be whole numbers above 0, such as (6, 12, 18, 24), got {dilations!r}")
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, 3, padding=dilation, dilation=dilation) for dilation in dilations
        )

    def forward(self, features: Tensor) -> Tensor:
        """Class scores before softmax."""
        plain = not features.is_cpu or not torch.is_grad_enabled() or torch.compiler.is_compiling()
        if plain or torch.is_autocast_enabled("cpu"):
            return sum_of_dilated(features, *self._arguments())
        logits: Tensor = DilatedSum.apply(features, *self._arguments())
        return logits

    @torch.no_grad()
    def adjust_logits(self, class_weights: Sequence[float]) -> None:
        """Subtract the logarithms of class weights from the scores from now on (logit adjustment; Menon et al., 2021).

        A network that was trained with `class_weights` predicts rare classes too often; this undoes it.

        Raises:
            ValueError: Weights and classes differ in number, or a weight is not positive.
        """
        bias = self.branches[0].bias
        assert isinstance(bias, Tensor)  # the branches have one
        weights = torch.as_tensor(class_weights, dtype=torch.float64)
        if weights.shape != bias.shape or not (weights > 0).all():
            raise ValueError(f"expected {len(bias)} weights above 0, one a class, got {class_weights}")
        bias -= weights.log().to(bias)

    def _arguments(self) -> tuple[Any, ...]:
        branches = [branch for branch in self.branches if isinstance(branch, nn.Conv2d)]
        dilations = tuple(branch.dilation[0] for branch in branches)
        return dilations, *(branch.weight for branch in branches), *(branch.bias for branch in branches)
