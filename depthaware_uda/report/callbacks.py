"""Callbacks of a training run that draw: a panel of fixed images at each validation, and the page of the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from depthaware_uda.data.contract import sample_names
from depthaware_uda.data.wrappers import Selected
from depthaware_uda.evaluation import EvaluationResult
from depthaware_uda.label_free import LabelFreeScore
from depthaware_uda.report.run import save_panel, write_report
from depthaware_uda.trainers import Callback, Trainer, TrainResult
from depthaware_uda.types import SampleDataset
from depthaware_uda.viz import PanelMap
from depthaware_uda.viz.figures import figure_class
from depthaware_uda.viz.samples import spread

__all__ = ["PanelCallback", "ReportCallback"]


class PanelCallback(Callback):
    """At each validation, draw what the network sees in the same few images, into `panels/` of the run folder.

    The page of the run (`write_report`) shows the panels, and so does TensorBoard where it is installed.

    Args:
        dataset: Where the images come from; by default the trainer's validation data.
        names: Names of the images; by default `count` images evenly spread.
        count: How many images, where no names are given; fewer if there are not so many.
        maps: What is shown, see `depthaware_uda.viz.model_panel`; by default labels, entropy, and depth if the network
            has it.

    Raises:
        ImportError: When training starts, matplotlib is not installed.
        ValueError: When training starts, the trainer has no output folder or no images to show, or `count` is below 1.
    """

    def __init__(
        self,
        dataset: SampleDataset | None = None,
        *,
        names: Sequence[str] | None = None,
        count: int = 4,
        maps: Sequence[PanelMap] | None = None,
    ) -> None:
        self.dataset = dataset
        self.names = names
        self.count = count
        self.maps = maps
        self.shown: Selected | None = None
        """The images of the stage that is trained, from its start on."""

    def on_start(self, trainer: Trainer[Any]) -> None:
        """Choose the images, and find out what is missing before training takes its time."""
        figure_class()
        _folder_of(self, trainer)
        dataset = trainer.val if self.dataset is None else self.dataset
        if dataset is None:
            raise ValueError("PanelCallback has no images to show: give it a dataset, or the trainer a val")
        names = self.names
        if names is None:
            known = sample_names(dataset)
            names = [known[index] for index in spread(len(known), min(self.count, len(known)))]
        self.shown = Selected(dataset, names)  # chosen anew in each stage, whose validation data may differ

    def on_validation(self, trainer: Trainer[Any], step: int, result: EvaluationResult) -> None:
        """Draw the panel of this step."""
        self._draw(trainer, step)

    def on_label_free(self, trainer: Trainer[Any], step: int, score: LabelFreeScore) -> None:
        """Draw the panel of this step, if `on_validation` did not."""
        if trainer.val is None:
            self._draw(trainer, step)

    def _draw(self, trainer: Trainer[Any], step: int) -> None:
        assert self.shown is not None  # on_start chose it
        maps = self.maps or (("labels", "entropy", "depth") if trainer.has_depth else ("labels", "entropy"))
        folder = _folder_of(self, trainer)
        path = save_panel(folder, step, trainer.predictor(), self.shown, names=self.shown.names, maps=maps)
        if trainer.log is not None:
            with Image.open(path) as picture:
                trainer.log.picture(step, "panel", np.asarray(picture.convert("RGB")))


class ReportCallback(Callback):
    """Keep `index.html` of the run folder up to date: written anew after each validation, and at the end.

    Put it behind a `PanelCallback`, so that the page has the panel of its step.

    Raises:
        ImportError: When training starts, matplotlib is not installed.
        ValueError: When training starts, the trainer has no output folder.
    """

    def __init__(self) -> None:
        self._step: int | None = None

    def on_start(self, trainer: Trainer[Any]) -> None:
        """Find out what is missing before training takes its time."""
        figure_class()
        _folder_of(self, trainer)
        self._step = None  # one callback may serve several stages

    def on_validation(self, trainer: Trainer[Any], step: int, result: EvaluationResult) -> None:
        """Write the page."""
        self._write(trainer, step)

    def on_label_free(self, trainer: Trainer[Any], step: int, score: LabelFreeScore) -> None:
        """Write the page, if `on_validation` did not."""
        if trainer.val is None:
            self._write(trainer, step)

    def on_end(self, trainer: Trainer[Any], result: TrainResult) -> None:
        """Write the page a last time, if the last step was not validated."""
        if self._step != result.steps:
            self._write(trainer, result.steps)

    def _write(self, trainer: Trainer[Any], step: int) -> None:
        write_report(_folder_of(self, trainer))
        self._step = step


def _folder_of(callback: Callback, trainer: Trainer[Any]) -> Path:
    if trainer.output_dir is None:
        raise ValueError(
            f"{type(callback).__name__} writes into the run folder, but the trainer has no output_dir; give it one"
        )
    return trainer.output_dir
