"""What DAF and IDA share: a discriminator learns to tell two domains' maps apart, and the network to fool it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from depthaware_uda.losses import SOURCE, TARGET, domain_loss
from depthaware_uda.models.discriminator import MIN_DISCRIMINATOR_SIZE, create_discriminator
from depthaware_uda.trainers.base import Losses, Trainer
from depthaware_uda.trainers.diagnostics import discriminator_measures, discriminator_remark
from depthaware_uda.trainers.method_config import AdversarialConfig
from depthaware_uda.trainers.run.streams import seeded
from depthaware_uda.trainers.step.optimizers import fused
from depthaware_uda.trainers.step.sharing import cross_entropy
from depthaware_uda.types import Batch, JointOutput, SegDepthOutput

__all__ = ["AdversarialTrainer"]

AdversarialT = TypeVar("AdversarialT", bound=AdversarialConfig)
_DISCRIMINATOR_KEY = 0xD15C


class _WithGradient(torch.autograd.Function):
    """A loss whose gradient with respect to a map is already known."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *factors: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return factors[0] * gradient, None, None


class AdversarialTrainer(Trainer[AdversarialT]):
    """A trainer with a discriminator of depth-aware maps, its attribute `discriminator`."""

    discriminator: nn.Sequential

    def _set_up_adversary(self) -> None:
        """Build fusion, discriminator and its optimiser, and check that model and data suit them."""
        config = self.config
        sizes = self.check_inputs()
        self.fuse_source = config.fusion_module("source")
        self.fuse_target = config.fusion_module("target")
        with seeded(config.seed, _DISCRIMINATOR_KEY):
            channels = self.fuse_target.channels(self.num_classes)
            self.discriminator = create_discriminator(channels, base_channels=config.discriminator_channels).to(
                self.device, next(self.model.parameters()).dtype
            )
        if config.fusion == "joint" and getattr(self.model, "refined", None) is None:
            raise ValueError(
                "fusion='joint' aligns a refined segmentation too, which this model does not have; "
                "create_model(..., depth_head='dada', refined_head=True) builds one that does"
            )
        if not config.adversarial_weight:
            return
        for name, (height, width) in sizes.items():
            if min(height, width) < MIN_DISCRIMINATOR_SIZE:
                raise ValueError(
                    f"{name} images of {height} x {width} are smaller than the {MIN_DISCRIMINATOR_SIZE} pixels that "
                    "the discriminator needs; train on larger images"
                )
        if config.fusion == "depth_aware" and not self.has_depth:
            raise ValueError(
                "fusion='depth_aware' multiplies by predicted depth, which this model does not have; "
                "give it a depth head, or align plain entropy maps with fusion='entropy'"
            )
        self.optimizers["discriminator"] = torch.optim.Adam(
            [{"params": list(self.discriminator.parameters()), "base_lr": config.discriminator_learning_rate}],
            lr=config.discriminator_learning_rate,
            betas=config.discriminator_betas,
            fused=fused(self.discriminator.parameters()),
        )

    def modules(self) -> dict[str, nn.Module]:
        """The model, its average, and the discriminator."""
        return {**super().modules(), "discriminator": self.discriminator}

    def remark(self, means: Mapping[str, float]) -> str | None:
        """On the discriminator, if it looks wrong."""
        return discriminator_remark(means)

    def forward(self, image: Tensor) -> SegDepthOutput | JointOutput:
        """Logits and inverse depth, and refined logits where the joint space is aligned."""
        if self.config.fusion != "joint":
            return super().forward(image)
        output: JointOutput = self.model.joint(image)  # type: ignore[operator]
        return output

    def supervised(self, output: SegDepthOutput | JointOutput, batch: Batch, losses: Losses) -> Tensor:
        """L_seg + depth_weight * L_depth + refined_weight * L_seg of the refined head, each put into `losses`."""
        total = super().supervised(output, batch, losses)
        return total + self.refined(output, batch["label"], losses, class_weight=self._class_weight)

    def refined(
        self, output: SegDepthOutput | JointOutput, label: Tensor, losses: Losses, *, class_weight: Tensor | None
    ) -> Tensor:
        """refined_weight * L_seg of the refined head, on labels or pseudo-labels; 0 where it is not trained."""
        if not isinstance(output, JointOutput):
            return output.logits.new_zeros(())
        losses["refined"] = cross_entropy(output.refined_logits, label, class_weight=class_weight)
        return self.config.refined_weight * losses["refined"]

    def adversarial(self, map_target: Tensor, losses: Losses) -> Tensor:
        """adversarial_weight * L_adv: target maps should look like the source to the discriminator D.

        The same pass of D serves its own loss, BCE(D(map_target), target): its weights change only after the step.
        """
        # L_adv must reach the network but not D's weights, L_D the reverse: both go back from a leaf, not the map.
        leaf = map_target.detach().requires_grad_()
        scores = self.discriminator(leaf)
        self.measure(discriminator_measures(scores, TARGET))
        losses["adversarial"] = domain_loss(scores, SOURCE)
        loss = self.config.adversarial_weight * losses["adversarial"]
        (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
        losses["discriminator_target"] = domain_loss(scores, TARGET)
        self.backward(
            self.config.discriminator_weight * losses["discriminator_target"], inputs=self.discriminator.parameters()
        )
        value: Tensor = _WithGradient.apply(map_target, loss.detach(), gradient)
        return value

    def discriminate(self, map_source: Tensor, losses: Losses) -> Tensor:
        """L_D of source maps, which teaches the discriminator their domain; no gradient reaches the network."""
        scores = self.discriminator(map_source.detach())
        self.measure(discriminator_measures(scores, SOURCE))
        losses["discriminator_source"] = domain_loss(scores, SOURCE)
        return self.config.discriminator_weight * losses["discriminator_source"]
