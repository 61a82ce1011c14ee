"""Pieces of self-training across domains, each usable alone: class-mix, confidence, and sampling of rare classes."""

from depthaware_uda.self_training.class_mix import class_mask, mix, nearer
from depthaware_uda.self_training.confidence import confident_share, pixel_confidence
from depthaware_uda.self_training.rare_classes import RareClassSampled, class_probabilities

__all__ = [
    "RareClassSampled",
    "class_mask",
    "class_probabilities",
    "confident_share",
    "mix",
    "nearer",
    "pixel_confidence",
]
