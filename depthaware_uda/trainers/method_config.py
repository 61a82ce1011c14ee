"""Configurations of DAF, ISL and IDA, with the published settings and the baselines as presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from depthaware_uda.models.fusion import DepthAwareFusion, FusionMode, JointSpace
from depthaware_uda.trainers.config import TrainerConfig

__all__ = ["AdversarialConfig", "DAFConfig", "FusionName", "IDAConfig", "ISLConfig"]

FusionName = FusionMode | Literal["joint"]
"""A `DepthAwareFusion` of that mode, or the `JointSpace` of CTRL."""

_AUTHORS: dict[str, Any] = {"backbone_lr_multiplier": 3.0, "precision": "float32"}
"""What the authors' code has in every stage: "auto" would be bfloat16 on GPUs."""


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig(TrainerConfig):
    """What DAF and IDA share: the map that is aligned, the discriminator, and the weights of both."""

    _positive: ClassVar[frozenset[str]] = TrainerConfig._positive | {
        "depth_scale",
        "discriminator_learning_rate",
        "discriminator_channels",
    }
    _not_negative: ClassVar[frozenset[str]] = TrainerConfig._not_negative | {
        "refined_weight",
        "depth_power_source",
        "depth_power_target",
        "adversarial_weight",
        "discriminator_weight",
    }

    fusion: FusionName = "depth_aware"
    """The map that the discriminator sees; "joint" needs a network with a refined head."""
    refined_weight: float = 1.0
    """Factor of the cross-entropy of the refined head, which is trained where `fusion` is "joint"."""
    depth_power_source: int = 1
    """Exponent of inverse depth on maps of the source (IDA: easy) domain."""
    depth_power_target: int = 1
    """Exponent of inverse depth on maps of the target (IDA: hard) domain."""
    depth_scale: float = 1.0
    """Factor on inverse depth in the map."""
    adversarial_weight: float = 1e-3
    """Factor of the adversarial loss on target maps; 0 trains no discriminator."""
    discriminator_weight: float = 1.0
    """Factor of each of the discriminator's own two losses."""
    discriminator_learning_rate: float = 1e-4
    """Of Adam; it follows the same schedule."""
    discriminator_betas: tuple[float, float] = (0.9, 0.99)
    """Of Adam."""
    discriminator_channels: int = 64
    """Channels of the discriminator's first layer; each further layer has twice as many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fusion not in (*get_args(FusionMode), "joint"):
            raise ValueError(f"fusion must be one of {(*get_args(FusionMode), 'joint')}, got {self.fusion!r}")
        betas = self.discriminator_betas
        if not isinstance(betas, (tuple, list)) or len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"discriminator_betas must be two numbers of at least 0 and below 1, got {betas!r}")

    def fusion_module(self, domain: Literal["source", "target"]) -> DepthAwareFusion | JointSpace:
        """The map of a domain."""
        if self.fusion == "joint":
            return JointSpace()
        power = self.depth_power_source if domain == "source" else self.depth_power_target
        return DepthAwareFusion(self.fusion, power, depth_scale=self.depth_scale)


@dataclass(frozen=True, kw_only=True)
class DAFConfig(AdversarialConfig):
    """Depth-aware adaptation (DAF), and the baselines that are special cases of it.

    The defaults are the published schedule with the paper's symmetric maps; `reference` is the authors' code.
    """

    _not_negative: ClassVar[frozenset[str]] = AdversarialConfig._not_negative | {
        "entropy_weight",
        "target_depth_weight",
    }

    entropy_weight: float = 0.0
    """Factor of the entropy of target predictions (MinEnt)."""
    target_depth_weight: float = 0.0
    """Factor of `scale_shift_invariant` of the target's depth, where a monocular network estimated it: pseudo-labels
    of depth, in files that are read with ``depth_encoding="relative_inverse"``. 0 does not look at it."""

    @classmethod
    def reference(cls, **overrides: Any) -> DAFConfig:
        """What the authors' code does: depth squared on target maps, thrice the rate for the backbone, float32."""
        return cls._preset({**_AUTHORS, "depth_power_target": 2}, overrides)

    @classmethod
    def source_only(cls, **overrides: Any) -> DAFConfig:
        """No adaptation: the target is not looked at."""
        return cls._preset({"adversarial_weight": 0.0}, overrides)

    @classmethod
    def minent(cls, **overrides: Any) -> DAFConfig:
        """MinEnt (Vu et al., 2019): the entropy of target predictions is a loss. No depth."""
        return cls._preset({"adversarial_weight": 0.0, "entropy_weight": 1e-3, "depth_weight": 0.0}, overrides)

    @classmethod
    def advent(cls, **overrides: Any) -> DAFConfig:
        """AdvEnt (Vu et al., 2019): plain entropy maps are aligned. No depth."""
        return cls._preset({"fusion": "entropy", "depth_weight": 0.0}, overrides)

    @classmethod
    def dada(cls, **overrides: Any) -> DAFConfig:
        """DADA (Vu et al., 2019b): depth-aware maps; use it with ``create_model(..., depth_head="dada")``."""
        return cls._preset({}, overrides)

    @classmethod
    def ctrl(cls, **overrides: Any) -> DAFConfig:
        """CTRL (Saha et al., 2021): the joint space of segmentation, discretised depth and a refined segmentation.

        Use it with ``create_model(..., depth_head="dada", refined_head=True)``.
        """
        return cls._preset({"fusion": "joint"}, overrides)


@dataclass(frozen=True, kw_only=True)
class ISLConfig(TrainerConfig):
    """Iterative self-learning (ISL) on confident pseudo-labels of the target."""

    _positive: ClassVar[frozenset[str]] = TrainerConfig._positive | {"refresh_every"}
    _not_negative: ClassVar[frozenset[str]] = TrainerConfig._not_negative | {"source_weight"}
    _fractions: ClassVar[frozenset[str]] = TrainerConfig._fractions | {"threshold", "proportion"}

    max_steps: int = 25_000
    """Published: stopped at 25,000 of a schedule of 90,000."""
    schedule_steps: int | None = 90_000
    """Horizon of the polynomial schedule; None is `max_steps`."""
    threshold: float = 0.9
    """Least probability of a pseudo-label."""
    proportion: float | None = None
    """Keep at least this share of each class's pixels, the most confident ones; None keeps to `threshold`."""
    refresh_every: int = 10_000
    """Steps between two generations of pseudo-labels."""
    pseudo_class_weights: bool = False
    """Weigh classes by `class_weights` in the cross-entropy of pseudo-labels too, so that rare ones do not vanish."""
    source_weight: float = 1.0
    """Factor of the losses on source images, where the trainer is given a source."""

    @classmethod
    def reference(cls, **overrides: Any) -> ISLConfig:
        """What the authors' code does: thrice the rate for the backbone, float32."""
        return cls._preset({**_AUTHORS}, overrides)


@dataclass(frozen=True, kw_only=True)
class IDAConfig(AdversarialConfig):
    """Intra-domain adaptation (IDA): easy target images with pseudo-labels, hard ones aligned to them."""

    _not_negative: ClassVar[frozenset[str]] = AdversarialConfig._not_negative | {"source_weight"}
    _fractions: ClassVar[frozenset[str]] = AdversarialConfig._fractions | {"threshold"}

    max_steps: int = 120_000
    """Published: stopped at 120,000 of a schedule of 250,000."""
    schedule_steps: int | None = 250_000
    """Horizon of the polynomial schedule; None is `max_steps`."""
    discriminator_weight: float = 0.5
    """Factor of each of the discriminator's own two losses; published: half of DAF's."""
    threshold: float = 0.0
    """Least probability of an easy image's pseudo-label; published: 0, every pixel has one."""
    pseudo_class_weights: bool = False
    """Weigh classes by `class_weights` in the cross-entropy of pseudo-labels too, so that rare ones do not vanish."""
    source_weight: float = 1.0
    """Factor of the losses on source images, where the trainer is given a source."""

    @classmethod
    def reference(cls, **overrides: Any) -> IDAConfig:
        """What the authors' code does: plain entropy maps, thrice the rate for the backbone, float32."""
        return cls._preset({**_AUTHORS, "fusion": "entropy"}, overrides)

    @classmethod
    def intrada(cls, **overrides: Any) -> IDAConfig:
        """IntraDA (Pan et al., 2020): plain entropy maps, of images that were ranked by entropy alone.

        The split comes from ``EntropyRanker(model, DepthAwareFusion(mode="entropy"), fraction=0.67)``.
        """
        return cls._preset({"fusion": "entropy", "depth_weight": 0.0}, overrides)
