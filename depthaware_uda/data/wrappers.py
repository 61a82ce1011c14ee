"""Wrappers that augment, select or strip labels."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeGuard, cast

from torch.utils.data import ConcatDataset, Subset

from depthaware_uda.data.contract import (
    Wrapper,
    check_dataset_type,
    check_sample_type,
    sample_names,
    source_files,
)
from depthaware_uda.data.file_dataset import FileDataset
from depthaware_uda.data.masks import as_tv_tensors
from depthaware_uda.types import Sample, SampleDataset

__all__ = ["Augmented", "Selected", "Unlabelled", "label_sample"]


class Augmented(Wrapper):
    """A data set that applies a transform to every sample.

    Args:
        dataset: Any data set of samples.
        transform: Called with every sample, whose tensors are an `Image`, a `LabelMask` and a `DepthMask`.
    """

    def __init__(self, dataset: SampleDataset, transform: Callable[[Sample], Sample]) -> None:
        super().__init__(dataset)
        self.transform = transform

    def __getitem__(self, index: int) -> Sample:
        return self.transform(as_tv_tensors(self.dataset[index]))


class Unlabelled(Wrapper):
    """A data set without its labels and depth: what adaptation may see of a target domain.

    In a data set on disk (`FileDataset` without a transform) their files are not even read.

    Args:
        dataset: Any data set of samples.
        depth: Keep the depth, if there is any, such as depth predicted by another network.
    """

    def __init__(self, dataset: SampleDataset, *, depth: bool = False) -> None:
        check_dataset_type(dataset)
        super().__init__(_unlabelled(dataset, depth))
        self.depth = depth

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        check_sample_type(sample, f"sample {index}")
        kept = Sample(image=sample["image"])
        if self.depth and "depth" in sample:
            kept["depth"] = sample["depth"]
        if "name" in sample:
            kept["name"] = sample["name"]
        return kept


class Selected(Wrapper):
    """The samples with the given names, in the order of the names; for instance one side of a `TargetSplit`.

    Args:
        dataset: Any data set of samples.
        names: Names of the samples to keep, each once.

    Raises:
        TypeError: `names` is a string.
        ValueError: There are no names, a name is repeated, or is not in the data set.
    """

    def __init__(self, dataset: SampleDataset, names: Iterable[str]) -> None:
        super().__init__(dataset)
        if isinstance(names, str):
            raise TypeError(f"names must be a list of sample names, got the text {names!r}")
        wanted = list(names)
        if not wanted:
            raise ValueError("names: expected at least one sample name, got none")
        if len(set(wanted)) != len(wanted):
            raise ValueError(f"names: {len(wanted)} names were given, {len(set(wanted))} of them different")
        positions = {name: index for index, name in enumerate(sample_names(dataset))}
        if unknown := [name for name in wanted if name not in positions]:
            raise ValueError(
                f"names: {len(unknown)} of {len(wanted)} are not in the data set of {len(positions)} samples: "
                f"{unknown[:5]}"
            )
        self._names = wanted
        self.indices = [positions[name] for name in wanted]
        """Indices of the samples in the wrapped data set."""

    @property
    def names(self) -> list[str]:
        """Names of the samples, in the order asked for."""
        return self._names

    @property
    def files(self) -> list[list[Path]]:
        """Files of every sample, see `source_files`."""
        files = source_files(self.dataset)
        return [files[index] for index in self.indices] if files else []

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.indices[index]]


def label_sample(dataset: SampleDataset, index: int) -> Sample:
    """A sample of which only label and name are wanted: data sets on disk read neither its image nor its depth."""
    if isinstance(dataset, (Selected, Subset)):
        return label_sample(cast("SampleDataset", dataset.dataset), int(dataset.indices[index]))
    if isinstance(dataset, ConcatDataset):
        part = bisect_right(dataset.cumulative_sizes, index)
        samples = cast("SampleDataset", dataset.datasets[part])
        return label_sample(samples, index - dataset.cumulative_sizes[part] + len(samples))
    return dataset.label_sample(index) if _reads_files_alone(dataset) else dataset[index]


def _unlabelled(dataset: SampleDataset, depth: bool) -> SampleDataset:
    """The data set, or a copy that does not read labels."""
    if isinstance(dataset, (Selected, Subset)):
        chosen = copy.copy(dataset)
        chosen.dataset = _unlabelled(dataset.dataset, depth)  # type: ignore[arg-type]  # torch's type is narrower
        return chosen
    if isinstance(dataset, ConcatDataset):
        joined = copy.copy(dataset)
        joined.datasets = [_unlabelled(part, depth) for part in dataset.datasets]  # type: ignore[arg-type,misc]
        return joined
    return dataset.unlabelled(depth=depth) if _reads_files_alone(dataset) else dataset


def _reads_files_alone(dataset: object) -> TypeGuard[FileDataset]:
    """Whether samples are as in their files: a transform, or an overridden `__getitem__`, may look at all of them."""
    if not isinstance(dataset, FileDataset) or dataset.transform is not None:
        return False
    return type(dataset).__getitem__ is FileDataset.__getitem__
