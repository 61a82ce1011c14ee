"""Memory of a step: prediction against measurement, and the error message when it does not suffice."""

import warnings
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    IDAConfig,
    ISLConfig,
    SelfTrainingConfig,
    SelfTrainingTrainer,
    create_model,
    estimate_memory,
)
from depthaware_uda.data import collate
from depthaware_uda.trainers import Trainer, TrainerConfig
from tests.tiny import CLASSES, Scenes, assert_same_weights, tiny_model, weights

SIZE = (64, 96)


def measured(trainer: Trainer[Any], size: tuple[int, int]) -> int:
    """Peak bytes allocated during the second step, above those held before it, by torch's profiler."""
    scenes = Scenes(trainer.config.batch_size, size)
    batches = {domain: collate(scenes.samples) for domain in trainer.domains}
    trainer.step(**batches)
    for optimizer in trainer.optimizers.values():
        optimizer.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        trainer.step(**batches)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


SLOW = pytest.mark.slow
CASES = [
    pytest.param({}, id="plain"),
    pytest.param({"checkpointing": "all"}, id="checkpointing", marks=SLOW),
    pytest.param({"batch_size": 4, "accumulation": 2}, id="accumulation", marks=SLOW),
    pytest.param({"precision": "bfloat16"}, id="bfloat16", marks=SLOW),
]


@pytest.mark.parametrize("settings", CASES)
def test_the_predicted_memory_of_a_step_is_what_it_takes(settings: dict[str, Any]) -> None:
    config = DAFConfig(
        **{"max_steps": 5, "precision": "float32", "depth_scale": 0.02, "discriminator_channels": 4, **settings}
    )
    model = tiny_model().eval()
    before = weights(model)
    estimate = estimate_memory(model, config, SIZE)
    assert_same_weights(weights(model), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert not model.backbone._checkpointed
    trainer = DAFTrainer(model, Scenes(2), Scenes(2), config, device="cpu", progress=False)
    found = measured(trainer, SIZE)
    print(f"predicted {estimate.step}, measured {found}")
    assert estimate.step == pytest.approx(found, rel=0.15)


def test_weights_and_state_are_counted_to_the_byte() -> None:
    config = DAFConfig(max_steps=5, precision="float32", ema_decay=0.9, depth_scale=0.02)
    model = tiny_model()
    estimate = estimate_memory(model, config, SIZE)
    trainer = DAFTrainer(model, Scenes(2), Scenes(2), config, device="cpu", progress=False)
    trainer.step(source=collate(Scenes(1).samples), target=collate(Scenes(1).samples))
    tensors = [tensor for module in trainer.modules().values() for tensor in module.state_dict().values()]
    assert estimate.weights == sum(tensor.nbytes for tensor in tensors)
    states = [value for o in trainer.optimizers.values() for state in o.state.values() for value in state.values()]
    assert estimate.optimizer == sum(value.nbytes for value in states if value.ndim)
    assert estimate.peak == estimate.weights + estimate.optimizer + estimate.step
    assert str(estimate).startswith(f"peak {estimate.peak / 2**30:.2f} GiB (weights ")


@pytest.mark.parametrize("size", [64, (64,), (0, 64), None])
def test_an_estimate_needs_height_and_width(size: Any) -> None:
    with pytest.raises(ValueError, match=r"size must be \(height, width\)"):
        estimate_memory(tiny_model(), DAFConfig(), size)


def test_every_stage_has_an_estimate_and_a_source_adds_to_it() -> None:
    mixing = SelfTrainingConfig.recommended(precision="float32", discriminator_channels=4, max_steps=2)
    taught = estimate_memory(tiny_model(), mixing, SIZE)
    trainer = SelfTrainingTrainer(tiny_model(), Scenes(2, SIZE), Scenes(2, SIZE), mixing, device="cpu", progress=False)
    assert taught.step == pytest.approx(measured(trainer, SIZE), rel=0.15)
    for config in (IDAConfig(precision="float32", depth_scale=0.02), ISLConfig(precision="float32")):
        alone, mixed = (estimate_memory(tiny_model(), config, (32, 40), source=source) for source in (False, True))
        assert 0 < alone.step <= mixed.step
    with pytest.raises(TypeError, match="got TrainerConfig"):
        estimate_memory(tiny_model(), TrainerConfig(), (32, 40))


def test_an_estimate_does_not_warn_of_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthaware_uda.precision.fast_half", lambda: False)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        estimate_memory(tiny_model(), DAFConfig(precision="bfloat16"), (64, 96))
    assert warned == []


@pytest.mark.slow
def test_the_published_network_holds_less_the_more_it_forgets() -> None:
    model = create_model("deeplabv2_resnet101", CLASSES, seed=0)
    none, norms, everything = (
        estimate_memory(model, DAFConfig(precision="float32", checkpointing=checkpointing), (320, 640)).step
        for checkpointing in ("none", "norms", "all")
    )
    assert everything < norms < 0.75 * none


def test_a_step_that_does_not_fit_says_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = Scenes(4)
    config = DAFConfig(max_steps=2, precision="float32", batch_size=4, accumulation=1)
    trainer = DAFTrainer(tiny_model(), scenes, scenes, config, device="cpu", progress=False)
    before = weights(trainer.model)

    def full(**_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(trainer, "compute", full)
    batch = collate(scenes.samples)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trainer.step(source=batch, target=batch)
    message = str(caught.value)
    expected = [
        *("source 4 x 3 x 32 x 40", "target 4 x 3 x 32 x 40", "precision='bfloat16'", "accumulation=2 (is 1)"),
        *("checkpointing='all' (is 'none')", "smaller training images", "batch_size (is 4)", "estimate_memory"),
        "Tried to allocate 2.00 GiB",
    ]
    places = [message.find(part) for part in expected]
    assert places == sorted(places)
    assert places[0] > 0
    assert_same_weights(weights(trainer.model), before)


def test_nothing_is_advised_that_is_done_already(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = Scenes(1)
    config = DAFConfig(max_steps=2, precision="bfloat16", checkpointing="all")
    trainer = DAFTrainer(tiny_model(), scenes, scenes, config, device="cpu", progress=False)

    def full(**_: Any) -> Any:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(trainer, "compute", full)
    with pytest.raises(torch.OutOfMemoryError, match=r"in this order: smaller training images \(transforms") as caught:
        trainer.step(source=collate(scenes.samples), target=collate(scenes.samples))
    assert "checkpointing=" not in str(caught.value)
