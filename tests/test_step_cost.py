"""What a training step spares: a second discriminator pass, waiting for the device, an operation for every norm."""

from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from depthaware_uda import DAFConfig, DAFTrainer
from depthaware_uda.data import collate
from depthaware_uda.losses import domain_loss
from depthaware_uda.trainers.step.averaging import WeightAverage
from depthaware_uda.trainers.step.divergence import StepGuard
from tests.tiny import Scenes, tiny_model

WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero"}


class Operations(TorchDispatchMode):
    """Counts the operations that run, including those of backward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func._schema.name] += 1
        return func(*args, **(kwargs or {}))


def trainer_and_batches() -> tuple[DAFTrainer, dict[str, Any]]:
    source, target = Scenes(1, (64, 96)), Scenes(1, (64, 96), seed=1)
    config = DAFConfig(max_steps=4, precision="float32", adversarial_weight=0.5, depth_scale=0.02)
    trainer = DAFTrainer(tiny_model(), source, target, config, device="cpu", progress=False)
    return trainer, {"source": collate([source[0]]), "target": collate([target[0]])}


def test_the_discriminator_sees_every_map_once() -> None:
    trainer, batches = trainer_and_batches()
    scores: list[torch.Tensor] = []
    trainer.discriminator.register_forward_hook(lambda module, args, output: scores.append(output.detach()))
    losses = trainer.step(**batches)
    target, source = scores
    expected = {
        "adversarial": domain_loss(target, 0),
        "discriminator_target": domain_loss(target, 1),
        "discriminator_source": domain_loss(source, 0),
    }
    assert {name: losses[name] for name in expected} == expected


def test_losses_and_gradients_are_computed_without_reading_a_value() -> None:
    trainer, batches = trainer_and_batches()
    with Operations() as operations:
        trainer.compute(**batches)
    assert operations.counts["aten::convolution_backward"] > 20
    assert not WAITS & set(operations.counts)


def test_what_keeps_and_averages_statistics_is_as_quick_for_many_norms_as_for_one() -> None:
    counts = []
    for norms in (1, 20):
        model = nn.Sequential(*(nn.BatchNorm2d(3) for _ in range(norms)))
        average, guard = WeightAverage(model, 0.9), StepGuard(torch.device("cpu"), restore=True)
        with Operations() as operations:
            guard.keep(model)
            guard.check({"loss": torch.ones(())}, [], step=1, batches={})
            average.update(model, 0)
        of_each = {"aten::view", "aten::alias", "aten::detach"}  # no work on a device
        counts.append({name: count for name, count in operations.counts.items() if name not in of_each})
    assert counts[0] == counts[1]


def test_a_read_is_noticed() -> None:
    values = torch.arange(3.0)
    with Operations() as operations:
        values.max().item()
        values[values > 1]
    assert {"aten::_local_scalar_dense"} <= WAITS & set(operations.counts)
