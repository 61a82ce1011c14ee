"""Trainers of tiny networks on tiny scenes, with settings that make changes visible to tests."""

from collections.abc import Callable
from typing import Any

from torch import nn

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    TargetSplit,
)
from depthaware_uda.data import collate
from depthaware_uda.trainers import Trainer
from depthaware_uda.types import Batch
from tests.tiny import Scenes

NEAR = {"rtol": 1e-7, "atol": 1e-10}
SPLIT = TargetSplit(("street/0.png", "street/2.png"), ("street/1.png", "street/3.png"))
# Small widths, and steps large enough to measure.
QUICK: dict[str, Any] = {"max_steps": 4, "learning_rate": 0.01, "discriminator_learning_rate": 0.02}
QUICK |= {"discriminator_channels": 4, "depth_scale": 0.02}
PLAIN: dict[str, Any] = {"max_steps": 4, "learning_rate": 0.01}


def daf(model: nn.Module, config: DAFConfig | None = None, **options: Any) -> DAFTrainer:
    source, target = options.pop("source", Scenes(3)), options.pop("target", Scenes(4, seed=1))
    config = config or DAFConfig(**QUICK)
    return DAFTrainer(model, source, target, config, device="cpu", progress=False, **options)


def isl(model: nn.Module, config: ISLConfig | None = None, **options: Any) -> ISLTrainer:
    target = options.pop("target", Scenes(4, seed=1))
    return ISLTrainer(model, target, config or ISLConfig(**PLAIN), device="cpu", progress=False, **options)


def ida(model: nn.Module, config: IDAConfig | None = None, **options: Any) -> IDATrainer:
    target, split = options.pop("target", Scenes(4, seed=1)), options.pop("split", SPLIT)
    return IDATrainer(model, target, split, config or IDAConfig(**QUICK), device="cpu", progress=False, **options)


def batch(scenes: Scenes, *indices: int) -> Batch:
    """Samples in float64, so that a replay can be compared closely."""
    samples = []
    for index in indices:
        sample = scenes[index]
        for key in ("image", "depth"):
            if key in sample:
                sample[key] = sample[key].double()  # type: ignore[literal-required]
        samples.append(sample)
    return collate(samples)


def images_only(scenes: Scenes, *indices: int) -> Batch:
    full = batch(scenes, *indices)
    return Batch(image=full["image"], name=full["name"])


BUILDERS: dict[str, Callable[..., Trainer[Any]]] = {
    "daf": lambda model, **options: daf(model, DAFConfig(**{**QUICK, **options.pop("settings", {})}), **options),
    "isl": lambda model, **options: isl(
        model, ISLConfig(**{**PLAIN, "threshold": 0.14, "refresh_every": 2, **options.pop("settings", {})}), **options
    ),
    "ida": lambda model, **options: ida(model, IDAConfig(**{**QUICK, **options.pop("settings", {})}), **options),
}


def losses_of(history: list[dict[str, Any]]) -> list[dict[str, float]]:
    kept = [{k: v for k, v in record.items() if k != "seconds_per_step"} for record in history]
    return [record for record in kept if "learning_rate" in record]
