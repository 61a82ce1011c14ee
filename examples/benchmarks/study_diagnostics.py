"""Measures ranking and pseudo-labels with labels of the target after training; nothing here trains or selects."""

from __future__ import annotations

from typing import Any

import torch
from study_setup import CLASSES, Study
from torch import Tensor, nn

from depthaware_uda import DepthAwareFusion
from depthaware_uda.inference import predict_batches
from depthaware_uda.labels import IGNORE_INDEX
from depthaware_uda.metrics import confusion_matrix
from depthaware_uda.pseudo_labels import pseudo_label

FRACTIONS = (0.5, 0.67, 0.8)


def spearman(first: Tensor, second: Tensor) -> float:
    """Rank correlation of two sequences without ties."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (first, second)])
    return float(torch.corrcoef(ranks)[0, 1])


def diagnose(study: Study, model: nn.Module) -> dict[str, Any]:
    """How well scores predict the errors on the target's training images, and the quality of pseudo-labels."""
    maps = {
        "depth_aware": DepthAwareFusion(),
        "depth_aware_squared": DepthAwareFusion(depth_power=2),
        "entropy": DepthAwareFusion("entropy"),
    }
    scores: dict[str, list[Tensor]] = {name: [] for name in maps}
    errors, shares = [], {0.0: [], 0.8: [], 0.9: []}
    for batch, output in predict_batches(model, study.labelled_target):
        label = batch["label"].to(output.logits.device)
        known = label != IGNORE_INDEX
        errors.append((output.logits.argmax(1) != label)[known].double().mean())
        for name, fusion in maps.items():
            if output.inverse_depth is not None or name == "entropy":
                scores[name].append(fusion(output.logits, output.inverse_depth).mean().double())
        for threshold, found in shares.items():
            kept = pseudo_label(output.logits, threshold)
            kept = torch.where(kept == IGNORE_INDEX, CLASSES, kept)
            found.append(confusion_matrix(kept, label.where(known, IGNORE_INDEX), CLASSES + 1))
    error = torch.stack(errors)
    ranking = {}
    for name, found in scores.items():
        if not found:
            continue
        score = torch.stack(found)
        order = score.argsort()
        ranking[name] = {
            "spearman_with_error": spearman(score, error),
            "accuracy": {
                str(fraction): {
                    "easy": 1 - float(error[order[: int(len(order) * fraction)]].mean()),
                    "hard": 1 - float(error[order[int(len(order) * fraction) :]].mean()),
                }
                for fraction in FRACTIONS
            },
        }
    return {"ranking": ranking, "pseudo_labels": {str(t): _quality(torch.stack(f).sum(0)) for t, f in shares.items()}}


def _quality(confusion: Tensor) -> dict[str, Any]:
    """Precision and coverage of pseudo-labels by class; the last column counts pixels without one."""
    labelled, right = confusion[:CLASSES, :CLASSES], confusion.diagonal()[:CLASSES].double()
    return {
        "coverage": float(labelled.sum() / confusion.sum()),
        "accuracy": float(right.sum() / labelled.sum()),
        "precision": (right / labelled.sum(0).clamp(min=1)).tolist(),
        "recall": (right / confusion[:CLASSES].sum(1).clamp(min=1)).tolist(),
    }
