"""A data set that was read once and is served from memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from depthaware_uda.data.contract import check_dataset_type, check_loading, has_metric_depth, known_label_space
from depthaware_uda.data.packing import PackedSample, pack, unpack
from depthaware_uda.types import Sample, SampleDataset

__all__ = ["InMemory"]


class _Packing(Dataset[PackedSample]):
    def __init__(self, dataset: SampleDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> PackedSample:
        return pack(self.dataset[index])


class InMemory:
    """A data set that was read once and is served from memory.

    Images and labels are kept in 8 bits, depth in 32: 8 bytes a pixel with label and depth, 3 without. Images of higher
    precision are rounded to 8 bits. Wrap random transforms around it (`Augmented`), not inside it, where they would be
    drawn only once.

    Args:
        dataset: Any data set of samples.
        num_workers: Processes that read samples; 0 reads in this one.
        progress: Whether to show a progress bar.

    Raises:
        TypeError: The data set gives no samples by index.
        ValueError: The data set is empty, `num_workers` is negative, an image is not in 0..1, or a label not in 0..255.
    """

    def __init__(self, dataset: SampleDataset, *, num_workers: int = 0, progress: bool = True) -> None:
        check_loading(num_workers=num_workers)
        check_dataset_type(dataset)
        if len(dataset) == 0:
            raise ValueError("dataset: expected at least one sample, got an empty data set")
        bar = tqdm(
            _packed(dataset, num_workers), total=len(dataset), desc="reading", unit="image", disable=not progress
        )
        self._samples = list(bar)
        self.is_metric = has_metric_depth(dataset)
        if (space := known_label_space(dataset)) is not None:
            self.label_space = space
        if all(packed.name is not None for packed in self._samples):
            self.names = [str(packed.name) for packed in self._samples]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return unpack(self._samples[index])


def _packed(dataset: SampleDataset, num_workers: int) -> Iterator[PackedSample]:
    packing = _Packing(dataset)
    if num_workers == 0:
        return (packing[index] for index in range(len(packing)))
    # Its own generator: reading must not advance the global one, which the training run depends on.
    loader = DataLoader(
        packing, batch_size=None, num_workers=num_workers, collate_fn=_unchanged, generator=torch.Generator()
    )
    return iter(loader)


def _unchanged(packed: Any) -> Any:
    return packed
