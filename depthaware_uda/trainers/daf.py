"""DAF, the depth-aware adaptation framework: supervised on the source, aligned to it on the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from depthaware_uda.data.wrappers import Unlabelled
from depthaware_uda.depth import to_inverse_depth
from depthaware_uda.losses import entropy_loss
from depthaware_uda.trainers.adversarial import AdversarialTrainer
from depthaware_uda.trainers.base import Losses
from depthaware_uda.trainers.callbacks import Callback
from depthaware_uda.trainers.method_config import DAFConfig
from depthaware_uda.trainers.run.checks import check_target_depth
from depthaware_uda.trainers.run.streams import Augmentation
from depthaware_uda.trainers.step.sharing import scale_shift_invariant
from depthaware_uda.types import Batch, SampleDataset

__all__ = ["DAFTrainer"]


class DAFTrainer(AdversarialTrainer[DAFConfig]):
    """Train on labelled source images and align the target's depth-aware maps to the source's.

    With E = -p log p / log C and z the predicted inverse depth, a domain's map is E * z ** k, and a step minimises

        L_seg(source) + depth_weight * L_depth(source)
        + adversarial_weight * BCE(D(map_target), source) + entropy_weight * mean(E_target)

    over the network, and BCE(D(map_source), source) + BCE(D(map_target), target) over the discriminator D. The
    presets of `DAFConfig` make it source-only training, MinEnt, AdvEnt, DADA or CTRL. With ``fusion="joint"`` (CTRL)
    the map is that of `JointSpace`, and refined_weight * L_seg of the refined head is added. Where another network
    estimated the target's depth, target_depth_weight * `scale_shift_invariant` of it is added.

    Args:
        model: The network, trained in place.
        source: Samples with labels, and with depth unless `depth_weight` is 0.
        target: Samples; labels they may have are not looked at, nor depth if `target_depth_weight` is 0.
        config: Settings; by default the published ones.
        output_dir: See `Trainer`, as the further arguments.
        val: Labelled samples to validate on.
        augment: Called with every training sample.
        device: Where to train.
        progress: Show progress bars.
        callbacks: Called at the moments of `Callback`.

    Raises:
        TypeError: As of `Trainer`.
        ValueError: As of `Trainer`; or the source has no labels, or no depth where `depth_weight` asks for it; or the
            fusion needs depth that the model does not predict.
    """

    domains = ("source", "target")
    config_class = DAFConfig

    def __init__(
        self,
        model: nn.Module,
        source: SampleDataset,
        target: SampleDataset,
        config: DAFConfig | None = None,
        output_dir: str | Path | None = None,
        *,
        val: SampleDataset | None = None,
        augment: Augmentation | None = None,
        device: str | torch.device | None = None,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        super().__init__(
            model,
            config or DAFConfig(),
            output_dir=output_dir,
            val=val,
            augment=augment,
            device=device,
            progress=progress,
            callbacks=callbacks,
        )
        self.source = source
        self.target = target
        self._set_up_adversary()
        self._check_source(source)
        if self.config.target_depth_weight:
            check_target_depth(self.unreadable.first(target), has_depth=self.has_depth)

    def fixed_datasets(self) -> Mapping[str, SampleDataset]:
        """Source and target as given."""
        return {"source": self.source, "target": self.target}

    def datasets(self) -> Mapping[str, SampleDataset]:
        """Source, and target without anything but images, and depth where it is a pseudo-label."""
        return {"source": self.source, "target": Unlabelled(self.target, depth=self.config.target_depth_weight > 0)}

    def compute(self, source: Batch, target: Batch) -> Losses:  # type: ignore[override]
        """The equations above, in the order of the published step."""
        config = self.config
        losses: Losses = {}

        output = self.predict(source)
        self.backward(self.supervised(output, source, losses))
        if not (config.adversarial_weight or config.entropy_weight or config.target_depth_weight):
            return losses

        aligned = self.predict(target)
        total = aligned.logits.new_zeros(())
        if config.entropy_weight:
            losses["entropy"] = entropy_loss(aligned.logits)
            total = total + config.entropy_weight * losses["entropy"]
        if config.target_depth_weight:
            assert aligned.inverse_depth is not None  # the constructor made sure
            losses["target_depth"] = scale_shift_invariant(aligned.inverse_depth, to_inverse_depth(target["depth"]))
            total = total + config.target_depth_weight * losses["target_depth"]
        if config.adversarial_weight:
            total = total + self.adversarial(self.fuse_target(*aligned), losses)
        self.backward(total)
        if config.adversarial_weight:
            self.backward(self.discriminate(self.fuse_source(*output), losses))
        return losses
