"""Pseudo-labels: a network's own confident predictions on the target, written to disk and read back by name."""

from depthaware_uda.pseudo_labels.folder import PseudoLabelled, PseudoLabels
from depthaware_uda.pseudo_labels.labelling import class_thresholds, pseudo_label
from depthaware_uda.pseudo_labels.writing import write_pseudo_labels

__all__ = ["PseudoLabelled", "PseudoLabels", "class_thresholds", "pseudo_label", "write_pseudo_labels"]
