"""Samples that cannot be read while a run goes on: left out, named and counted, up to a limit."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

from torch.utils.data import Subset

from depthaware_uda.data.contract import known_name, known_names
from depthaware_uda.data.wrappers import Selected
from depthaware_uda.types import Batch, Sample, SampleDataset

__all__ = ["UNREADABLE", "Unreadable"]

UNREADABLE = (OSError, ValueError)
"""What reading a sample raises when its files are missing, damaged or not what they should be."""


class Unreadable:
    """The samples that could not be read so far.

    Args:
        most: How many different ones there may be; 0 where every one is an error.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.names: list[str] = []
        """Such as "town/1.png of the source": both domains may have a sample of one name."""
        self._readable: dict[int, SampleDataset] = {}

    def note(self, troubles: Iterable[tuple[str, str]], domain: str) -> None:
        """Count samples of a domain, given by name and by what was wrong.

        Warns:
            UserWarning: A sample is new among them.

        Raises:
            ValueError: There are more than `most`.
        """
        for sample, trouble in troubles:
            # The easy and the hard domain are parts of the target.
            name = f"{sample} of the {'source' if domain == 'source' else 'target'}"
            if name in self.names:
                continue
            self.names.append(name)
            if len(self.names) > self.most:
                raise ValueError(
                    f"{len(self.names)} samples cannot be read, more than max_unreadable={self.most}; the last one: "
                    f"{name}: {trouble}. Look at the data with check_dataset"
                )
            warnings.warn(
                f"{name}: cannot be read and is left out, {len(self.names)} of at most {self.most} ({trouble})",
                stacklevel=3,
            )

    def note_batches(self, batches: Mapping[str, Batch]) -> None:
        """Count the samples that others stand in for in batches."""
        for domain, batch in batches.items():
            self.note(batch.pop("unreadable", []), domain)

    def first(self, dataset: SampleDataset) -> Sample:
        """The first sample that can be read, for checks of a data set; up to `most` others before it are passed over.

        Raises:
            ValueError: More than that cannot be read, or none can; it names the last one that was tried.
        """
        for index in range(min(self.most, len(dataset) - 1)):
            try:
                return dataset[index]
            except UNREADABLE:
                continue
        return dataset[min(self.most, len(dataset) - 1)]

    def without(self, dataset: SampleDataset, domain: str) -> SampleDataset:
        """A data set of a domain without the samples that cannot be read now; every sample is read once for it."""
        if id(dataset) not in self._readable:
            kept = []
            for index in range(len(dataset)):
                try:
                    dataset[index]
                except UNREADABLE as error:
                    self.note([(known_name(dataset, index), str(error))], domain)
                else:
                    kept.append(index)
            self._readable[id(dataset)] = dataset if len(kept) == len(dataset) else _chosen(dataset, kept)
        return self._readable[id(dataset)]


def _chosen(dataset: SampleDataset, indices: list[int]) -> SampleDataset:
    names = known_names(dataset)
    if names is None:
        return Subset(dataset, indices)  # type: ignore[arg-type]
    return Selected(dataset, [names[index] for index in indices])
