"""Code that `test_distributed.py` runs in one process and in two; each process saves its results."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    EntropyRanker,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    SelfTrainingConfig,
    SelfTrainingTrainer,
    TargetSplit,
    evaluate,
)
from depthaware_uda import distributed as processes
from depthaware_uda.pseudo_labels import write_pseudo_labels
from depthaware_uda.trainers import Trainer, TrainingDiverged, reestimate_statistics
from depthaware_uda.trainers.run.loop import batches_of
from tests.test_divergence import poison
from tests.tiny import Scenes, tiny_model, weights

SHARED: dict[str, Any] = {
    **{"batch_size": 4, "batch_norm": "frozen", "learning_rate": 0.001, "checkpoint_every": 1, "precision": "float32"},
    **{"log_every": 1, "max_steps": 3},
}
ALIGNED: dict[str, Any] = {"discriminator_channels": 4, "depth_scale": 0.02, "adversarial_weight": 0.1}
SPLIT = TargetSplit(("street/0.png", "street/3.png", "street/2.png"), ("street/1.png", "street/4.png"))
CLASS_WEIGHTS = (1.0, 2.0, 3.0, 1.0, 0.5, 1.0, 0.0)


def build(stage: str, folder: Path | None, **settings: Any) -> Trainer[Any]:
    """A trainer of a stage on five target images; each process initialises its network differently."""
    model = tiny_model(processes.rank())
    options: dict[str, Any] = {"output_dir": folder, "val": Scenes(3, seed=9), "device": "cpu", "progress": False}
    target, settings = Scenes(5, seed=1), {**SHARED, **settings}
    if stage == "daf":
        return DAFTrainer(model, Scenes(6), target, DAFConfig(**{**ALIGNED, **settings}), **options)
    if stage == "isl":
        sparse = {"threshold": 0.15, "proportion": 0.3, "refresh_every": 2, "schedule_steps": 10}
        return ISLTrainer(model, target, ISLConfig(**{**sparse, **settings}), source=Scenes(6), **options)
    if stage == "teacher":
        taught = {"confidence": "image", "threshold": 0.15, "ema_decay": 0.5, "pseudo_class_weights": True}
        return SelfTrainingTrainer(
            model, Scenes(6), target, SelfTrainingConfig(**{**ALIGNED, **taught, **settings}), **options
        )
    return IDATrainer(model, target, SPLIT, IDAConfig(**{**ALIGNED, **settings}), **options)


def gradients(trainer: Trainer[Any]) -> dict[str, Tensor]:
    """Gradients of the network and the discriminator in the first step, and its losses."""
    losses = trainer.step(**next(batches_of(trainer, trainer.datasets())))
    found = {
        f"{name}.{key}": parameter.grad.clone()
        for name, module in trainer.modules().items()
        for key, parameter in module.named_parameters()
        if parameter.grad is not None
    }
    return {**found, **{f"loss.{name}": loss for name, loss in losses.items()}}


def all_weights(trainer: Trainer[Any]) -> dict[str, Tensor]:
    """Weights of every network of a trainer."""
    return {f"{name}.{key}": v for name, module in trainer.modules().items() for key, v in weights(module).items()}


def found(folder: Path) -> dict[str, Any]:
    """All results that must not depend on the number of processes."""
    model, target = tiny_model(0), Scenes(5, seed=1)
    result: dict[str, Any] = {
        "daf gradients": gradients(build("daf", None, class_weights=CLASS_WEIGHTS, target_depth_weight=0.5)),
        "daf gradients, accumulated": gradients(build("daf", None, accumulation=2, batch_size=8)),
        "isl gradients": gradients(build("isl", None)),
        "ida gradients": gradients(build("ida", None)),
        "teacher gradients": gradients(build("teacher", None, class_weights=CLASS_WEIGHTS)),
    }
    for batch_size in (1, 2):
        ranking = EntropyRanker(model, batch_size=batch_size).rank(target)
        evaluation = evaluate(model, target, batch_size=batch_size)
        labels = write_pseudo_labels(
            model, target, folder / f"labels-{batch_size}", threshold=0.3, proportion=0.2, batch_size=batch_size
        )
        result[f"ranking {batch_size}"] = (ranking.names, ranking.scores)
        result[f"evaluation {batch_size}"] = evaluation.to_dict()
        result[f"labels {batch_size}"] = (labels.record, [labels.read(name) for name in target.names])
    result["one image"] = evaluate(model, Scenes(1)).to_dict()
    reestimate_statistics(model, target, batch_size=2)
    result["statistics"] = weights(model)
    for stage in ("daf", "isl", "ida"):
        trainer = build(stage, folder / stage)
        trained = trainer.fit()
        assert trained.final is not None
        result[f"{stage} run"] = {"final": trained.final.to_dict(), "history": trained.history}
        result[f"{stage} weights"] = all_weights(trainer)
    moving = build("daf", None, batch_norm="target", ema_decay=0.5)
    moving.fit()
    result["moving weights"] = all_weights(moving)
    mixing = build("teacher", None, class_mix=True, rare_class_temperature=0.1)  # each process draws its own classes
    mixing.fit()
    result["mixing weights"] = all_weights(mixing)
    resumed = build("daf", folder / "cut off")
    resumed.fit()
    result["resumed weights"] = weights(resumed.model)
    return result


def refused(folder: Path) -> dict[str, str]:
    """Messages of the errors that only several processes raise."""
    calls = {
        "batch size": lambda: build("daf", None, batch_size=3, accumulation=3),
        "synchronised": lambda: build("daf", None, sync_batch_norm=True),
        # As if the processes did not share a disk.
        "output folder": lambda: build("daf", folder / f"disk of {processes.rank()}").fit(),
    }
    messages = {}
    for name, call in calls.items():
        with pytest.raises(ValueError, match=r"[a-z]") as error:
            call()
        messages[name] = str(error.value)
    return messages


def diverged(folder: Path) -> dict[str, list[str]]:
    """The samples named in the error when only the loss of rank 1 is NaN."""
    trainer = build("daf", folder / "diverged", save_bad_batches=True)
    if processes.rank() == 1:
        poison(trainer, 2)
    with pytest.raises(TrainingDiverged) as error:
        trainer.fit()
    return error.value.names


def worker(rank: int, folder: Path, port: int) -> None:
    """Run one of two processes, and save its results to a file."""
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()}
    with processes.initialize():
        assert (processes.rank(), processes.world_size(), processes.is_writer()) == (rank, 2, rank == 0)
        result = {**found(folder), "refused": refused(folder), "diverged": diverged(folder)}
    assert processes.world_size() == 1
    torch.save(result, folder / f"found-{rank}.pt")


def free_port() -> int:
    """An unused port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
