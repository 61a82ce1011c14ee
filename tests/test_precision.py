"""Precision without training: the network computes in it, everything after the network in float32."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depthaware_uda import (
    EntropyRanker,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    SegDepthOutput,
    SelfTrainingConfig,
    SelfTrainingTrainer,
    TargetSplit,
    evaluate,
    predict,
    write_pseudo_labels,
)
from depthaware_uda.data import InMemory, Unlabelled, collate
from depthaware_uda.inference import evaluating, output_of
from depthaware_uda.precision import autocast
from depthaware_uda.prediction import write_predictions
from tests.tiny import Scenes, tiny_model

IMAGES = InMemory(Scenes(2), progress=False)


class Watched(nn.Module):
    """Records the output type of each convolution of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_model()
        self.label_space, self.depth_head = self.network.label_space, self.network.depth_head
        self.types: set[torch.dtype] = set()
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda module, inputs, output: self.types.add(output.dtype))

    def forward(self, image: Tensor) -> SegDepthOutput:
        output: SegDepthOutput = self.network(image)
        return output


USES: dict[str, Callable[[nn.Module, Path, Any], object]] = {
    "evaluate": lambda model, folder, precision: evaluate(model, IMAGES, precision=precision),
    "rank": lambda model, folder, precision: EntropyRanker(model, precision=precision).rank(IMAGES),
    "labels": lambda model, folder, precision: write_pseudo_labels(model, IMAGES, folder, precision=precision),
    "shares": lambda model, folder, precision: write_pseudo_labels(
        model, IMAGES, folder, proportion=0.5, precision=precision
    ),
    "predict": lambda model, folder, precision: predict(model, IMAGES[0]["image"], precision=precision),
    "files": lambda model, folder, precision: write_predictions(
        model, Unlabelled(IMAGES), folder, flip=True, precision=precision
    ),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_convolutions_compute_in_the_precision_asked_for(use: Callable[..., object], tmp_path: Path) -> None:
    for precision, expected in (("float32", torch.float32), ("auto", torch.float32), ("bfloat16", torch.bfloat16)):
        model = Watched()
        use(model, tmp_path / precision, precision)
        assert model.types == {expected}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_an_unknown_precision_is_refused_before_anything_is_written(use: Callable[..., object], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"precision must be one of .*'bfloat16'.*, got 'half'"):
        use(tiny_model(), tmp_path, "half")
    assert not list(tmp_path.iterdir())


def test_maps_are_float32_at_least_and_near_those_of_float32() -> None:
    model, image = tiny_model(), IMAGES[0]["image"][None]
    with evaluating(model):
        exact, rounded = output_of(model, image), output_of(model, image, "bfloat16")
    assert rounded.logits.dtype == rounded.inverse_depth.dtype == torch.float32
    assert not torch.equal(exact.logits, rounded.logits)
    assert torch.allclose(exact.logits, rounded.logits, atol=0.05 * float(exact.logits.abs().max()))
    with evaluating(model.double()):
        assert output_of(model, image.double()).logits.dtype == torch.float64


def test_an_autocast_of_the_caller_stays_on() -> None:
    model = Watched()
    with torch.autocast("cpu", torch.bfloat16):
        result = evaluate(model, IMAGES)
    assert model.types == {torch.bfloat16}
    assert result.confusion == evaluate(model, IMAGES, precision="bfloat16").confusion


def test_predictions_of_another_precision_are_other_predictions(tmp_path: Path) -> None:
    write_predictions(tiny_model(), Unlabelled(IMAGES), tmp_path)
    with pytest.raises(ValueError, match=r"precision \(was float32, is bfloat16\)"):
        write_predictions(tiny_model(), Unlabelled(IMAGES), tmp_path, precision="bfloat16")


def test_a_network_that_predicts_something_else_is_named_by_predict_too() -> None:
    with pytest.raises(TypeError, match="Conv2d returned Tensor, expected SegDepthOutput"):
        predict(nn.Conv2d(3, 7, 1), IMAGES[0]["image"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("stage", ["isl", "ida"])
def test_stages_label_in_the_precision_that_they_train_in(stage: str, precision: Any) -> None:
    model, settings = Watched(), {"max_steps": 1, "threshold": 0.0, "precision": precision}
    trainer: ISLTrainer | IDATrainer
    if stage == "isl":
        trainer = ISLTrainer(model, IMAGES, ISLConfig(**settings), progress=False)
    else:
        split = TargetSplit((IMAGES.names[0],), (IMAGES.names[1],))
        trainer = IDATrainer(model, IMAGES, split, IDAConfig(**settings), progress=False)
    model.types.clear()  # the first samples were checked
    trainer.datasets()
    assert model.types == {getattr(torch, precision)}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_teacher_labels_in_the_precision_that_its_student_trains_in(precision: Any) -> None:
    config = SelfTrainingConfig(max_steps=1, precision=precision)
    trainer = SelfTrainingTrainer(Watched(), IMAGES, IMAGES, config, device="cpu", progress=False)
    assert trainer.average is not None
    teacher = trainer.average.module
    types: set[torch.dtype] = set()
    for module in teacher.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: types.add(output.dtype))
    lesson = trainer.teach(collate([IMAGES[0]]))
    assert types == {getattr(torch, precision)}
    assert lesson.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("machine", "capability", "slow"),
    [("x86_64", "AVX2", True), ("x86_64", "AVX512", False), ("aarch64", "DEFAULT", False)],
)
def test_half_precision_is_warned_of_where_it_crawls(
    machine: str, capability: str, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    cpu = torch.device("cpu")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        autocast(cpu, "float32"), autocast(cpu, "auto")
        assert not seen
        autocast(cpu, "bfloat16")
    assert ["without AVX-512" in str(warning.message) for warning in seen] == [True] * slow
