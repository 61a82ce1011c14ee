"""One training step shared by several processes, so that it computes what one process would on the whole batch.

Each process takes its share of every batch. Losses are normalised by the pixels of the whole batch, gradients are
averaged once after all backward passes, and so are the running statistics of batch norm: after a step, every process
holds the same numbers. In one process, nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]
from torch import Tensor, nn

import depthaware_uda.losses as losses
from depthaware_uda.distributed import broadcast_module, gather, max_, mean_, sum_, world_size
from depthaware_uda.labels import IGNORE_INDEX
from depthaware_uda.trainers.config import TrainerConfig
from depthaware_uda.trainers.step.batch_norm import batch_norms, running_statistics

__all__ = [
    "average_losses",
    "average_step",
    "berhu",
    "cross_entropy",
    "images_at_once",
    "scale_shift_invariant",
    "shared_model",
]


def images_at_once(config: TrainerConfig) -> int:
    """How many images of a domain one process puts through the network at once.

    Raises:
        ValueError: The batch cannot be divided among the processes.
    """
    parts = config.accumulation * world_size()
    if config.batch_size % parts:
        raise ValueError(
            f"batch_size {config.batch_size} is that of all processes together: it must be a multiple of the "
            f"{world_size()} processes times accumulation {config.accumulation}, so at least {parts}"
        )
    return config.batch_size // parts


def shared_model(model: nn.Module, config: TrainerConfig) -> nn.Module:
    """A model, on its device, with the weights of rank 0, and with `SyncBatchNorm` if the configuration wants it.

    Raises:
        ValueError: The batch cannot be divided; `SyncBatchNorm` is wanted on a CPU, or is there and not wanted.
    """
    images_at_once(config)
    if world_size() == 1:
        return model
    broadcast_module(model)
    if not config.sync_batch_norm:
        if any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
            raise ValueError(
                "the model has SyncBatchNorm, as after a stage with sync_batch_norm=True, and would go on normalising "
                "over all processes; set sync_batch_norm=True here too, or make the model anew"
            )
        return model
    device = next(model.parameters()).device
    if device.type == "cpu":
        raise ValueError("sync_batch_norm needs GPUs: torch's SyncBatchNorm does not train on a CPU")
    # Not torch's own converter, which does not know the norms of timm.
    synchronized: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return synchronized


# Losses of the whole batch --------------------------------------------------------------------------------------------


def cross_entropy(
    logits: Tensor, label: Tensor, *, class_weight: Tensor | None = None, pixel_weight: Tensor | None = None
) -> Tensor:
    """`losses.cross_entropy` with the mean over the valid pixels of all processes; its mean over them is the loss."""
    loss = losses.cross_entropy(logits, label, class_weight=class_weight, pixel_weight=pixel_weight)
    if world_size() == 1:
        return loss
    valid = label != IGNORE_INDEX
    if class_weight is None:
        return _of_all(loss, valid.sum())
    return _of_all(loss, (class_weight[label.where(valid, label.new_zeros(()))] * valid).sum())


def berhu(prediction: Tensor, target: Tensor) -> Tensor:
    """`losses.berhu` with the largest error and the known pixels of all processes; its mean over them is the loss."""
    if world_size() == 1:
        return losses.berhu(prediction, target)
    known = target.isfinite()
    error = (prediction.detach() - target).abs().where(known, 0.0)
    loss = losses.berhu(prediction, target, largest_error=max_(error.amax()))
    return _of_all(loss, known.sum())


def scale_shift_invariant(prediction: Tensor, target: Tensor) -> Tensor:
    """`losses.scale_shift_invariant` with the mean over the images of all processes; its mean over them is the loss."""
    loss = losses.scale_shift_invariant(prediction, target)
    return loss if world_size() == 1 else _of_all(loss, losses.has_relative_depth(target).sum())


def _of_all(loss: Tensor, count: Tensor) -> Tensor:
    """A mean over the `count` pixels or images of this process, weighted by its share of all of them."""
    total = sum_(count.clone())
    return loss * (count * world_size() / total.where(total > 0, 1))


# What a step ends with ------------------------------------------------------------------------------------------------


def average_step(model: nn.Module, optimizers: Iterable[torch.optim.Optimizer], *, first: bool) -> None:
    """Average gradients, and the running statistics that moved, over the processes.

    Args:
        model: The network whose batch norm ran.
        optimizers: Their parameters' gradients are averaged; a parameter without one keeps none.
        first: Check that the same parameters have gradients everywhere.

    Raises:
        RuntimeError: They do not: the processes would average different things.
    """
    if world_size() == 1:
        return
    parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if first and len(set(gather(tuple(parameter.grad is None for parameter in parameters)))) > 1:
        raise RuntimeError(
            "the processes have gradients of different parameters: every sample of a domain must have the same keys "
            "(all with depth, or none), and every process the same model"
        )
    moved = running_statistics(norm for norm in batch_norms(model) if norm.training)
    mean_([*gradients, *moved])


def average_losses(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses of the whole batch from those of every process."""
    if world_size() == 1 or not named:
        return named
    stacked = torch.stack([loss.detach() for loss in named.values()])
    mean_([stacked])
    return dict(zip(named, stacked.unbind(), strict=True))
