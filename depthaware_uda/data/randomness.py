"""Random numbers for transforms, from torch's global generator, and a check of probabilities."""

from __future__ import annotations

import torch

__all__ = ["check_probability", "uniform"]


def uniform(count: int) -> list[float]:
    """Draw numbers in 0..1 from torch's global generator."""
    values: list[float] = torch.rand(count, dtype=torch.float64).tolist()
    return values


def check_probability(name: str, value: float) -> None:
    """Raise a ValueError unless a value is a probability."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a probability in 0..1, got {value}")
