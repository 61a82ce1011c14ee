"""The base class of all stages: it owns the training step, and a subclass computes the losses.

Here are device, precision, accumulation, schedules and averaging. What a step is made of is in `step`; the loop around
the steps, checkpoints and validations are in `run`.
"""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from depthaware_uda.data.wrappers import Selected, Unlabelled
from depthaware_uda.depth import to_inverse_depth
from depthaware_uda.distributed import check_connected, is_writer, rank
from depthaware_uda.inference import check_model
from depthaware_uda.labels import IGNORE_INDEX
from depthaware_uda.models.resize import resize_output
from depthaware_uda.pseudo_labels import PseudoLabelled, PseudoLabels
from depthaware_uda.trainers.callbacks import Callback, check_callbacks
from depthaware_uda.trainers.config import TrainerConfig
from depthaware_uda.trainers.run.checks import (
    check_batch,
    check_data,
    check_first_image,
    check_losses,
    check_needs_no_target,
    check_optimized,
    check_sample,
    check_source,
)
from depthaware_uda.trainers.run.identity import defaults, describe
from depthaware_uda.trainers.run.interruption import Interruption
from depthaware_uda.trainers.run.log import LossMeans, RunLog
from depthaware_uda.trainers.run.loop import Loop, TrainResult
from depthaware_uda.trainers.run.run_folder import check_shared_folder, claim_run_folder, locked
from depthaware_uda.trainers.run.saving import resume
from depthaware_uda.trainers.run.skipping import Unreadable
from depthaware_uda.trainers.run.streams import Augmentation, augmented, seeded
from depthaware_uda.trainers.run.validation import Validation
from depthaware_uda.trainers.step.averaging import WeightAverage
from depthaware_uda.trainers.step.batch_norm import freeze_statistics, reestimate_statistics
from depthaware_uda.trainers.step.batches import divide, to_device
from depthaware_uda.trainers.step.divergence import StepGuard, respond
from depthaware_uda.trainers.step.execution import Execution
from depthaware_uda.trainers.step.optimizers import model_optimizer, set_learning_rates
from depthaware_uda.trainers.step.out_of_memory import explained
from depthaware_uda.trainers.step.sharing import (
    average_losses,
    average_step,
    berhu,
    cross_entropy,
    shared_model,
)
from depthaware_uda.types import Batch, JointOutput, SampleDataset, SegDepthOutput

__all__ = ["Losses", "Trainer"]

ConfigT = TypeVar("ConfigT", bound=TrainerConfig)
Losses = dict[str, Tensor]
"""Losses of a step by name, unweighted."""


class Trainer(ABC, Generic[ConfigT]):
    """Base of the stages. `fit` runs the stage; `step` is for users with a loop of their own.

    Args:
        model: Any module that maps images (N, 3, H, W) to `SegDepthOutput`; it is trained in place. If it has
            ``parameter_groups()`` with the groups "backbone" and "heads", each has its own learning rate; without it
            all weights have that of the heads.
        config: Settings of the stage.
        output_dir: Folder of checkpoints, log and weights; None keeps nothing on disk.
        val: Labelled samples to validate on; they never influence the weights.
        augment: Called with every training sample of every domain, pseudo-label included.
        device: Where to train; by default CUDA if there is any, else the CPU.
        progress: Show progress bars.
        callbacks: Called at the moments of `Callback`, in this order.

    Raises:
        TypeError: `config` belongs to another trainer, `model` is not a module, a data set gives no samples by index,
            or `callbacks` holds something that is not a `Callback`.
        ValueError: Data and model do not fit each other, or a data set is empty.
    """

    target: SampleDataset
    """The target's images, as given to the trainer; needed only by `batch_norm="target"` and `validation="label_free"`.
    """
    domains: tuple[str, ...]
    """Names of the domains that a step needs."""
    config_class: type[TrainerConfig] = TrainerConfig
    """Type of `config`."""
    labelled_domains: tuple[str, ...] = ("source",)
    """Domains whose batches need labels, or pseudo-labels."""
    labels: PseudoLabels | None = None
    """Pseudo-labels of the target, if the trainer was given some."""

    def __init__(
        self,
        model: nn.Module,
        config: ConfigT,
        *,
        output_dir: str | Path | None = None,
        val: SampleDataset | None = None,
        augment: Augmentation | None = None,
        device: str | torch.device | None = None,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        if not isinstance(config, self.config_class):
            raise TypeError(
                f"config of {type(self).__name__} must be a {self.config_class.__name__}, got {type(config).__name__}"
            )
        check_model(model)
        check_callbacks(callbacks)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model = shared_model(model.to(self.device), config)
        self.config = config
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.val = val
        self.validation = Validation(config)
        self.augment = augment
        self.progress = progress and is_writer()
        self.callbacks = tuple(callbacks) if is_writer() else ()
        self.log: RunLog | None = None
        self.means = LossMeans()
        self.step_count = 0
        self.num_classes = 0
        self.has_depth = False
        self._class_weight: Tensor | None = None
        self.execution = Execution(model, config, self.device)
        # After `Execution`, whose memory format it takes over.
        self.average = WeightAverage(model, config.ema_decay, ramp=config.ema_ramp) if config.ema_decay else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        self._predictor: nn.Module | None = None  # until the next step
        self._stepped = False
        self.optimizers = {"model": model_optimizer(model, config)}
        self.unreadable = Unreadable(config.max_unreadable if config.on_error == "skip" else 0)
        self.guard = StepGuard(self.device, restore=config.max_skipped_steps > 0)
        self.measured: Losses = {}
        """What `measure` was given in the last step."""

    # What a subclass says -------------------------------------------------------------------------------------------

    @abstractmethod
    def datasets(self) -> Mapping[str, SampleDataset]:
        """The training data of each domain, as of the current step."""

    @abstractmethod
    def compute(self, **batches: Batch) -> Losses:
        """The losses of a batch of every domain, each of one number; calls `backward` on what is to be minimised."""

    @abstractmethod
    def fixed_datasets(self) -> Mapping[str, SampleDataset]:
        """The data sets that the trainer was given, by argument name."""

    def data_is_stale(self) -> bool:
        """Whether `datasets` must be asked again before the current step."""
        return False

    def augmentation(self, domain: str) -> Augmentation | None:
        """What the samples of a domain go through."""
        return self.augment

    def remark(self, means: Mapping[str, float]) -> str | None:
        """A sentence for the log if the averaged losses and measures look wrong, else None."""
        return None

    def modules(self) -> dict[str, nn.Module]:
        """Everything with weights, by name, for checkpoints."""
        modules = {"model": self.model}
        if self.average is not None:
            modules["average"] = self.average.module
        return modules

    # Pieces of a step -----------------------------------------------------------------------------------------------

    def forward(self, image: Tensor) -> SegDepthOutput | JointOutput:
        """The network's output; a subclass may ask for more maps."""
        output: SegDepthOutput = self.model(image)
        return output

    def predict(self, batch: Batch) -> SegDepthOutput | JointOutput:
        """The network's output for a batch, in float32, resized to its images."""
        image = batch["image"]
        return resize_output(self.execution.forward(self.forward, image), image.shape[-2:])

    def supervised(self, output: SegDepthOutput | JointOutput, batch: Batch, losses: Losses) -> Tensor:
        """L_seg + depth_weight * L_depth of source images, each put into `losses`; without depth, L_seg alone."""
        losses["segmentation"] = cross_entropy(output.logits, batch["label"], class_weight=self._class_weight)
        total = losses["segmentation"]
        if self.config.depth_weight and output.inverse_depth is not None and "depth" in batch:
            losses["depth"] = berhu(output.inverse_depth, to_inverse_depth(batch["depth"]))
            total = total + self.config.depth_weight * losses["depth"]
        return total

    def train_on_source(self, source: Batch, weight: float) -> Losses:
        """Go on training on source images beside the target; their losses are named ``source_*``."""
        losses: Losses = {}
        self.backward(weight * self.supervised(self.predict(source), source, losses))
        return {f"source_{name}": loss for name, loss in losses.items()}

    def pseudo_supervised(self, logits: Tensor, label: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Cross-entropy against pseudo-labels, with the source's class weights if `pseudo_class_weights` is set."""
        return cross_entropy(logits, label, class_weight=self.pseudo_class_weight, pixel_weight=weight)

    @property
    def pseudo_class_weight(self) -> Tensor | None:
        """Class weights of the cross-entropy against pseudo-labels, if it has any."""
        return self._class_weight if getattr(self.config, "pseudo_class_weights", False) else None

    def predictor(self) -> nn.Module:
        """The network to predict with now: the average if there is one, with the statistics that `batch_norm` asks for.

        Statistics are re-estimated in a copy, so that looking at a run does not change its training.
        """
        model = self.model if self.average is None else self.average.module
        if self.config.batch_norm != "target":
            return model
        if self._predictor is None:
            self._predictor = copy.deepcopy(model)
            target, config = self.readable(self.target), self.config
            at_once = config.batch_size // config.accumulation
            reestimate_statistics(self._predictor, target, batch_size=at_once, num_workers=config.num_workers)
        return self._predictor

    def backward(self, loss: Tensor, *, inputs: Iterable[Tensor] | None = None) -> None:
        """Add the gradients of a loss to `inputs`, or to all weights, scaled for accumulation and half precision."""
        self.execution.backward(self.scaler.scale(loss / self.config.accumulation), inputs=inputs)

    def measure(self, values: Mapping[str, Tensor]) -> None:
        """Log detached numbers that are not losses; they are averaged as losses are."""
        for name, value in values.items():
            self.measured[name] = self.measured.get(name, 0) + value / self.config.accumulation

    def step(self, **batches: Batch) -> Losses:
        """Train one step on a collated batch of each domain.

        Args:
            **batches: One batch a domain, by the names in `domains`; each is divided into `accumulation` parts. Of
                several processes, each gives its own.

        Returns:
            The losses by name, detached and unweighted, averaged over the parts and the processes.

        Warns:
            UserWarning: The step is the first one beyond the end of the schedule, where learning rates are 0.

        Raises:
            TypeError: The batches are not those of `domains`, or a subclass's `compute` returned no losses.
            ValueError: One lacks its images or labels, has them at several sizes, or cannot be divided.
            RuntimeError: A subclass's `compute` called no `backward`.
            torch.OutOfMemoryError: The device cannot hold the step; it says what to change.
            TrainingDiverged: On a CPU: a loss or gradient is NaN or infinite, once more than `max_skipped_steps`.
                Weights and optimisers are as before the step.
        """
        if set(batches) != set(self.domains):
            raise TypeError(f"step expects the batches {list(self.domains)}, got {sorted(batches)}")
        if not self.num_classes:
            self.check_inputs()
        for domain, batch in batches.items():
            check_batch(batch, domain, labelled=domain in self.labelled_domains)
            if not self._stepped:
                check_first_image(batch, domain)
        try:
            return self._step(batches)
        except torch.OutOfMemoryError as error:
            raise explained(error, self.config, batches) from error

    def _step(self, batches: Mapping[str, Batch]) -> Losses:
        factor = self.config.learning_rate_factor(self.step_count)
        if not factor and self.step_count and self.config.learning_rate_factor(self.step_count - 1):
            warnings.warn(
                f"step {self.step_count + 1} is beyond the end of the schedule: learning rates are 0 from here on, and "
                "nothing more is learnt; a larger max_steps or schedule_steps makes it longer",
                stacklevel=3,
            )
        set_learning_rates(self.optimizers.values(), factor)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        self._predictor = None
        self.train_mode()
        dtype = next(self.model.parameters()).dtype
        parts = {
            domain: divide(to_device(batch, self.device, dtype), self.config.accumulation, domain=domain)
            for domain, batch in batches.items()
        }
        losses: Losses = {}
        self.measured = {}
        self.guard.keep(self.model)
        draws = seeded(self.config.seed, self.step_count, rank(), device=self.device)  # rank 0 as one process does
        with draws, self.execution.step():
            for index in range(self.config.accumulation):
                computed = self.compute(**{domain: part[index] for domain, part in parts.items()})
                check_losses(computed, type(self).__name__)
                for name, loss in computed.items():
                    losses[name] = losses.get(name, 0) + loss.detach() / self.config.accumulation
        if not self._stepped and all(parameter.grad is None for parameter in self.model.parameters()):
            raise RuntimeError(
                f"no gradient has reached the model: compute() of {type(self).__name__} must call self.backward(loss) "
                "on what is to be minimised"
            )
        average_step(self.model, self.optimizers.values(), first=not self._stepped)
        self._stepped = True
        losses, self.measured = average_losses(losses), average_losses(self.measured)
        self._update(losses, batches)
        if self.average is not None:
            self.average.update(self.model, self.step_count)
        self.step_count += 1
        return losses

    def _update(self, losses: Losses, batches: Mapping[str, Batch]) -> None:
        """Step the optimisers, unless a loss or gradient is NaN or infinite."""
        optimizers = self.optimizers.values()
        parameters = (parameter for opt in optimizers for group in opt.param_groups for parameter in group["params"])
        scaled = self.scaler.is_enabled()
        self.guard.check(losses, parameters, step=self.step_count + 1, batches=batches, gradients=not scaled)
        if self.guard.immediate and (bad := self.guard.read()) is not None:
            return respond(self, bad, batches)
        if not scaled:
            self.guard.tell(optimizers)
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        return None

    # The loop -------------------------------------------------------------------------------------------------------

    def fit(self) -> TrainResult:
        """Train to `max_steps`, from the last checkpoint of the output folder if there is one.

        The model ends with the weights of the last step, or their average with `ema_decay`, in train mode; the best
        ones by validation lie in `best` of the output folder, the last ones in `model`.

        Raises:
            ValueError: The output folder holds a run of another configuration, model or data, or no checkpoint of it
                can be used.
            RuntimeError: Another process runs in the output folder; or torchrun started several that are not connected.
            TrainingDiverged: More than `max_skipped_steps` steps had a NaN or infinite loss or gradient. The last
                checkpoint is as it was.
            TrainingInterrupted: SIGTERM or Ctrl-C came; the step was finished and a checkpoint written. The same call
                goes on from it.
        """
        check_connected()
        check_optimized(self.modules(), self.optimizers)
        if not self.num_classes:
            self.check_inputs()
        if self.output_dir is not None and is_writer():
            claim_run_folder(self.output_dir, describe(self), defaults=defaults(self.config))
        with locked(self.output_dir if is_writer() else None), Interruption() as interruption:
            if self.output_dir is not None:
                check_shared_folder(self.output_dir)
            resume(self, self.output_dir)
            self._predictor = None
            return Loop(self, interruption).run()

    def readable(self, dataset: SampleDataset, domain: str = "target") -> SampleDataset:
        """A data set to go through as a whole; with ``on_error="skip"``, without the samples that cannot be read."""
        return dataset if self.config.on_error == "raise" else self.unreadable.without(dataset, domain)

    def labelled(self, dataset: SampleDataset, labels: PseudoLabels) -> SampleDataset:
        """A data set with its pseudo-labels; with ``on_error="skip"``, only the samples that have one."""
        if self.config.on_error == "skip" and len(labels.names) < len(dataset):
            dataset = Selected(dataset, labels.names)
        return PseudoLabelled(dataset, labels)

    # Set-up ---------------------------------------------------------------------------------------------------------

    def _use_labels(self, labels: PseudoLabels | str | Path | None, dataset: SampleDataset) -> None:
        """Keep the pseudo-labels that a user gave for a data set, or their folder; ValueError if an image has none."""
        if labels is not None:
            self.labels = labels if isinstance(labels, PseudoLabels) else PseudoLabels(labels)
            self.labelled(dataset, self.labels)

    def check_inputs(self) -> dict[str, tuple[int, int]]:
        """Check that model, settings and data fit; gives the size of every domain's first image after augmentation.

        A subclass calls it at the end of its `__init__`, so that mistakes show at once; otherwise the first step does.

        Raises:
            TypeError: A data set gives no samples by index, or the model returns something other than `SegDepthOutput`.
            ValueError: They do not fit, or a data set is empty.
        """
        if getattr(self, "target", None) is None:
            check_needs_no_target(self.config, type(self).__name__)
        validation = {} if self.val is None else {"val": self.val}
        datasets = {**self.fixed_datasets(), **validation}
        self.num_classes, self.has_depth = check_data(self.model, datasets, self.unreadable)
        if (weights := self.config.class_weights) is not None:
            if len(weights) != self.num_classes:
                raise ValueError(
                    f"class_weights has {len(weights)} weights for {self.num_classes} classes; data.class_weights "
                    "gives one for each"
                )
            dtype = next(self.model.parameters()).dtype
            self._class_weight = torch.tensor(weights, dtype=dtype, device=self.device)
        return self._check_augmented()

    def _check_augmented(self) -> dict[str, tuple[int, int]]:
        """Look at the first image of every domain after its augmentation, and give its size."""
        sizes = {}
        for name, dataset in self.fixed_datasets().items():
            sample = self.unreadable.first(dataset if name == "source" else Unlabelled(dataset))
            if name in self.labelled_domains and "label" not in sample:  # it will have pseudo-labels
                sample["label"] = torch.full(sample["image"].shape[-2:], IGNORE_INDEX)
            had_depth = "depth" in sample
            with seeded(self.config.seed):
                sample = augmented(sample, self.augmentation(name))
            check_sample(sample, f"the first sample of {name}, after its augmentation,")
            if name == "source" and had_depth and "depth" not in sample and self.has_depth and self.config.depth_weight:
                raise ValueError(
                    "the augmentation drops the depth of source samples; give back every key of a sample, or set "
                    "depth_weight=0"
                )
            height, width = sample["image"].shape[-2:]
            sizes[name] = height, width
        return sizes

    def _check_source(self, source: SampleDataset) -> None:
        """A source needs labels, and depth where a depth loss asks for it; called by subclasses."""
        check_source(self.unreadable.first(source), needs_depth=bool(self.config.depth_weight) and self.has_depth)

    def train_mode(self) -> None:
        """Put the network into the mode that a step trains it in."""
        self.model.train()
        if self.config.batch_norm == "frozen":
            freeze_statistics(self.model)
