"""IDA, intra-domain adaptation: hard target images are aligned to easy ones that have pseudo-labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from depthaware_uda.data.wrappers import Selected, Unlabelled
from depthaware_uda.pseudo_labels import PseudoLabels, write_pseudo_labels
from depthaware_uda.ranking import TargetSplit
from depthaware_uda.trainers.adversarial import AdversarialTrainer
from depthaware_uda.trainers.base import Losses
from depthaware_uda.trainers.callbacks import Callback
from depthaware_uda.trainers.method_config import IDAConfig
from depthaware_uda.trainers.run.run_folder import scratch_folder
from depthaware_uda.trainers.run.streams import Augmentation
from depthaware_uda.types import Batch, SampleDataset

__all__ = ["IDATrainer"]


class IDATrainer(AdversarialTrainer[IDAConfig]):
    """Train on easy target images with pseudo-labels and align the hard ones' depth-aware maps to theirs.

    The pseudo-labels are those that the model writes when it starts, or given ones. A step minimises the cross-entropy
    of easy images against them, plus adversarial_weight * BCE(D(map_hard), source), over the network, and
    discriminator_weight times the two losses of `DAFTrainer` over the discriminator, with easy images as its source.
    If a source is given, source_weight * (L_seg + depth_weight * L_depth) of source images is added; the published
    method has none.

    Args:
        model: The network, trained in place.
        target: Samples; labels and depth they may have are not looked at.
        split: Names of the easy and the hard samples of `target`.
        config: Settings; by default the published ones, aligning depth-aware maps as in the paper.
        output_dir: See `Trainer`, as the further arguments. Pseudo-labels are kept in `pseudo_labels` below it.
        source: Labelled samples to go on training on.
        labels: Pseudo-labels of the easy images, or of all of `target`, or their folder, to learn instead of the
            model's own, such as those that `write_pseudo_labels` wrote of an `Ensemble`; `threshold` is not used.
        val: Labelled samples to validate on.
        augment: Called with every training sample, pseudo-label included.
        device: Where to train.
        progress: Show progress bars.
        callbacks: Called at the moments of `Callback`.

    Raises:
        TypeError: `split` is not a `TargetSplit`.
        FileNotFoundError: `labels` is a folder without pseudo-labels.
        ValueError: As of `Trainer`; or `target` lacks names of the split, or `labels` those of an easy image.
    """

    labelled_domains = ("easy", "source")
    config_class = IDAConfig

    def __init__(
        self,
        model: nn.Module,
        target: SampleDataset,
        split: TargetSplit,
        config: IDAConfig | None = None,
        output_dir: str | Path | None = None,
        *,
        source: SampleDataset | None = None,
        labels: PseudoLabels | str | Path | None = None,
        val: SampleDataset | None = None,
        augment: Augmentation | None = None,
        device: str | torch.device | None = None,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        super().__init__(
            model,
            config or IDAConfig(),
            output_dir=output_dir,
            val=val,
            augment=augment,
            device=device,
            progress=progress,
            callbacks=callbacks,
        )
        if not isinstance(split, TargetSplit):
            raise TypeError(f"split must be a TargetSplit, got {type(split).__name__}; Ranking.split() gives one")
        self.target = target
        self.easy = Selected(target, split.easy)
        self.hard = Selected(target, split.hard)
        self.source = source
        self.domains = ("easy", "hard") if source is None else ("easy", "hard", "source")
        self._labels_folder = (self.output_dir or scratch_folder(self)) / "pseudo_labels"
        self._set_up_adversary()
        if source is not None:
            self._check_source(source)
        self._use_labels(labels, self.easy)

    def fixed_datasets(self) -> Mapping[str, SampleDataset]:
        """Easy and hard images, and source if there is one."""
        return {"easy": self.easy, "hard": self.hard, **({} if self.source is None else {"source": self.source})}

    def datasets(self) -> Mapping[str, SampleDataset]:
        """Easy images with pseudo-labels, hard ones with nothing but images, and the source as given."""
        easy = self.labelled(self.easy, self._pseudo_labels())
        return {**self.fixed_datasets(), "easy": easy, "hard": Unlabelled(self.hard)}

    def _pseudo_labels(self) -> PseudoLabels:
        """Those given, or the model's own: written before the first step, read at any later one (after a resume)."""
        if self.labels is not None:
            return self.labels.check()
        if self.step_count:
            return PseudoLabels(self._labels_folder).check()
        return write_pseudo_labels(
            self.predictor(),
            self.readable(self.easy),
            self._labels_folder,
            threshold=self.config.threshold,
            num_workers=self.config.num_workers,
            precision=self.config.precision,
            progress=self.progress,
        )

    def compute(self, easy: Batch, hard: Batch, source: Batch | None = None) -> Losses:  # type: ignore[override]
        """The equations above."""
        output = self.predict(easy)
        losses: Losses = {"segmentation": self.pseudo_supervised(output.logits, easy["label"])}
        refined = self.refined(output, easy["label"], losses, class_weight=self.pseudo_class_weight)
        self.backward(losses["segmentation"] + refined)
        if source is not None:
            losses |= self.train_on_source(source, self.config.source_weight)
        if self.config.adversarial_weight:
            aligned = self.predict(hard)
            self.backward(self.adversarial(self.fuse_target(*aligned), losses))
            self.backward(self.discriminate(self.fuse_source(*output), losses))
        return losses
