"""Label-free validation: how good a network seems on images of which nobody knows the labels.

Which checkpoint of a run is the best one cannot be asked of target labels that do not exist. Entropy alone (Morerio et
al., 2018, "Minimal-Entropy Correlation Alignment") prefers networks that collapsed onto few classes with confidence;
Saito et al. (2021, "Tune it the Right Way") and Musgrave et al. (2022, "Three New Validators") show how far such
choices go wrong. So certainty counts here only together with agreement: how far two views of an image, one of them
mirrored and in other colours, get the same classes, every class counted alike, and a class that vanished as failed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depthaware_uda.data.transforms import PhotometricNoise
from depthaware_uda.data.wrappers import Unlabelled
from depthaware_uda.distributed import gather, sum_of_counts
from depthaware_uda.inference import evaluating, image_batches, output_of
from depthaware_uda.losses import normalized_entropy
from depthaware_uda.metrics import confusion_matrix
from depthaware_uda.models.resize import resize
from depthaware_uda.types import SampleDataset

__all__ = ["LabelFreeScore", "label_free_score"]


@dataclass(frozen=True)
class LabelFreeScore:
    """What `label_free_score` measures; all in 0..1, more is better."""

    agreement: float
    """Mean over all classes of the IoU between the predictions of two views; 0 for a class that is never predicted."""
    certainty: float
    """1 - mean normalised entropy."""

    @property
    def score(self) -> float:
        """The geometric mean of both: neither makes up for the lack of the other."""
        return float((self.agreement * self.certainty) ** 0.5)


@torch.no_grad()
def label_free_score(
    model: nn.Module, dataset: SampleDataset, *, batch_size: int = 1, num_workers: int = 0
) -> LabelFreeScore:
    """Score a network on images without labels; those they may have are not looked at.

    The same images and weights give the same score: the other view's colours are drawn from a seed of their own.
    Several processes share the batches; all of them call this, and each has the score.

    Args:
        model: Any module that maps images (N, 3, H, W) to `SegDepthOutput`; its mode is as before afterwards.
        dataset: Samples, usually the target's training images or a part of them.
        batch_size: Images at once, as far as they have one size.
        num_workers: Processes that read samples.

    Raises:
        ValueError: The data set is empty.
    """
    colours = PhotometricNoise(brightness=0.2, contrast=0.25, saturation=0.4, tint=0.1, gamma=0.2, noise=0.02)
    confusion: Tensor | None = None
    entropy, pixels = 0.0, 0
    batches = image_batches(model, Unlabelled(dataset), batch_size=batch_size, num_workers=num_workers, shared=True)
    with evaluating(model), torch.random.fork_rng(devices=[]):
        for batch, image in batches:
            views = zip(batch["index"], image.cpu(), strict=True)
            other = torch.stack([_recoloured(one, colours, seed) for seed, one in views]).to(image)
            output, mirrored = output_of(model, image), output_of(model, other.flip(-1))
            logits = resize(output.logits, image.shape[-2:])
            there = resize(mirrored.logits, image.shape[-2:]).flip(-1)
            counts = confusion_matrix(logits.argmax(1), there.argmax(1), logits.shape[1]).cpu()
            confusion = counts if confusion is None else confusion + counts
            entropy += float(normalized_entropy(logits).double().sum())
            pixels += logits[:, 0].numel()
    confusion = sum_of_counts(confusion)
    entropy, pixels = sum(gather(entropy)), sum(gather(pixels))
    both = confusion.diagonal().double()
    either = confusion.sum(0) + confusion.sum(1) - both
    return LabelFreeScore(float((both / either.clamp(min=1)).mean()), 1 - entropy / pixels)


def _recoloured(image: Tensor, colours: PhotometricNoise, seed: int) -> Tensor:
    """An image in other colours, those of its place in the data set: the same in any batch and process."""
    torch.default_generator.manual_seed(seed)
    return colours.transform(image.float(), colours.make_params([image]))
