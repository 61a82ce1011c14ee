"""What the configurations of all trainers share: frozen, checked on construction."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args

from depthaware_uda.models.checkpointing import Checkpointing
from depthaware_uda.precision import Precision
from depthaware_uda.types import OnError

__all__ = ["BatchNormMode", "OptimizerName", "TrainerConfig", "ValidationMode"]

OptimizerName = Literal["sgd", "adamw"]
"""Optimiser of the network's weights."""
BatchNormMode = Literal["joint", "target", "frozen"]
"""Which statistics the network predicts with; see `TrainerConfig.batch_norm`."""
ValidationMode = Literal["oracle", "label_free"]
"""Which validation is the best one; see `TrainerConfig.validation`."""

_NUMBERS: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (float, int)}
"""What a setting may be, by its annotation."""

Self = TypeVar("Self", bound="TrainerConfig")


def _is_number(value: object, wanted: str) -> bool:
    """Whether a value is of a type of `_NUMBERS`; to Python, True is an integer too."""
    return isinstance(value, _NUMBERS[wanted]) and isinstance(value, bool) == (wanted == "bool")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """What every stage of training shares. Learning rates follow base * (1 - step / schedule_steps) ** poly_power.

    Raises:
        TypeError: There is no such setting, or it is of another type.
        ValueError: A setting is out of its range or not one of its choices, or two do not fit each other.
    """

    _positive: ClassVar[frozenset[str]] = frozenset(
        {"max_steps", "schedule_steps", "learning_rate", "batch_size", "accumulation", "log_every", "keep_checkpoints"}
        | {"label_free_images"}
    )
    _not_negative: ClassVar[frozenset[str]] = frozenset(
        {"poly_power", "warmup_steps", "backbone_lr_multiplier", "head_lr_multiplier", "momentum", "weight_decay"}
        | {"depth_weight", "seed", "num_workers", "validate_every", "checkpoint_every"}
        | {"max_skipped_steps", "max_unreadable"}
    )
    _fractions: ClassVar[frozenset[str]] = frozenset({"ema_decay"})

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
    """Of the network's forward pass, and of that which writes pseudo-labels; losses and maps are float32. "auto" is
    bfloat16 on GPUs that have it."""
    checkpointing: Checkpointing = "none"
    """What the backward pass computes again to hold less in memory: "norms" the norms and activation functions of the
    published ResNet-101, for a few percent of time; "all" every block of the backbone, for about a third. The weights
    are the same."""
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
    """Processes that read each domain's samples, and those of validations and of passes over the target."""
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
    with a warning. Those of `val` must be readable."""
    max_unreadable: int = 10
    """Different samples that "skip" leaves out, in each process, before it ends the run too."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            # A string in a module with postponed annotations, else a type or a union of them.
            annotation = field.type.__name__ if isinstance(field.type, type) else str(field.type)
            wanted = annotation.removesuffix(" | None")
            if value is None and wanted != annotation:
                continue
            if wanted in _NUMBERS and not _is_number(value, wanted):
                raise TypeError(f"{field.name} must be of type {wanted}, got {value!r}")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{field.name} must be finite, got {value}")
            if field.name in self._positive and value <= 0:
                raise ValueError(f"{field.name} must be positive, got {value}")
            if field.name in self._not_negative and value < 0:
                raise ValueError(f"{field.name} must not be negative, got {value}")
            if field.name in self._fractions and not 0 <= value <= 1:
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
        weights = () if self.class_weights is None else self.class_weights
        if not isinstance(weights, (tuple, list)):
            raise TypeError(
                f"class_weights must be a tuple of numbers, one a class, got a {type(weights).__name__}; "
                "data.class_weights gives one, and tuple(weights.tolist()) that of a tensor"
            )
        if any(not (math.isfinite(weight) and weight >= 0) for weight in weights):
            raise ValueError(f"class_weights must be finite and not negative, got {weights}")
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
