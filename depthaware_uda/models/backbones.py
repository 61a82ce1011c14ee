"""Backbones: the Caffe-style ResNet-101 of DeepLab-v2, here, and any timm network, in `timm_backbone`.

A backbone maps a normalised image to one feature map a stage, and says what it needs to know about pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from depthaware_uda.models.batch_norm import BatchNorm2d
from depthaware_uda.models.checkpointing import Checkpointing, products_kept
from depthaware_uda.models.pixels import CAFFE_PIXELS, Normalization, PixelStatistics
from depthaware_uda.models.timm_backbone import TimmBackbone

__all__ = ["CAFFE_PIXELS", "CaffeResNet101", "Normalization", "PixelStatistics", "TimmBackbone"]

# With checkpointing "norms", blocks run in groups of this size. Of a group only the last output is kept, so a larger
# one forgets more; but the backward pass then holds again what all of its blocks computed.
_BLOCKS_OF_NORMS = 4


class _Bottleneck(nn.Module):
    """Residual block that strides in its first 1x1 convolution (Caffe) and pads its 3x3 by the dilation."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, *, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        out_channels = self.expansion * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride=stride, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if project:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        out: Tensor = self.relu(residual.add_(self.downsample(x)))
        return out


class CaffeResNet101(nn.Module):
    """ResNet-101 as DeepLab-v2 uses it: output stride 8, dilation 2 in layer3 and 4 in layer4, frozen batch-norm scale.

    Scale and shift of every batch norm are frozen; running statistics still move in training.

    Shape:
        normalised image (N, 3, H, W) -> layer1..layer4 with 256, 512, 1024, 2048 channels at strides 4, 8, 8, 8.
    """

    channels = (256, 512, 1024, 2048)
    strides = (4, 8, 8, 8)
    output_stride = 8
    pixels = CAFFE_PIXELS

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.layer1 = self._stage(64, 64, blocks=3, stride=1, dilation=1)
        self.layer2 = self._stage(256, 128, blocks=4, stride=2, dilation=1)
        self.layer3 = self._stage(512, 256, blocks=23, stride=1, dilation=2)
        self.layer4 = self._stage(1024, 512, blocks=3, stride=1, dilation=4)
        self._checkpointing: Checkpointing = "none"
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)

    def set_checkpointing(self, checkpointing: Checkpointing) -> None:
        """Forget inside every block what is cheap to compute ("norms"), or everything ("all"), in training."""
        self._checkpointing = checkpointing

    @staticmethod
    def _stage(in_channels: int, width: int, *, blocks: int, stride: int, dilation: int) -> nn.Sequential:
        first = _Bottleneck(in_channels, width, stride=stride, dilation=dilation, project=True)
        out_channels = _Bottleneck.expansion * width
        rest = (_Bottleneck(out_channels, width, stride=1, dilation=dilation, project=False) for _ in range(blocks - 1))
        return nn.Sequential(first, *rest)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of the four stages."""
        together = _BLOCKS_OF_NORMS if self._checkpointing == "norms" else 1
        x = self._run(self._stem, image)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for start in range(0, len(stage), together):
                x = self._run(stage[start : start + together], x)
            features.append(x)
        return features

    def _stem(self, image: Tensor) -> Tensor:
        out: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        return out

    def _run(self, layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """A layer's output; what checkpointing forgets of it is computed again in the backward pass."""
        if self._checkpointing == "none" or not torch.is_grad_enabled():
            return layer(x)
        out: Tensor
        if self._checkpointing == "norms":
            out = checkpoint(layer, x, use_reentrant=False, context_fn=products_kept)
        else:
            out = checkpoint(layer, x, use_reentrant=False)  # a context_fn that is a variable cannot be compiled
        return out
