"""Callbacks: when they are called, that they change no weights, and the files of those that draw."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from depthaware_uda import DAFConfig, DAFTrainer
from depthaware_uda.report import PanelCallback, ReportCallback
from depthaware_uda.trainers import Callback

from .tiny import Scenes, assert_same_weights, tiny_model, weights

CONFIG = DAFConfig(max_steps=4, log_every=2, validate_every=2, batch_size=2, discriminator_channels=4)


def trainer(*callbacks: Callback, **options: Any) -> DAFTrainer:
    scenes = Scenes(4, (48, 64))
    options = {"val": scenes, "device": "cpu", "progress": False, **options}
    return DAFTrainer(tiny_model(), scenes, Scenes(4, (48, 64), seed=1), CONFIG, callbacks=callbacks, **options)


class Nothing(Callback):
    """A hook that is not overridden does nothing."""


class Told(Callback):
    def __init__(self) -> None:
        self.moments: list[tuple[Any, ...]] = []

    def on_start(self, trainer: Any) -> None:
        self.moments.append(("start", trainer.step_count))

    def on_log(self, trainer: Any, step: int, values: Any) -> None:
        self.moments.append(("log", step, values["segmentation"]))

    def on_validation(self, trainer: Any, step: int, result: Any) -> None:
        np.random.seed(step)  # noqa: NPY002  a callback may do so
        self.moments.append(("validation", step, result.miou))

    def on_end(self, trainer: Any, result: Any) -> None:
        self.moments.append(("end", result.steps))


def test_callbacks_are_told_what_is_logged_and_change_no_weight() -> None:
    told, silent = Told(), trainer()
    followed = trainer(told, Nothing())
    history = followed.fit().history
    silent.fit()
    assert_same_weights(weights(followed.model), weights(silent.model))
    losses = [(r["step"], r["segmentation"]) for r in history if "segmentation" in r]
    mious = [(r["step"], r["val/miou"]) for r in history if "val/miou" in r]
    assert [moment[:2] for moment in told.moments] == [
        *(("start", 0), ("log", 2), ("validation", 2), ("log", 4), ("validation", 4), ("end", 4))
    ]
    assert [moment[1:] for moment in told.moments if moment[0] == "log"] == losses
    assert [moment[1:] for moment in told.moments if moment[0] == "validation"] == mious


def test_validations_without_labels_have_a_moment_of_their_own(tmp_path: Path) -> None:
    class Scores(Told):
        def on_label_free(self, trainer: Any, step: int, score: Any) -> None:
            self.moments.append(("label-free", step, score.score))

    told = Scores()
    callbacks = [told, PanelCallback(Scenes(1, (48, 64), labels=False), maps=("labels",)), ReportCallback()]
    config = replace(CONFIG, validation="label_free")
    scenes = Scenes(4, (48, 64))
    options: dict[str, Any] = {"device": "cpu", "progress": False, "callbacks": callbacks}
    run = DAFTrainer(tiny_model(), scenes, Scenes(4, (48, 64), seed=1), config, tmp_path, **options)
    history = run.fit().history
    expected = [("label-free", r["step"], r["label_free/score"]) for r in history if "label_free/score" in r]
    assert [moment for moment in told.moments if moment[0] in ("validation", "label-free")] == expected
    assert [moment[1] for moment in expected] == [2, 4]
    assert len(list((tmp_path / "panels").iterdir())) == 2
    assert (tmp_path / "index.html").is_file()


def test_a_panel_of_the_same_images_and_the_page_at_each_validation(tmp_path: Path) -> None:
    panels = PanelCallback(count=2, maps=("labels",))
    run = trainer(panels, ReportCallback(), output_dir=tmp_path / "run")
    run.fit()
    assert panels.shown is not None
    assert panels.shown.names == ["street/0.png", "street/3.png"]
    files = sorted((tmp_path / "run" / "panels").iterdir())
    assert [file.name for file in files] == ["step-00000002.png", "step-00000004.png"]
    with Image.open(files[0]) as picture:
        assert min(picture.size) > 100
    page = (tmp_path / "run" / "index.html").read_text(encoding="utf-8")
    assert "step-00000004.png" in page
    assert "step-00000002.png" in page


def test_a_panel_of_another_stage_shows_the_images_of_that_stage(tmp_path: Path) -> None:
    panels = PanelCallback(count=1)
    shown = []
    for stage in ("daf", "isl"):
        others = Scenes(2, (48, 64), seed=len(stage) + len(shown))
        panels.on_start(trainer(output_dir=tmp_path / stage, val=others))
        assert panels.shown is not None
        shown.append(panels.shown.dataset is others)
    assert shown == [True, True]


@pytest.mark.parametrize("callback", [PanelCallback(), ReportCallback()])
def test_what_is_missing_is_said_before_the_first_step(callback: Callback, tmp_path: Path) -> None:
    run = trainer(callback)
    with pytest.raises(ValueError, match="has no output_dir"):
        run.fit()
    assert run.step_count == 0
    with pytest.raises(ValueError, match="give it a dataset, or the trainer a val"):
        trainer(PanelCallback(), output_dir=tmp_path / "run", val=None).fit()
    with pytest.raises(ValueError, match=r"count must be in 1\.\."):
        trainer(PanelCallback(count=0), output_dir=tmp_path / "run").fit()


def test_tensorboard_has_the_panels(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer(PanelCallback(count=1, maps=("labels",)), output_dir=tmp_path / "run").fit()
    board = events.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in board.Images("panel")] == [2, 4]


def test_the_page_is_written_once_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    monkeypatch.setattr("depthaware_uda.report.callbacks.write_report", written.append)
    callback, stage, ended = ReportCallback(), SimpleNamespace(output_dir=tmp_path), SimpleNamespace(steps=4)
    for validated in (True, False):  # one callback, two stages
        callback.on_start(stage)  # type: ignore[arg-type]
        if validated:
            callback.on_validation(stage, 4, None)  # type: ignore[arg-type]
        callback.on_end(stage, ended)  # type: ignore[arg-type]
        assert written == [tmp_path]
        written.clear()
