"""Every trainer's step replayed in plain PyTorch, its schedules, presets and averages, and what it refuses."""

import copy
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    PseudoLabels,
    SegDepthOutput,
    TargetSplit,
    evaluate,
    load_pretrained,
)
from depthaware_uda.data import collate
from depthaware_uda.trainers import Trainer, read_log
from depthaware_uda.trainers.averaging import WeightAverage
from depthaware_uda.trainers.streams import stream
from depthaware_uda.types import Batch, Sample
from tests.tiny import Listed, Scenes, assert_same_weights, tiny_model, weights

NEAR = {"rtol": 1e-7, "atol": 1e-10}
SPLIT = TargetSplit(("street/0.png", "street/2.png"), ("street/1.png", "street/3.png"))
# Small widths, and steps large enough to see.
QUICK: dict[str, Any] = {"max_steps": 4, "learning_rate": 0.01, "discriminator_learning_rate": 0.01}
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
    """Samples in float64, so that a replay may be compared closely."""
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


# Steps replayed longhand ----------------------------------------------------------------------------------------------


class Longhand:
    """The equations of the papers on copies of a trainer's networks, with nothing of the library in them."""

    def __init__(self, trainer: Trainer[Any]) -> None:
        self.config = trainer.config
        self.model = copy.deepcopy(trainer.model)
        self.step_number = 0
        config = self.config
        heads = [p for name, p in self.model.named_parameters() if not name.startswith("backbone.")]
        self.rates = [
            config.learning_rate * config.backbone_lr_multiplier,
            config.learning_rate * config.head_lr_multiplier,
        ]
        groups = [{"params": list(self.model.backbone.parameters())}, {"params": heads}]
        self.sgd = torch.optim.SGD(groups, lr=1.0, momentum=config.momentum, weight_decay=config.weight_decay)
        if isinstance(config, DAFConfig | IDAConfig):
            self.discriminator = copy.deepcopy(trainer.discriminator)  # type: ignore[attr-defined]
            parameters = self.discriminator.parameters()
            self.adam = torch.optim.Adam(parameters, lr=1.0, betas=config.discriminator_betas)

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        size = image.shape[-2:]
        logits, depth = self.model(image)
        return tuple(F.interpolate(x, size=size, mode="bilinear", align_corners=True) for x in (logits, depth))

    def fuse(self, logits: Tensor, depth: Tensor, power: int) -> Tensor:
        p = logits.softmax(1)
        information = -p * p.log() / math.log(logits.shape[1])
        if self.config.fusion == "entropy":
            return information
        return information * (self.config.depth_scale * depth) ** power

    def berhu(self, depth: Tensor, metres: Tensor) -> Tensor:
        known = ~metres.isnan()
        error = (depth - 655.36 / (metres + 0.01))[known].abs()
        c = error.max().item() / 5
        return torch.where(error <= c, error, (error**2 + c**2) / (2 * c)).mean()

    def step(self, labelled: Batch, aligned: Batch | None = None, more: Batch | None = None) -> dict[str, float]:
        """A step on a labelled batch (source or easy), an unlabelled one (target or hard), and a source beside them."""
        config = self.config
        losses: dict[str, Tensor] = {}
        decay = (1 - self.step_number / (config.schedule_steps or config.max_steps)) ** 0.9
        for group, rate in zip(self.sgd.param_groups, self.rates, strict=True):
            group["lr"] = rate * decay
        self.model.train().zero_grad()

        logits, depth = self.maps(labelled["image"])
        weight = None if config.class_weights is None else torch.tensor(config.class_weights, dtype=torch.float64)
        losses["segmentation"] = F.cross_entropy(logits, labelled["label"], weight, ignore_index=255)
        total = losses["segmentation"]
        if config.depth_weight and "depth" in labelled and isinstance(config, DAFConfig):
            losses["depth"] = self.berhu(depth, labelled["depth"])
            total = total + config.depth_weight * losses["depth"]
        total.backward()
        if more is not None:
            more_logits, more_depth = self.maps(more["image"])
            losses["source_segmentation"] = F.cross_entropy(more_logits, more["label"], weight, ignore_index=255)
            losses["source_depth"] = self.berhu(more_depth, more["depth"])
            total = losses["source_segmentation"] + config.depth_weight * losses["source_depth"]
            (config.source_weight * total).backward()
        if aligned is not None:
            aligned_logits, aligned_depth = self.maps(aligned["image"])
            total = torch.zeros((), dtype=torch.float64)
            if isinstance(config, DAFConfig) and config.entropy_weight:
                p = aligned_logits.softmax(1)
                losses["entropy"] = (-p * p.log()).sum(1).mean() / math.log(logits.shape[1])
                total = total + config.entropy_weight * losses["entropy"]
            if config.adversarial_weight:
                map_target = self.fuse(aligned_logits, aligned_depth, config.depth_power_target)
                losses["adversarial"] = F.softplus(self.discriminator(map_target)).mean()
                total = total + config.adversarial_weight * losses["adversarial"]
            total.backward()
        if aligned is not None and config.adversarial_weight:
            # What the adversarial loss left on the discriminator is thrown away.
            self.discriminator.zero_grad()
            map_source = self.fuse(logits, depth, config.depth_power_source)
            losses["discriminator_source"] = F.softplus(self.discriminator(map_source.detach())).mean()
            losses["discriminator_target"] = F.softplus(-self.discriminator(map_target.detach())).mean()
            both = losses["discriminator_source"] + losses["discriminator_target"]
            (config.discriminator_weight * both).backward()
            for group in self.adam.param_groups:
                group["lr"] = config.discriminator_learning_rate * decay
            self.adam.step()
        self.sgd.step()
        self.step_number += 1
        return {name: float(loss.detach()) for name, loss in losses.items()}


def assert_replayed(
    trainer: Trainer[Any], longhand: Longhand, ours: dict[str, Tensor], theirs: dict[str, float]
) -> None:
    assert {name: float(loss) for name, loss in ours.items()} == pytest.approx(theirs, rel=1e-9)
    torch.testing.assert_close(weights(trainer.model), weights(longhand.model), **NEAR)
    if hasattr(longhand, "discriminator"):
        discriminator = trainer.discriminator  # type: ignore[attr-defined]
        torch.testing.assert_close(weights(discriminator), weights(longhand.discriminator), **NEAR)


ADVERSARIAL = {"adversarial_weight": 0.5, "depth_weight": 0.01}
DAF_STEPS = {
    "depth-aware": (DAFConfig(**QUICK, **ADVERSARIAL), {"segmentation", "depth", "adversarial"}),
    "reference": (DAFConfig.reference(**QUICK, **ADVERSARIAL), {"segmentation", "depth", "adversarial"}),
    "weighted": (
        DAFConfig(
            **QUICK, **ADVERSARIAL, class_weights=(1, 2, 3, 0.5, 0, 1, 4), discriminator_weight=0.3, entropy_weight=2
        ),
        {"segmentation", "depth", "entropy", "adversarial"},
    ),
    "AdvEnt": (DAFConfig.advent(**QUICK, adversarial_weight=0.5), {"segmentation", "adversarial"}),
    "MinEnt": (DAFConfig.minent(**{**QUICK, "entropy_weight": 0.5}), {"segmentation", "entropy"}),
    "source only": (DAFConfig.source_only(**QUICK, depth_weight=0.01), {"segmentation", "depth"}),
}


@pytest.mark.parametrize("name", DAF_STEPS)
def test_daf_steps_replayed_longhand(name: str) -> None:
    config, expected = DAF_STEPS[name]
    model, (source, target) = tiny_model().double(), (Scenes(3), Scenes(4, seed=1))
    trainer = daf(model, config, source=source, target=target)
    longhand = Longhand(trainer)
    before = weights(model)
    for number in range(2):
        labelled, aligned = batch(source, number, 2), images_only(target, number)
        ours = trainer.step(source=labelled, target=aligned)
        theirs = longhand.step(labelled, None if name == "source only" else aligned)
        assert_replayed(trainer, longhand, ours, theirs)
        if config.adversarial_weight:
            pairs = zip(trainer.discriminator.parameters(), longhand.discriminator.parameters(), strict=True)
            for our, their in pairs:  # the adversarial loss left no gradient on the discriminator
                torch.testing.assert_close(our.grad, their.grad, **NEAR)
            assert all(parameter.requires_grad for parameter in trainer.discriminator.parameters())
    judged = {"discriminator_source", "discriminator_target"} if config.adversarial_weight else set()
    assert set(ours) == expected | judged
    assert not any(loss.requires_grad for loss in ours.values())
    assert trainer.step_count == 2
    assert any(not torch.equal(value, before[key]) for key, value in weights(model).items())


@pytest.mark.parametrize("source", [None, Scenes(2, seed=2)], ids=["as published", "with a source"])
def test_isl_steps_replayed_longhand(source: Scenes | None) -> None:
    target = Scenes(4, seed=1)
    trainer = isl(tiny_model().double(), ISLConfig(**PLAIN, source_weight=0.7, depth_weight=0.01), source=source)
    longhand = Longhand(trainer)
    for number in range(2):
        labelled = batch(target, number, 3)
        more = None if source is None else batch(source, number)
        ours = trainer.step(target=labelled, **({} if more is None else {"source": more}))
        assert_replayed(trainer, longhand, ours, longhand.step(labelled, more=more))
    assert set(ours) == {"segmentation"} | (set() if source is None else {"source_segmentation", "source_depth"})


@pytest.mark.parametrize("source", [None, Scenes(2, seed=2)], ids=["as published", "with a source"])
@pytest.mark.parametrize("preset", [IDAConfig, IDAConfig.reference], ids=["depth-aware", "reference"])
def test_ida_steps_replayed_longhand(preset: Callable[..., IDAConfig], source: Scenes | None) -> None:
    target = Scenes(4, seed=1)
    config = preset(**QUICK, **ADVERSARIAL, source_weight=0.7)
    trainer = ida(tiny_model().double(), config, source=source)
    longhand = Longhand(trainer)
    for number in range(2):
        easy, hard = batch(target, 2 * number), images_only(target, 2 * number + 1)
        more = None if source is None else batch(source, number)
        ours = trainer.step(easy=easy, hard=hard, **({} if more is None else {"source": more}))
        assert_replayed(trainer, longhand, ours, longhand.step(easy, hard, more))
    assert config.discriminator_weight == 0.5
    assert {"segmentation", "adversarial", "discriminator_source", "discriminator_target"} <= set(ours)


def test_the_discriminator_weight_scales_its_gradient_alone() -> None:
    gradients, losses = [], []
    for factor in (1.0, 0.5):
        trainer = ida(tiny_model().double(), IDAConfig(**QUICK, discriminator_weight=factor))
        target = Scenes(4, seed=1)
        losses.append(trainer.step(easy=batch(target, 0), hard=images_only(target, 1)))
        gradients.append([p.grad for p in trainer.discriminator.parameters()])
    for whole, half in zip(*gradients, strict=True):
        torch.testing.assert_close(half, whole / 2)
    assert losses[0] == losses[1]


def test_without_known_depth_in_a_batch_there_is_no_depth_loss() -> None:
    trainer = daf(tiny_model(), DAFConfig(**QUICK, depth_weight=1.0))
    source = batch(Scenes(1, depth=False), 0)
    assert "depth" not in trainer.step(source=source, target=images_only(Scenes(1), 0))


def test_a_batch_in_parts_makes_the_step_of_the_whole_batch() -> None:
    # berHu's threshold is one of a part, so the depth loss is left out; every label is valid, so parts weigh alike.
    source, target = Scenes(2, holes=False), Scenes(2, seed=1)
    after = []
    for accumulation in (1, 2):
        settings = {**QUICK, "batch_size": 2, "accumulation": accumulation, "batch_norm": "frozen"}
        trainer = daf(tiny_model().double(), DAFConfig(**settings, depth_weight=0, adversarial_weight=0.5))
        losses = trainer.step(source=batch(source, 0, 1), target=images_only(target, 0, 1))
        after.append((weights(trainer.model), weights(trainer.discriminator), losses))
    torch.testing.assert_close(after[1], after[0], rtol=1e-6, atol=1e-9)
    assert after[0][2]["segmentation"] > 0


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    trainer = daf(tiny_model(), DAFConfig(**QUICK, batch_size=2, accumulation=2))
    with pytest.raises(ValueError, match="the source batch of 3 images cannot be divided into 2 equal parts"):
        trainer.step(source=batch(Scenes(3), 0, 1, 2), target=images_only(Scenes(3), 0, 1))


def test_frozen_batch_norm_keeps_its_statistics_and_normalizes_with_them() -> None:
    source, target = Scenes(2), Scenes(2, seed=1)

    def trained(frozen: bool) -> tuple[dict[str, Tensor], float]:
        trainer = daf(tiny_model(), DAFConfig(**QUICK, batch_norm="frozen" if frozen else "joint"))
        losses = trainer.step(source=batch(source, 0, 1), target=images_only(target, 0))
        return weights(trainer.model), float(losses["segmentation"])

    before = weights(tiny_model())
    statistics = [key for key in before if "running" in key or "tracked" in key]
    (frozen, frozen_loss), (moved, moved_loss) = trained(True), trained(False)
    assert statistics
    assert all(torch.equal(frozen[key], before[key]) for key in statistics)
    assert not any(torch.equal(moved[key], before[key]) for key in statistics)
    model = tiny_model().eval()
    logits = F.interpolate(
        model(batch(source, 0, 1)["image"].float()).logits, (32, 40), mode="bilinear", align_corners=True
    )
    expected = F.cross_entropy(logits, batch(source, 0, 1)["label"], ignore_index=255).item()
    assert frozen_loss == pytest.approx(expected, rel=1e-6)
    assert frozen_loss != pytest.approx(moved_loss, rel=1e-6)


def test_a_network_without_parameter_groups_is_trained_as_heads() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 7, 1)

        def forward(self, image: Tensor) -> SegDepthOutput:
            return SegDepthOutput(self.layer(image), None)

    model = Linear()
    config = DAFConfig.source_only(max_steps=2, learning_rate=0.1, weight_decay=0, depth_weight=0)
    trainer = daf(model, config)
    before = model.layer.bias.detach().clone()
    trainer.step(source=batch(Scenes(1), 0), target=images_only(Scenes(1), 0))
    torch.testing.assert_close(model.layer.bias, before - 0.1 * 10 * model.layer.bias.grad)


def test_bfloat16_keeps_weights_and_losses_in_float32() -> None:
    trainer = daf(tiny_model(), DAFConfig(**QUICK, precision="bfloat16"))
    exact = daf(tiny_model(), DAFConfig(**QUICK, precision="float32"))
    batches = {"source": batch(Scenes(1), 0), "target": images_only(Scenes(1, seed=1), 0)}
    half, full = trainer.step(**batches), exact.step(**batches)
    assert {loss.dtype for loss in half.values()} == {torch.float32}
    assert {value.dtype for value in weights(trainer.model).values()} <= {torch.float32, torch.int64}
    assert half["segmentation"] != full["segmentation"]
    assert float(half["segmentation"]) == pytest.approx(float(full["segmentation"]), rel=0.02)


# Schedules and settings -----------------------------------------------------------------------------------------------


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


def test_a_step_sets_the_learning_rate_of_every_group() -> None:
    config = DAFConfig(**{**QUICK, "backbone_lr_multiplier": 3.0, "head_lr_multiplier": 7.0})
    trainer = daf(tiny_model(), config)
    for number in range(3):
        trainer.step(source=batch(Scenes(1), 0), target=images_only(Scenes(1), 0))
        factor = (1 - number / 4) ** 0.9
        rates = [group["lr"] for group in trainer.optimizers["model"].param_groups]
        assert rates == pytest.approx([0.03 * factor, 0.07 * factor])
        assert [g["lr"] for g in trainer.optimizers["discriminator"].param_groups] == pytest.approx([0.01 * factor])


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


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DAFConfig(), {**ALIGNED, **DAF_SCHEDULE, **DEPTH_AWARE, "backbone_lr_multiplier": 1, "entropy_weight": 0}),
        (
            DAFConfig.reference(),
            {**ALIGNED, **DAF_SCHEDULE, **DEPTH_AWARE, "depth_power_target": 2, "backbone_lr_multiplier": 3},
        ),
        (DAFConfig.dada(), {**ALIGNED, **DAF_SCHEDULE, **DEPTH_AWARE, "backbone_lr_multiplier": 1}),
        (DAFConfig.advent(), {**ALIGNED, **DAF_SCHEDULE, "fusion": "entropy", "depth_weight": 0, "entropy_weight": 0}),
        (DAFConfig.minent(), {**DAF_SCHEDULE, "adversarial_weight": 0, "entropy_weight": 1e-3, "depth_weight": 0}),
        (DAFConfig.source_only(), {**DAF_SCHEDULE, "adversarial_weight": 0, "entropy_weight": 0}),
        (ISLConfig(), {**ISL_SCHEDULE, "proportion": None, "backbone_lr_multiplier": 1}),
        (ISLConfig.reference(), {**ISL_SCHEDULE, "proportion": None, "backbone_lr_multiplier": 3}),
        (DAFConfig.ctrl(), {**ALIGNED, **DAF_SCHEDULE, "fusion": "joint", "refined_weight": 1, "entropy_weight": 0}),
        (IDAConfig(), {**ALIGNED, **IDA_SCHEDULE, **DEPTH_AWARE, "backbone_lr_multiplier": 1}),
        (IDAConfig.reference(), {**ALIGNED, **IDA_SCHEDULE, "fusion": "entropy", "backbone_lr_multiplier": 3}),
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
        (ISLConfig, {"threshold": 1.1}, r"threshold must lie in 0\.\.1, got 1.1"),
        (ISLConfig, {"proportion": -0.1}, r"proportion must lie in 0\.\.1, got -0.1"),
        (ISLConfig, {"refresh_every": 0}, "refresh_every must be positive"),
        (IDAConfig, {"discriminator_weight": -0.5}, "discriminator_weight must not be negative"),
    ],
)
def test_settings_out_of_range_are_named(config: type, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**settings)


# What trainers refuse -------------------------------------------------------------------------------------------------


class Sixteen(Scenes):
    """Scenes of another label space, of sixteen classes."""

    def __init__(self) -> None:
        super().__init__(2, space="cityscapes16")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: daf(tiny_model(), source=Scenes(0)), "source is empty: it needs at least one sample"),
        (lambda: daf(tiny_model(), target=Scenes(0)), "target is empty"),
        (lambda: daf(tiny_model(), val=Scenes(0)), "val is empty"),
        (lambda: isl(tiny_model(), target=Scenes(0)), "target is empty"),
        (lambda: isl(tiny_model(), source=Scenes(0)), "source is empty"),
        (
            lambda: daf(tiny_model(), source=Sixteen()),
            "source has the 16 classes of .*, but the model predicts 7; create",
        ),
        (lambda: daf(tiny_model(), target=Sixteen()), "target has the 16 classes of label space 'cityscapes16'"),
        (lambda: isl(tiny_model(), val=Sixteen()), "val has the 16 classes"),
        (
            lambda: ida(tiny_model(), target=Sixteen(), split=TargetSplit(("street/0.png",), ("street/1.png",))),
            "16 cla",
        ),
        (lambda: daf(tiny_model(), val=Scenes(1, labels=False)), "val has no labels"),
        (lambda: daf(tiny_model(), source=Scenes(1, labels=False)), "source has no labels; the source domain is the"),
        (lambda: daf(tiny_model(), source=Scenes(1, depth=False)), "source has no depth.*or set depth_weight=0"),
        (lambda: isl(tiny_model(), source=Scenes(1, labels=False)), "source has no labels"),
        (lambda: ida(tiny_model(), source=Scenes(1, depth=False)), "source has no depth"),
        (
            lambda: daf(tiny_model(depth_head=None)),
            "fusion='depth_aware' multiplies by predicted depth.*fusion='entropy'",
        ),
        (lambda: ida(tiny_model(depth_head=None)), "fusion='depth_aware'"),
        (lambda: daf(tiny_model(), target=Scenes(1, (31, 64))), "images of 31 x 64 are smaller than the 32 pixels"),
        (lambda: daf(tiny_model(), source=Scenes(1, (64, 24))), "images of 64 x 24 are smaller than the 32 pixels"),
        (lambda: ida(tiny_model(), target=Scenes(4, (64, 24))), "images of 64 x 24"),
        (lambda: daf(tiny_model(), DAFConfig(class_weights=(1.0,) * 6)), "class_weights has 6 weights for 7 classes"),
        (
            lambda: ida(tiny_model(), split=TargetSplit(("street/0.png",), ("street/9.png",))),
            "not in the data set.*9.png",
        ),
    ],
)
def test_trainers_name_what_does_not_fit(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_what_a_setting_leaves_out_is_not_asked_for() -> None:
    daf(tiny_model(), DAFConfig(**QUICK, depth_weight=0), source=Scenes(1, depth=False))
    daf(tiny_model(depth_head=None), DAFConfig.advent(**QUICK), source=Scenes(1, depth=False))
    daf(tiny_model(), DAFConfig.minent(**QUICK), target=Scenes(1, (24, 24)))
    daf(tiny_model(), target=Scenes(1, labels=False, depth=False))
    isl(tiny_model(depth_head=None), target=Scenes(1, (24, 24), labels=False, depth=False))
    daf(tiny_model(), augment=lambda sample: sample, target=Scenes(1, space=None), source=Scenes(1, space=None))


@pytest.mark.parametrize("domains", [{"source"}, {"source", "target", "hard"}, {"easy", "hard"}, set()])
def test_a_step_on_other_domains_is_refused(domains: set[str]) -> None:
    trainer = daf(tiny_model())
    before = weights(trainer.model)
    with pytest.raises(TypeError, match=r"step expects the batches \['source', 'target'\], got \["):
        trainer.step(**{domain: batch(Scenes(1), 0) for domain in domains})
    assert_same_weights(weights(trainer.model), before)
    assert trainer.step_count == 0


# Averages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ramp", [True, False])
def test_the_average_of_weights_by_hand(ramp: bool) -> None:
    model = nn.BatchNorm1d(1, dtype=torch.float64)
    average = WeightAverage(model, decay=0.5, ramp=ramp)
    expected = 1.0
    for step in range(12):
        with torch.no_grad():
            model.weight.fill_(step + 2.0)
            model.running_mean.fill_(-step)
        model.num_batches_tracked.fill_(step)
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step)) if ramp else 0.5
        expected = decay * expected + (1 - decay) * (step + 2.0)
        assert average.module.weight.item() == pytest.approx(expected)
        assert average.module.num_batches_tracked.item() == step
    assert not average.module.training
    assert not any(p.requires_grad for p in average.module.parameters())
    assert average.module.running_mean.item() < -9


def test_fit_ends_with_the_average_and_validates_it(tmp_path: Path) -> None:
    model, val = tiny_model(), Scenes(2, seed=9)
    trainer = daf(model, DAFConfig(**QUICK, ema_decay=0.9), val=val, output_dir=tmp_path / "run")
    raw = [weights(model)]
    step = trainer.step

    def spy(**batches: Batch) -> dict[str, Tensor]:
        losses = step(**batches)
        raw.append(weights(model))
        return losses

    trainer.step = spy  # type: ignore[method-assign]
    result = trainer.fit()
    expected = raw[0]
    for number, now in enumerate(raw[1:]):
        decay = min(0.9, (1 + number) / (10 + number))
        expected = {
            key: decay * value + (1 - decay) * now[key] if value.is_floating_point() else now[key]
            for key, value in expected.items()
        }
    torch.testing.assert_close(weights(model), expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(weights(model)["gate.conv.bias"], raw[-1]["gate.conv.bias"])
    assert result.final is not None
    assert evaluate(model, val).to_dict() == result.final.to_dict()
    assert_same_weights(weights(load_pretrained(tmp_path / "run" / "model")), weights(model))


# The loop -------------------------------------------------------------------------------------------------------------


def losses_of(history: list[dict[str, Any]]) -> list[dict[str, float]]:
    kept = [{k: v for k, v in record.items() if k != "seconds_per_step"} for record in history]
    return [record for record in kept if "learning_rate" in record]


def test_fit_says_what_it_did(tmp_path: Path) -> None:
    val = Scenes(2, seed=9)
    trainer = daf(
        tiny_model(),
        DAFConfig(**{**QUICK, "max_steps": 5}, log_every=2, validate_every=2),
        val=val,
        output_dir=tmp_path / "run",
    )
    result = trainer.fit()
    assert result.steps == trainer.step_count == 5
    assert [record["step"] for record in result.history if "segmentation" in record] == [2, 4, 5]
    validations = {record["step"]: record["val/miou"] for record in result.history if "val/miou" in record}
    assert list(validations) == [2, 4, 5]
    assert result.final is not None
    assert validations[5] == result.final.miou
    assert result.best_miou == max(validations.values())
    assert result.best_step == min(step for step, miou in validations.items() if miou == result.best_miou)
    assert evaluate(load_pretrained(tmp_path / "run" / "best"), val).miou == result.best_miou
    assert_same_weights(weights(load_pretrained(tmp_path / "run" / "model")), weights(trainer.model))
    assert read_log(tmp_path / "run") == result.history
    assert trainer.model.training


def test_the_log_has_the_mean_of_its_steps_and_their_learning_rate() -> None:
    every = losses_of(daf(tiny_model(), DAFConfig(**QUICK, log_every=1)).fit().history)
    pairs = losses_of(daf(tiny_model(), DAFConfig(**QUICK, log_every=2)).fit().history)
    assert [record["learning_rate"] for record in every] == pytest.approx([0.01 * (1 - i / 4) ** 0.9 for i in range(4)])
    assert len(pairs) == 2
    for index, record in enumerate(pairs):
        for name in ("segmentation", "depth", "adversarial", "discriminator_source", "discriminator_target"):
            mean = (every[2 * index][name] + every[2 * index + 1][name]) / 2
            assert record[name] == pytest.approx(mean, rel=1e-6)


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = daf(tiny_model(), DAFConfig(**QUICK), val=Scenes(1)).fit()
    assert result.best_miou is not None
    assert list(tmp_path.iterdir()) == []


def test_without_validation_data_there_is_no_validation() -> None:
    result = daf(tiny_model(), DAFConfig(**QUICK, validate_every=1)).fit()
    assert (result.final, result.best_miou, result.best_step) == (None, None, None)


def test_fit_shows_every_sample_of_a_domain_once_a_pass() -> None:
    source, target = Scenes(3), Scenes(2, seed=1)
    seen: list[str] = []

    def note(sample: Sample) -> Sample:
        seen.append(sample["name"])
        return sample

    trainer = daf(tiny_model(), DAFConfig(**{**QUICK, "max_steps": 6}), source=source, target=target)
    trainer.augment = note
    trainer.fit()
    sources, targets = [seen[i::2] for i in (0, 1)]
    assert all(sorted(sources[i : i + 3]) == sorted(source.names) for i in (0, 3))
    assert all(sorted(targets[i : i + 2]) == sorted(target.names) for i in (0, 2, 4))


def drawn(*, name: str = "source", seed: int = 0, batch_size: int = 1, steps: tuple[int, int] = (0, 24)) -> list[str]:
    """Names in the order in which a domain of eight samples yields them."""
    start, stop = steps
    batches = stream(
        Scenes(8, (2, 2)), name=name, seed=seed, batch_size=batch_size, start_step=start, stop_step=stop, augment=jitter
    )
    return [
        f"{one}: {image.mean():.4f}"
        for batch in batches
        for one, image in zip(batch["name"], batch["image"], strict=True)
    ]


def test_every_pass_domain_and_seed_has_an_order_of_its_own() -> None:
    names = [entry.split(":")[0] for entry in drawn()]
    passes = [tuple(names[i : i + 8]) for i in (0, 8, 16)]
    assert len(set(passes)) == 3
    assert {tuple(sorted(one)) for one in passes} == {tuple(Scenes(8).names)}
    assert len({tuple(drawn(steps=(0, 8), **other)) for other in ({}, {"name": "target"}, {"seed": 1})}) == 3


def test_a_position_of_a_stream_holds_the_same_sample_wherever_one_begins_and_however_one_batches() -> None:
    whole = drawn()
    assert len(set(whole)) == 24  # every visit of a sample is augmented anew
    assert drawn(steps=(5, 19)) == whole[5:19]
    assert drawn(batch_size=3, steps=(0, 8)) == whole
    assert drawn(batch_size=3, steps=(2, 8)) == whole[6:]


BUILDERS: dict[str, Callable[..., Trainer[Any]]] = {
    "daf": lambda model, **options: daf(model, DAFConfig(**{**QUICK, **options.pop("settings", {})}), **options),
    "isl": lambda model, **options: isl(
        model, ISLConfig(**{**PLAIN, "threshold": 0.14, "refresh_every": 2, **options.pop("settings", {})}), **options
    ),
    "ida": lambda model, **options: ida(model, IDAConfig(**{**QUICK, **options.pop("settings", {})}), **options),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_target_labels_and_depth_never_influence_training(name: str) -> None:
    honest, wrong, bare = Scenes(4, seed=1), Scenes(4, seed=1), Scenes(4, seed=1, labels=False, depth=False)
    for sample in wrong.samples:
        sample["label"] = sample["label"].where(sample["label"] == 255, (sample["label"] + 3) % 7)
        sample["depth"] = 2 * sample["depth"]
    trained = []
    for target in (honest, wrong, bare):
        model = tiny_model()
        BUILDERS[name](model, target=target).fit()
        trained.append(weights(model))
    assert_same_weights(trained[1], trained[0])
    assert_same_weights(trained[2], trained[0])
    assert not torch.equal(trained[0]["gate.conv.bias"], weights(tiny_model())["gate.conv.bias"])


def test_what_training_sees_of_a_target_is_its_images() -> None:
    seen: list[set[str]] = []
    trainer = daf(tiny_model(), target=Scenes(2, folder="target"))

    def note(sample: Sample) -> Sample:
        if sample["name"].startswith("target"):
            seen.append(set(sample))
        return sample

    trainer.augment = note
    trainer.fit()
    assert seen == [{"image", "name"}] * 4


def jitter(sample: Sample) -> Sample:
    """Draws from all three generators."""
    noise = torch.rand(()) + float(np.random.rand()) + random.random()  # noqa: NPY002
    return Sample(**{**sample, "image": sample["image"] * (0.5 + noise / 6)})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("name", BUILDERS)
def test_the_seed_decides_everything(name: str) -> None:
    stochastic = {"backbone_arguments": {"channels": (8, 16, 24, 32), "stem_width": 8, "drop_path_rate": 0.5}}

    def trained(seed: int, elsewhere: int) -> dict[str, Tensor]:
        torch.manual_seed(elsewhere)
        np.random.seed(elsewhere)  # noqa: NPY002
        random.seed(elsewhere)
        model = tiny_model(**stochastic)
        BUILDERS[name](model, settings={"seed": seed}, augment=jitter).fit()
        return weights(model)

    first = trained(seed=3, elsewhere=0)
    assert_same_weights(trained(seed=3, elsewhere=1), first)
    assert not torch.equal(trained(seed=4, elsewhere=0)["gate.conv.bias"], first["gate.conv.bias"])


@pytest.mark.parametrize("name", BUILDERS)
def test_worker_processes_change_nothing(name: str) -> None:
    trained = []
    for workers in (0, 2):
        model = tiny_model()
        BUILDERS[name](model, settings={"num_workers": workers, "batch_size": 2}, augment=jitter).fit()
        trained.append(weights(model))
    assert_same_weights(*trained)


def test_looking_more_often_changes_nothing(tmp_path: Path) -> None:
    trained = []
    for number, settings in enumerate(({}, {"validate_every": 1, "checkpoint_every": 1, "log_every": 1})):
        model = tiny_model()
        folder = tmp_path / str(number)
        BUILDERS["daf"](model, settings=settings, val=Scenes(1, seed=9), output_dir=folder).fit()
        trained.append(weights(model))
    assert_same_weights(*trained)


def test_a_step_leaves_the_global_generators() -> None:
    trainer = daf(tiny_model())
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    trainer.step(source=batch(Scenes(1), 0), target=images_only(Scenes(1), 0))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]


def test_validation_leaves_the_network_in_train_mode_for_the_next_step() -> None:
    trainer = daf(tiny_model(), DAFConfig(**QUICK, validate_every=1), val=Scenes(1))
    modes = []
    step = trainer.step
    trainer.step = lambda **batches: (modes.append(trainer.model.training), step(**batches))[1]  # type: ignore
    trainer.fit()
    assert modes[1:] == [True] * 3


@pytest.mark.parametrize("name", BUILDERS)
def test_a_float64_network_is_fitted_and_validated_in_float64(name: str) -> None:
    model = tiny_model().double()
    result = BUILDERS[name](model, val=Scenes(1)).fit()
    assert result.final is not None
    assert weights(model)["gate.conv.bias"].dtype == torch.float64


# Pseudo-labels of the stages ------------------------------------------------------------------------------------------


def test_isl_writes_its_labels_anew_with_the_network_of_the_moment(tmp_path: Path) -> None:
    model, target = tiny_model(), Scenes(3, seed=1)
    config = ISLConfig(**{**PLAIN, "max_steps": 5}, refresh_every=2, threshold=0)
    trainer = isl(model, config, target=target, output_dir=tmp_path / "run")
    moments: list[dict[str, Tensor]] = []
    step = trainer.step
    trainer.step = lambda **batches: (moments.append(weights(model)), step(**batches))[1]  # type: ignore
    trainer.fit()
    folders = sorted(path.name for path in (tmp_path / "run" / "pseudo_labels").iterdir())
    assert folders == ["000", "001", "002"]
    for generation, moment in enumerate(moments[::2]):
        teacher = tiny_model()
        teacher.load_state_dict(moment)
        folder = tmp_path / "run" / "pseudo_labels" / folders[generation]
        for index, name in enumerate(target.names):
            with torch.no_grad():
                logits = teacher.eval()(target[index]["image"][None]).logits
            expected = F.interpolate(logits, (32, 40), mode="bilinear", align_corners=True).argmax(1)[0]
            assert torch.equal(PseudoLabels(folder).read(name), expected)


def test_isl_trains_on_the_labels_it_wrote_and_augments_them_with_the_image() -> None:
    seen: list[Sample] = []

    def note(sample: Sample) -> Sample:
        seen.append(sample)
        return sample

    model, target = tiny_model(), Scenes(2, seed=1)
    trainer = isl(model, ISLConfig(**PLAIN, threshold=0), target=target, augment=note)
    teacher = copy.deepcopy(model).eval()
    trainer.fit()
    assert len(seen) == 4
    for sample in seen:
        assert set(sample) == {"image", "label", "name"}
        with torch.no_grad():
            logits = teacher(sample["image"][None].as_subclass(Tensor)).logits
        expected = F.interpolate(logits, (32, 40), mode="bilinear", align_corners=True).argmax(1)[0]
        assert torch.equal(sample["label"].as_subclass(Tensor), expected)


def test_isl_keeps_the_thresholds_of_its_settings(tmp_path: Path) -> None:
    config = ISLConfig(**PLAIN, threshold=0.8, proportion=0.3)
    isl(tiny_model(), config, output_dir=tmp_path / "run").fit()
    record = PseudoLabels(tmp_path / "run" / "pseudo_labels" / "000").record
    assert (record["threshold"], record["proportion"]) == (0.8, 0.3)


def test_isl_with_no_confident_pixel_changes_nothing_but_the_decay() -> None:
    model = tiny_model()
    before = weights(model)
    config = ISLConfig(**PLAIN, threshold=1.0, weight_decay=0)
    result = isl(model, config).fit()
    assert {record["segmentation"] for record in losses_of(result.history)} == {0.0}
    trained = weights(model)
    for key, _ in model.named_parameters():
        assert torch.equal(trained[key], before[key])


def test_ida_writes_labels_of_the_easy_images_alone_and_aligns_the_hard_ones(tmp_path: Path) -> None:
    seen: list[tuple[str, frozenset[str]]] = []
    trainer = ida(tiny_model(), output_dir=tmp_path / "run")

    def note(sample: Sample) -> Sample:
        seen.append((sample["name"], frozenset(sample)))
        return sample

    trainer.augment = note
    trainer.fit()
    labels = PseudoLabels(tmp_path / "run" / "pseudo_labels")
    assert labels.names == SPLIT.easy
    assert labels.record["coverage"] == 1
    assert {name for name, keys in seen if "label" in keys} == set(SPLIT.easy)
    assert {name for name, keys in seen if "label" not in keys} == set(SPLIT.hard)
    assert all("depth" not in keys for _, keys in seen)


def test_domain_names_tell_what_a_step_needs() -> None:
    assert daf(tiny_model()).domains == ("source", "target")
    assert isl(tiny_model()).domains == ("target",)
    assert isl(tiny_model(), source=Scenes(1)).domains == ("target", "source")
    assert ida(tiny_model()).domains == ("easy", "hard")
    assert ida(tiny_model(), source=Scenes(1)).domains == ("easy", "hard", "source")


def test_images_of_several_sizes_are_trained_one_at_a_time() -> None:
    mixed = Listed([*Scenes(2, (32, 40)).samples, *Scenes(2, (48, 32), folder="wide").samples], "common7")
    result = daf(tiny_model(), source=mixed, target=Scenes(2, (40, 40), seed=1), val=mixed).fit()
    assert result.steps == 4
