"""Shared by the benchmarks: a clock, the peak rates of a device, samples, and both versions of a training step."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

import torch
from baseline import BaselineDAF
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from depthaware_uda import DAFConfig, DAFTrainer
from depthaware_uda.data import InMemory, collate
from depthaware_uda.models import create_discriminator
from depthaware_uda.types import Sample

Step = Callable[[], dict[str, torch.Tensor]]


class Clock:
    """Times functions in turn on a device; in between, a matrix product and a copy measure its current speed.

    Args:
        device: "cuda" or "cpu".
        precision: Of the matrix product; "float32" is TF32 on a GPU, torch's default for convolutions.
    """

    def __init__(self, device: str, precision: str) -> None:
        self.cuda, self.precision = device == "cuda", precision
        self.tf32 = self.cuda and precision == "float32"
        side, dtype = (8192 if self.cuda else 1024), getattr(torch, precision)
        self.matrix = torch.randn(side, side, device=device, dtype=dtype)
        self.block = torch.randn((256 if self.cuda else 32) * 2**18, device=device)
        self.products: list[float] = []
        self.copies: list[float] = []

    def seconds(self, function: Callable[[], Any]) -> float:
        """Seconds of one call: until a GPU is done, or processor time of all threads."""
        if self.cuda:
            torch.cuda.synchronize()
        now = time.perf_counter if self.cuda else time.process_time
        began = now()
        function()
        if self.cuda:
            torch.cuda.synchronize()
        return now() - began

    def turns(self, ways: dict[str, Callable[[], Any]], repeat: int) -> dict[str, list[float]]:
        """Seconds of all ways, which take turns; the first turn is a warm-up and is not counted."""
        found: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(repeat + 1):
            for name, way in ways.items():
                taken = self.seconds(way)
                if turn:
                    found[name].append(taken)
            self.products.append(self.product())
            self.copies.append(self.seconds(self.block.clone))
        return found

    def product(self) -> float:
        """Seconds of the matrix product."""
        before = torch.get_float32_matmul_precision()
        if self.tf32:
            torch.set_float32_matmul_precision("high")
        try:
            return self.seconds(lambda: self.matrix @ self.matrix)
        finally:
            torch.set_float32_matmul_precision(before)

    def peaks(self) -> dict[str, Any]:
        """Best measured matrix product (10^12 operations per second, on a CPU per thread) and copy (GB per second)."""
        product, copied = min(self.products), min(self.copies)
        return {
            "matmul_precision": "TF32" if self.tf32 else self.precision,
            "matmul_tflops": 2 * self.matrix.shape[0] ** 3 / product / 1e12,
            "copy_gb_s": 2 * self.block.nbytes / max(copied, 1e-9) / 1e9,
        }


def samples(count: int, image_size: tuple[int, int], label_size: tuple[int, int]) -> list[Sample]:
    """Random images with labels and depth."""
    generator = torch.Generator().manual_seed(0)
    return [
        Sample(
            image=torch.rand(3, *image_size, generator=generator),
            label=torch.randint(16, label_size, generator=generator),
            depth=2 + 58 * torch.rand(1, *label_size, generator=generator),
            name=f"image/{index}.png",
        )
        for index in range(count)
    ]


Network = Callable[[argparse.Namespace], nn.Module]
Sizes = tuple[tuple[int, int], tuple[int, int]]
Way = Callable[[Network, argparse.Namespace, DAFConfig, Sizes], Step]
"""Makes the step function of one way, with its own network, on batches on the device."""


def ours(network: Network, args: argparse.Namespace, config: DAFConfig, sizes: Sizes) -> Step:
    """The step of `DAFTrainer`."""
    small = InMemory(samples(1, (64, 96), (64, 96)))  # checked when the trainer is created
    trainer = DAFTrainer(network(args), small, small, config, device=args.device, progress=False)
    batches = batches_on(args.device, sizes, config.batch_size)
    return lambda: trainer.step(**batches)


def theirs(network: Network, args: argparse.Namespace, config: DAFConfig, sizes: Sizes) -> Step:
    """The step of the baseline, which may select cuDNN kernels by benchmark, as the library's step does."""
    baseline = BaselineDAF(network(args).train(), create_discriminator(16).to(args.device))
    batches = batches_on(args.device, sizes, config.batch_size)

    def step() -> dict[str, torch.Tensor]:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            return baseline.step(batches["source"], batches["target"])

    return step


WAYS: dict[str, Way] = {"ours": ours, "baseline": theirs}


def batches_on(device: torch.device | str, sizes: Sizes, count: int) -> dict[str, Any]:
    """Batches of `count` images of each domain."""
    batches: dict[str, Any] = {
        domain: collate(samples(count, size, size)) for domain, size in zip(("source", "target"), sizes, strict=True)
    }
    for batch in batches.values():
        batch |= {key: value.to(device) for key, value in batch.items() if isinstance(value, torch.Tensor)}
    return batches


def release(device: str) -> None:
    """Free unused memory: objects in reference cycles, and GPU memory that torch has cached."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


class _Operations(TorchDispatchMode):
    """Adds up operations; torch's own counter also tracks modules, and fails if only some inputs have gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.count += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def step_flops(step: Step) -> int:
    """Operations of the convolutions and matrix products of a step, forward and backward, by torch's formulas."""
    with _Operations() as operations:
        step()
    return operations.count


def peak_memory(step: Step, device: str) -> int:
    """Peak bytes of the second step: all memory on a GPU; on a CPU what the step allocates (by the profiler)."""
    step()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    # The step first drops the previous gradients, so they lie below the level from which it starts.
    return peak
