"""A plain implementation of the published training step and evaluation, which the benchmarks compare against.

Eager float32, following the description of the authors' code: two passes of the network, three of the discriminator,
losses on masked gathers, a host synchronisation in berHu, and evaluation image by image with scores on the host as
NumPy. It uses the library's networks, but torch's own batch norm and the authors' classifier: four convolutions and a
sum. To train, use the trainers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

__all__ = ["BaselineDAF", "evaluate", "label_target", "rank_target"]

IGNORE = 255


def resized(maps: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=True)


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean over the labelled pixels, which are first gathered into a list."""
    known = label != IGNORE
    classes = logits.shape[1]
    pixels = logits.permute(0, 2, 3, 1)[known[..., None].expand(-1, -1, -1, classes)].view(-1, classes)
    return F.cross_entropy(pixels, label[known])


def berhu(prediction: Tensor, target: Tensor) -> Tensor:
    """Reverse Huber loss; the host reads its threshold."""
    error = (prediction - target).abs()
    threshold = 0.2 * error.max().item()
    small, large = error[error <= threshold], error[error > threshold]
    return (small.sum() + ((large**2 + threshold**2) / (2 * threshold)).sum()) / error.numel()


def information(logits: Tensor) -> Tensor:
    p = F.softmax(logits, dim=1)
    return -p * torch.log2(p + 1e-30) / math.log2(logits.shape[1])


def domain_loss(scores: Tensor, domain: int) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, domain))


class PlainClassifier(nn.Module):
    """The sum of dilated convolutions with torch's own gradients, using the weights of the library's `ASPPv2`."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.branches = classifier.branches

    def forward(self, features: Tensor) -> Tensor:
        """Class scores before softmax."""
        first, *rest = self.branches  # type: ignore[misc]
        scores: Tensor = first(features)
        for branch in rest:
            scores = scores + branch(features)
        return scores


class BaselineDAF:
    """DAF steps with the settings of the `reference` preset, at the learning rates of the first step.

    Args:
        model: The network, in train mode, with `parameter_groups`; classifier and batch norms become plain ones.
        discriminator: With as many input channels as the network has classes.
    """

    def __init__(self, model: nn.Module, discriminator: nn.Module) -> None:
        self.model, self.discriminator = model, discriminator
        model.classifier = PlainClassifier(model.classifier)  # type: ignore[arg-type]
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = nn.BatchNorm2d
        groups = model.parameter_groups()  # type: ignore[operator]
        rates = {"backbone": 3 * 2.5e-4, "heads": 10 * 2.5e-4}
        options = [{"params": groups[name], "lr": rate} for name, rate in rates.items()]
        self.sgd = torch.optim.SGD(options, momentum=0.9, weight_decay=5e-4)
        self.adam = torch.optim.Adam(discriminator.parameters(), lr=1e-4, betas=(0.9, 0.99))

    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and inverse depth at the size of the image."""
        logits, inverse_depth = self.model(image)
        return resized(logits, image.shape[-2:]), resized(inverse_depth, image.shape[-2:])

    def step(self, source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Train one step; `source` has an image, a label and depth in metres, `target` an image."""
        losses: dict[str, Tensor] = {}
        self.sgd.zero_grad()
        self.adam.zero_grad()

        self.discriminator.requires_grad_(False)
        logits, depth = self.predict(source["image"])
        losses["segmentation"] = cross_entropy(logits, source["label"])
        losses["depth"] = berhu(depth, 655.36 / (source["depth"] + 0.01))
        (losses["segmentation"] + 0.001 * losses["depth"]).backward()

        target_logits, target_depth = self.predict(target["image"])
        map_target = information(target_logits) * target_depth * target_depth
        losses["adversarial"] = domain_loss(self.discriminator(map_target), 0)
        (0.001 * losses["adversarial"]).backward()

        self.discriminator.requires_grad_(True)
        map_source = information(logits.detach()) * depth.detach()
        losses["discriminator_source"] = domain_loss(self.discriminator(map_source), 0)
        losses["discriminator_source"].backward()
        map_target = information(target_logits.detach()) * target_depth.detach() * target_depth.detach()
        losses["discriminator_target"] = domain_loss(self.discriminator(map_target), 1)
        losses["discriminator_target"].backward()
        self.sgd.step()
        self.adam.step()
        return {name: loss.detach() for name, loss in losses.items()}


@torch.no_grad()
def evaluate(model: nn.Module, samples: Iterable[dict[str, Tensor]], classes: int) -> NDArray[np.int64]:
    """Confusion matrix (row: label) of samples with image (3, H, W) and label (H, W), one image at a time."""
    confusion = np.zeros((classes, classes), np.int64)
    for sample in samples:
        logits, _ = model(sample["image"][None])
        scores = resized(logits, sample["label"].shape[-2:]).cpu().numpy()[0].transpose(1, 2, 0)
        prediction, label = np.argmax(scores, axis=2).ravel(), sample["label"].cpu().numpy().ravel()
        known = label < classes
        pairs = classes * label[known] + prediction[known]
        confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    return confusion


@torch.no_grad()
def rank_target(model: nn.Module, samples: Iterable[dict[str, Tensor]]) -> list[int]:
    """Indices of the target images, by ascending mean of their depth-aware map; the host computes the mean."""
    scores = []
    for sample in samples:
        logits, inverse_depth = model(sample["image"][None])
        size = sample["image"].shape[-2:]
        weighted = information(resized(logits, size)) * resized(inverse_depth, size)
        scores.append(float(weighted.cpu().numpy().mean()))
    return [int(index) for index in np.argsort(scores)]


@torch.no_grad()
def label_target(model: nn.Module, samples: Iterable[dict[str, Tensor]], folder: Path, threshold: float) -> None:
    """Write pseudo-labels as PNG; the host compares the probabilities."""
    for index, sample in enumerate(samples):
        logits, _ = model(sample["image"][None])
        scores = F.softmax(resized(logits, sample["image"].shape[-2:]), dim=1).cpu().numpy()[0].transpose(1, 2, 0)
        label, confidence = np.argmax(scores, axis=2), np.max(scores, axis=2)
        label[confidence < threshold] = IGNORE
        Image.fromarray(label.astype(np.uint8)).save(folder / f"{index}.png")
