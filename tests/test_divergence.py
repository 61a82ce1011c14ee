"""A loss or gradient that is NaN or infinite is named, changes no weight, and its step can be skipped."""

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from depthaware_uda.data import collate
from depthaware_uda.files import read_json
from depthaware_uda.trainers import Trainer, TrainingDiverged, read_log
from depthaware_uda.trainers.diagnostics import discriminator_measures, discriminator_remark
from depthaware_uda.trainers.run.checkpoint import latest_checkpoint
from depthaware_uda.trainers.step.divergence import StepGuard
from tests.test_resume import build, cut_off, losses, state
from tests.tiny import Scenes, assert_same_weights


def poison(trainer: Trainer[Any], *steps: int, by: str = "loss") -> None:
    """Make a loss, or only a gradient, non-finite in some steps, counted from 1."""
    compute = trainer.compute

    def poisoned(**batches: Any) -> dict[str, Tensor]:
        found = compute(**batches)
        if trainer.step_count + 1 in steps:
            if by == "loss":
                found["segmentation"] = found["segmentation"] * torch.nan
            next(p for p in trainer.model.parameters() if p.grad is not None).grad.fill_(torch.inf)  # type: ignore[union-attr]
        return found

    trainer.compute = poisoned  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("stage", "by", "what"),
    [
        ("daf", "loss", "the loss 'segmentation'"),
        ("isl", "gradient", "the gradient"),
        ("ida", "loss", "the loss 'segmentation'"),
    ],
)
def test_a_bad_step_is_named_and_changes_nothing(tmp_path: Path, stage: str, by: str, what: str) -> None:
    trainer = build(stage, tmp_path / "run")
    poison(trainer, 4, by=by)
    with pytest.raises(
        TrainingDiverged, match=rf"{what} of step 4 was NaN or infinite \(samples of .*street/\d"
    ) as error:
        trainer.fit()
    assert (error.value.step, error.value.loss) == (4, "segmentation" if by == "loss" else "gradient")
    assert set(error.value.names) == set(trainer.domains)
    sound = build(stage, tmp_path / "sound")
    cut_off(sound, 3)
    after = {key: value for key, value in state(trainer).items() if "running_" not in key and "batches_" not in key}
    assert_same_weights(after, {key: state(sound)[key] for key in after})
    folder = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert folder is not None
    assert folder.name == "step-00000002"


def test_a_run_goes_on_from_its_last_checkpoint_when_the_cause_is_gone(tmp_path: Path) -> None:
    whole = build("daf", tmp_path / "whole")
    whole.fit()
    diverged = build("daf", tmp_path / "run")
    poison(diverged, 4)
    with pytest.raises(TrainingDiverged):
        diverged.fit()
    resumed = build("daf", tmp_path / "run", max_skipped_steps=1)
    assert resumed.fit().skipped_steps == 0
    assert_same_weights(state(resumed), state(whole))


def test_a_few_steps_can_be_skipped_and_are_counted(tmp_path: Path) -> None:
    """Skipping has the effect of leaving those samples out, also across a resume and in the logged means."""
    settings = {"max_skipped_steps": 2, "log_every": 3, "checkpoint_every": 1}
    skipping = build("daf", tmp_path / "run", **settings)
    poison(skipping, 2, 5)
    with pytest.warns(UserWarning, match=r"step 2 was NaN .* 1 skipped, 1 of at most 2 so far"):
        cut_off(skipping, 4)
    assert all(value.isfinite().all() for value in state(skipping).values())
    resumed = build("daf", tmp_path / "run", **settings)
    poison(resumed, 2, 5)
    with pytest.warns(UserWarning, match=r"step 5 was NaN .* 1 skipped, 2 of at most 2 so far"):
        result = resumed.fit()
    assert result.skipped_steps == 2
    whole = build("daf", tmp_path / "whole", **settings)
    poison(whole, 2, 5)
    with pytest.warns(UserWarning, match="skipped"):
        whole.fit()
    assert_same_weights(state(resumed), state(whole))
    records = read_log(tmp_path / "run")
    assert losses(records) == losses(read_log(tmp_path / "whole"))
    assert [record["skipped_steps"] for record in records if "skipped_steps" in record] == [1, 2]
    each = build("daf", tmp_path / "each", **{**settings, "log_every": 1})
    poison(each, 2, 5)
    with pytest.warns(UserWarning, match="skipped"):
        history = each.fit().history
    alone = {record["step"]: record["segmentation"] for record in history if "segmentation" in record}
    assert set(alone) == {1, 3, 4, 6}
    means = {record["step"]: record["segmentation"] for record in records if "segmentation" in record}
    assert means == pytest.approx({3: (alone[1] + alone[3]) / 2, 6: (alone[4] + alone[6]) / 2}, rel=1e-5)


def test_an_image_of_nan_diverges_also_in_the_first_step() -> None:
    trainer = build("daf", None)
    given = {domain: {**collate([Scenes(1)[0]])} for domain in trainer.domains}
    given["source"]["image"] = torch.full_like(given["source"]["image"], torch.nan)
    with pytest.raises(TrainingDiverged, match="step 1 was NaN"):
        trainer.step(**given)


def test_more_than_a_few_end_the_run(tmp_path: Path) -> None:
    trainer = build("daf", tmp_path / "run", max_skipped_steps=1)
    poison(trainer, 2, 3)
    with (
        pytest.warns(UserWarning, match="step 2"),
        pytest.raises(TrainingDiverged, match=r"step 3 .* it is number 2, and max_skipped_steps is 1"),
    ):
        trainer.fit()


def test_the_option_changes_no_healthy_run(tmp_path: Path) -> None:
    ends = []
    for settings in ({}, {"max_skipped_steps": 3}):
        trainer = build("daf", None, **settings)
        trainer.fit()
        ends.append(state(trainer))
    assert_same_weights(*ends)


def test_the_batches_are_kept_on_request(tmp_path: Path) -> None:
    trainer = build("daf", tmp_path / "run", save_bad_batches=True)
    poison(trainer, 2)
    with pytest.raises(TrainingDiverged, match=r"Its batches are in .*bad_steps"):
        trainer.fit()
    folder = tmp_path / "run" / "bad_steps" / "step-00000002"
    assert read_json(folder / "step.json")["loss"] == "segmentation"
    source = load_file(folder / "source.safetensors")
    assert set(source) == {"image", "label", "depth"}


class Later(StepGuard):
    """Does not read the flag at each step, as on CUDA."""

    def __init__(self, *, restore: bool = False) -> None:
        super().__init__(torch.device("cpu"), restore=restore)
        self.immediate = False


def test_without_reading_each_step_the_first_bad_one_is_named_before_anything_is_written(tmp_path: Path) -> None:
    """As on CUDA: weights may be bad by then, but no log, checkpoint or validation has used them."""
    trainer = build("daf", tmp_path / "run", log_every=6, checkpoint_every=3, validate_every=0, save_bad_batches=True)
    trainer.guard = Later()
    poison(trainer, 4)
    with pytest.raises(TrainingDiverged, match="the loss 'segmentation' of step 4") as error:
        trainer.fit()
    assert latest_checkpoint(tmp_path / "run" / "checkpoints") == tmp_path / "run" / "checkpoints" / "step-00000003"
    kept = load_file(tmp_path / "run" / "bad_steps" / "step-00000004" / "target.safetensors")["image"]
    (name,) = error.value.names["target"]
    scenes = Scenes(4, seed=1)
    plain = scenes[scenes.names.index(name)]["image"]
    factor = kept[0] / plain  # the augmentation of that step: one brightness factor
    torch.testing.assert_close(factor, torch.full_like(factor, factor.flatten()[0]))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_fused_optimisers_leave_everything_as_it_is_without_reading(tmp_path: Path, optimizer: str) -> None:
    def fused() -> Trainer[Any]:
        trainer = build("daf", None, optimizer=optimizer, max_skipped_steps=3, log_every=6, validate_every=0)
        trainer.guard = Later(restore=True)
        for name, opt in trainer.optimizers.items():
            groups = [{**group, "fused": True} for group in opt.param_groups]
            trainer.optimizers[name] = type(opt)(groups, lr=opt.defaults["lr"], fused=True)  # type: ignore[call-arg]
        return trainer

    trainer = fused()
    poison(trainer, 3)
    before: list[dict[str, Tensor]] = []
    step = trainer.step

    def spy(**batches: Any) -> dict[str, Tensor]:
        before.append(state(trainer))
        return step(**batches)

    trainer.step = spy  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match="step 3 was NaN"):
        assert trainer.fit().skipped_steps == 1
    skipped = {key: value for key, value in before[3].items() if "batches_" not in key}
    assert_same_weights(skipped, {key: before[2][key] for key in skipped})
    moved = [key for key in skipped if not torch.equal(before[4][key], before[3][key])]
    assert any(key.startswith("model/") for key in moved)


def test_a_bad_step_is_named_also_when_the_steps_after_it_have_other_losses() -> None:
    guard, one = Later(), torch.ones(())
    guard.check({"segmentation": one, "depth": one}, [], step=1, batches={})
    guard.check({"segmentation": one, "depth": one * torch.nan}, [], step=2, batches={"source": {"name": ["a.png"]}})
    guard.check({"segmentation": one * torch.inf}, [], step=3, batches={})
    found = guard.read()
    assert found is not None
    assert (found.count, found.step, found.loss, found.names) == (2, 2, "depth", {"source": ["a.png"]})
    assert guard.read() is None


def test_the_error_survives_a_pool_of_processes() -> None:
    error = TrainingDiverged("the loss 'depth' was NaN", step=3, loss="depth", names={"source": ["a.png"]})
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.step, back.loss, back.names) == (str(error), 3, "depth", {"source": ["a.png"]})


def test_healthy_gradients_keep_their_bits() -> None:
    parameters = [torch.nn.Parameter(torch.randn(50)) for _ in range(3)]
    for parameter in parameters:
        parameter.grad = torch.randn(50) * torch.logspace(-44, 38, 50)
    before = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
    guard = Later()
    guard.check({"loss": torch.ones(())}, parameters, step=1, batches={})
    assert guard.read() is None
    for gradient, parameter in zip(before, parameters, strict=True):
        assert parameter.grad is not None
        assert torch.equal(gradient.view(torch.int32), parameter.grad.view(torch.int32))


# Discriminator --------------------------------------------------------------------------------------------------------


def test_measures_of_a_discriminator() -> None:
    scores = torch.tensor([9.0, 7.9, -7.9, -9.0, 9.0])  # sure beyond 8
    measured = {**discriminator_measures(scores, 1), **discriminator_measures(scores[:4], 0)}
    assert {name: round(float(value), 3) for name, value in measured.items()} == {
        "discriminator_accuracy_target": 0.6,
        "discriminator_saturation_target": 0.6,
        "discriminator_accuracy_source": 0.5,
        "discriminator_saturation_source": 0.5,
    }


@pytest.mark.parametrize(
    ("source", "target", "sure", "sentence"),
    [
        (0.5, 0.6, 0.0, None),
        (1.0, 1.0, 0.5, None),
        (1.0, 0.5, 0.95, None),
        (0.01, 0.5, 0.0, None),
        (1.0, 0.995, 0.95, "The discriminator is saturated: it tells 100 % .* 95 % with near certainty"),
        (1.0, 0.0, 0.0, "collapsed: it takes nearly every patch of both domains for the source's"),
        (0.0, 1.0, 0.0, "collapsed: .* for the target's"),
    ],
)
def test_one_sentence_when_it_looks_wrong(source: float, target: float, sure: float, sentence: str | None) -> None:
    values = {"discriminator_accuracy_source": source, "discriminator_accuracy_target": target}
    values |= {f"discriminator_saturation_{name}": sure for name in ("source", "target")}
    remark = discriminator_remark(values)
    if sentence is None:
        assert remark is None
    else:
        assert remark is not None
        assert re.search(sentence, remark)
        assert remark.endswith(".")


def test_the_log_has_the_measures_and_the_sentence(tmp_path: Path) -> None:
    trainer = build("daf", tmp_path / "run", log_every=2)
    with torch.no_grad():
        last = trainer.modules()["discriminator"][-1]
        last.weight.zero_()
        last.bias.fill_(-20.0)  # classifies everything as source
    trainer.fit()
    first = read_log(tmp_path / "run")[0]
    assert (first["discriminator_accuracy_source"], first["discriminator_accuracy_target"]) == (1.0, 0.0)
    assert "collapsed" in first["remark"]
