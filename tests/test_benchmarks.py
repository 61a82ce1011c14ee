"""The baseline of the benchmarks computes the same as the library, so the comparison is fair."""

import copy

import pytest
import torch

from depthaware_uda import DAFConfig, DAFTrainer, evaluate
from depthaware_uda.data import collate
from tests.test_examples import load
from tests.tiny import CLASSES, Scenes, tiny_model, weights


def test_the_baseline_makes_the_step_of_the_reference_preset() -> None:
    baseline = load("benchmarks/baseline")
    source, target = Scenes(1, holes=False), Scenes(1, seed=1)
    model = tiny_model()
    trainer = DAFTrainer(model, source, target, DAFConfig.reference(), device="cpu", progress=False)
    plain = baseline.BaselineDAF(copy.deepcopy(model).train(), copy.deepcopy(trainer.discriminator))
    batches = {"source": collate([source[0]]), "target": collate([target[0]])}
    ours, theirs = trainer.step(**batches), plain.step(**batches)
    assert {name: float(loss) for name, loss in ours.items()} == pytest.approx(
        {name: float(loss) for name, loss in theirs.items()}, rel=1e-4
    )
    torch.testing.assert_close(weights(model), weights(plain.model), rtol=1e-4, atol=1e-6)
    pairs = zip(trainer.discriminator.parameters(), plain.discriminator.parameters(), strict=True)
    for our, their in pairs:
        torch.testing.assert_close(our.grad, their.grad, rtol=1e-3, atol=1e-7)


def test_the_baseline_evaluates_as_the_library_does() -> None:
    scenes, model = Scenes(3), tiny_model().eval()
    confusion = load("benchmarks/baseline").evaluate(model, [scenes[index] for index in range(3)], CLASSES)
    assert confusion.tolist() == [list(row) for row in evaluate(model, scenes).confusion]
