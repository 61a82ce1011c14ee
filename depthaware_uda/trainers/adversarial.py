"""What DAF and IDA share: two domains whose maps a discriminator cannot tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from depthaware_uda.losses import SOURCE, TARGET, domain_loss
from depthaware_uda.models.discriminator import MIN_DISCRIMINATOR_SIZE, create_discriminator
from depthaware_uda.trainers.base import Losses, Trainer
from depthaware_uda.trainers.config import AdversarialConfig
from depthaware_uda.trainers.streams import seeded
from depthaware_uda.types import SampleDataset

__all__ = ["AdversarialTrainer"]

AdversarialT = TypeVar("AdversarialT", bound=AdversarialConfig)
_DISCRIMINATOR_KEY = 0xD15C


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


class AdversarialTrainer(Trainer[AdversarialT]):
    """A trainer with a discriminator over depth-aware maps; `discriminator` is it."""

    discriminator: nn.Sequential

    def _set_up_adversary(self, target: SampleDataset) -> None:
        """Build fusion, discriminator and its optimiser, and check that the target suits them."""
        config = self.config
        self._check_data()
        self.fuse_source = config.fusion_module("source")
        self.fuse_target = config.fusion_module("target")
        with seeded(config.seed, _DISCRIMINATOR_KEY):
            self.discriminator = create_discriminator(self.num_classes, base_channels=config.discriminator_channels).to(
                self.device, next(self.model.parameters()).dtype
            )
        if not config.adversarial_weight:
            return
        if config.fusion == "depth_aware" and not self.has_depth:
            raise ValueError(
                "fusion='depth_aware' multiplies by predicted depth, which this model does not have; "
                "give it a depth head, or align plain entropy maps with fusion='entropy'"
            )
        self.optimizers["discriminator"] = torch.optim.Adam(
            [{"params": list(self.discriminator.parameters()), "base_lr": config.discriminator_learning_rate}],
            lr=config.discriminator_learning_rate,
            betas=config.discriminator_betas,
        )
        for name, dataset in self.fixed_datasets().items():
            with seeded(config.seed):
                sample = dataset[0] if self.augment is None else self.augment(dataset[0])
            size = tuple(sample["image"].shape[-2:])
            if min(size) < MIN_DISCRIMINATOR_SIZE:
                raise ValueError(
                    f"{name} images of {size[0]} x {size[1]} are smaller than the {MIN_DISCRIMINATOR_SIZE} pixels that "
                    "the discriminator needs; train on larger images"
                )

    def modules(self) -> dict[str, nn.Module]:
        """The model, its average, and the discriminator."""
        return {**super().modules(), "discriminator": self.discriminator}

    def adversarial(self, map_target: Tensor, losses: Losses) -> Tensor:
        """lambda_adv * L_adv: target maps should look like the source to the discriminator, which is frozen here."""
        with _frozen(self.discriminator):
            losses["adversarial"] = domain_loss(self.discriminator(map_target), SOURCE)
        return self.config.adversarial_weight * losses["adversarial"]

    def discriminate(self, map_source: Tensor, map_target: Tensor, losses: Losses) -> Tensor:
        """L_D: the discriminator learns which domain a map is from; no gradient reaches the network."""
        losses["discriminator_source"] = domain_loss(self.discriminator(map_source.detach()), SOURCE)
        losses["discriminator_target"] = domain_loss(self.discriminator(map_target.detach()), TARGET)
        return self.config.discriminator_weight * (losses["discriminator_source"] + losses["discriminator_target"])
