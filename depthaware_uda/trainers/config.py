"""Configurations of the trainers: frozen, checked on construction, with the published settings as presets."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, get_args

from depthaware_uda.models.checkpointing import Checkpointing
from depthaware_uda.models.fusion import DepthAwareFusion, FusionMode, JointSpace

__all__ = [
    "AdversarialConfig",
    "BatchNormMode",
    "DAFConfig",
    "FusionName",
    "IDAConfig",
    "ISLConfig",
    "OnError",
    "OptimizerName",
    "Precision",
    "TrainerConfig",
    "ValidationMode",
]

FusionName = FusionMode | Literal["joint"]
"""A `DepthAwareFusion` of that mode, or the `JointSpace` of CTRL."""
OnError = Literal["raise", "skip"]
"""What happens when a training sample cannot be read; see `TrainerConfig.on_error`."""
OptimizerName = Literal["sgd", "adamw"]
"""Optimiser of the network's weights."""
Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""Precision of the network's forward pass."""
BatchNormMode = Literal["joint", "target", "frozen"]
"""Which statistics the network predicts with; see `TrainerConfig.batch_norm`."""
ValidationMode = Literal["oracle", "label_free"]
"""Which validation is the best one; see `TrainerConfig.validation`."""

_POSITIVE = frozenset(
    {
        "max_steps",
        "schedule_steps",
        "learning_rate",
        "batch_size",
        "accumulation",
        "log_every",
        "keep_checkpoints",
        "refresh_every",
        "label_free_images",
    }
    | {"discriminator_learning_rate", "discriminator_channels", "depth_scale"}
)
_NOT_NEGATIVE = frozenset(
    {"poly_power", "warmup_steps", "backbone_lr_multiplier", "head_lr_multiplier", "momentum", "weight_decay", "seed"}
    | {"depth_weight", "source_weight", "adversarial_weight", "entropy_weight", "discriminator_weight"}
    | {"refined_weight", "target_depth_weight"}
    | {"depth_power_source", "depth_power_target", "num_workers", "validate_every", "checkpoint_every"}
    | {"max_skipped_steps", "max_unreadable"}
)
_FRACTIONS = frozenset({"ema_decay", "threshold", "proportion"})

Self = TypeVar("Self", bound="TrainerConfig")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """What every stage of training shares. Learning rates follow base * (1 - step / schedule_steps) ** poly_power."""

    max_steps: int = 90_000
    """Steps of the optimiser after which training stops."""
    schedule_steps: int | None = None
    """Horizon of the polynomial schedule; None is `max_steps`."""
    poly_power: float = 0.9
    """Exponent of the schedule; 0 keeps the learning rate."""
    warmup_steps: int = 0
    """Steps over which the learning rates rise linearly from 0."""
    optimizer: OptimizerName = "sgd"
    """SGD with momentum (published) or AdamW."""
    learning_rate: float = 2.5e-4
    """Before the two factors below."""
    backbone_lr_multiplier: float = 1.0
    """Factor on the learning rate of the backbone."""
    head_lr_multiplier: float = 10.0
    """Factor on the learning rate of the heads."""
    momentum: float = 0.9
    """Of SGD; AdamW has betas of its own."""
    weight_decay: float = 5e-4
    """Of SGD in the gradient, of AdamW decoupled from it."""
    batch_size: int = 1
    """Images of each domain in a step, over all processes together."""
    accumulation: int = 1
    """Forward passes that a step's batch is divided into, in each process."""
    precision: Precision = "auto"
    """Of the network's forward pass; losses and maps are float32. "auto" is bfloat16 on GPUs that have it."""
    checkpointing: Checkpointing = "none"
    """What the backward pass computes again to hold less in memory: "early" the stages at large maps, for a few percent
    of time; "all" every block of the backbone, for about a third. The weights are the same."""
    compile: bool = False
    """Compile the network for training (`torch.compile`), once for every size of images."""
    deterministic: bool = False
    """Use deterministic algorithms where torch has them; it warns of operations that have none. On CPUs all have."""
    batch_norm: BatchNormMode = "joint"
    """The statistics that the network predicts with: "joint" as they ran over all domains in training (published),
    "target" taken anew from the target's images, without augmentation, whenever it predicts (AdaBN; Li et al., 2017),
    "frozen" those it came with, used in training too."""
    sync_batch_norm: bool = False
    """Normalise in training over the images of all processes (`torch.nn.SyncBatchNorm`; GPUs only), not over each
    one's own. Nothing changes in one process."""
    ema_decay: float = 0.0
    """Above 0, average the weights exponentially; validation looks at the average, and `fit` ends with it."""
    ema_ramp: bool = True
    """Begin the average with little inertia, min(ema_decay, (1 + step) / (10 + step)): it looks back a ninth of the
    steps done at most, and soon forgets weights that were not trained. Switch it off for a stage that goes on from a
    trained network, and short stages are averaged over more of their steps."""
    depth_weight: float = 1e-3
    """Factor of the depth loss, where depth is known."""
    class_weights: tuple[float, ...] | None = None
    """Weight of each class in the cross-entropy of source labels."""
    seed: int = 0
    """Decides the order of the data, its augmentation, the discriminator's first weights, and dropout."""
    num_workers: int = 0
    """Processes that read each domain's samples."""
    log_every: int = 50
    """Steps between two records of the log."""
    validate_every: int = 0
    """Steps between two validations; 0 validates at the end only."""
    validation: ValidationMode = "oracle"
    """Which validation is the best one: "oracle" that of the highest mIoU on `val`, which looks at labels, "label_free"
    that of the highest `label_free.label_free_score` on the target's images; `val` may then be absent."""
    label_free_images: int = 100
    """How many of the target's images that score looks at, evenly spaced."""
    checkpoint_every: int = 1000
    """Steps between two checkpoints; 0 writes one at the end only."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints stay on the disk, besides the best weights."""
    max_skipped_steps: int = 0
    """Steps with a NaN or infinite loss or gradient that are left out before `TrainingDiverged` ends the run."""
    save_bad_batches: bool = False
    """Keep the batches of such steps in `bad_steps` of the output folder."""
    on_error: OnError = "raise"
    """What a training sample that cannot be read does: "raise" ends the run, "skip" lets another one stand in for it,
    with a warning. The first sample of each data set, and those of the validation, must be readable."""
    max_unreadable: int = 10
    """Different samples that "skip" leaves out, in each process, before it ends the run too."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{field.name} must be finite, got {value}")
            if value is None:
                continue
            if field.name in _POSITIVE and value <= 0:
                raise ValueError(f"{field.name} must be positive, got {value}")
            if field.name in _NOT_NEGATIVE and value < 0:
                raise ValueError(f"{field.name} must not be negative, got {value}")
            if field.name in _FRACTIONS and not 0 <= value <= 1:
                raise ValueError(f"{field.name} must lie in 0..1, got {value}")
        choices_of = {
            "on_error": OnError,
            "optimizer": OptimizerName,
            "checkpointing": Checkpointing,
            "precision": Precision,
            "batch_norm": BatchNormMode,
            "validation": ValidationMode,
        }
        for name, choices in ((name, get_args(literal)) for name, literal in choices_of.items()):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {choices}, got {getattr(self, name)!r}")
        if self.batch_size % self.accumulation:
            raise ValueError(f"accumulation {self.accumulation} must divide batch_size {self.batch_size}")
        if self.schedule_steps is not None and self.schedule_steps < self.max_steps:
            raise ValueError(f"schedule_steps {self.schedule_steps} must not be below max_steps {self.max_steps}")
        if any(not (math.isfinite(weight) and weight >= 0) for weight in self.class_weights or ()):
            raise ValueError(f"class_weights must be finite and not negative, got {self.class_weights}")
        if self.ema_decay == 1:
            raise ValueError("ema_decay must be below 1: with 1 the average never moves")

    def learning_rate_factor(self, step: int) -> float:
        """Factor of every learning rate at a step, counted from 0."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        horizon = self.schedule_steps or self.max_steps
        return float(warmup * max(0.0, 1 - step / horizon) ** self.poly_power)

    @classmethod
    def _preset(cls: type[Self], settings: dict[str, Any], overrides: dict[str, Any]) -> Self:
        return cls(**{**settings, **overrides})


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig(TrainerConfig):
    """What DAF and IDA share: the map that is aligned, the discriminator, and the weights of both."""

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
        self.fusion_module("source")

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

    entropy_weight: float = 0.0
    """Factor of the entropy of target predictions (MinEnt)."""
    target_depth_weight: float = 0.0
    """Factor of `scale_shift_invariant` of the target's depth, where a monocular network estimated it: pseudo-labels
    of depth, in files that are read with ``depth_encoding="relative_inverse_depth"``. 0 does not look at it."""

    @classmethod
    def reference(cls, **overrides: Any) -> DAFConfig:
        """What the authors' code does: depth squared on target maps, the backbone stepped three times an iteration."""
        return cls._preset({"depth_power_target": 2, "backbone_lr_multiplier": 3.0}, overrides)

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
        """What the authors' code does."""
        return cls._preset({"backbone_lr_multiplier": 3.0}, overrides)


@dataclass(frozen=True, kw_only=True)
class IDAConfig(AdversarialConfig):
    """Intra-domain adaptation (IDA): easy target images with pseudo-labels, hard ones aligned to them."""

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
        """What the authors' code does: plain entropy maps."""
        return cls._preset({"fusion": "entropy", "backbone_lr_multiplier": 3.0}, overrides)

    @classmethod
    def intrada(cls, **overrides: Any) -> IDAConfig:
        """IntraDA (Pan et al., 2020): plain entropy maps, of images that were ranked by entropy alone.

        The split comes from ``EntropyRanker(model, DepthAwareFusion(mode="entropy"), fraction=0.67)``.
        """
        return cls._preset({"fusion": "entropy", "depth_weight": 0.0}, overrides)
