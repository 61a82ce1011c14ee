"""Losses and gradients that are NaN or infinite: noticed at their step, and kept from the weights.

Every step, one pass over the gradients and a handful of numbers of the losses give a flag that stays on the device. On
a CPU, reading it costs nothing: it is read before the optimisers step, which then do not. On CUDA reading would make
the host wait, so the flag is added to a record on the device, and `StepGuard.read` looks at that when the loop waits
anyway: before a record of the log, a validation, pseudo-labels or a checkpoint. Optimisers that can (torch's fused
ones, which trainers use on CUDA) are told by the flag, on the device, to leave weights and state as they are.
In any case no checkpoint is written of weights that a bad step has touched.

With `float16`, infinite gradients belong to the search for a scale, and `torch.amp.GradScaler` skips those steps: they
do not count here, losses do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from depthaware_uda.distributed import barrier, gather, rank, world_size
from depthaware_uda.files import atomic_folder, write_json
from depthaware_uda.tensors import write_tensors
from depthaware_uda.trainers.step.batch_norm import batch_norms, running_statistics
from depthaware_uda.types import Batch

if TYPE_CHECKING:
    from depthaware_uda.trainers.base import Trainer

__all__ = ["BadSteps", "StepGuard", "TrainingDiverged", "respond"]

_GRADIENT = "gradient"
_NEVER = -1
_NAMED_STEPS = 10_000  # of a loop that never reads; the library's own reads every few steps


class TrainingDiverged(ArithmeticError):  # noqa: N818 - says what happened, as TrainingInterrupted
    """A loss or a gradient was NaN or infinite."""

    def __init__(self, message: str, *, step: int, loss: str, names: Mapping[str, list[str]]) -> None:
        super().__init__(message)
        self.step = step
        """Number of the step, from 1."""
        self.loss = loss
        """Name of the loss, or ``"gradient"`` if all losses were finite."""
        self.names = dict(names)
        """Names of the samples of the step, by domain."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Whole again after a pool of processes has sent it: errors are pickled without their named arguments."""
        return partial(type(self), step=self.step, loss=self.loss, names=self.names), self.args


class BadSteps:
    """What `StepGuard.read` found since the last time."""

    def __init__(self, count: int, step: int, loss: str, names: dict[str, list[str]]) -> None:
        self.count, self.step, self.loss, self.names = count, step, loss, names

    def __str__(self) -> str:
        what = "the gradient" if self.loss == _GRADIENT else f"the loss {self.loss!r}"
        samples = "; ".join(f"{domain}: {', '.join(names)}" for domain, names in self.names.items() if names)
        return f"{what} of step {self.step} was NaN or infinite" + (f" (samples of {samples})" if samples else "")


class StepGuard:
    """Watches for bad steps: `keep` before the forward passes, `check` after the backward passes, `read` now and then.

    Args:
        device: Where training runs.
        restore: Undo what a bad step does to the running statistics of batch norm.
    """

    def __init__(self, device: torch.device, *, restore: bool) -> None:
        self.immediate = device.type == "cpu"
        """Whether the flag of each step is read at once."""
        self.skipped = 0
        """Bad steps in all, as far as they have been read."""
        self._device, self._restore = device, restore
        self._kept: list[Tensor] = []
        self._before = torch.empty(0)
        self._names: dict[int, dict[str, list[str]]] = {}
        self._first: dict[tuple[str, ...], Tensor] = {}  # first bad step of every loss, by the losses of a step
        self._count = torch.zeros((), device=device)
        self.found = torch.zeros((), device=device)
        """1 if the last step was bad, on the device."""

    def keep(self, model: nn.Module) -> None:
        """Remember the running statistics, if they are to be restored."""
        if self._restore and (running := running_statistics(batch_norms(model))):
            self._kept, self._before = running, _in_one(running)

    @torch.no_grad()
    def check(
        self,
        losses: Mapping[str, Tensor],
        parameters: Iterable[nn.Parameter],
        *,
        step: int,
        batches: Mapping[str, Batch],
        gradients: bool = True,
    ) -> None:
        """Look at a step.

        Args:
            losses: By name, as all processes have them.
            parameters: Their gradients, averaged over the processes, are looked at, and left as they are to the bit.
            step: Number of the step, from 1.
            batches: What was trained on, for the names.
            gradients: Whether infinite gradients count.
        """
        values = torch.stack([loss.detach().float() for loss in losses.values()])
        bad_gradient = torch.zeros((), dtype=torch.float32, device=self._device)
        found = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients and found:
            # The pass that GradScaler makes, with a factor of 1.
            one = torch.ones((), dtype=torch.float32, device=self._device)
            for group in _by_type(found):
                torch._amp_foreach_non_finite_check_and_unscale_(group, bad_gradient, one)
        bad = torch.cat([~values.isfinite(), bad_gradient[None] > 0])
        self.found = bad.any().float()
        looked_at = (*losses, _GRADIENT)
        if looked_at not in self._first:
            self._first[looked_at] = torch.full((len(bad),), _NEVER, device=self._device)
        first = self._first[looked_at]
        self._first[looked_at] = torch.where(bad & (first == _NEVER), step, first)
        self._count += self.found
        self._names[step] = {domain: list(batch.get("name", [])) for domain, batch in batches.items()}
        if len(self._names) > _NAMED_STEPS:
            del self._names[next(iter(self._names))]
        if self._kept:
            values = torch.where(self.found > 0, self._before, _in_one(self._kept))
            torch._foreach_copy_(self._kept, list(torch.split(values, [running.numel() for running in self._kept])))
        self._kept, self._before = [], torch.empty(0)

    def tell(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Let the optimisers that can, skip the step on the device if it was bad."""
        for optimizer in optimizers:
            if getattr(optimizer, "_step_supports_amp_scaling", False):
                optimizer.grad_scale, optimizer.found_inf = None, self.found  # type: ignore[attr-defined]

    def clean(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses of the step that was just checked, or 0 if it was bad, so that sums hold the good steps only."""
        return {name: torch.where(self.found > 0, 0, loss) for name, loss in losses.items()}

    def read(self) -> BadSteps | None:
        """What was bad since the last call, or None; waits for the device."""
        if not self._first:
            return None
        *first, count = torch.cat([*self._first.values(), self._count.long()[None]]).tolist()
        losses = [name for looked_at in self._first for name in looked_at]
        named, self._names, self._first = self._names, {}, {}
        self._count.zero_()
        self.skipped += count
        if not count:
            return None
        # The first loss, in the order of computation, of the first step.
        step, position = min((step, position) for position, step in enumerate(first) if step != _NEVER)
        return BadSteps(count, step, losses[position], named.get(step, {}))


def _in_one(statistics: list[Tensor]) -> Tensor:
    """All statistics of a network in one tensor: a GPU's host would take long to start operations on each of them."""
    return torch.cat([running.flatten() for running in statistics])


def _by_type(tensors: list[Tensor]) -> list[list[Tensor]]:
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    return list(groups.values())


def respond(trainer: Trainer[Any], bad: BadSteps, batches: Mapping[str, Batch]) -> None:
    """Say what was bad: with a warning while steps may be skipped, else by ending the run.

    Every process calls it, since losses and gradients are those of all: so are the samples that are named, and each
    keeps its part of the batches.

    Args:
        trainer: Whose steps they were.
        bad: What was found.
        batches: What the first of the steps was trained on, as it came from the data.

    Raises:
        TrainingDiverged: More than `max_skipped_steps` steps were bad.
    """
    config, kept = trainer.config, ""
    every = gather(bad.names)
    bad.names = {domain: [name for names in every for name in names[domain]] for domain in bad.names}
    if config.save_bad_batches and trainer.output_dir is not None:
        folder = trainer.output_dir / "bad_steps" / f"step-{bad.step:08d}"
        own = folder if world_size() == 1 else folder / f"rank-{rank()}"
        _save_batches(own, batches, {"step": bad.step, "loss": bad.loss, "names": bad.names})
        barrier()  # the error below ends the other processes
        kept = f" Its batches are in {folder}."
    trainer.means.count -= bad.count
    if trainer.guard.skipped <= config.max_skipped_steps:
        so_far = f"{trainer.guard.skipped} of at most {config.max_skipped_steps} so far"
        warnings.warn(f"{bad}; {bad.count} skipped, {so_far}.{kept}", stacklevel=4)
        return
    where = "" if trainer.output_dir is None else f" The last checkpoint in {trainer.output_dir} is of good weights."
    raise TrainingDiverged(
        f"{type(trainer).__name__}: {bad}; it is number {trainer.guard.skipped}, and max_skipped_steps is "
        f"{config.max_skipped_steps}.{where}{kept} Look at the samples, lower the learning rates, or train in another "
        "precision; max_skipped_steps leaves a few such steps out, save_bad_batches keeps their batches",
        step=bad.step,
        loss=bad.loss,
        names=bad.names,
    )


def _save_batches(folder: Path, batches: Mapping[str, Batch], about: Mapping[str, Any]) -> None:
    """Write batches as safetensors, one file a domain, and what is known about them as JSON."""
    with atomic_folder(folder) as partial:
        for domain, batch in batches.items():
            tensors = {key: value for key, value in batch.items() if isinstance(value, Tensor)}
            write_tensors(partial / f"{domain}.safetensors", tensors)
        write_json(partial / "step.json", dict(about), durable=False)
