"""The library reproduces the results of the public DAF + IDA implementation on the inputs of `reference_recipe`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from depthaware_uda import DAFConfig, DAFTrainer, EntropyRanker, SegDepthOutput, create_model
from depthaware_uda.hub import convert_discriminator_state_dict, convert_state_dict
from depthaware_uda.losses import berhu, cross_entropy, normalized_entropy, self_information
from depthaware_uda.metrics import confusion_matrix, iou_per_class
from depthaware_uda.models import DepthSegmenter, create_discriminator
from depthaware_uda.pseudo_labels import pseudo_label
from depthaware_uda.types import Batch, Sample
from tests import reference_recipe as recipe
from tests.tiny import Listed, Oracle, Scenes, numbered

COLUMNS = ("segmentation", "depth", "adversarial", "discriminator_source", "discriminator_target")
DEPTH_SIZE = (228, 304)

with np.load(Path(__file__).parent / "goldens.npz") as archive:
    GOLDEN = {key: archive[key] for key in archive}
# A tensor has the same key in both groups; weights that change without a gradient are only in the second.
GRADIENTS = sorted(key.split("/")[1] for key in GOLDEN if key.startswith("daf_gradient/"))
CHANGES = sorted(key.split("/")[1] for key in GOLDEN if key.startswith("daf_change/"))


def relative_error(ours: Tensor, theirs: np.ndarray) -> float:
    """Largest difference, divided by the largest value of the reference (by 1 if that is 0)."""
    assert tuple(ours.shape) == theirs.shape
    return float(np.abs(ours.numpy() - theirs).max() / (np.abs(theirs).max() or 1.0))


def rgb(number: int, height: int, width: int) -> Tensor:
    """A reference image in this library's format: RGB in 0..1."""
    mean = torch.tensor(recipe.CAFFE_MEAN, dtype=torch.float64).view(1, 3, 1, 1)
    return ((torch.from_numpy(recipe.image(number, 1, height, width)).double() + mean) / 255).flip(1)


def filled(shapes: recipe.Shapes) -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.asarray(recipe.drawn(key, shape))) for key, shape in shapes.items()}


def converted(key: str) -> str:
    """Our name of one of their tensors."""
    return next(iter(convert_state_dict({key: torch.empty(0)})))


@pytest.fixture(scope="module")
def network() -> DepthSegmenter:
    model = create_model("deeplabv2_resnet101", 16, depth_size=DEPTH_SIZE)
    model.load_state_dict(convert_state_dict(filled(recipe.network_shapes())))
    return model.double()


def assert_forward_is_golden(network: DepthSegmenter, mode: str) -> None:
    network.train(mode == "train")
    with torch.no_grad():
        output = network(rgb(0, 97, 129))
    assert output.inverse_depth is not None
    assert output.inverse_depth.shape == (1, 1, *DEPTH_SIZE)
    assert relative_error(output.logits, GOLDEN[f"{mode}_logits"]) < 1e-5
    assert relative_error(output.inverse_depth[:, :, ::6, ::8], GOLDEN[f"{mode}_depth"]) < 1e-5


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_forward_pass(network: DepthSegmenter, mode: str) -> None:
    before = {key: buffer.clone() for key, buffer in network.named_buffers()}
    assert_forward_is_golden(network, mode)
    network.load_state_dict(before, strict=False)


def test_keys_of_a_parallel_wrapper_convert_to_the_same_names() -> None:
    shapes = recipe.network_shapes()
    plain = convert_state_dict({key: torch.empty(0) for key in shapes})
    wrapped = convert_state_dict({f"module.{key}": torch.empty(0) for key in shapes})
    assert list(plain) == list(wrapped)
    assert len(plain) == len(shapes) == 680


def test_the_discriminator_loads_their_weights() -> None:
    theirs = filled(recipe.discriminator_shapes())
    discriminator = create_discriminator(16)
    discriminator.load_state_dict(convert_discriminator_state_dict(theirs))
    assert torch.equal(discriminator[8].weight, theirs["discriminator.8.weight"])


@dataclass
class Trajectory:
    losses: list[dict[str, float]]
    gradients: dict[str, Tensor]
    changes: dict[str, Tensor]


@pytest.fixture(scope="module")
def trajectory(network: DepthSegmenter) -> Iterator[Trajectory]:
    """Three DAF steps from the recipe's weights."""

    def source(step: int) -> Sample:
        inverse = torch.from_numpy(recipe.inverse_depth(step, 1, 72, 104)).double()
        label = torch.from_numpy(recipe.label(step, 1, 72, 104))[0]
        return Sample(image=rgb(step, 72, 104)[0], label=label, depth=655.36 / inverse - 0.01, name=f"source/{step}")

    def target(step: int) -> Sample:
        return Sample(image=rgb(50 + step, 64, 96)[0], name=f"target/{step}")

    def alone(sample: Sample) -> Batch:
        tensors = {key: value[None] for key, value in sample.items() if isinstance(value, Tensor)}
        return Batch(**tensors, name=[sample["name"]])  # type: ignore[typeddict-item]

    # The measurement updated every tensor once per step, not three times as their script does.
    config = DAFConfig.reference(backbone_lr_multiplier=1.0)
    scenes = Scenes(1, (32, 32), space=None)  # checked when the trainer is built, not trained on
    trainer = DAFTrainer(network, scenes, scenes, config, device="cpu", progress=False)
    trainer.discriminator.load_state_dict(convert_discriminator_state_dict(filled(recipe.discriminator_shapes())))
    start = {key: value.clone() for key, value in network.state_dict().items()}
    losses, gradients = [], {}
    for step in range(3):
        losses.append(
            {k: float(v) for k, v in trainer.step(source=alone(source(step)), target=alone(target(step))).items()}
        )
        if step == 0:
            parameters = dict(network.named_parameters())
            gradients = {key: parameters[converted(key)].grad.flatten()[:32].clone() for key in GRADIENTS}
    end = network.state_dict()
    changes = {key: (end[name] - start[name]).flatten()[:32] for key in CHANGES for name in [converted(key)]}
    yield Trajectory(losses, gradients, changes)
    network.load_state_dict(start)


def test_the_losses_of_three_daf_steps(trajectory: Trajectory) -> None:
    ours = torch.tensor([[losses[column] for column in COLUMNS] for losses in trajectory.losses], dtype=torch.float64)
    assert set(trajectory.losses[0]) == set(COLUMNS)
    assert np.abs(ours.numpy() / GOLDEN["daf_losses"] - 1).max() < 1e-5


@pytest.mark.parametrize("key", GRADIENTS)
def test_the_gradient_of_a_daf_step(trajectory: Trajectory, key: str) -> None:
    assert relative_error(trajectory.gradients[key], GOLDEN[f"daf_gradient/{key}"]) < 1e-5


@pytest.mark.parametrize("key", CHANGES)
def test_the_change_over_three_daf_steps(trajectory: Trajectory, key: str) -> None:
    assert relative_error(trajectory.changes[key], GOLDEN[f"daf_change/{key}"]) < 1e-4


def test_the_losses_and_maps() -> None:
    inputs = {name: torch.from_numpy(value) for name, value in recipe.loss_inputs().items()}
    ours = {
        "cross_entropy": cross_entropy(inputs["logits"], inputs["label"]),
        "berhu": berhu(inputs["inverse_depth"], inputs["true_inverse_depth"]),
        "entropy_map": self_information(inputs["logits"])[:, :, ::3, ::3],
        "entropy": normalized_entropy(inputs["logits"]),
    }
    assert {name: relative_error(value, GOLDEN[name]) < 1e-5 for name, value in ours.items()} == dict.fromkeys(
        ours, True
    )


def test_the_pseudo_label_and_the_confusion_matrix() -> None:
    logits, label = (torch.from_numpy(recipe.loss_inputs()[name]) for name in ("logits", "label"))
    assert pseudo_label(logits, 0.9).tolist() == GOLDEN["pseudo_label"].tolist()
    confusion = confusion_matrix(logits.argmax(1), label, 16)
    assert confusion.tolist() == GOLDEN["confusion"].tolist()
    assert relative_error(iou_per_class(confusion), GOLDEN["iou"]) < 1e-12


def test_the_ranking_and_its_splits() -> None:
    outputs = [SegDepthOutput(*map(torch.from_numpy, maps)) for maps in recipe.ranking_inputs()]
    images = Listed(numbered(9, (24, 40)))
    ranking = EntropyRanker(Oracle(outputs)).rank(images)
    number = {name: int(name.removeprefix("image/")) for name in images.names}
    assert [number[name] for name in ranking.names] == GOLDEN["rank_order"].tolist()
    assert relative_error(torch.tensor(ranking.scores), np.sort(GOLDEN["rank_scores"])) < 1e-5
    for fraction in ("0.5", "0.66", "0.67"):
        split = ranking.split(float(fraction))
        assert [number[name] for name in split.easy] == GOLDEN[f"rank_easy_{fraction}"].tolist()
        assert sorted(split.easy + split.hard) == sorted(images.names)
