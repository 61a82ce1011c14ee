"""Pieces of self-training across domains, each usable alone: class-mix and the confidence of pseudo-labels."""

from depthaware_uda.self_training.class_mix import class_mask, mix, nearer
from depthaware_uda.self_training.confidence import confident_share

__all__ = ["class_mask", "confident_share", "mix", "nearer"]
