"""Self-training with a mean teacher: labels of the target are made anew at every step, by the averaged network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from depthaware_uda.data.masks import as_tv_tensors
from depthaware_uda.data.wrappers import Unlabelled
from depthaware_uda.depth import to_inverse_depth
from depthaware_uda.inference import evaluating
from depthaware_uda.models.resize import resize_output
from depthaware_uda.pseudo_labels import pseudo_label
from depthaware_uda.self_training import (
    RareClassSampled,
    class_mask,
    confident_share,
    mix,
    nearer,
    pixel_confidence,
)
from depthaware_uda.trainers.adversarial import AdversarialTrainer
from depthaware_uda.trainers.base import Losses
from depthaware_uda.trainers.callbacks import Callback
from depthaware_uda.trainers.run.streams import Augmentation
from depthaware_uda.trainers.self_training_config import SelfTrainingConfig
from depthaware_uda.trainers.step.batch_norm import batch_statistics
from depthaware_uda.trainers.step.sharing import berhu
from depthaware_uda.types import Batch, Sample, SampleDataset, SegDepthOutput

__all__ = ["Lesson", "SelfTrainingTrainer"]


class Lesson(NamedTuple):
    """What the student learns from: images, the teacher's labels of them, and how far these are trusted."""

    image: Tensor
    """(N, 3, H, W)"""
    label: Tensor
    """(N, H, W) int64, 255 where nothing is to be learnt."""
    weight: Tensor
    """(N, H, W), in 0..1."""
    inverse_depth: Tensor | None
    """(N, 1, H, W), as the teacher predicts it."""
    pasted_depth: Tensor | None = None
    """(N, 1, H, W), true inverse depth of what was pasted, NaN elsewhere."""


class SelfTrainingTrainer(AdversarialTrainer[SelfTrainingConfig]):
    """Train on the source, and on target images with the labels of a teacher, the running average of the weights.

    A step minimises

        L_seg(source) + depth_weight * L_depth(source) + pseudo_weight * mean(w * CE(student(x), y))
        + adversarial_weight * BCE(D(map_target), source)

    where y are the teacher's labels of a target image and w how far they are trusted. With `class_mix`, half of the
    classes of the source image are pasted onto image, labels, weights and depth, and L_depth of what was pasted is
    added. The teacher sees the target image as `target_augment` left it, the student after `perturb` too. With
    ``fusion="joint"`` the map is that of `JointSpace`, and refined_weight * L_seg of the refined head is added on the
    source.

    Args:
        model: The network, trained in place.
        source: Samples with labels, and with depth unless `depth_weight` is 0.
        target: Samples; labels and depth they may have are not looked at.
        config: Settings; by default the plain mean teacher.
        output_dir: See `Trainer`, as the further arguments.
        val: Labelled samples to validate on.
        augment: Called with every training sample of the source, and of the target unless `target_augment` is given.
        target_augment: Called with every target sample, before the teacher sees it; best geometry alone.
        perturb: Called with every image that the student is given in place of the teacher's, such as
            `data.PhotometricNoise`; it must not move pixels.
        device: Where to train.
        progress: Show progress bars.
        callbacks: Called at the moments of `Callback`.

    Raises:
        TypeError: As of `Trainer`.
        ValueError: As of `Trainer`; or the source has no labels, or no depth where `depth_weight` or `mix_nearer` asks
            for it; or the fusion needs depth that the model does not predict.
    """

    domains = ("source", "target")
    config_class = SelfTrainingConfig

    def __init__(
        self,
        model: nn.Module,
        source: SampleDataset,
        target: SampleDataset,
        config: SelfTrainingConfig | None = None,
        output_dir: str | Path | None = None,
        *,
        val: SampleDataset | None = None,
        augment: Augmentation | None = None,
        target_augment: Augmentation | None = None,
        perturb: Augmentation | None = None,
        device: str | torch.device | None = None,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        super().__init__(
            model,
            config or SelfTrainingConfig(),
            output_dir=output_dir,
            val=val,
            augment=augment,
            device=device,
            progress=progress,
            callbacks=callbacks,
        )
        self.source = source
        self.target = target
        self.target_augment = target_augment or augment
        self.perturb = perturb
        self._set_up_adversary()
        self._check_source(source)
        if self.config.mix_nearer and not (self.has_depth and "depth" in self.unreadable.first(source)):
            raise ValueError("mix_nearer compares depths: the source needs depth, and the model a depth head")
        self._drawn: SampleDataset = source
        if (temperature := self.config.rare_class_temperature) is not None:
            pixels = self.config.rare_class_pixels
            self._drawn = RareClassSampled(
                self.readable(source, "source"), self.num_classes, temperature=temperature, min_pixels=pixels
            )

    def fixed_datasets(self) -> Mapping[str, SampleDataset]:
        """Source and target as given."""
        return {"source": self.source, "target": self.target}

    def datasets(self) -> Mapping[str, SampleDataset]:
        """Source, drawn by rare classes if so configured, and target without anything but images."""
        return {"source": self._drawn, "target": Unlabelled(self.target)}

    def augmentation(self, domain: str) -> Augmentation | None:
        """Source and target may have their own."""
        return self.target_augment if domain == "target" else self.augment

    def compute(self, source: Batch, target: Batch) -> Losses:  # type: ignore[override]
        """The equation above."""
        config = self.config
        losses: Losses = {}
        output = self.predict(source)
        self.backward(self.supervised(output, source, losses))

        lesson = self.teach(target)
        if config.class_mix:
            lesson = self.paste(source, lesson)
        student = self.predict(Batch(image=self._perturbed(lesson.image)))
        losses["pseudo"] = self.pseudo_supervised(student.logits, lesson.label, weight=lesson.weight)
        losses["trusted"] = lesson.weight.mean()
        total = config.pseudo_weight * losses["pseudo"]
        if config.depth_weight and lesson.pasted_depth is not None and student.inverse_depth is not None:
            losses["pasted_depth"] = berhu(student.inverse_depth, lesson.pasted_depth)
            total = total + config.depth_weight * losses["pasted_depth"]
        self.backward(total)

        if config.adversarial_weight:
            aligned = self.predict(Batch(image=self._perturbed(target["image"])))
            self.backward(self.adversarial(self.fuse_target(*aligned), losses))
            self.backward(self.discriminate(self.fuse_source(*output), losses))
        return losses

    def teach(self, target: Batch) -> Lesson:
        """What the teacher sees in target images."""
        assert self.average is not None  # the configuration has ema_decay
        image, config, teacher = target["image"], self.config, self.average.module
        own = batch_statistics(teacher) if config.teacher_statistics == "batch" else nullcontext()
        with evaluating(teacher), own, self.execution.autocast():
            output: SegDepthOutput = teacher(image)
        logits, inverse_depth = resize_output(output, image.shape[-2:])
        label = pseudo_label(logits, config.threshold if config.confidence == "none" else 0.0)
        weight = torch.ones_like(label, dtype=logits.dtype)
        if config.confidence == "image":
            weight = weight * confident_share(logits, config.threshold)[:, None, None]
        elif config.confidence == "pixel":
            weight = pixel_confidence(logits, config.threshold)
        return Lesson(image, label, weight, inverse_depth)

    def paste(self, source: Batch, lesson: Lesson) -> Lesson:
        """Half of the classes of source images on the teacher's; what is pasted is trusted wholly."""
        if source["image"].shape != lesson.image.shape:
            raise ValueError(
                f"class_mix pastes source images {tuple(source['image'].shape)} onto target images "
                f"{tuple(lesson.image.shape)}; give both domains one size, by their augmentation"
            )
        mask = class_mask(source["label"])
        depth = to_inverse_depth(source["depth"]) if "depth" in source else None
        if self.config.mix_nearer:
            assert depth is not None  # checked at the start
            assert lesson.inverse_depth is not None
            mask = nearer(mask, depth, lesson.inverse_depth)
        return Lesson(
            image=mix(mask, source["image"], lesson.image),
            label=mix(mask, source["label"], lesson.label),
            weight=mix(mask, torch.ones_like(lesson.weight), lesson.weight),
            inverse_depth=lesson.inverse_depth,
            pasted_depth=None if depth is None else mix(mask, depth, torch.full_like(depth, torch.nan)),
        )

    def _perturbed(self, images: Tensor) -> Tensor:
        if self.perturb is None:
            return images
        return torch.stack([self.perturb(as_tv_tensors(Sample(image=image)))["image"] for image in images])
