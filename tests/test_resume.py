"""An interrupted run that is started again gives bit-identical results, and no run overwrites another."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    EvaluationResult,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    SegDepthOutput,
    SelfTrainingConfig,
    SelfTrainingTrainer,
    TargetSplit,
    TrainResult,
    load_pretrained,
)
from depthaware_uda.files import sha256
from depthaware_uda.labels import get_label_space
from depthaware_uda.models import DepthSegmenter
from depthaware_uda.tensors import read_tensors, write_tensors
from depthaware_uda.trainers import Trainer, read_log
from depthaware_uda.trainers.run import checkpoint
from depthaware_uda.trainers.run.saving import resume
from depthaware_uda.trainers.run.streams import Augmentation
from depthaware_uda.trainers.run.validation import Validation
from depthaware_uda.types import Batch, Sample
from tests.tiny import Changed, Scenes, assert_same_weights, tiny_model, weights

SHARED: dict[str, Any] = {
    "max_steps": 6,
    "learning_rate": 0.01,
    "log_every": 1,
    "validate_every": 3,
    "checkpoint_every": 2,
}
ALIGNED: dict[str, Any] = {"discriminator_learning_rate": 0.01, "discriminator_channels": 4, "depth_scale": 0.02}
SPLIT = TargetSplit(("street/0.png", "street/3.png"), ("street/1.png", "street/2.png"))


def small_model(seed: int = 0) -> DepthSegmenter:
    """A network with the head that has the fewest tensors to save."""
    return tiny_model(seed, depth_head="dada")


class WithConfig(nn.Sequential):
    """A network from elsewhere, which keeps its settings where ours do."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 7, 8, stride=8))

    def forward(self, image: Tensor) -> SegDepthOutput:
        return SegDepthOutput(super().forward(image), None)


def with_a_frozen_stem() -> DepthSegmenter:
    model = small_model()
    next(model.parameters()).requires_grad_(False)
    return model


def brighten(sample: Sample) -> Sample:
    return Sample(**{**sample, "image": sample["image"] * (0.5 + torch.rand(()))})  # type: ignore[typeddict-item]


def darken(sample: Sample) -> Sample:
    return Sample(**{**sample, "image": sample["image"] / 2})  # type: ignore[typeddict-item]


def build(
    stage: str,
    folder: Path | None,
    *,
    model: nn.Module | None = None,
    source: Scenes | None = None,
    target: Scenes | None = None,
    augment: Augmentation = brighten,
    **settings: Any,
) -> Trainer[Any]:
    """The same call every time: a fresh network, fresh data, the same settings."""
    model = small_model() if model is None else model
    target = Scenes(4, seed=1) if target is None else target
    options: dict[str, Any] = {
        "output_dir": folder,
        "val": Scenes(1, seed=9),
        "augment": augment,
        "device": "cpu",
        "progress": False,
    }
    if stage == "daf":
        source = Scenes(3) if source is None else source
        return DAFTrainer(model, source, target, DAFConfig(**{**SHARED, **ALIGNED, **settings}), **options)
    if stage == "isl":
        config = ISLConfig(**{**SHARED, "refresh_every": 3, "threshold": 0.14, "proportion": 0.5, **settings})
        return ISLTrainer(model, target, config, source=Scenes(2), **options)
    if stage == "self_training":
        pieces = {"class_mix": True, "mix_nearer": True, "rare_class_temperature": 0.1, "adversarial_weight": 0.01}
        taught = SelfTrainingConfig.recommended(**{**SHARED, **ALIGNED, **pieces, "threshold": 0.15, **settings})
        return SelfTrainingTrainer(model, Scenes(3), target, taught, perturb=brighten, **options)
    return IDATrainer(model, target, SPLIT, IDAConfig(**{**SHARED, **ALIGNED, **settings}), **options)


STAGES = ("daf", "isl", "ida", "self_training")


class PowerCut(BaseException):
    """An exception that no code catches."""


def cut_off(trainer: Trainer[Any], at: int) -> None:
    """Run `fit` and interrupt it after this many steps."""
    step = trainer.step

    def until(**batches: Batch) -> dict[str, Tensor]:
        if trainer.step_count == at:
            raise PowerCut
        return step(**batches)

    trainer.step = until  # type: ignore[method-assign]
    with pytest.raises(PowerCut):
        trainer.fit()


def state(trainer: Trainer[Any]) -> dict[str, Tensor]:
    """Weights of every network and state of every optimiser."""
    found = {f"{name}/{key}": value for name, m in trainer.modules().items() for key, value in weights(m).items()}
    for name, optimizer in trainer.optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            found |= {f"{name}/{index}/{key}": torch.as_tensor(v).clone() for key, v in values.items() if v is not None}
    return found


def losses(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key != "seconds_per_step"} for record in records]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Finished:
    """Uninterrupted runs, one for each stage and settings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs: dict[str, tuple[dict[str, Tensor], TrainResult]] = {}

    def __call__(self, stage: str, **settings: Any) -> tuple[dict[str, Tensor], TrainResult]:
        key = f"{stage}-{json.dumps(settings)}"
        if key not in self.runs:
            trainer = build(stage, self.root / str(len(self.runs)), **settings)
            result = trainer.fit()
            self.runs[key] = state(trainer), result
        return self.runs[key]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("finished"))


def assert_ends_alike(
    trainer: Trainer[Any], result: TrainResult, expected: tuple[dict[str, Tensor], TrainResult]
) -> None:
    assert_same_weights(state(trainer), expected[0])
    assert losses(result.history) == losses(expected[1].history)
    assert result.steps == expected[1].steps == trainer.step_count
    assert (result.best_miou, result.best_step) == (expected[1].best_miou, expected[1].best_step)
    assert result.final is not None
    assert expected[1].final is not None
    assert result.final.to_dict() == expected[1].final.to_dict()


@pytest.mark.parametrize(
    ("stage", "cut", "settings"),
    [
        ("daf", 1, {}),  # before the first checkpoint
        ("daf", 2, {}),  # right after one
        ("daf", 5, {}),
        ("daf", 5, {"num_workers": 1, "batch_size": 2, "log_every": 3}),  # the last checkpoint is between two records
        ("daf", 3, {"optimizer": "adamw", "ema_decay": 0.9, "warmup_steps": 3}),
        ("isl", 2, {}),  # in the first generation of pseudo-labels
        ("isl", 3, {}),  # the second one is written, the last checkpoint is of the first
        ("isl", 5, {}),  # the last checkpoint is within the second generation
        ("isl", 4, {"checkpoint_every": 3}),  # the last checkpoint is where the second generation begins
        ("isl", 5, {"ema_decay": 0.9}),
        ("ida", 1, {}),
        ("ida", 3, {}),
        ("ida", 5, {"batch_size": 2}),
        ("self_training", 5, {"batch_size": 2, "validation": "label_free"}),
    ],
)
def test_a_run_cut_off_and_resumed_ends_as_if_it_had_not_been(
    tmp_path: Path, finished: Finished, stage: str, cut: int, settings: dict[str, Any]
) -> None:
    cut_off(build(stage, tmp_path / "run", **settings), cut)
    resumed = build(stage, tmp_path / "run", **settings)
    assert_ends_alike(resumed, resumed.fit(), finished(stage, **settings))


def test_a_run_may_be_cut_off_many_times(tmp_path: Path, finished: Finished) -> None:
    for cut in (1, 3, 3, 5):
        cut_off(build("daf", tmp_path / "run"), cut)
    resumed = build("daf", tmp_path / "run")
    assert_ends_alike(resumed, resumed.fit(), finished("daf"))


def test_a_resumed_run_begins_at_its_checkpoint_and_not_before(tmp_path: Path) -> None:
    cut_off(build("daf", tmp_path / "run"), 5)
    resumed = build("daf", tmp_path / "run")
    done = []
    step = resumed.step
    resumed.step = lambda **batches: (done.append(resumed.step_count), step(**batches))[1]  # type: ignore
    resumed.fit()
    assert done == [4, 5]


def test_the_memory_format_of_the_first_weights_makes_no_difference(tmp_path: Path) -> None:
    """On GPUs, networks are channels_last, including 1 x 1 convolutions, whose strides are then ambiguous."""
    begun = {}
    for name, memory in (("plain", torch.contiguous_format), ("last", torch.channels_last)):
        model = tiny_model().to(memory_format=memory)  # type: ignore[call-overload]
        cut_off(build("daf", tmp_path / name, model=model), 1)
        begun[name] = json.loads((tmp_path / name / "run.json").read_text())
    assert begun["plain"] == begun["last"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_state_of_an_optimiser_has_the_memory_format_of_its_parameters(tmp_path: Path, optimizer: str) -> None:
    """On GPUs, networks are channels_last, and fused optimisers require the same of their momenta."""
    runs = [
        build("daf", tmp_path, model=small_model().to(memory_format=torch.channels_last), optimizer=optimizer)  # type: ignore[call-overload]
        for _ in range(2)
    ]
    cut_off(runs[0], 2)
    resume(runs[1], tmp_path)
    found = [
        (parameter.stride(), value.stride())
        for parameter, values in runs[1].optimizers["model"].state.items()
        for value in values.values()
        if value is not None and value.shape == parameter.shape
    ]
    assert any(stride[1:2] == (1,) for stride, _ in found)
    assert [of_value for _, of_value in found] == [of_parameter for of_parameter, _ in found]
    assert_same_weights(state(runs[1]), state(runs[0]))


def test_tied_weights_that_are_channels_last_are_written(tmp_path: Path) -> None:
    model = nn.Sequential(*[nn.Conv2d(2, 2, 3)] * 2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    write_tensors(tmp_path / "tied.safetensors", model.state_dict())
    assert_same_weights(read_tensors(tmp_path / "tied.safetensors"), weights(model))


def test_weights_of_the_checkpoint_replace_those_of_the_network_given(tmp_path: Path, finished: Finished) -> None:
    cut_off(build("daf", tmp_path / "run"), 3)
    resumed = build("daf", tmp_path / "run", model=small_model(seed=5))
    with pytest.warns(
        UserWarning, match=r"run began with other weights than the model has now, and goes on with its own"
    ):
        result = resumed.fit()
    assert_ends_alike(resumed, result, finished("daf"))


def test_a_checkpoint_of_a_later_step_goes_when_the_run_went_on_from_an_earlier_one(tmp_path: Path) -> None:
    for step in (2, 4, 3):
        checkpoint.save_checkpoint(tmp_path, step, {}, {}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize(("keep", "kept"), [(1, ["6"]), (2, ["4", "6"]), (9, ["2", "4", "6"])])
def test_the_last_checkpoints_are_kept_and_nothing_is_left_half_written(
    tmp_path: Path, keep: int, kept: list[str]
) -> None:
    cut_off(build("daf", tmp_path / "run", keep_checkpoints=keep), 5)
    build("daf", tmp_path / "run", keep_checkpoints=keep).fit()
    found = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert found == [f"step-0000000{step}" for step in kept]
    assert not list((tmp_path / "run").rglob("*partial*"))


def test_a_cut_while_a_checkpoint_is_written_leaves_the_one_before(
    tmp_path: Path, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tensors, written = checkpoint.write_tensors, []

    def fail(path: Path, tensors: dict[str, Tensor]) -> None:
        written.append(path.name)
        write_tensors(path, tensors)
        if len(written) == 6:  # four files per checkpoint: the second file of the second one
            raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_tensors", fail)
        with pytest.raises(PowerCut):
            build("daf", tmp_path / "run").fit()
    assert len(written) == 6
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000002"]
    resumed = build("daf", tmp_path / "run")
    assert_ends_alike(resumed, resumed.fit(), finished("daf"))


def test_what_a_dead_process_left_half_written_is_not_taken_for_a_checkpoint(
    tmp_path: Path, finished: Finished
) -> None:
    cut_off(build("daf", tmp_path / "run"), 3)
    for name in (".step-00000004-0a1b2c3d.partial", "step-00000005"):
        (tmp_path / "run" / "checkpoints" / name).mkdir()
        (tmp_path / "run" / "checkpoints" / name / "module-model.safetensors").write_bytes(b"half")
    resumed = build("daf", tmp_path / "run")
    with pytest.warns(UserWarning, match=r"step-00000005 is damaged: its manifest.json cannot be read"):
        result = resumed.fit()
    assert_ends_alike(resumed, result, finished("daf"))
    assert not list((tmp_path / "run").rglob("*partial*"))


def test_the_log_is_cut_back_to_the_checkpoint_and_written_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    cut_off(build("daf", run), 5)
    assert [record["step"] for record in read_log(run)] == [1, 2, 3, 3, 4, 5]
    again = build("daf", run)
    cut_off(again, 4)  # resumes at step 4 and stops before doing more
    assert [record["step"] for record in read_log(run)] == [1, 2, 3, 3, 4]
    result = build("daf", run).fit()
    assert [record["step"] for record in read_log(run)] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert read_log(run) == result.history


def test_a_log_line_that_a_dead_process_left_half_written_does_not_stop_a_run(
    tmp_path: Path, finished: Finished
) -> None:
    cut_off(build("daf", tmp_path / "run"), 3)
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "segm')
    resumed = build("daf", tmp_path / "run")
    assert_ends_alike(resumed, resumed.fit(), finished("daf"))


@pytest.mark.parametrize(("stage", "ema"), [("daf", 0.0), ("daf", 0.9), ("isl", 0.9), ("ida", 0.0)])
def test_a_finished_run_returns_at_once_with_its_weights(tmp_path: Path, stage: str, ema: float) -> None:
    first = build(stage, tmp_path / "run", ema_decay=ema)
    result = first.fit()
    before = files(tmp_path / "run")
    again = build(stage, tmp_path / "run", model=small_model(seed=5), ema_decay=ema)
    again.step = None  # type: ignore[assignment,method-assign]  # would fail if called
    with pytest.warns(UserWarning, match="began with other weights"):
        second = again.fit()
    assert_same_weights(weights(again.model), weights(first.model))
    assert second.final is not None
    assert result.final is not None
    assert second.final.to_dict() == result.final.to_dict()
    assert (second.steps, second.best_miou, second.best_step) == (6, result.best_miou, result.best_step)
    assert second.history == result.history
    kept = {name for name in before if not name.startswith("tensorboard")}
    after = files(tmp_path / "run")
    assert {name for name in kept if after.get(name) != before[name]} == set()


@pytest.mark.parametrize("stage", STAGES)
def test_best_and_last_weights_can_be_loaded(tmp_path: Path, stage: str) -> None:
    trainer = build(stage, tmp_path / "run", validate_every=1)
    moments = {}
    step = trainer.step

    def spy(**batches: Batch) -> dict[str, Tensor]:
        computed = step(**batches)
        moments[trainer.step_count] = weights(trainer.predictor())
        return computed

    trainer.step = spy  # type: ignore[method-assign]
    result = trainer.fit()
    assert result.best_step is not None
    assert_same_weights(weights(load_pretrained(tmp_path / "run" / "best")), moments[result.best_step])
    assert_same_weights(weights(load_pretrained(tmp_path / "run" / "model")), moments[6])


def test_a_validation_without_a_score_is_never_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([float("nan"), 0.2, 0.1])

    def scripted(*_: object, **__: object) -> EvaluationResult:
        nothing = EvaluationResult.from_confusion(torch.zeros(7, 7), get_label_space("common7").classes)
        return dataclasses.replace(nothing, miou=next(scores))

    monkeypatch.setattr("depthaware_uda.trainers.run.validation.evaluate", scripted)
    result = build("daf", tmp_path / "run", validate_every=2).fit()
    assert (result.best_miou, result.best_step) == (0.2, 4)


def test_the_best_weights_outlive_a_resume(tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = {"validate_every": 1, "checkpoint_every": 3}
    cut_off(build("daf", run, **settings), 4)
    state_file = run / "checkpoints" / "step-00000003" / "state.json"
    record = json.loads(state_file.read_text())
    record["best"], record["best_miou"] = [0.99, 2], 0.99  # as if step 2 had scored that
    state_file.write_text(json.dumps(record))
    manifest_file = state_file.with_name("manifest.json")
    manifest = json.loads(manifest_file.read_text())
    manifest["sha256"]["state.json"] = sha256(state_file)
    manifest_file.write_text(json.dumps(manifest))
    before = (run / "best" / "model.safetensors").read_bytes()
    result = build("daf", run, **settings).fit()
    assert (result.best_miou, result.best_step) == (0.99, 2)
    assert (run / "best" / "model.safetensors").read_bytes() == before


def test_settings_that_change_no_weight_may_change(tmp_path: Path, finished: Finished) -> None:
    cut_off(build("daf", tmp_path / "run"), 3)
    resumed = build("daf", tmp_path / "run", num_workers=1, log_every=3, validate_every=0, checkpoint_every=0)
    resumed.fit()
    assert_same_weights(state(resumed), finished("daf")[0])


REFUSED: dict[str, tuple[Callable[[Path], Trainer[Any]], str]] = {
    "settings": (lambda run: build("daf", run, learning_rate=0.02), r"learning_rate \(was 0.01, is 0.02\)"),
    "longer": (lambda run: build("daf", run, max_steps=7), r"max_steps \(was 6, is 7\)"),
    "class weights": (lambda run: build("daf", run, class_weights=(1.0,) * 7), "class_weights"),
    "model": (lambda run: build("daf", run, model=tiny_model()), "differs in: model, model_tensors"),
    "more data": (
        lambda run: build("daf", run, target=Scenes(5, seed=1)),
        r"differs in: names of target, samples of target \(was 4, is 5\)",
    ),
    "other names": (lambda run: build("daf", run, target=Scenes(4, folder="road")), "differs in: names of target"),
    "another size": (
        lambda run: build("daf", run, target=Scenes(4, (48, 40))),
        r"first sample of target \(was image of 32 x 40, is image of 48 x 40\)",
    ),
    "another label map": (
        lambda run: build("daf", run, source=Changed("label", lambda label: label.where(label != 6, 0), 3)),
        r"first sample of source \(was .* labels in percent {0: 12, 1: 13, .*, is .* labels in percent {0: 25, 1: 13, ",
    ),
    "another unit of depth": (
        lambda run: build("daf", run, source=Changed("depth", lambda depth: depth * 10, 3)),
        r"first sample of source \(.* median depth 31.1 m, is .* median depth 311 m\)",
    ),
    "another augmentation": (
        lambda run: build("daf", run, augment=darken),
        r"augmentation of source \(was <function brighten>, is <function darken>\)",
    ),
    "frozen weights": (
        lambda run: build("daf", run, model=with_a_frozen_stem()),
        r"differs in: optimizer of model \(was SGD of (\d+) tensors, .*, is SGD of (?!\1)\d+ tensors, .*\)",
    ),
    "stage": (lambda run: build("isl", run), "differs in: trainer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_run_is_not_overwritten(tmp_path: Path, name: str) -> None:
    rebuild, message = REFUSED[name]
    cut_off(build("daf", tmp_path / "run"), 3)
    before = files(tmp_path / "run")
    trainer = rebuild(tmp_path / "run")
    with pytest.raises(ValueError, match=f"holds another run, nothing was overwritten.*{message}.*another output_dir"):
        trainer.fit()
    assert files(tmp_path / "run") == before


def test_a_finished_run_says_so_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build("daf", tmp_path / "run").fit()
    again = build("daf", tmp_path / "run", model=small_model(seed=5))
    again.progress = True
    with pytest.warns(UserWarning, match="began with other weights"):
        assert again.fit().steps == 6
    assert f"{tmp_path / 'run'} is finished, at step 6: nothing is trained" in capsys.readouterr().out


def test_a_source_that_changes_at_every_reading_can_be_resumed(tmp_path: Path) -> None:
    def flickering() -> Scenes:
        return Changed("depth", lambda depth: depth * (1 + torch.rand(())), 3)

    cut_off(build("daf", tmp_path / "run", source=flickering()), 3)
    assert build("daf", tmp_path / "run", source=flickering()).fit().steps == 6


def test_a_run_of_a_version_that_told_less_of_its_data_goes_on(tmp_path: Path) -> None:
    cut_off(build("daf", tmp_path / "run"), 3)
    file = tmp_path / "run" / "run.json"
    record = json.loads(file.read_text())
    for key in ("samples", "first_sample", "augmentation", "optimizer", "began_with"):
        del record[key]
    file.write_text(json.dumps(record))
    assert build("daf", tmp_path / "run", model=small_model(seed=5)).fit().steps == 6


def test_a_run_of_a_version_without_a_setting_goes_on_with_its_default(tmp_path: Path) -> None:
    cut_off(build("daf", tmp_path / "run"), 3)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    del record["config"]["target_depth_weight"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"target_depth_weight \(was 0.0, is 0.5\)"):
        build("daf", tmp_path / "run", target_depth_weight=0.5).fit()
    assert build("daf", tmp_path / "run").fit().steps == 6


def test_a_checkpoint_of_a_version_without_other_scores_has_the_miou_as_its_best() -> None:
    validation = Validation(DAFConfig())
    validation.load_state_dict({"best": [0.5, 3], "final": None})
    assert (validation.best, validation.best_miou) == ((0.5, 3), 0.5)
    validation.load_state_dict({"best": None, "final": None})
    assert (validation.best, validation.best_miou) == (None, None)


@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_of_other_files_is_not_touched(tmp_path: Path, stage: str) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"beach")
    with pytest.raises(ValueError, match=r"holiday holds files but no run.json: choose an empty or a new output_dir"):
        build(stage, tmp_path / "holiday").fit()
    assert files(tmp_path) == {"holiday/photo.jpg": b"beach"}


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert build("daf", tmp_path / "run", max_steps=1, validate_every=0).fit().steps == 1


def test_a_trainer_that_is_ahead_of_the_folder_is_refused(tmp_path: Path) -> None:
    trainer = build("daf", tmp_path / "run")
    cut_off(trainer, 5)
    with pytest.raises(ValueError, match=r"step-00000004 is behind this trainer, which is at step 5; make a new"):
        trainer.fit()


def test_the_run_file_says_what_was_run(tmp_path: Path) -> None:
    build("ida", tmp_path / "run", max_steps=1).fit()
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["trainer"] == "IDATrainer"
    assert run["config"]["max_steps"] == 1
    assert run["config"]["discriminator_betas"] == [0.9, 0.99]
    assert run["model"]["name"] == "timm/resnet10t"
    assert set(run["data"]) == {"easy", "hard"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnConfig(ISLConfig):
    """Settings of a method of a user's own: one without a default, one made anew, and one that JSON does not know."""

    strength: float
    stages: list[int] = dataclasses.field(default_factory=lambda: [1, 2])
    table: Path = Path("table.csv")


class OwnMethod(ISLTrainer):
    config_class = OwnConfig


def test_a_method_of_ones_own_resumes_with_settings_of_any_kind(tmp_path: Path) -> None:
    def own(**settings: Any) -> OwnMethod:
        config = OwnConfig(**{**SHARED, "threshold": 0.0, **settings})
        return OwnMethod(small_model(), Scenes(2), config, tmp_path / "run", device="cpu", progress=False)

    cut_off(own(strength=0.5), 3)
    for changed in ({"strength": 0.6}, {"strength": 0.5, "stages": [1]}, {"strength": 0.5, "table": Path("other.csv")}):
        with pytest.raises(ValueError, match=rf"holds another run.* {list(changed)[-1]} \(was"):
            own(**changed).fit()
    assert own(strength=0.5).fit().steps == 6


@pytest.mark.parametrize("config", [SimpleNamespace(width=8), {"kernel": nn.Conv2d}, {"width": 8}])
def test_a_network_may_have_a_config_of_any_kind(tmp_path: Path, config: Any) -> None:
    def fit() -> int:
        model = WithConfig()
        model.config = config
        return build("isl", tmp_path / "run", model=model, max_steps=1).fit().steps

    assert fit() == 1
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["model"] == ({"width": 8} if config == {"width": 8} else "WithConfig")
    with pytest.warns(UserWarning, match="began with other weights"):
        assert fit() == 1


@pytest.mark.parametrize("stage", ["isl", "ida"])
def test_missing_pseudo_labels_of_a_cut_off_run_are_named(tmp_path: Path, stage: str) -> None:
    cut_off(build(stage, tmp_path / "run"), 5)
    for record in (tmp_path / "run" / "pseudo_labels").rglob("pseudo_labels.json"):
        record.unlink()
    with pytest.raises(FileNotFoundError, match=r"pseudo_labels.json is missing"):
        build(stage, tmp_path / "run").fit()
