"""Steps of every trainer on a simulated GPU, with torch's fake tensors, which have only shapes and devices.

Fake tensors raise an error when devices are mixed, or when a value is read, which would make a step wait for the GPU.
Autograd's engine and fused optimisers do not support them, so gradients are zeros here, and no weight changes. `python
-m tests.fake_gpu` runs all cases, each in a separate process, and lists those that fail.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

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
)
from depthaware_uda.data import collate
from depthaware_uda.trainers import Trainer, base
from depthaware_uda.types import Batch
from tests.tiny import CLASSES, Scenes, tiny_model

SIZE = (64, 96)
SOURCE, TARGET = Scenes(2, SIZE), Scenes(2, SIZE, seed=1)
BATCHES = {"source": collate(SOURCE.samples), "target": collate(TARGET.samples)}  # not fake: collate reads values
SETTINGS: dict[str, Any] = {"max_steps": 30, "batch_size": 2}
PLACE: dict[str, Any] = {"device": "cuda", "progress": False}


def daf(config: DAFConfig, **network: Any) -> Callable[[], Trainer[Any]]:
    return lambda: DAFTrainer(tiny_model(**network), SOURCE, TARGET, config, **PLACE)


def self_training(**settings: Any) -> Callable[[], Trainer[Any]]:
    config = SelfTrainingConfig.recommended(**SETTINGS, **settings)
    return lambda: SelfTrainingTrainer(tiny_model(), SOURCE, TARGET, config, **PLACE)


def isl() -> Trainer[Any]:
    return ISLTrainer(tiny_model(), TARGET, ISLConfig(**SETTINGS, ema_decay=0.9), source=SOURCE, **PLACE)


SPLIT = EntropyRanker(tiny_model(), fraction=0.5).rank(TARGET).split()


def ida() -> Trainer[Any]:
    return IDATrainer(tiny_model(), TARGET, SPLIT, IDAConfig(**SETTINGS), source=SOURCE, **PLACE)


CASES: dict[str, Callable[[], Trainer[Any]]] = {
    "float32": daf(DAFConfig(**SETTINGS, precision="float32")),
    "bfloat16": daf(DAFConfig(**SETTINGS, precision="bfloat16")),
    "float16, with a scaler": daf(DAFConfig(**SETTINGS, precision="float16")),
    "skipped steps": daf(DAFConfig(**SETTINGS, max_skipped_steps=3)),
    "accumulation": daf(DAFConfig(**SETTINGS, accumulation=2)),
    "class weights": daf(DAFConfig(**SETTINGS, class_weights=(1.0,) * CLASSES)),
    "deterministic": daf(DAFConfig(**SETTINGS, deterministic=True)),
    "averaged weights": daf(DAFConfig(**SETTINGS, ema_decay=0.9)),
    "frozen statistics": daf(DAFConfig(**SETTINGS, batch_norm="frozen")),
    "reference": daf(DAFConfig.reference(**SETTINGS)),
    "source only": daf(DAFConfig.source_only(**SETTINGS)),
    "AdvEnt": daf(DAFConfig.advent(**SETTINGS)),
    "MinEnt": daf(DAFConfig.minent(**SETTINGS)),
    "DADA": daf(DAFConfig.dada(**SETTINGS), depth_head="dada"),
    "CTRL": daf(DAFConfig.ctrl(**SETTINGS), depth_head="dada", refined_head=True),
    "ISL": isl,
    "IDA": ida,
    "mean teacher": self_training(),
    "mean teacher, every option": self_training(mix_nearer=True, confidence="pixel", adversarial_weight=0.1),
}


def on_gpu(batch: Batch) -> Any:
    return {key: value.cuda() if isinstance(value, Tensor) else value for key, value in batch.items()}


def batches(trainer: Trainer[Any]) -> dict[str, Any]:
    """A batch of every domain, on the device; photographs have labels, in place of pseudo-labels."""
    return {domain: on_gpu(BATCHES["source" if domain == "source" else "target"]) for domain in trainer.domains}


def steps(make: Callable[[], Trainer[Any]]) -> None:
    """Three steps; every loss and measure must lie on the device."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    mode.cache_enabled = False
    with mode, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # deepcopy does
        trainer = make()
        given = batches(trainer)
        for _ in range(3):
            losses = trainer.step(**given) | trainer.measured
            trainer.means.add(losses)
    elsewhere = [name for name, value in losses.items() if value.device.type != "cuda"]
    if elsewhere:
        raise ValueError(f"{', '.join(elsewhere)} left the device")


def pretend() -> None:
    """Replace functions that need a GPU driver or values."""
    base.check_data = lambda *_: (CLASSES, True)  # reads the samples
    base.check_first_image = lambda *_: None  # once a run
    base.check_source = lambda *_, **__: None
    base.Trainer._check_augmented = lambda _: {}  # type: ignore[method-assign]
    torch.cuda.device = lambda *_: nullcontext()  # type: ignore[assignment,misc]
    torch.cuda.get_rng_state = lambda *_: None
    torch.cuda.set_rng_state = lambda *_: None
    torch.cuda.manual_seed = lambda *_: None
    torch.cuda.is_bf16_supported = lambda *_, **__: True
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    nn.Module.to = _to  # type: ignore[assignment]
    torch.autograd.backward = _backward
    torch.autograd.grad = lambda _, inputs, **__: (torch.zeros_like(inputs),)
    for optimizer in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        optimizer.step = lambda *_: None


def _to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """Like `Module.to`, which cannot move fake tensors: creates new ones."""
    device, *_ = torch._C._nn._parse_to(*args, **kwargs)
    if device is None:
        return module
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                moved = torch.empty(value.shape, dtype=value.dtype, device=device)
                part._parameters[name] = nn.Parameter(moved, value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device=device)
    return module


def _backward(tensors: Any, grad_tensors: Any = None, inputs: Iterable[Tensor] | None = None, **_: Any) -> None:
    """Like `torch.autograd.backward`, but all gradients are zero."""
    for leaf in _leaves([tensors] if isinstance(tensors, Tensor) else tensors) if inputs is None else inputs:
        zeros = torch.zeros_like(leaf)
        leaf.grad = zeros if leaf.grad is None else leaf.grad + zeros


def _leaves(tensors: Iterable[Tensor]) -> list[Tensor]:
    nodes, seen, leaves = [tensor.grad_fn for tensor in tensors], set(), []
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        nodes += [following for following, _ in node.next_functions]
    return leaves


def failed(name: str) -> bool:
    """Whether a case fails; run in a separate process, since fake tensors leave state behind."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    try:
        steps(CASES[name])
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> int:
    pretend()
    wrong = [name for name in CASES if failed(name)]
    print(f"{len(CASES) - len(wrong)} of {len(CASES)} cases passed" + "".join(f"\nfailed: {name}" for name in wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
