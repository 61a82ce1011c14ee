"""ISL, iterative self-learning (CTRL; Saha et al., 2021): train on the network's own confident labels of the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from depthaware_uda.pseudo_labels import PseudoLabels, write_pseudo_labels
from depthaware_uda.trainers.base import Losses, Trainer
from depthaware_uda.trainers.callbacks import Callback
from depthaware_uda.trainers.method_config import ISLConfig
from depthaware_uda.trainers.run.run_folder import scratch_folder
from depthaware_uda.trainers.run.streams import Augmentation
from depthaware_uda.types import Batch, SampleDataset

__all__ = ["ISLTrainer"]


class ISLTrainer(Trainer[ISLConfig]):
    """Train on pseudo-labels of the target: the network's own, or given ones.

    Its own are written anew every `refresh_every` steps. A step minimises the cross-entropy of target images against
    their pseudo-labels, and, if a source is given,
    source_weight * (L_seg + depth_weight * L_depth) of source images. The published method has no source here.

    Args:
        model: The network, trained in place.
        target: Samples; labels and depth they may have are not looked at.
        config: Settings; by default the published ones.
        output_dir: See `Trainer`, as the further arguments. Pseudo-labels are kept in `pseudo_labels` below it.
        source: Labelled samples to go on training on.
        labels: Pseudo-labels of the target, or their folder, to learn instead of the network's own, such as those that
            `write_pseudo_labels` wrote of an `Ensemble`; `threshold`, `proportion` and `refresh_every` are not used.
        val: Labelled samples to validate on.
        augment: Called with every training sample, pseudo-label included.
        device: Where to train.
        progress: Show progress bars.
        callbacks: Called at the moments of `Callback`.

    Raises:
        TypeError: As of `Trainer`.
        FileNotFoundError: `labels` is a folder without pseudo-labels.
        ValueError: As of `Trainer`; or the source has no labels, or no depth where `depth_weight` asks for it; or
            `labels` lacks those of an image.
    """

    labelled_domains = ("target", "source")
    config_class = ISLConfig

    def __init__(
        self,
        model: nn.Module,
        target: SampleDataset,
        config: ISLConfig | None = None,
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
            config or ISLConfig(),
            output_dir=output_dir,
            val=val,
            augment=augment,
            device=device,
            progress=progress,
            callbacks=callbacks,
        )
        self.target = target
        self.source = source
        self.domains = ("target",) if source is None else ("target", "source")
        self._labels_folder = (self.output_dir or scratch_folder(self)) / "pseudo_labels"
        self._coverage = 1.0
        self.check_inputs()
        if source is not None:
            self._check_source(source)
        self._use_labels(labels, target)

    def fixed_datasets(self) -> Mapping[str, SampleDataset]:
        """Target, and source if there is one."""
        return {"target": self.target, **({} if self.source is None else {"source": self.source})}

    def data_is_stale(self) -> bool:
        """Every `refresh_every` steps, unless pseudo-labels were given."""
        return self.labels is None and self.step_count % self.config.refresh_every == 0

    def datasets(self) -> Mapping[str, SampleDataset]:
        """The target with the current generation of pseudo-labels, and the source as given."""
        labels = self._pseudo_labels()
        self._coverage = float(labels.record["coverage"])
        return {**self.fixed_datasets(), "target": self.labelled(self.target, labels)}

    def remark(self, means: Mapping[str, float]) -> str | None:
        """Tell when no pixel has a pseudo-label."""
        if self._coverage > 0:
            return None
        return (
            f"no pixel of the target is as sure as threshold={self.config.threshold}: there are no pseudo-labels to "
            "learn from; lower it, keep a share of each class with `proportion`, or train the network further first"
        )

    def _pseudo_labels(self) -> PseudoLabels:
        """Those given, or this generation's: written at its first step, read at any later one (after a resume)."""
        if self.labels is not None:
            return self.labels.check()
        generation, age = divmod(self.step_count, self.config.refresh_every)
        folder = self._labels_folder / f"{generation:03d}"
        if age:
            return PseudoLabels(folder).check()
        return write_pseudo_labels(
            self.predictor(),
            self.readable(self.target),
            folder,
            threshold=self.config.threshold,
            proportion=self.config.proportion,
            num_workers=self.config.num_workers,
            precision=self.config.precision,
            progress=self.progress,
        )

    def compute(self, target: Batch, source: Batch | None = None) -> Losses:  # type: ignore[override]
        """The equation above."""
        losses: Losses = {"segmentation": self.pseudo_supervised(self.predict(target).logits, target["label"])}
        self.backward(losses["segmentation"])
        if source is not None:
            losses |= self.train_on_source(source, self.config.source_weight)
        return losses
