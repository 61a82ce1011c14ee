"""The endless stream of a domain's samples, as a function of the seed and the position alone.

A sample at a position of the stream, its augmentation included, depends on nothing else: not on the number of worker
processes, nor on that of training processes, which share the positions, and not on what was drawn before. Resuming at a
step needs no state but the step.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from depthaware_uda.data.collate import collate
from depthaware_uda.data.contract import check_sample_type, known_name
from depthaware_uda.data.masks import as_tv_tensors
from depthaware_uda.distributed import rank, world_size
from depthaware_uda.inference import ignore_interrupts
from depthaware_uda.self_training import RareClassSampled
from depthaware_uda.trainers.run.checks import check_depth, check_labels
from depthaware_uda.trainers.run.skipping import UNREADABLE
from depthaware_uda.types import Batch, Sample, SampleDataset

__all__ = ["Augmentation", "augmented", "seeded", "stream"]

Augmentation = Callable[[Sample], Sample]
"""What changes a training sample: a `Sample` to a `Sample`."""


def augmented(sample: Sample, augment: Augmentation | None) -> Sample:
    """A sample after its augmentation; TypeError if that gave no sample."""
    if augment is None:
        return sample
    changed = augment(as_tv_tensors(sample))
    check_sample_type(changed, "what `augment` returned")
    return changed


@contextmanager
def seeded(*key: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the generators of torch, NumPy and Python from a key; all are as before afterwards."""
    words = np.random.SeedSequence(key).generate_state(2, np.uint64)
    cuda = device if device is not None and device.type == "cuda" else None
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    cuda_state = None if cuda is None else torch.cuda.get_rng_state(cuda)
    torch.default_generator.manual_seed(int(words[0] >> np.uint64(1)))
    if cuda is not None:
        with torch.cuda.device(cuda):  # it seeds the current one, which another GPU may be
            torch.cuda.manual_seed(int(words[0] >> np.uint64(1)))
    np.random.seed(int(words[1] % np.uint64(2**32)))  # noqa: NPY002  user transforms may draw from it
    random.seed(int(words[1]))
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
        if cuda is not None and cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state, cuda)


class _Positions(Sampler[tuple[int, int]]):
    """(position, index) pairs from `start` to `stop`: one shuffled pass over the data set after another.

    Processes take `share` positions each in turn, and skip those of the others.
    """

    def __init__(self, length: int, start: int, stop: int, key: tuple[int, ...], share: int) -> None:
        self.length, self.start, self.stop, self.key, self.share = length, start, stop, key, share
        self.rank, self.world_size = rank(), world_size()

    def __len__(self) -> int:
        return (self.stop - self.start) // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        position = self.start
        while position < self.stop:
            epoch, offset = divmod(position, self.length)
            order = np.random.default_rng([*self.key, epoch]).permutation(self.length)
            for index in order[offset : offset + self.stop - position]:
                if position // self.share % self.world_size == self.rank:
                    yield position, int(index)
                position += 1


_Trouble = tuple[str, str]
_STAND_INS = 20


class _Seeded(Dataset[tuple[Sample, list[_Trouble]]]):
    """Samples by (position, index), read and augmented under a seed of that position.

    With `skip`, another sample stands in for one that cannot be read: which one is drawn from the position too, so that
    a resumed run takes the same. With `classes`, labels must be among so many: a GPU that met another one in a loss
    would be lost to the whole process, without a word of the sample. With `depth`, depth must be above 0.
    """

    def __init__(
        self,
        dataset: SampleDataset,
        augment: Augmentation | None,
        key: tuple[int, ...],
        skip: bool,
        classes: int | None,
        depth: bool,
    ) -> None:
        self.dataset, self.augment, self.key, self.skip = dataset, augment, key, skip
        self.classes, self.depth = classes, depth

    def __getitem__(self, item: tuple[int, int]) -> tuple[Sample, list[_Trouble]]:
        position, index = item
        with seeded(*self.key, position):
            sample, troubles = self._read(position, index)
            sample = augmented(sample, self.augment)
        called = repr(sample["name"]) if "name" in sample else f"sample {index}"
        if self.classes is not None and "label" in sample:  # or the step says that there is none
            check_labels(sample, self.classes, called)
        if self.depth and "depth" in sample:
            check_depth(sample, called)
        return sample, troubles

    def _read(self, position: int, index: int) -> tuple[Sample, list[_Trouble]]:
        if not self.skip:
            return self.dataset[index], []
        others = np.random.default_rng([*self.key, position]).integers(len(self.dataset), size=_STAND_INS)
        troubles: list[_Trouble] = []
        dataset = self.dataset
        for candidate in (index, *others.tolist()):
            if isinstance(self.dataset, RareClassSampled):  # drawn here, so that the image that is drawn can be named
                dataset, candidate = self.dataset.dataset, self.dataset.draw()
            try:
                return dataset[candidate], troubles
            except UNREADABLE as error:
                troubles.append((known_name(self.dataset, candidate), str(error)))
        raise ValueError(f"{len(troubles)} samples drawn one after the other cannot be read; the last: {troubles[-1]}")


def _collate(items: list[tuple[Sample, list[_Trouble]]]) -> Batch:
    batch = collate([sample for sample, _ in items])
    if troubles := [trouble for _, found in items for trouble in found]:
        batch["unreadable"] = troubles
    return batch


def stream(
    dataset: SampleDataset,
    *,
    name: str,
    seed: int,
    batch_size: int,
    share: int | None = None,
    start_step: int,
    stop_step: int,
    augment: Augmentation | None = None,
    num_workers: int = 0,
    pin_memory: bool = False,
    skip: bool = False,
    classes: int | None = None,
    depth: bool = False,
) -> Iterator[Batch]:
    """Batches of the steps `start_step` to `stop_step` of a domain called `name`.

    Of each `batch_size` images of all processes this one gets its part, `share` neighbours at a time (by default all).
    With `skip`, others stand in for samples that cannot be read, which the batch names. With `classes`, a sample with
    labels beyond them is a ValueError; with `depth`, one with a depth of 0 or below.
    """
    key = (seed, zlib.crc32(name.encode()))
    loader: DataLoader[Batch] = DataLoader(
        _Seeded(dataset, augment, key, skip, classes, depth),  # type: ignore[arg-type]
        batch_size=batch_size // world_size(),
        sampler=_Positions(
            len(dataset), start_step * batch_size, stop_step * batch_size, key, share or batch_size // world_size()
        ),
        num_workers=num_workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
        worker_init_fn=ignore_interrupts,
        generator=torch.Generator(),  # samples are seeded by their place; the caller's generator stays as it is
    )
    return iter(loader)
