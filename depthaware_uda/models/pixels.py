"""How a backbone wants its pixels, and the module that brings images to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["CAFFE_PIXELS", "Normalization", "PixelStatistics"]


@dataclass(frozen=True)
class PixelStatistics:
    """How a backbone wants its pixels: ``(value * scale - mean) / std`` in its own channel order."""

    mean: tuple[float, ...]
    """One value a channel."""
    std: tuple[float, ...]
    """One value a channel."""
    scale: float = 1.0
    """What values in 0..1 are multiplied by first."""
    bgr: bool = False
    """Whether the channels are blue, green, red."""


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
            # Filled on the device: a copy from the host would wait for it in every step.
            torch.cat([image.new_full((1, 1, 1, 1), value) for value in values], dim=1)
            for values in (self.pixels.mean, self.pixels.std)
        )
        if self.pixels.bgr:
            image = image.flip(1)
        return (image * self.pixels.scale - mean) / std
