"""The parts of PyTorch Lightning that its example uses, so that the step runs without Lightning installed."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class LightningModule(nn.Module):
    """The hooks that a `Trainer` calls, and the methods that they use."""

    trainer: "Trainer"
    logged: dict[str, Tensor]

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return self.trainer.optimizers

    def manual_backward(self, loss: Tensor) -> None:
        loss.backward()

    def log_dict(self, values: Mapping[str, Tensor], **_: Any) -> None:
        self.logged = dict(values)


class Trainer:
    """Loops over the data until the optimisers have made `max_steps` steps together."""

    def __init__(self, *, max_steps: int, max_epochs: int, **_: Any) -> None:
        self.max_steps, self.stepped = max_steps, 0
        self.optimizers: list[torch.optim.Optimizer] = []

    def fit(self, module: Any, loaders: Mapping[str, Iterable[Any]]) -> None:
        module.trainer, self.optimizers = self, module.configure_optimizers()
        for optimizer in self.optimizers:
            optimizer.register_step_post_hook(self._count)
        module.train()
        while self.stepped < self.max_steps:
            for index, batches in enumerate(zip(*loaders.values(), strict=True)):
                if self.stepped < self.max_steps:
                    module.training_step(dict(zip(loaders, batches, strict=True)), index)
        assert all(torch.isfinite(value) for value in module.logged.values())

    def _count(self, *_: Any) -> None:
        self.stepped += 1
