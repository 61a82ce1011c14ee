"""Schedules, optimisers and presets of the trainers, and invalid settings."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from depthaware_uda import (
    DAFConfig,
    IDAConfig,
    ISLConfig,
)
from depthaware_uda.trainers import TrainerConfig
from tests.tiny import Scenes, tiny_model
from tests.trainers import QUICK, batch, daf, images_only


def test_the_schedule_by_hand() -> None:
    config = DAFConfig(max_steps=100)
    assert config.learning_rate_factor(0) == 1
    assert config.learning_rate_factor(50) == pytest.approx(0.5**0.9)
    assert config.learning_rate_factor(99) == pytest.approx(0.01**0.9)
    longer = DAFConfig(max_steps=100, schedule_steps=400, poly_power=2)
    assert longer.learning_rate_factor(100) == 0.75**2
    assert DAFConfig(poly_power=0).learning_rate_factor(89_999) == 1


def test_the_warm_up_by_hand() -> None:
    config = DAFConfig(max_steps=10, warmup_steps=4, poly_power=1)
    expected = [0.25 * 1.0, 0.5 * 0.9, 0.75 * 0.8, 0.7, 0.6]
    assert [config.learning_rate_factor(step) for step in range(5)] == pytest.approx(expected)


def test_past_its_end_the_schedule_stays_at_zero() -> None:
    config = DAFConfig(max_steps=10)
    assert config.learning_rate_factor(10) == 0
    assert config.learning_rate_factor(15) == 0


def test_settings_of_ones_own_are_checked_where_annotations_are_types_too() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(TrainerConfig):
        weight: float = 0.1
        every: int | None = None

    assert Own(weight=1).every is None
    for wrong in ({"weight": "0.1"}, {"every": 1.5}):
        with pytest.raises(TypeError, match="must be of type"):
            Own(**wrong)  # type: ignore[arg-type]


def test_a_step_sets_the_learning_rate_of_every_group() -> None:
    config = DAFConfig(**{**QUICK, "backbone_lr_multiplier": 3.0, "head_lr_multiplier": 7.0})
    trainer = daf(tiny_model(), config)
    for number in range(3):
        trainer.step(source=batch(Scenes(1), 0), target=images_only(Scenes(1), 0))
        factor = (1 - number / 4) ** 0.9
        rates = [group["lr"] for group in trainer.optimizers["model"].param_groups]
        assert rates == pytest.approx([0.03 * factor, 0.07 * factor])
        assert [g["lr"] for g in trainer.optimizers["discriminator"].param_groups] == pytest.approx([0.02 * factor])


def test_the_optimizers_are_those_of_the_settings() -> None:
    trainer = daf(tiny_model(), DAFConfig(**QUICK))
    sgd, adam = trainer.optimizers["model"], trainer.optimizers["discriminator"]
    assert isinstance(sgd, torch.optim.SGD)
    assert [(g["momentum"], g["weight_decay"]) for g in sgd.param_groups] == [(0.9, 5e-4)] * 2
    assert isinstance(adam, torch.optim.Adam)
    assert adam.param_groups[0]["betas"] == (0.9, 0.99)
    assert adam.param_groups[0]["weight_decay"] == 0
    adamw = daf(tiny_model(), DAFConfig(**QUICK, optimizer="adamw")).optimizers["model"]
    assert isinstance(adamw, torch.optim.AdamW)
    assert "discriminator" not in daf(tiny_model(), DAFConfig.source_only(**QUICK)).optimizers


def test_adamw_moves_every_weight_by_the_learning_rate_at_first() -> None:
    config = DAFConfig.source_only(max_steps=9, optimizer="adamw", learning_rate=1e-3, weight_decay=0)
    model = tiny_model().double()
    before = model.gate.conv.weight.detach().clone()
    trainer = daf(model, config)
    trainer.step(source=batch(Scenes(2), 0, 1), target=images_only(Scenes(1), 0))
    moved = model.gate.conv.weight.grad.abs() > 1e-4
    assert moved.any()
    torch.testing.assert_close(
        (model.gate.conv.weight - before)[moved].abs(),
        torch.full((int(moved.sum()),), 1e-2).double(),
        rtol=1e-3,
        atol=0,
    )


PUBLISHED = {
    "optimizer": "sgd",
    "learning_rate": 2.5e-4,
    "head_lr_multiplier": 10,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "poly_power": 0.9,
    "warmup_steps": 0,
    "batch_size": 1,
    "accumulation": 1,
    "batch_norm": "joint",
    "ema_decay": 0,
    "class_weights": None,
}
ALIGNED = {
    "adversarial_weight": 1e-3,
    "depth_scale": 1,
    "discriminator_learning_rate": 1e-4,
    "discriminator_betas": (0.9, 0.99),
    "discriminator_channels": 64,
}
DEPTH_AWARE = {"fusion": "depth_aware", "depth_power_source": 1, "depth_power_target": 1}
DAF_SCHEDULE = {"max_steps": 90_000, "schedule_steps": None, "depth_weight": 1e-3, "discriminator_weight": 1}
ISL_SCHEDULE = {"max_steps": 25_000, "schedule_steps": 90_000, "refresh_every": 10_000, "threshold": 0.9}
IDA_SCHEDULE = {"max_steps": 120_000, "schedule_steps": 250_000, "discriminator_weight": 0.5, "threshold": 0}

# "auto" would be bfloat16 on a GPU.
AUTHORS = {"backbone_lr_multiplier": 3, "precision": "float32"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DAFConfig(), {**ALIGNED, **DAF_SCHEDULE, **DEPTH_AWARE, "backbone_lr_multiplier": 1, "entropy_weight": 0}),
        (
            DAFConfig.reference(),
            {**ALIGNED, **DAF_SCHEDULE, **DEPTH_AWARE, **AUTHORS, "depth_power_target": 2},
        ),
        (DAFConfig.dada(), {**ALIGNED, **DAF_SCHEDULE, **DEPTH_AWARE, "backbone_lr_multiplier": 1}),
        (DAFConfig.advent(), {**ALIGNED, **DAF_SCHEDULE, "fusion": "entropy", "depth_weight": 0, "entropy_weight": 0}),
        (DAFConfig.minent(), {**DAF_SCHEDULE, "adversarial_weight": 0, "entropy_weight": 1e-3, "depth_weight": 0}),
        (DAFConfig.source_only(), {**DAF_SCHEDULE, "adversarial_weight": 0, "entropy_weight": 0}),
        (ISLConfig(), {**ISL_SCHEDULE, "proportion": None, "backbone_lr_multiplier": 1}),
        (ISLConfig.reference(), {**ISL_SCHEDULE, **AUTHORS, "proportion": None}),
        (DAFConfig.ctrl(), {**ALIGNED, **DAF_SCHEDULE, "fusion": "joint", "refined_weight": 1, "entropy_weight": 0}),
        (IDAConfig(), {**ALIGNED, **IDA_SCHEDULE, **DEPTH_AWARE, "backbone_lr_multiplier": 1}),
        (IDAConfig.reference(), {**ALIGNED, **IDA_SCHEDULE, **AUTHORS, "fusion": "entropy"}),
        (IDAConfig.intrada(), {**ALIGNED, **IDA_SCHEDULE, "fusion": "entropy", "depth_weight": 0}),
    ],
)
def test_presets_hold_the_published_settings(config: Any, expected: dict[str, Any]) -> None:
    wanted = {**PUBLISHED, **expected}
    assert {name: getattr(config, name) for name in wanted} == wanted


def test_presets_can_be_overridden_and_are_frozen() -> None:
    config = DAFConfig.reference(depth_power_target=3, max_steps=7)
    assert (config.depth_power_target, config.max_steps, config.backbone_lr_multiplier) == (3, 7, 3)
    with pytest.raises(AttributeError):
        config.max_steps = 8  # type: ignore[misc]
    with pytest.raises(TypeError, match="learning_rat"):
        DAFConfig.advent(learning_rat=1)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (DAFConfig, {"max_steps": 0}, "max_steps must be positive, got 0"),
        (DAFConfig, {"learning_rate": -1e-3}, "learning_rate must be positive, got -0.001"),
        (DAFConfig, {"learning_rate": math.nan}, "learning_rate must be finite, got nan"),
        (DAFConfig, {"depth_weight": -1}, "depth_weight must not be negative, got -1"),
        (DAFConfig, {"adversarial_weight": math.inf}, "adversarial_weight must be finite"),
        (DAFConfig, {"ema_decay": 1.5}, r"ema_decay must lie in 0\.\.1, got 1.5"),
        (DAFConfig, {"ema_decay": 1}, "ema_decay must be below 1"),
        (DAFConfig, {"batch_size": 3, "accumulation": 2}, "accumulation 2 must divide batch_size 3"),
        (DAFConfig, {"schedule_steps": 10, "max_steps": 20}, "schedule_steps 10 must not be below max_steps 20"),
        (DAFConfig, {"optimizer": "adam"}, r"optimizer must be one of \('sgd', 'adamw'\), got 'adam'"),
        (DAFConfig, {"precision": "half"}, "precision must be one of .*got 'half'"),
        (DAFConfig, {"fusion": "depth"}, r"fusion must be one of .*got 'depth'"),
        (DAFConfig, {"depth_power_target": -1}, "depth_power_target must not be negative"),
        (DAFConfig, {"depth_scale": 0.0}, "depth_scale must be positive"),
        (DAFConfig, {"log_every": 0}, "log_every must be positive"),
        (DAFConfig, {"validate_every": -1}, "validate_every must not be negative"),
        (DAFConfig, {"class_weights": (1.0, -1.0)}, "class_weights"),
        (DAFConfig, {"discriminator_betas": (0.9,)}, r"discriminator_betas must be two numbers .* got \(0\.9,\)"),
        (DAFConfig, {"discriminator_betas": (0.9, 1.0)}, "discriminator_betas must be two numbers of at least 0 and"),
        (ISLConfig, {"threshold": 1.1}, r"threshold must lie in 0\.\.1, got 1.1"),
        (ISLConfig, {"proportion": -0.1}, r"proportion must lie in 0\.\.1, got -0.1"),
        (ISLConfig, {"refresh_every": 0}, "refresh_every must be positive"),
        (IDAConfig, {"discriminator_weight": -0.5}, "discriminator_weight must not be negative"),
    ],
)
def test_settings_out_of_range_are_named(config: type, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_other_groups_of_parameters_are_refused() -> None:
    model = tiny_model()
    model.parameter_groups = lambda: {"encoder": list(model.parameters())}  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"has the groups \['encoder'\]; its groups must be 'backbone' and 'heads'"):
        daf(model)
    model.parameter_groups = lambda: [{"params": list(model.parameters())}]  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(TypeError, match=r"DepthSegmenter must return a dictionary of the groups 'backbone' .* a list"):
        daf(model)


def test_a_network_that_is_frozen_as_a_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="DepthSegmenter has no parameter with requires_grad=True: there is nothing"):
        daf(tiny_model().requires_grad_(False))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": 2.5}, r"max_steps must be of type int, got 2\.5"),
        ({"batch_size": True}, "batch_size must be of type int, got True"),
        ({"learning_rate": "1e-3"}, "learning_rate must be of type float, got '1e-3'"),
        ({"compile": 1}, "compile must be of type bool, got 1"),
        ({"validate_every": None}, "validate_every must be of type int, got None"),
        ({"schedule_steps": "90000"}, "schedule_steps must be of type int, got '90000'"),
        ({"class_weights": "balanced"}, "class_weights must be a tuple of numbers, one a class, got a str"),
        (
            {"class_weights": torch.ones(7)},
            r"class_weights must be a tuple .* got a Tensor; .*tuple\(weights.tolist\(\)\)",
        ),
    ],
)
def test_settings_of_another_type_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        DAFConfig(**settings)
    assert DAFConfig(learning_rate=1, schedule_steps=None).learning_rate == 1
