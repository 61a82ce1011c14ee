"""Samples that cannot be read in training: named in an error, or skipped, counted and bit-exact on resume."""

from pathlib import Path
from typing import Any

import pytest

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    SelfTrainingConfig,
    SelfTrainingTrainer,
)
from depthaware_uda.data import Augmented
from depthaware_uda.trainers import Trainer, read_log
from depthaware_uda.trainers.run.streams import stream
from depthaware_uda.types import Sample
from tests.test_resume import ALIGNED, SHARED, SPLIT, brighten, cut_off, losses, small_model, state
from tests.tiny import Scenes, assert_same_weights


class Damaged(Scenes):
    """Scenes, some of which cannot be read."""

    broken: tuple[int, ...] = ()

    def __getitem__(self, index: int) -> Sample:
        if index in self.broken:
            raise ValueError(f"{self.names[index]}: cannot be read as an image; is it cut short?")
        return super().__getitem__(index)


def damaged(count: int, *broken: int, seed: int = 0) -> Damaged:
    scenes = Damaged(count, seed=seed)
    scenes.broken = broken
    return scenes


def build(
    stage: str, folder: Path | None, *, broken: tuple[int, ...] = (2,), val: Damaged | None = None, **settings: Any
) -> Trainer[Any]:
    source, target = damaged(3, *broken), damaged(4, *broken, seed=1)
    options: dict[str, Any] = {
        "output_dir": folder,
        "augment": brighten,
        "device": "cpu",
        "progress": False,
        "val": val,
    }
    shared = {**SHARED, "on_error": "skip", **settings}
    if stage == "daf":
        return DAFTrainer(small_model(), source, target, DAFConfig(**shared, **ALIGNED), **options)
    if stage == "isl":
        config = ISLConfig(**shared, refresh_every=3, threshold=0.14, batch_norm="target")
        return ISLTrainer(small_model(), target, config, source=source, **options)
    if stage == "self_training":
        taught = SelfTrainingConfig(**shared, rare_class_temperature=0.1)
        return SelfTrainingTrainer(small_model(), source, target, taught, **options)
    return IDATrainer(small_model(), target, SPLIT, IDAConfig(**shared, **ALIGNED), **options)


def trained(stage: str, **settings: Any) -> Trainer[Any]:
    trainer = build(stage, None, **settings)
    trainer.fit()
    return trainer


def test_by_default_it_is_an_error_that_names_the_file() -> None:
    trainer = build("daf", None, on_error="raise")
    with pytest.raises(ValueError, match=r"street/2\.png: cannot be read as an image"):
        trainer.fit()


@pytest.mark.parametrize("stage", ["daf", "isl", "ida"])
def test_others_stand_in_also_after_a_resume(tmp_path: Path, stage: str) -> None:
    whole = build(stage, tmp_path / "whole")
    with pytest.warns(
        UserWarning, match=r"street/2\.png of the .*: cannot be read and is left out, [12] of at most 10"
    ):
        whole.fit()
    both = [f"street/2.png of the {domain}" for domain in ("source", "target")]  # a name in both domains
    assert sorted(whole.unreadable.names) == (both[1:] if stage == "ida" else both)
    first = build(stage, tmp_path / "run")
    with pytest.warns(UserWarning, match="left out"):
        cut_off(first, 4)
    resumed = build(stage, tmp_path / "run")
    resumed.fit()  # the warning was given before
    assert_same_weights(state(resumed), state(whole))
    records = losses(read_log(tmp_path / "run"))
    assert records == losses(read_log(tmp_path / "whole"))
    assert records[-1]["unreadable_samples"] == (1 if stage == "ida" else 2)


@pytest.mark.parametrize("stage", ["isl", "ida"])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_run_does_not_go_on_with_damaged_pseudo_labels(tmp_path: Path, stage: str, on_error: str) -> None:
    trainer = build(stage, tmp_path / "run", broken=(), on_error=on_error)
    cut_off(trainer, 5)
    file = next((tmp_path / "run" / "pseudo_labels").rglob("0.png.png"))
    file.write_bytes(file.read_bytes()[:-20])
    for _ in (1, 2):
        with pytest.raises(ValueError, match=r"0\.png\.png: not the pseudo-label that was written.*must start over"):
            build(stage, tmp_path / "run", broken=(), on_error=on_error).fit()


@pytest.mark.parametrize("stage", ["daf", "isl", "ida", "self_training"])
def test_the_first_samples_may_be_the_unreadable_ones(stage: str) -> None:
    with pytest.warns(UserWarning, match=r"street/[01]\.png of the .*: cannot be read and is left out"):
        trainer = trained(stage, broken=(0, 1), validation="label_free", label_free_images=4)
    target = {"street/0.png of the target", "street/1.png of the target"}
    assert {name for name in trainer.unreadable.names if name.endswith("target")} == target
    assert len(trainer.unreadable.names) == (2 if stage == "ida" else 4)
    with pytest.raises(ValueError, match=r"street/0\.png: cannot be read"):
        build(stage, None, broken=(0, 1), on_error="raise")


def test_an_image_drawn_by_rare_classes_is_named_and_counted_once() -> None:
    trainer = build("self_training", None, broken=(), max_unreadable=1, max_steps=8)
    source = trainer.fixed_datasets()["source"]
    source.broken = (2,)  # type: ignore[attr-defined]  # after it was searched for rare classes
    with pytest.warns(
        UserWarning, match=r"street/2\.png of the source: cannot be read and is left out, 1 of at most 1"
    ):
        trainer.fit()
    assert trainer.unreadable.names == ["street/2.png of the source"]


def test_a_stand_in_is_found_although_names_are_not_known() -> None:
    batches = stream(Augmented(Nameless(0), dict), name="s", seed=0, batch_size=1, start_step=0, stop_step=4, skip=True)
    assert {trouble for batch in batches for trouble in batch.get("unreadable", [])} == {("sample 2", "cut short")}


class Nameless:
    """Scenes without names; the third cannot be read."""

    def __init__(self, seed: int) -> None:
        self.scenes = Scenes(4, seed=seed)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        if index == 2:
            raise ValueError("cut short")
        sample = self.scenes[index]
        return Sample(image=sample["image"], label=sample["label"], depth=sample["depth"])


def test_passes_over_all_samples_need_no_names() -> None:
    settings: dict[str, Any] = {**SHARED, "on_error": "skip", "batch_norm": "target", "validation": "label_free"}
    config = SelfTrainingConfig(**settings, label_free_images=2)  # the unreadable one is the second of these
    trainer = SelfTrainingTrainer(small_model(), Nameless(0), Nameless(1), config, device="cpu", progress=False)
    with pytest.warns(UserWarning, match=r"sample 2 of the .* left out, [12] of at most 10 \(cut short\)"):
        trainer.fit()
    assert sorted(trainer.unreadable.names) == ["sample 2 of the source", "sample 2 of the target"]


def test_more_unreadable_samples_at_the_start_than_the_limit_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"street/1\.png: cannot be read"):
        build("daf", None, broken=(0, 1), max_unreadable=1)


def test_validation_has_to_be_readable_and_the_error_names_what_is_not() -> None:
    trainer = build("daf", None, broken=(), val=damaged(3, 2))
    with pytest.raises(ValueError, match=r"validation after step 3: street/2\.png: cannot be read as an image"):
        trainer.fit()
    with pytest.raises(ValueError, match=r"street/0\.png: cannot be read as an image"):
        build("daf", None, broken=(), val=damaged(3, 0))


def test_beyond_the_limit_the_run_ends() -> None:
    trainer = build("daf", None, broken=(1, 2), max_unreadable=1)
    with (
        pytest.warns(UserWarning, match="1 of at most 1"),
        pytest.raises(ValueError, match=r"2 samples cannot be read, more than max_unreadable=1; the last one: street/"),
    ):
        trainer.fit()


def test_a_data_set_of_which_nothing_can_be_read_does_not_go_on_for_ever() -> None:
    trainer = build("daf", None)
    for dataset in trainer.fixed_datasets().values():
        dataset.broken = (0, 1, 2, 3)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="samples drawn one after the other cannot be read"):
        trainer.fit()


def test_the_option_changes_no_healthy_run() -> None:
    ends = []
    for on_error in ("raise", "skip"):
        trainer = build("daf", None, broken=(), on_error=on_error)
        trainer.fit()
        ends.append(state(trainer))
    assert_same_weights(*ends)
