"""Every trainer's step replayed in plain PyTorch."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthaware_uda import (
    DAFConfig,
    IDAConfig,
    ISLConfig,
    SegDepthOutput,
)
from depthaware_uda.trainers import Trainer
from depthaware_uda.types import Batch
from tests.tiny import Scenes, tiny_model, weights
from tests.trainers import NEAR, PLAIN, QUICK, batch, daf, ida, images_only, isl


class Longhand:
    """The equations of the papers on copies of a trainer's networks, without code of the library."""

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
        """A step on a labelled batch (source or easy), an unlabelled one (target or hard), and a source batch."""
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
            # Gradients of the adversarial loss on the discriminator are discarded.
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
    # berHu's threshold differs between parts, so depth is left out; all labels are valid, so parts weigh the same.
    source, target = Scenes(2, holes=False), Scenes(2, seed=1)
    after = []
    for accumulation in (1, 2):
        settings = {**QUICK, "batch_size": 2, "accumulation": accumulation, "batch_norm": "frozen"}
        trainer = daf(tiny_model().double(), DAFConfig(**settings, depth_weight=0, adversarial_weight=0.5))
        losses = trainer.step(source=batch(source, 0, 1), target=images_only(target, 0, 1))
        after.append((weights(trainer.model), weights(trainer.discriminator), losses))
    torch.testing.assert_close(after[1], after[0], rtol=1e-6, atol=1e-9)
    assert after[0][2]["segmentation"] > 0


def test_beyond_its_schedule_a_step_warns_once_that_it_teaches_nothing() -> None:
    trainer = daf(tiny_model(), DAFConfig(**{**QUICK, "max_steps": 1}))
    batches = {"source": batch(Scenes(1), 0), "target": images_only(Scenes(1), 0)}
    trainer.step(**batches)
    before = copy.deepcopy(dict(trainer.model.named_parameters()))
    with pytest.warns(UserWarning, match="step 2 is beyond the end of the schedule: learning rates are 0"):
        trainer.step(**batches)
    trainer.step(**batches)
    assert all(torch.equal(before[name], weight) for name, weight in trainer.model.named_parameters())


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
