"""Backbones: the Caffe-style ResNet-101 of DeepLab-v2, and any timm network that gives features.

A backbone maps a normalised image to one feature map a stage, and says what it needs to know about pixels.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

__all__ = ["CAFFE_PIXELS", "CaffeResNet101", "Normalization", "PixelStatistics", "TimmBackbone"]


@dataclass(frozen=True)
class PixelStatistics:
    """How a backbone wants its pixels: ``(value * scale - mean) / std`` in its own channel order."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0
    bgr: bool = False


CAFFE_PIXELS = PixelStatistics((104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0), scale=255.0, bgr=True)
"""Blue, green, red in 0..255 minus the mean of ImageNet, as Caffe networks were trained."""


class Normalization(nn.Module):
    """From RGB in 0..1 to what a backbone was trained on. Shape: (N, 3, H, W) -> (N, 3, H, W).

    The constants follow the module's device but keep float64 precision until they meet the image.
    """

    def __init__(self, pixels: PixelStatistics) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, image: Tensor) -> Tensor:
        """Normalise a batch of images."""
        mean, std = (
            torch.tensor(values, dtype=image.dtype, device=image.device).view(1, -1, 1, 1)
            for values in (self.pixels.mean, self.pixels.std)
        )
        if self.pixels.bgr:
            image = image.flip(1)
        return (image * self.pixels.scale - mean) / std


class _Bottleneck(nn.Module):
    """Residual block that strides in its first 1x1 convolution (Caffe) and pads its 3x3 by the dilation."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, *, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        out_channels = self.expansion * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if project:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        out: Tensor = self.relu(residual + self.downsample(x))
        return out


class CaffeResNet101(nn.Module):
    """ResNet-101 as DeepLab-v2 uses it: output stride 8, dilation 2 in layer3 and 4 in layer4, frozen batch-norm scale.

    Scale and shift of every batch norm are frozen; running statistics still move in training.

    Shape:
        normalised image (N, 3, H, W) -> layer1..layer4 with 256, 512, 1024, 2048 channels at strides 4, 8, 8, 8.
    """

    channels = (256, 512, 1024, 2048)
    strides = (4, 8, 8, 8)
    pixels = CAFFE_PIXELS

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.layer1 = self._stage(64, 64, blocks=3, stride=1, dilation=1)
        self.layer2 = self._stage(256, 128, blocks=4, stride=2, dilation=1)
        self.layer3 = self._stage(512, 256, blocks=23, stride=1, dilation=2)
        self.layer4 = self._stage(1024, 512, blocks=3, stride=1, dilation=4)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)

    @staticmethod
    def _stage(in_channels: int, width: int, *, blocks: int, stride: int, dilation: int) -> nn.Sequential:
        first = _Bottleneck(in_channels, width, stride=stride, dilation=dilation, project=True)
        out_channels = _Bottleneck.expansion * width
        rest = (_Bottleneck(out_channels, width, stride=1, dilation=dilation, project=False) for _ in range(blocks - 1))
        return nn.Sequential(first, *rest)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of the four stages."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features


class TimmBackbone(nn.Module):
    """Any timm network that offers `features_only`, at a chosen output stride.

    Args:
        name: timm's name of the network.
        output_stride: Stride of the last stage; None takes the network's own. timm refuses what it cannot dilate.
        out_indices: Stages to use; by default every stage of stride 4 and more, or all where there is none.
        pretrained: Load timm's weights (from the hub or its cache).
        arguments: Further keyword arguments of the network, such as ``{"channels": (32, 64, 128, 256)}``.

    Shape:
        normalised image (N, 3, H, W) -> one map a stage.

    Raises:
        ValueError: timm does not know the name (near names are suggested), or cannot give features at that stride.
    """

    def __init__(
        self,
        name: str,
        *,
        output_stride: int | None = 8,
        out_indices: Sequence[int] | None = None,
        pretrained: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), n=5)
            hint = f"; near names: {near}" if near else "; timm.list_models() lists all"
            raise ValueError(f"timm {timm.__version__} knows no model {name!r}{hint}")
        options: dict[str, Any] = {"features_only": True, "pretrained": pretrained, **(arguments or {})}
        if output_stride is not None:
            options["output_stride"] = output_stride
        if out_indices is not None:
            options["out_indices"] = tuple(out_indices)
        try:
            network: Any = timm.create_model(name, **options)
        except (TypeError, AssertionError, NotImplementedError, RuntimeError) as error:
            raise ValueError(
                f"timm model {name!r} gives no features with output_stride={output_stride} and "
                f"{dict(arguments or {})}: {type(error).__name__}: {error}; "
                "try output_stride=None, which keeps the network's own stride"
            ) from error
        self.network = network
        channels, strides = network.feature_info.channels(), network.feature_info.reduction()
        # A stem's features at stride 2 cost the heads much and tell them little.
        coarse = [i for i, stride in enumerate(strides) if stride >= 4 or out_indices is not None]
        self._stages = coarse or list(range(len(strides)))
        self.channels: tuple[int, ...] = tuple(channels[i] for i in self._stages)
        self.strides: tuple[int, ...] = tuple(strides[i] for i in self._stages)
        defaults: dict[str, Any] = network.pretrained_cfg or {}
        self.pixels = PixelStatistics(
            tuple(defaults.get("mean", (0.485, 0.456, 0.406))), tuple(defaults.get("std", (0.229, 0.224, 0.225)))
        )
        self._channels_last = getattr(network, "output_fmt", None) == "NHWC"

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of the chosen stages."""
        stages = self.network(image)
        features: list[Tensor] = [stages[i] for i in self._stages]
        if self._channels_last:
            features = [feature.permute(0, 3, 1, 2).contiguous() for feature in features]
        return features
