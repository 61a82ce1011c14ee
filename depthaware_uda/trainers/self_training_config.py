"""Configuration of self-training with a mean teacher; every piece is off by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from depthaware_uda.trainers.method_config import AdversarialConfig

__all__ = ["Confidence", "SelfTrainingConfig", "TeacherStatistics"]

Confidence = Literal["none", "image", "pixel"]
"""How far the teacher's labels are trusted; see `SelfTrainingConfig.confidence`."""
TeacherStatistics = Literal["running", "batch"]
"""Batch-norm statistics of the teacher; see `SelfTrainingConfig.teacher_statistics`."""


@dataclass(frozen=True, kw_only=True)
class SelfTrainingConfig(AdversarialConfig):
    """Self-training with a mean teacher (Tarvainen & Valpola, 2017), and pieces that may be added to it.

    The teacher is the running average of the weights, so `ema_decay` is its inertia. By default it labels every pixel
    of a target image and the student learns from them all; `recommended` is what did best in the study of the
    documentation.
    """

    _positive: ClassVar[frozenset[str]] = AdversarialConfig._positive | {"rare_class_temperature", "rare_class_pixels"}
    _not_negative: ClassVar[frozenset[str]] = AdversarialConfig._not_negative | {"pseudo_weight"}
    _fractions: ClassVar[frozenset[str]] = AdversarialConfig._fractions | {"threshold"}

    max_steps: int = 40_000
    """Steps of the optimiser after which training stops."""
    ema_decay: float = 0.999
    """Inertia of the teacher; above 0."""
    adversarial_weight: float = 0.0
    """Factor of the adversarial loss of DAF on the student's maps of target images; 0 trains no discriminator."""
    teacher_statistics: TeacherStatistics = "running"
    """Batch-norm statistics by which the teacher labels: ``"running"`` over all that was trained on, ``"batch"`` those
    of the target images at hand, which no source image moves (as AdaBN)."""
    pseudo_weight: float = 1.0
    """Factor of the cross-entropy against the teacher's labels."""
    confidence: Confidence = "none"
    """Weight of those labels: ``"image"`` the share of an image's pixels surer than `threshold` (DACS), ``"pixel"``
    each pixel's own probability where it reaches `threshold`, ``"none"`` 1 where it reaches it."""
    threshold: float = 0.0
    """Probability that counts as sure; published for ``"image"``: 0.968."""
    pseudo_class_weights: bool = False
    """Weigh classes by `class_weights` in that cross-entropy too, so that rare ones do not vanish from the teacher."""
    class_mix: bool = False
    """Paste half of the classes of a source image, with labels and depth, onto the target image (ClassMix, DACS)."""
    mix_nearer: bool = False
    """Paste only what is nearer than what it hides, by the teacher's depth (DepthMix; Hoyer et al., 2021)."""
    rare_class_temperature: float | None = None
    """Draw source images by their rare classes (DAFormer) at this temperature; None draws all alike."""
    rare_class_pixels: int = 50
    """Least number of pixels by which a source image shows a class, for that."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (("confidence", Confidence), ("teacher_statistics", TeacherStatistics)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} must be one of {get_args(choices)}, got {getattr(self, name)!r}")
        if not self.ema_decay:
            raise ValueError("ema_decay must be above 0: the teacher is the average of the weights")
        if self.mix_nearer and not self.class_mix:
            raise ValueError("mix_nearer says which part of a class is pasted; it needs class_mix=True")

    @classmethod
    def recommended(cls, **overrides: Any) -> SelfTrainingConfig:
        """What did best in the study, for a network that DAF has aligned.

        Class-mix, labels weighed by confidence in their image and by class, the teacher's own statistics, DAF's term.
        Give it `class_weights` (`data.class_weights`): without them no class weighs more than another.
        """
        settings = {
            "adversarial_weight": 0.05,
            "discriminator_learning_rate": 1e-3,
            "discriminator_channels": 32,
            "class_mix": True,
            "pseudo_class_weights": True,
            "confidence": "image",
            "threshold": 0.9,
            "ema_decay": 0.98,
            "ema_ramp": False,
            "teacher_statistics": "batch",
            "batch_norm": "target",
        }
        return cls._preset(settings, overrides)
