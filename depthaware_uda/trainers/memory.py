"""How much memory a training step needs, known before the first one is run."""

from __future__ import annotations

import copy
import warnings
import weakref
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from depthaware_uda.models.checkpointing import statistics_kept
from depthaware_uda.models.input_size import is_size
from depthaware_uda.ranking import TargetSplit
from depthaware_uda.trainers.base import Trainer
from depthaware_uda.trainers.config import TrainerConfig
from depthaware_uda.trainers.daf import DAFTrainer
from depthaware_uda.trainers.ida import IDATrainer
from depthaware_uda.trainers.isl import ISLTrainer
from depthaware_uda.trainers.method_config import DAFConfig, IDAConfig, ISLConfig
from depthaware_uda.trainers.self_training import SelfTrainingTrainer
from depthaware_uda.trainers.self_training_config import SelfTrainingConfig
from depthaware_uda.trainers.step.sharing import images_at_once
from depthaware_uda.types import Sample

__all__ = ["MemoryEstimate", "estimate_memory"]


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a training step holds on its device when it holds most."""

    weights: int
    """Parameters and buffers of all networks: the model, its average, the discriminator."""
    optimizer: int
    """Momenta and the like."""
    step: int
    """What a step allocates at its peak: gradients, activations, maps."""

    @property
    def peak(self) -> int:
        """All together. The device needs some more for its own libraries (a GPU several hundred MB)."""
        return self.weights + self.optimizer + self.step

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {getattr(self, name) / 2**30:.2f}" for name in ("weights", "optimizer", "step"))
        return f"peak {self.peak / 2**30:.2f} GiB ({parts})"


def estimate_memory(
    model: nn.Module, config: TrainerConfig, size: tuple[int, int], *, source: bool = False
) -> MemoryEstimate:
    """Predict the peak memory of a training step of a configuration, without running one.

    The operations of a step are traced without data or computation, and what they would hold is added up; only one
    image of each domain really goes through a copy of the model. Two things are not counted: what a library's kernel
    allocates for itself while it runs, and what `class_mix` pastes, which is little.

    Args:
        model: The network, on the device that it will train on.
        config: Of the stage, with batch size, accumulation, checkpointing and precision. To predict a GPU's step on a
            CPU, say ``precision="bfloat16"``: "auto" is float32 there.
        size: Height and width of the training images, those of the larger domain.
        source: ISL and IDA are given a source too.

    Raises:
        TypeError: The configuration is not that of a stage.
        ValueError: The size is not (height, width).
    """
    if not is_size(size):
        raise ValueError(f"size must be (height, width) in pixels, got {size!r}")
    trainer = _trainer(copy.deepcopy(model), config, size, source)
    modules = [module for name, module in trainer.modules().items() if name != "discriminator" or _trained(trainer)]
    weights = sum(_bytes(tensor) for module in modules for tensor in module.state_dict().values())
    tensor_like = 1 if config.optimizer == "sgd" else 2
    optimizer = tensor_like * (config.optimizer == "adamw" or config.momentum > 0) * _learned(trainer, "model")
    optimizer += 2 * _learned(trainer, "discriminator") if _trained(trainer) else 0
    return MemoryEstimate(weights, optimizer, _dry_run(trainer, size))


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of all storages that operations made and somebody still holds, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._sizes:
            return
        self._sizes[storage._cdata] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, storage._cdata)

    def _remove(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def _dry_run(trainer: Trainer[Any], size: tuple[int, int]) -> int:
    """Peak of what the losses and gradients of a step hold, on tensors without data."""
    count, device = images_at_once(trainer.config), trainer.device
    dtype = next(trainer.model.parameters()).dtype
    trainer.train_mode()
    with (
        warnings.catch_warnings(),
        FakeTensorMode(allow_non_fake_inputs=True),
        _Live() as live,
        trainer.execution.checkpointed(),
        statistics_kept(trainer.model),
    ):
        # Nothing is computed: half precision, which stands for a GPU's, costs a slow processor no time.
        warnings.filterwarnings("ignore", "precision=.* on a CPU without AVX-512")
        batch: dict[str, Any] = {
            "image": torch.empty(count, 3, *size, dtype=dtype, device=device),
            "label": torch.empty(count, *size, dtype=torch.int64, device=device),
            "depth": torch.empty(count, 1, *size, device=device),
            "name": [""] * count,
        }
        batches = {domain: {**batch, "image": torch.empty_like(batch["image"])} for domain in trainer.domains}
        # From the second part on, gradients are there from the beginning.
        for _ in range(min(trainer.config.accumulation, 2)):
            trainer.compute(**batches)  # type: ignore[arg-type]
    for optimizer in trainer.optimizers.values():
        optimizer.zero_grad(set_to_none=True)
    peak: int = live.peak
    return peak


class _Images:
    """Two blank samples of a size, for a trainer to look at when it is made."""

    names = ("easy", "hard")

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Sample:
        label, depth = torch.zeros(self.size, dtype=torch.int64), torch.ones(1, *self.size)
        return Sample(image=torch.zeros(3, *self.size), label=label, depth=depth, name=self.names[index])


def _trainer(model: nn.Module, config: TrainerConfig, size: tuple[int, int], source: bool) -> Trainer[Any]:
    images = _Images(size)
    options: dict[str, Any] = {"device": next(model.parameters()).device, "progress": False}
    given = images if source else None
    if isinstance(config, DAFConfig):
        return DAFTrainer(model, images, images, config, **options)
    if isinstance(config, ISLConfig):
        return ISLTrainer(model, images, config, source=given, **options)
    if isinstance(config, SelfTrainingConfig):
        # Which classes are drawn depends on the labels, which a dry run does not have.
        plain = replace(config, class_mix=False, mix_nearer=False, rare_class_temperature=None)
        return SelfTrainingTrainer(model, images, images, plain, **options)
    if isinstance(config, IDAConfig):
        return IDATrainer(model, images, TargetSplit(("easy",), ("hard",)), config, source=given, **options)
    raise TypeError(
        f"config must be a DAFConfig, ISLConfig, IDAConfig or SelfTrainingConfig, got {type(config).__name__}"
    )


def _trained(trainer: Trainer[Any]) -> bool:
    return "discriminator" in trainer.optimizers


def _learned(trainer: Trainer[Any], name: str) -> int:
    groups = trainer.optimizers[name].param_groups
    return int(sum(_bytes(parameter) for group in groups for parameter in group["params"]))


def _bytes(tensor: Tensor) -> int:
    return int(tensor.nbytes)
