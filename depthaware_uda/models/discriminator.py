"""The domain discriminator of AdvEnt (Vu et al., 2019), a DCGAN-style stack of strided convolutions."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

__all__ = ["MIN_DISCRIMINATOR_SIZE", "create_discriminator"]

MIN_DISCRIMINATOR_SIZE = 32
"""Smallest height and width of a map that leaves the last of the five halvings one score."""


def create_discriminator(in_channels: int, *, base_channels: int = 64) -> nn.Sequential:
    """Five 4x4 convolutions of stride 2 with LeakyReLU 0.2 between, at positions 0, 2, 4, 6, 8.

    Args:
        in_channels: Channels C of the maps it judges, the number of classes.
        base_channels: Width b of the first convolution; the further ones have 2b, 4b, 8b and 1.

    Shape:
        (N, C, H, W) -> scores (N, 1, H / 32, W / 32) before the sigmoid; H and W at least 32.

    Raises:
        ValueError: A number of channels is not positive.
    """
    if in_channels < 1 or base_channels < 1:
        raise ValueError(f"in_channels and base_channels must be positive, got {in_channels} and {base_channels}")
    widths = (in_channels, base_channels, 2 * base_channels, 4 * base_channels, 8 * base_channels, 1)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers[:-1])
