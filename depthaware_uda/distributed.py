"""Several processes that train, rank and evaluate together: what the rooms ask of `torch.distributed`.

torchrun starts the processes, `initialize` connects them, and from then on the library shares its work among them. In
one process without a process group, the usual case, every function here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = [
    "alone",
    "barrier",
    "broadcast_module",
    "check_connected",
    "from_writer",
    "gather",
    "gather_by_index",
    "initialize",
    "is_distributed",
    "is_writer",
    "max_",
    "mean_",
    "rank",
    "sum_",
    "sum_of_counts",
    "world_size",
]

T = TypeVar("T")

_BUCKET_BYTES = 25 * 2**20  # as much as DistributedDataParallel sends at once


def is_distributed() -> bool:
    """Whether there is a process group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if is_distributed() else 1


def is_writer() -> bool:
    """Whether this is the process that writes files, prints and draws: that of rank 0."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process is here."""
    gather(None)  # between CPUs, where there is a way; `dist.barrier` with NCCL takes a GPU that it guesses


def check_connected() -> None:
    """RuntimeError if torchrun started several processes that `initialize` has not connected, each to train alone."""
    processes = os.environ.get("WORLD_SIZE", "1")
    if dist.is_available() and dist.is_torchelastic_launched() and processes != "1" and not is_distributed():
        raise RuntimeError(
            f"torchrun started {processes} processes, which know nothing of each other: put the script's lines into "
            "`with depthaware_uda.distributed.initialize():`"
        )


class _Group(AbstractContextManager[None]):
    """The process group until the end of a `with`; after an error it is left to the end of the process.

    Closing waits for the others, who may be waiting for this process themselves: an error has to come out first, so
    that torchrun sees it and stops them.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and is_distributed():
            barrier()
            dist.destroy_process_group()


def initialize(*, timeout: timedelta = timedelta(minutes=30)) -> AbstractContextManager[None]:
    """Connect the processes that torchrun started: Gloo between CPUs, and NCCL between GPUs where there are any.

    Does nothing where torchrun's variables (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR``,
    ``MASTER_PORT``) are not set, and nothing the second time. The GPU number ``LOCAL_RANK`` becomes the current one of
    its process.

        with initialize():
            DAFTrainer(model, source, target, config, "runs/daf").fit()

    Args:
        timeout: How long a process waits for another one before it gives up.

    Returns:
        A context that disconnects the processes at its end, when all of them have come there.

    Raises:
        ValueError: Some of the variables are missing, or a machine has fewer GPUs than processes.
    """
    if is_distributed() or "RANK" not in os.environ:
        return nullcontext()
    needed = ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    if missing := [name for name in needed if name not in os.environ]:
        raise ValueError(
            f"RANK is set but not {', '.join(missing)}: start with torchrun, which sets all of them, or unset RANK"
        )
    if torch.cuda.is_available():
        local, devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= devices:
            raise ValueError(
                f"LOCAL_RANK is {local}, but this machine shows {devices} GPUs: start at most that many processes "
                "on it (--nproc_per_node), or hide the GPUs with CUDA_VISIBLE_DEVICES= to use its CPUs"
            )
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=timeout)
    return _Group()


# Python values and counts ---------------------------------------------------------------------------------------------


def gather(value: T) -> list[T]:
    """The value of every process, by rank. Called by all of them; the values are pickled between them."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def gather_by_index(items: Mapping[int, T]) -> list[T]:
    """The items of all processes, in the order of their numbers, in every process."""
    together = {index: item for hand in gather(dict(items)) for index, item in hand.items()}
    return [together[index] for index in sorted(together)]


def sum_of_counts(counts: Tensor | None) -> Tensor:
    """Counts of all processes added up, on the CPU, in every process; None from one that had nothing to count."""
    known = [each for each in gather(None if counts is None else counts.cpu()) if each is not None]
    return torch.stack(known).sum(0)


def from_writer(value: T) -> T:
    """The value that rank 0 has, in every process."""
    if world_size() == 1:
        return value
    values: list[Any] = [value]
    dist.broadcast_object_list(values, src=0)
    chosen: T = values[0]
    return chosen


# Tensors --------------------------------------------------------------------------------------------------------------


def sum_(tensor: Tensor) -> Tensor:
    """The tensor added up over the processes, in place; integers exactly."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def max_(tensor: Tensor) -> Tensor:
    """The largest of the processes' tensors, element by element, in place."""
    if world_size() > 1:
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return tensor


@torch.no_grad()
def mean_(tensors: Iterable[Tensor]) -> None:
    """Average floating-point tensors over the processes, in place; every process ends with the same bits.

    They are sent in buckets, the next one packed while one is under way. Every process gives tensors of the same shapes
    in the same order.
    """
    if world_size() == 1:
        return
    under_way = []
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket]).div_(world_size())
        under_way.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in under_way:
        work.wait()
        parts = torch.split(flat, [tensor.numel() for tensor in bucket])
        torch._foreach_copy_(bucket, [part.view_as(tensor) for part, tensor in zip(parts, bucket, strict=True)])


def broadcast_module(module: nn.Module) -> None:
    """Give every process the parameters and buffers of rank 0."""
    if world_size() > 1:
        for tensor in module.state_dict().values():
            value = tensor.contiguous()
            dist.broadcast(value, src=0)
            tensor.copy_(value)


@contextmanager
def alone(norms: Iterable[nn.Module]) -> Iterator[None]:
    """Let each `SyncBatchNorm` among some modules look at the images of its own process only."""
    synchronized = [norm for norm in norms if isinstance(norm, nn.SyncBatchNorm)]
    groups = [norm.process_group for norm in synchronized]
    if synchronized and world_size() > 1:
        own = _own_group(dist.group.WORLD)
        for norm in synchronized:
            norm.process_group = own
    try:
        yield
    finally:
        for norm, group in zip(synchronized, groups, strict=True):
            norm.process_group = group


@lru_cache(maxsize=1)
def _own_group(world: dist.ProcessGroup) -> dist.ProcessGroup:
    """The group of this process alone, made once for a group of all."""
    own: dist.ProcessGroup = dist.new_subgroups(group_size=1, group=world)[0]
    return own


def _buckets(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Tensors in groups of one type and device, each of about `_BUCKET_BYTES`."""
    buckets: list[list[Tensor]] = []
    size = 0
    for tensor in tensors:
        last = buckets[-1][0] if buckets else None
        fits = last is not None and (last.dtype, last.device) == (tensor.dtype, tensor.device) and size < _BUCKET_BYTES
        if not fits:
            buckets.append([])
            size = 0
        buckets[-1].append(tensor)
        size += tensor.numel() * tensor.element_size()
    return buckets
