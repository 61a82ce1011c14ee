"""The optimiser of a network, and learning rates by schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from depthaware_uda.trainers.config import TrainerConfig

__all__ = ["fused", "model_optimizer", "set_learning_rates"]


def model_optimizer(model: nn.Module, config: TrainerConfig) -> torch.optim.Optimizer:
    """The configured optimiser; the groups "backbone" and "heads" of ``parameter_groups()``, if any, have own rates.

    Raises:
        TypeError: ``parameter_groups()`` returns something other than a dictionary.
        ValueError: There are other groups, or no parameter is to be trained.
    """
    grouped = getattr(model, "parameter_groups", None)
    every = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = {"heads": every} if grouped is None else grouped()
    if not isinstance(groups, Mapping):
        raise TypeError(
            f"parameter_groups() of {type(model).__name__} must return a dictionary of the groups 'backbone' and "
            f"'heads', whose learning rates the configuration has; it returned a {type(groups).__name__}"
        )
    if foreign := sorted({*groups} - {"backbone", "heads"}):
        raise ValueError(
            f"parameter_groups() of {type(model).__name__} has the groups {foreign}; its groups must be 'backbone' and "
            "'heads', whose learning rates the configuration has"
        )
    multipliers = {"backbone": config.backbone_lr_multiplier, "heads": config.head_lr_multiplier}
    options: list[dict[str, Any]] = [
        {"params": parameters, "base_lr": config.learning_rate * multipliers[name]}
        for name, parameters in groups.items()
        if parameters
    ]
    if not options:
        raise ValueError(f"{type(model).__name__} has no parameter with requires_grad=True: there is nothing to train")
    shared: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay, "fused": fused(every)}
    if config.optimizer == "sgd":
        sgd = torch.optim.SGD(options, momentum=config.momentum, **shared)
        if shared["fused"] and config.momentum:
            # Its first step makes buffers of what lies in memory, and leaves them so if it is told to skip that step.
            for parameter in every:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    return torch.optim.AdamW(options, **shared)


def fused(parameters: Iterable[nn.Parameter]) -> bool | None:
    """Whether one kernel steps all parameters: on GPUs. On CPUs torch's own choice, whose bits stay as they were."""
    return True if all(p.is_cuda and p.is_floating_point() for p in parameters) else None


def set_learning_rates(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Give every parameter group `factor` times its ``base_lr``, by default the rate that it came with."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("base_lr", group["lr"]) * factor
