"""How a run folder recognises its run: by stage, settings, model, data, and the weights that it began with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from depthaware_uda.data.contract import known_names, sample_names
from depthaware_uda.data.wrappers import Unlabelled
from depthaware_uda.labels import IGNORE_INDEX
from depthaware_uda.trainers.run.run_folder import BEGAN_WITH, digest
from depthaware_uda.trainers.run.skipping import Unreadable
from depthaware_uda.types import Sample, SampleDataset

if TYPE_CHECKING:
    from depthaware_uda.trainers.base import Trainer
    from depthaware_uda.trainers.config import TrainerConfig

__all__ = ["defaults", "describe"]

_READINGS = 4
"""Of the first sample, to see whether it is the same each time."""


def describe(trainer: Trainer[Any]) -> dict[str, Any]:
    """What `claim_run_folder` writes, or compares with what is there."""
    tensors = [(key, list(value.shape)) for key, value in trainer.model.state_dict().items()]
    datasets = trainer.fixed_datasets()
    return {
        "trainer": type(trainer).__name__,
        "config": _json_ready(dataclasses.asdict(trainer.config)),
        "model": _architecture(trainer.model),
        "model_tensors": digest(tensors),
        "samples": {name: len(dataset) for name, dataset in datasets.items()},
        "data": {name: _names(dataset) for name, dataset in datasets.items()},
        "first_sample": {name: _first_sample(dataset, name, trainer.unreadable) for name, dataset in datasets.items()},
        "augmentation": {name: _in_words(trainer.augmentation(name)) for name in trainer.domains},
        "optimizer": {name: _moved(optimizer, trainer.modules()) for name, optimizer in trainer.optimizers.items()},
        "labels": None if trainer.labels is None else digest(trainer.labels.record),
        BEGAN_WITH: None if trainer.step_count else _weights(trainer.model),
    }


def _architecture(model: nn.Module) -> Any:
    """The arguments of `create_model`, or the name of a network's class; its ``config`` may be of any kind."""
    config = getattr(model, "config", None)
    try:
        return json.loads(json.dumps(config)) or type(model).__name__
    except (TypeError, ValueError):
        return type(model).__name__


def _moved(optimizer: torch.optim.Optimizer, modules: Mapping[str, nn.Module]) -> str:
    """Which weights an optimiser moves, in words: checkpoints hold its state by their order."""
    known = {id(weight): f"{name}.{key}" for name, part in modules.items() for key, weight in part.named_parameters()}
    moved = [[known.get(id(weight)) for weight in group["params"]] for group in optimizer.param_groups]
    return f"{type(optimizer).__name__} of {sum(map(len, moved))} tensors, {digest(moved)}"


def _names(dataset: SampleDataset) -> str:
    """A digest of a data set's names, or of its length where they would have to be read one by one."""
    return digest(len(dataset) if known_names(dataset) is None else sample_names(dataset))


def _first_sample(dataset: SampleDataset, name: str, unreadable: Unreadable) -> str | None:
    """Size, labels and depth of the first sample, which tell map and unit apart; None if it differs at each reading."""
    seen = dataset if name == "source" else Unlabelled(dataset)
    readings = {_facts(unreadable.first(seen)) for _ in range(_READINGS)}
    return readings.pop() if len(readings) == 1 else None


def _facts(sample: Sample) -> str:
    """Size, classes and depth of a sample, as coarse as readers and renderers of other versions agree on."""
    facts = ["image of {} x {}".format(*sample["image"].shape[-2:])]
    if "label" in sample:
        shares = torch.bincount(sample["label"].long().flatten(), minlength=IGNORE_INDEX + 1) / sample["label"].numel()
        percent = {int(index): round(100 * float(shares[index])) for index in shares.nonzero()}
        facts.append(f"labels in percent {percent}")
    if "depth" in sample:
        facts.append(f"median depth {float(sample['depth'].as_subclass(Tensor).nanmedian()):.3g} m")
    return ", ".join(facts)


def _in_words(value: Any) -> str:
    """An augmentation, or whatever a setting holds, as it prints itself, without addresses in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _json_ready(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a file holds them; those of a configuration of a user's own may be of any kind, such as a path."""
    ready: dict[str, Any] = json.loads(json.dumps(settings, default=_in_words))
    return ready


def _weights(model: nn.Module) -> str:
    """A digest of a network's parameters; statistics of batch norm, which a GPU may round otherwise, are left out."""
    hashed = hashlib.sha256()
    for parameter in model.parameters():
        hashed.update(parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()[:16]


def defaults(config: TrainerConfig) -> dict[str, Any]:
    """The default of each setting that has one, which is what it amounted to in versions that did not have it yet."""
    settings = dataclasses.fields(config)
    given = {setting.name: setting.default for setting in settings if setting.default is not dataclasses.MISSING}
    made = {s.name: s.default_factory() for s in settings if s.default_factory is not dataclasses.MISSING}
    return _json_ready({**given, **made})
