"""The loop of `Trainer.fit`: batches in, and log, validations and checkpoints at their steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from depthaware_uda.distributed import barrier, is_writer
from depthaware_uda.evaluation import EvaluationResult
from depthaware_uda.trainers.callbacks import Callback
from depthaware_uda.trainers.run.interruption import Interruption, TrainingInterrupted
from depthaware_uda.trainers.run.log import RunLog
from depthaware_uda.trainers.run.saving import save
from depthaware_uda.trainers.run.streams import stream
from depthaware_uda.trainers.run.validation import export
from depthaware_uda.trainers.step.batches import prefetched
from depthaware_uda.trainers.step.divergence import respond
from depthaware_uda.trainers.step.sharing import images_at_once
from depthaware_uda.types import Batch, SampleDataset

if TYPE_CHECKING:
    from depthaware_uda.trainers.base import Trainer

__all__ = ["Loop", "TrainResult", "batches_of"]


@dataclass(frozen=True)
class TrainResult:
    """What `Trainer.fit` did."""

    steps: int
    """Steps trained in all, those before a resume included."""
    final: EvaluationResult | None
    """Evaluation of the weights that the model ends with, or None without validation data."""
    best_miou: float | None
    """mIoU of the best validation, or None without validation data."""
    best_step: int | None
    """The best validation, as `TrainerConfig.validation` has it; its weights are in `best` of the output folder."""
    history: list[dict[str, Any]] = field(repr=False)
    """The records of the log: losses, learning rates and validations by step."""
    skipped_steps: int = 0
    """Steps that were left out because a loss or gradient was NaN or infinite."""


class Loop:
    """One call of `Trainer.fit`, from the step that the trainer is at.

    Args:
        trainer: What is trained; a resume has been done.
        interruption: Says when to stop before the end.
    """

    def __init__(self, trainer: Trainer[Any], interruption: Interruption) -> None:
        self.trainer, self.config, self.interruption = trainer, trainer.config, interruption
        self.name = type(trainer).__name__.removesuffix("Trainer")
        self.log = trainer.log = RunLog(trainer.output_dir, trainer.step_count, write=is_writer())
        self.bar = tqdm(
            total=self.config.max_steps, initial=trainer.step_count, desc=self.name, disable=not trainer.progress
        )
        self._datasets: Mapping[str, SampleDataset] = {}
        self._remark: str | None = None
        self._shown: dict[str, str] = {}
        self._logged_at = trainer.step_count
        self._began = time.perf_counter()

    def run(self) -> TrainResult:
        """Train to `max_steps`."""
        trainer, config = self.trainer, self.config
        batches: Iterator[dict[str, Batch]] | None = None
        if self._done() and trainer.progress:
            tqdm.write(
                f"{trainer.output_dir or self.name} is finished, at step {trainer.step_count}: nothing is trained"
            )
        try:
            self._tell(lambda callback: callback.on_start(trainer))
            while not self._done():
                if batches is None or trainer.data_is_stale():
                    self._look_at_bad_steps()
                    self._datasets = trainer.datasets()
                    batches = batches_of(trainer, self._datasets)
                self._step(next(batches))
                if self._due(config.log_every):
                    self._record()
                if self._due(config.validate_every):
                    self._validate()
                received = self.interruption.received_anywhere()
                if self._due(config.checkpoint_every) or received:
                    self._save()
                if received and not self._done():
                    raise TrainingInterrupted(self._interrupted(received))
        finally:
            self.bar.close()
            self.log.close()
        return self._end()

    def _done(self) -> bool:
        return bool(self.trainer.step_count >= self.config.max_steps)

    def _due(self, every: int) -> bool:
        return self._done() or (every > 0 and self.trainer.step_count % every == 0)

    def _tell(self, moment: Callable[[Callback], None]) -> None:
        for callback in self.trainer.callbacks:
            moment(callback)

    # At a step ------------------------------------------------------------------------------------------------------

    def _step(self, batches: dict[str, Batch]) -> None:
        trainer = self.trainer
        trainer.unreadable.note_batches(batches)
        values = trainer.step(**batches) | trainer.measured
        trainer.means.add(trainer.guard.clean(values) if self.config.max_skipped_steps else values)
        self.bar.update()

    def _record(self) -> None:
        """Write the means since the last record; waits for the device."""
        self._look_at_bad_steps()
        trainer, config, step = self.trainer, self.config, self.trainer.step_count
        means = trainer.means.take()
        values = {
            **means,
            "learning_rate": config.learning_rate * config.learning_rate_factor(step - 1),
            "seconds_per_step": (time.perf_counter() - self._began) / (step - self._logged_at),
        }
        if config.max_skipped_steps:
            values["skipped_steps"] = trainer.guard.skipped
        if config.on_error == "skip":
            values["unreadable_samples"] = len(trainer.unreadable.names)
        self.log.write(step, {**values, **self._remarked(values)})
        self._tell(lambda callback: callback.on_log(trainer, step, values))
        self._show({name: f"{value:.3g}" for name, value in means.items() if name not in trainer.measured})
        self._logged_at, self._began = step, time.perf_counter()

    def _show(self, values: Mapping[str, str]) -> None:
        """Behind the bar, beside what stands there."""
        self._shown |= values
        self.bar.set_postfix(self._shown)

    def _remarked(self, values: Mapping[str, float]) -> dict[str, str]:
        """What the trainer remarks on a record, if anything; shown when it is new."""
        before, self._remark = self._remark, self.trainer.remark(values)
        if self._remark is None:
            return {}
        if self.trainer.progress and self._remark != before:
            tqdm.write(f"step {self.trainer.step_count}: {self._remark}")
        return {"remark": self._remark}

    def _validate(self) -> None:
        self._look_at_bad_steps()
        trainer, step = self.trainer, self.trainer.step_count
        if trainer.val is None and self.config.validation == "oracle":
            return
        model = trainer.predictor()
        target = getattr(trainer, "target", None)
        seen = None if target is None else trainer.validation.seen(target, trainer.readable)
        values, is_best = trainer.validation.run(model, trainer.val, seen, step)
        self.log.write(step, values)
        if is_best:
            export(model, self._folder("best"))
        result, score = trainer.validation.final, trainer.validation.label_free
        if trainer.val is not None and result is not None:
            self._show({"mIoU": f"{100 * result.miou:.1f}"})
            self._tell(lambda callback: callback.on_validation(trainer, step, result))
        if score is not None:
            self._tell(lambda callback: callback.on_label_free(trainer, step, score))

    def _save(self) -> None:
        self._look_at_bad_steps()
        self.log.flush()
        save(self.trainer, self.trainer.output_dir)

    def _look_at_bad_steps(self) -> None:
        """End the run, or warn, if a step since the last look was bad; waits for the device."""
        if (bad := self.trainer.guard.read()) is None:
            return
        again = self.config.save_bad_batches
        respond(self.trainer, bad, next(batches_of(self.trainer, self._datasets, bad.step - 1)) if again else {})

    def _interrupted(self, received: str) -> str:
        folder, step = self.trainer.output_dir, self.trainer.step_count
        kept = "nothing is kept: it has no output_dir" if folder is None else f"resume with {folder}"
        return f"{self.name} stopped by {received} after step {step} of {self.config.max_steps}; {kept}"

    # At the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> TrainResult:
        """Give the model its final weights, write them, and say what was done."""
        trainer, found = self.trainer, self.trainer.validation
        trainer.model.load_state_dict(trainer.predictor().state_dict())
        trainer.model.train()
        export(trainer.model, self._folder("model"))
        barrier()  # what rank 0 wrote is there for all
        result = TrainResult(
            steps=trainer.step_count,
            final=found.final,
            best_miou=found.best_miou,
            best_step=None if found.best is None else found.best[1],
            history=self.log.records,
            skipped_steps=trainer.guard.skipped,
        )
        self._tell(lambda callback: callback.on_end(trainer, result))
        return result

    def _folder(self, name: str) -> Path | None:
        return None if self.trainer.output_dir is None else self.trainer.output_dir / name


def batches_of(
    trainer: Trainer[Any], datasets: Mapping[str, SampleDataset], start_step: int | None = None
) -> Iterator[dict[str, Batch]]:
    """Batches of every domain of a trainer, on its device, from a step on, by default the current one."""
    config = trainer.config
    streams = [
        stream(
            datasets[domain],
            name=domain,
            seed=config.seed,
            batch_size=config.batch_size,
            share=images_at_once(config),
            start_step=trainer.step_count if start_step is None else start_step,
            stop_step=config.max_steps,
            augment=trainer.augmentation(domain),
            num_workers=config.num_workers,
            pin_memory=trainer.device.type == "cuda",
            skip=config.on_error == "skip",
            classes=trainer.num_classes if domain in trainer.labelled_domains else None,
            # Beside pseudo-labels no depth is kept.
            depth=domain in trainer.labelled_domains and trainer.has_depth and bool(config.depth_weight),
        )
        for domain in trainer.domains
    ]
    together = (dict(zip(trainer.domains, batches, strict=True)) for batches in zip(*streams, strict=True))
    return prefetched(together, trainer.device, next(trainer.model.parameters()).dtype)
