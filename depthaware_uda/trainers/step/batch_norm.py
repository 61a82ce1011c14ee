"""Batch-norm statistics between two domains: freezing them, replacing them by a batch's, re-estimating them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from depthaware_uda.data.wrappers import Unlabelled
from depthaware_uda.distributed import alone, sum_, world_size
from depthaware_uda.inference import evaluating, image_batches
from depthaware_uda.types import SampleDataset

__all__ = ["batch_norms", "batch_statistics", "freeze_statistics", "reestimate_statistics", "running_statistics"]


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Every batch norm of a model, of whatever kind."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def running_statistics(norms: Iterable[_BatchNorm]) -> list[Tensor]:
    """The running means and variances of those that keep some."""
    return [running for norm in norms for running in (norm.running_mean, norm.running_var) if running is not None]


def freeze_statistics(model: nn.Module) -> None:
    """Normalise with the running statistics, which stay as they are, until the model's mode is set again."""
    for norm in batch_norms(model):
        norm.eval()


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise every batch by its own statistics, and leave the running ones as they are."""
    norms = [(norm, norm.training, norm.momentum, norm.num_batches_tracked) for norm in batch_norms(model)]
    try:
        for norm, _, _, tracked in norms:
            norm.train()
            norm.momentum = 0.0
            norm.num_batches_tracked = None if tracked is None else tracked.clone()
        yield
    finally:
        for norm, training, momentum, tracked in norms:
            norm.train(training)
            norm.momentum, norm.num_batches_tracked = momentum, tracked


def reestimate_statistics(
    model: nn.Module, dataset: SampleDataset, *, batch_size: int = 8, num_workers: int = 0
) -> None:
    """Replace the running statistics by those of a data set, seen once (AdaBN; Li et al., 2017). No label is read.

    They are the means of the batches' means and variances, in which every image weighs alike.

    Several processes share the batches; the statistics are those of one process but for rounding. After an error, such
    as of a sample that cannot be read, the model is as it was.

    Args:
        model: The model, changed in place; one without batch norm stays as it is.
        dataset: Samples of one size, usually the target's training images.
        batch_size: Images at once, or a few more if the last batch would have a single one.
        num_workers: Processes that read samples.
    """
    norms = batch_norms(model)
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    momenta = [norm.momentum for norm in norms]
    images = Unlabelled(dataset)
    while 1 < batch_size < len(images) and len(images) % batch_size == 1:
        batch_size += 1  # a norm behind global pooling has no statistics of the one image that would be left
    batches = image_batches(model, images, batch_size=batch_size, num_workers=num_workers, shared=True)
    try:
        with evaluating(model), alone(norms):
            for norm in norms:
                norm.reset_running_stats()
                norm.train()
            seen = 0
            for _, image in batches:
                seen += len(image)
                for norm in norms:
                    norm.momentum = len(image) / seen  # the mean over all images: a last batch may be smaller
                model(image)
        _combine(norms, seen)
    except BaseException:
        for norm, buffers in zip(norms, before, strict=True):
            norm.load_state_dict(buffers, strict=False)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _combine(norms: list[_BatchNorm], seen: int) -> None:
    """Means over the images of all processes, from each one's means over those that it has seen."""
    if world_size() == 1:
        return
    for norm in norms:
        if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
            continue
        sum_(norm.num_batches_tracked)
        images = sum_(torch.tensor(float(seen), dtype=torch.float64, device=norm.running_mean.device))
        for running in (norm.running_mean, norm.running_var):
            running.copy_(sum_(running.double() * seen) / images)
