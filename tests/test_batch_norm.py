"""Which domain's statistics batch norm keeps."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from depthaware_uda import DAFConfig, DAFTrainer, SegDepthOutput
from depthaware_uda.data import collate
from depthaware_uda.models import BatchNorm2d, statistics_kept
from depthaware_uda.trainers import reestimate_statistics
from depthaware_uda.trainers.step.batch_norm import batch_statistics
from depthaware_uda.types import Sample
from tests.tiny import Scenes, tiny_model

QUICK: dict[str, Any] = {"max_steps": 2, "batch_size": 2, "discriminator_channels": 4}


class Normed(nn.Module):
    """Batch norm of the image alone; its other output is logits of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, momentum=0.3)

    def forward(self, image: torch.Tensor) -> SegDepthOutput:
        return SegDepthOutput(self.norm(image)[:, :2], None)


def brighten(sample: Sample) -> Sample:
    return {**sample, "image": sample["image"] + 0.4}


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.named_buffers() if "running" in name}


def test_reestimated_statistics_are_the_mean_over_the_batches_of_the_data() -> None:
    model, scenes = Normed().eval(), Scenes(4, (8, 8))
    model.norm.running_mean.fill_(torch.nan)  # such as after a run that diverged
    reestimate_statistics(model, scenes, batch_size=2)
    images = torch.stack([scenes[i]["image"] for i in range(4)]).unflatten(0, (2, 2))
    assert torch.allclose(model.norm.running_mean, images.mean(dim=(0, 1, 3, 4)), atol=1e-6)
    variances = images.transpose(1, 2).flatten(2).var(dim=2).mean(0)
    assert torch.allclose(model.norm.running_var, variances, atol=1e-6)
    assert model.norm.momentum == 0.3
    assert not model.norm.training


@pytest.mark.parametrize(("ema_decay", "accumulation"), [(0.0, 1), (0.9, 1), (0.0, 2)])
def test_with_target_statistics_training_ends_with_those_of_the_target_as_it_is(
    ema_decay: float, accumulation: int
) -> None:
    source, target = Scenes(4, seed=1), Scenes(4, seed=2)

    def trained(mode: Any) -> nn.Module:
        settings = {**QUICK, "ema_decay": ema_decay, "accumulation": accumulation, "learning_rate": 1e-3}
        config = DAFConfig(**settings, batch_norm=mode)
        trainer = DAFTrainer(tiny_model(), source, target, config, augment=brighten, device="cpu", progress=False)
        trainer.fit()
        return trainer.model

    target_only, joint = trained("target"), trained("joint")
    expected = copy.deepcopy(joint)
    reestimate_statistics(expected, target, batch_size=2 // accumulation)  # batches no larger than in a step
    values = statistics(target_only)
    assert all(torch.equal(values[name], value) for name, value in statistics(expected).items())
    assert not any(torch.equal(values[name], value) for name, value in statistics(joint).items())
    # Only the statistics differ: training normalises every batch by its own.
    weights = dict(joint.named_parameters())
    assert all(torch.equal(value, weights[name]) for name, value in target_only.named_parameters())


def test_the_network_to_predict_with_has_the_weights_of_the_last_step() -> None:
    source, target = Scenes(2, seed=1), Scenes(2, seed=2)
    config = DAFConfig(**QUICK, batch_norm="target")
    trainer = DAFTrainer(tiny_model(), source, target, config, device="cpu", progress=False)
    first = trainer.predictor()
    assert trainer.predictor() is first
    trainer.step(source=collate([source[0]]), target=collate([target[0]]))
    later = dict(trainer.predictor().named_parameters())
    assert all(torch.equal(later[name], value) for name, value in trainer.model.named_parameters())
    assert not torch.equal(later["classifier.branches.0.weight"], first.classifier.branches[0].weight)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_statistics_are_kept_while_batches_are_normalised_by_their_own(momentum: float | None) -> None:
    image = 5 + torch.rand(2, 3, 4, 4)
    norm, free = (nn.BatchNorm2d(3, momentum=momentum) for _ in range(2))
    for _ in range(2):
        with statistics_kept(norm):
            kept = norm(image)
        assert torch.equal(kept, free(image))  # as in any training step
    assert (norm.running_mean.tolist(), norm.running_var.tolist()) == ([0.0] * 3, [1.0] * 3)
    assert (int(norm.num_batches_tracked), norm.momentum) == (0, momentum)
    norm(image)
    assert int(norm.num_batches_tracked) == 1
    assert (norm.running_mean > 1).all()


@pytest.mark.parametrize("images", [3, 5, 7])
def test_statistics_behind_global_pooling_never_see_a_single_image(images: int) -> None:
    """DeepLab v3 and PSPNet normalise what they pool over the whole image."""

    class Pooled(Normed):
        def forward(self, image: torch.Tensor) -> SegDepthOutput:
            return super().forward(image.mean((2, 3), keepdim=True))

    model, scenes = Pooled(), Scenes(images, (8, 8))
    reestimate_statistics(model, scenes, batch_size=2)
    means = torch.stack([sample["image"].mean((1, 2)) for sample in scenes.samples])
    assert torch.allclose(model.norm.running_mean, means.mean(0), atol=1e-6)


def test_a_batch_is_normalised_by_its_own_statistics_and_the_norm_is_as_before() -> None:
    image, norm = 5 + torch.rand(2, 3, 4, 4), nn.BatchNorm2d(3, momentum=0.3).eval()
    with batch_statistics(norm):
        own = norm(image)
    torch.testing.assert_close(own.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    assert (norm.running_mean.tolist(), norm.running_var.tolist()) == ([0.0] * 3, [1.0] * 3)
    assert (int(norm.num_batches_tracked), norm.momentum, norm.training) == (0, 0.3, False)


def test_labels_have_no_part_in_reestimated_statistics() -> None:
    """Labels of other sizes than their images once split the batches from which statistics are taken."""
    ours, theirs = Normed(), Normed()
    images = [Sample(image=sample["image"]) for sample in Scenes(4, (8, 8)).samples]
    labelled = [Sample(image=s["image"], label=torch.zeros(8, i, dtype=torch.int64)) for i, s in enumerate(images)]
    reestimate_statistics(ours, labelled, batch_size=2)
    reestimate_statistics(theirs, images, batch_size=2)
    assert all(torch.equal(value, statistics(theirs)[name]) for name, value in statistics(ours).items())


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_norm must be one of"):
        DAFConfig(batch_norm="source")  # type: ignore[arg-type]


def test_after_an_error_a_model_has_the_statistics_that_it_had() -> None:
    class Broken(Scenes):
        def __getitem__(self, index: int) -> Sample:
            if index == 2:
                raise ValueError("cut short")
            return super().__getitem__(index)

    model = Normed()
    model.norm.running_mean.fill_(7.0)
    before = statistics(model)
    with pytest.raises(ValueError, match="cut short"):
        reestimate_statistics(model, Broken(4, (8, 8)), batch_size=2)
    assert all(torch.equal(value, before[name]) for name, value in statistics(model).items())
    assert model.norm.momentum == 0.3


def test_a_smaller_last_batch_weighs_by_its_images() -> None:
    model, scenes = Normed(), Scenes(6, (8, 8))
    reestimate_statistics(model, scenes, batch_size=4)
    images = torch.stack([scenes[i]["image"] for i in range(6)])
    assert torch.allclose(model.norm.running_mean, images.mean(dim=(0, 2, 3)), atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_our_batch_norm_is_that_of_torch(settings: dict[str, Any]) -> None:
    theirs, ours = nn.BatchNorm2d(5, **settings), BatchNorm2d(5, **settings)
    for parameter in theirs.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    ours.load_state_dict(theirs.state_dict())
    for seed, training in enumerate((True, True, False)):
        values = 40 + 3 * torch.randn(2, 5, 9, 7, generator=torch.Generator().manual_seed(seed))
        found = []
        for norm in (theirs.train(training), ours.train(training)):
            image = values.clone().requires_grad_()
            out = norm(image)
            (gradient,) = torch.autograd.grad((out**3).sum(), image, create_graph=True)
            gradient.square().sum().backward()
            found.append([out, gradient, image.grad, *(p.grad for p in norm.parameters()), *norm.buffers()])
            norm.zero_grad()
        for a, b in zip(*found, strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def test_our_batch_norm_refuses_a_single_value_a_channel_as_torch_does() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        BatchNorm2d(3)(torch.ones(1, 3, 1, 1))
