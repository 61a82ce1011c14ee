"""The loop of `fit`: averages, reports, the order of samples, and what determines the weights."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from depthaware_uda import (
    DAFConfig,
    SegDepthOutput,
    evaluate,
    load_pretrained,
)
from depthaware_uda.data import collate
from depthaware_uda.trainers import read_log
from depthaware_uda.trainers.run.streams import stream
from depthaware_uda.trainers.run.validation import Validation
from depthaware_uda.trainers.step.averaging import WeightAverage
from depthaware_uda.types import Batch, Sample
from tests.tiny import Listed, Oracle, Scenes, assert_same_weights, numbered, tiny_model, weights
from tests.trainers import BUILDERS, QUICK, batch, daf, images_only, losses_of


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


@pytest.mark.parametrize(("ramp", "decay"), [(True, 0.1), (False, 0.9)])
def test_the_average_of_a_first_step_by_hand(ramp: bool, decay: float) -> None:
    trainer = daf(tiny_model(), DAFConfig(**QUICK, ema_decay=0.9, ema_ramp=ramp))
    before = weights(trainer.model)["classifier.branches.0.weight"]
    trainer.step(source=collate([Scenes(1)[0]]), target=collate([Scenes(1)[0]]))
    after = weights(trainer.model)["classifier.branches.0.weight"]
    assert trainer.average is not None
    average = weights(trainer.average.module)["classifier.branches.0.weight"]
    torch.testing.assert_close(average, decay * before + (1 - decay) * after)
    assert not torch.equal(before, after)


def test_the_discriminator_is_drawn_from_the_seed() -> None:
    def drawn(seed: int) -> Tensor:
        torch.rand(1)
        return weights(daf(tiny_model(), DAFConfig(**QUICK, seed=seed)).discriminator)["0.weight"]

    first = drawn(0)
    assert torch.equal(drawn(0), first)
    assert not torch.equal(drawn(1), first)


def test_the_best_weights_are_those_of_the_highest_miou() -> None:
    label = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 1]])
    val = Listed(numbered(1, (3, 3), label=lambda index: label))

    def network(label: Tensor) -> Oracle:
        return Oracle([SegDepthOutput(nn.functional.one_hot(label, 2).permute(2, 0, 1)[None].float(), None)])

    validation = Validation(DAFConfig())
    # Of 9 pixels 8 are right, IoU 8 / 9 and 0; then 7, IoU 6 / 8 and 1 / 3.
    assert validation.run(network(torch.zeros_like(label)), val, None, 1)[1]
    rare = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    assert validation.run(network(rare), val, None, 2)[1]
    assert validation.best == (pytest.approx((6 / 8 + 1 / 3) / 2), 2)
    assert not validation.run(network(rare), val, None, 3)[1]  # of equal ones, the first stays


def test_measures_are_means_over_the_parts_of_a_step_and_every_part_draws_anew() -> None:
    def draws() -> list[float]:
        trainer, drawn = daf(tiny_model(), DAFConfig(**QUICK, batch_size=2, accumulation=2)), []
        compute = trainer.compute

        def watched(**batches: Batch) -> dict[str, Tensor]:
            trainer.measure({"one": torch.ones(())})
            drawn.append(float(torch.rand(())))
            return compute(**batches)

        trainer.compute = watched  # type: ignore[method-assign]
        for _ in range(2):
            two = collate([Scenes(2)[0], Scenes(2)[1]])
            trainer.step(source=two, target=two)
            assert trainer.measured["one"] == 1
            torch.rand(1)  # what the caller draws does not matter
        return drawn

    first = draws()
    assert len(set(first)) == 4
    assert draws() == first


def test_tied_weights_are_averaged_once() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    model.append(model[0])
    nn.init.zeros_(model[0].weight)
    average = WeightAverage(model, decay=0.75, ramp=False)
    nn.init.ones_(model[0].weight)
    average.update(model, 0)
    assert average.module[1].weight.item() == 0.25


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
    assert len(set(whole)) == 24  # a sample is augmented differently each time
    assert drawn(steps=(5, 19)) == whole[5:19]
    assert drawn(batch_size=3, steps=(0, 8)) == whole
    assert drawn(batch_size=3, steps=(2, 8)) == whole[6:]


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
    """Draws random numbers from all three generators."""
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


def test_where_new_tensors_are_float64_by_default_training_goes_on() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        trainer = daf(tiny_model(), DAFConfig(**{**QUICK, "max_steps": 1}))
        assert trainer.fit().steps == 1
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(weight.dtype == torch.float64 for weight in trainer.model.parameters())


def test_looking_at_data_and_training_leave_the_callers_random_numbers(tmp_path: Path) -> None:
    model = tiny_model()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    daf(model, DAFConfig(**QUICK), val=Scenes(1), output_dir=tmp_path / "run").fit()
    evaluate(model, Scenes(2))
    assert torch.equal(torch.rand(2), expected)
