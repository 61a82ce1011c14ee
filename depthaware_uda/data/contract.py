"""What is asked of data sets: samples by index, as dictionaries; and what can be known about the samples unread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset

from depthaware_uda.labels import LabelSpace, get_label_space
from depthaware_uda.types import Sample, SampleDataset

__all__ = [
    "Wrapper",
    "check_dataset_type",
    "check_loading",
    "check_repeatable",
    "check_sample_type",
    "chosen_label_space",
    "has_metric_depth",
    "known_label_space",
    "known_name",
    "known_names",
    "looks",
    "sample_names",
    "source_files",
]

T = TypeVar("T")
_LOOKS = 8
"""How many samples are read twice to tell random ones: a data set with random flips alone passes once in 256."""


def check_dataset_type(dataset: object, what: str = "the data set") -> None:
    """Raise a TypeError for anything that gives no samples by index; `what` is its name in the message."""
    if isinstance(dataset, DataLoader):
        raise TypeError(f"{what} is a DataLoader, expected a data set: pass its `dataset`; batches are made here")
    if not isinstance(dataset, SampleDataset) or isinstance(dataset, (str, dict, IterableDataset)):
        raise TypeError(
            f"{what} is a {type(dataset).__name__}, expected a data set: len() and samples by index; "
            "SegmentationFolder reads folders"
        )


def check_sample_type(sample: object, what: str) -> None:
    """TypeError if a sample is not a dictionary, ValueError if it has no image; `what` is its name in the message."""
    if not isinstance(sample, Mapping):
        raise TypeError(
            f"{what} is a {type(sample).__name__}, expected a dict with 'image', and 'label', 'depth', 'name' if known"
        )
    if "image" not in sample:
        raise ValueError(f"{what} has no 'image'; a sample is a dict with one, and 'label', 'depth', 'name' if known")


def check_loading(*, batch_size: int = 1, num_workers: int = 0) -> None:
    """ValueError if the samples of a batch, or the processes that read them, are not a whole number in range."""
    for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_repeatable(dataset: SampleDataset) -> None:
    """Raise a ValueError if an image differs each time it is read: labels stored for it would not fit.

    Eight images are read twice, see `looks`.
    """
    for index in looks(dataset):
        first, second = (dataset[index]["image"] for _ in range(2))
        same = isinstance(first, Tensor) and first.shape == second.shape and bool((first == second).all())
        if isinstance(first, Tensor) and not (same or first.isnan().any()):
            raise ValueError(
                f"{known_name(dataset, index)} is another image each time it is read, and pseudo-labels would not "
                "fit it; leave random transforms out of the data set: a trainer's `augment`, or Augmented(...) "
                "around the labelled images, moves image and label together"
            )


def looks(dataset: SampleDataset) -> list[int]:
    """Eight indices spread from the first to the last sample, with repeats in a small data set."""
    return [look * (len(dataset) - 1) // (_LOOKS - 1) for look in range(_LOOKS)]


def sample_names(dataset: SampleDataset) -> list[str]:
    """Names of the samples of a data set, in order: its attribute ``names``; without it, every sample is read.

    For torch's ``Subset`` and ``ConcatDataset``, they are those of the wrapped data sets.

    Raises:
        TypeError: The data set gives no samples by index.
        ValueError: A sample has no name, or two share one.
    """
    check_dataset_type(dataset)
    names = known_names(dataset)
    if names is None:
        samples = (dataset[index] for index in range(len(dataset)))
        names = [_name_of(sample, index) for index, sample in enumerate(samples)]
    elif len(names) != len(dataset):
        raise ValueError(f"the data set has {len(dataset)} samples but {len(names)} names")
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        raise ValueError(
            f"sample names must be unique, {len(twice)} occur more than once: {twice[:5]}; read joined folders "
            "from a common parent folder, so that their names differ"
        )
    return list(names)


def known_names(dataset: object) -> Sequence[str] | None:
    """Names of the samples if they are known without reading any, unchecked; else None."""
    names: Sequence[str] | None = getattr(dataset, "names", None)
    return _of_parts(dataset, known_names) if names is None else names


def known_name(dataset: object, index: int) -> str:
    """The name of a sample, without reading it; if it is not known, "sample" and its index."""
    names = known_names(dataset)
    if names is not None:
        return names[index]
    if isinstance(dataset, Subset):
        return known_name(dataset.dataset, int(dataset.indices[index]))
    return known_name(dataset.dataset, index) if isinstance(dataset, Wrapper) else f"sample {index}"


def source_files(dataset: object) -> list[list[Path]]:
    """Files that each sample is read from, its image first; empty if they are not known.

    They come from the data set's attribute ``files``, with one entry a sample: a path, or a tuple that holds paths.
    """
    entries = getattr(dataset, "files", None)
    if entries is None:
        return _of_parts(dataset, lambda part: source_files(part) or None) or []
    if not isinstance(entries, (list, tuple)):
        return []
    rows = (entry if isinstance(entry, (list, tuple)) else [entry] for entry in entries)
    found = [[part for part in row if isinstance(part, Path)] for row in rows]
    # An attribute of this name may hold something else.
    return found if all(found) and len(found) == len(cast("SampleDataset", dataset)) else []


def _of_parts(dataset: object, known: Callable[[object], Sequence[T] | None]) -> list[T] | None:
    """What is known about the samples of torch's ``Subset`` and ``ConcatDataset``, from the data sets in them."""
    if isinstance(dataset, Subset):
        whole = known(dataset.dataset)
        return None if whole is None else [whole[int(index)] for index in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [known(part) for part in dataset.datasets]
        return None if any(part is None for part in parts) else [one for part in parts for one in part or ()]
    return None


def known_label_space(dataset: object) -> LabelSpace | None:
    """The label space of a data set or model, from its attribute ``label_space``, or the name there; None without one.

    For torch's ``Subset`` and ``ConcatDataset``, it is that of the wrapped data sets, if they agree.

    Raises:
        ValueError: The name is none of a label space.
    """
    space: str | LabelSpace | None = getattr(dataset, "label_space", None)
    if space is not None:
        return get_label_space(space)
    if not isinstance(dataset, (Subset, ConcatDataset)):
        return None
    parts = [dataset.dataset] if isinstance(dataset, Subset) else dataset.datasets
    first, *others = map(known_label_space, parts)
    return first if all(other == first for other in others) else None


def chosen_label_space(asked: str | LabelSpace | None, dataset: object, *models: object) -> LabelSpace | None:
    """The label space that was asked for, else the data set's, else that of the first model with one, else None."""
    if asked is not None:
        return get_label_space(asked)
    return next((space for one in (dataset, *models) if (space := known_label_space(one)) is not None), None)


def has_metric_depth(dataset: SampleDataset) -> bool:
    """Whether the depth of a data set is in metres, so that depth errors in metres are meaningful.

    Decided by its attribute ``is_metric``, or those of the data sets it wraps (as torch's ``Subset`` and
    ``ConcatDataset`` do); without any, depth is in metres, as `Sample` defines it.
    """
    is_metric: bool | None = getattr(dataset, "is_metric", None)
    if is_metric is not None:
        return is_metric
    wrapped = [getattr(dataset, "dataset", None), *getattr(dataset, "datasets", ())]
    return all(has_metric_depth(inner) for inner in wrapped if inner is not None)


def _name_of(sample: Sample, index: int) -> str:
    if "name" not in sample:
        raise ValueError(f"sample {index} has no name; give every sample its path below the data root as 'name'")
    return sample["name"]


class Wrapper:
    """A wrapper around a data set with the same samples, of which it knows as much."""

    def __init__(self, dataset: SampleDataset) -> None:
        check_dataset_type(dataset)
        self.dataset = dataset

    @property
    def names(self) -> Sequence[str]:
        """Names of the samples, in order; AttributeError if only reading the samples would tell (`sample_names`)."""
        names = known_names(self.dataset)
        if names is None:
            raise AttributeError(f"names: the {type(self.dataset).__name__} does not list the names of its samples")
        return names

    @property
    def files(self) -> list[list[Path]]:
        """Files of every sample, see `source_files`."""
        return source_files(self.dataset)

    @property
    def label_space(self) -> LabelSpace:
        """Label space of the wrapped data set; AttributeError if it has none."""
        space = known_label_space(self.dataset)
        if space is None:
            raise AttributeError(f"label_space: the {type(self.dataset).__name__} does not name its classes")
        return space

    @property
    def is_metric(self) -> bool:
        """Whether depth is in metres, see `has_metric_depth`."""
        return has_metric_depth(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)
