"""The few types that all modules share: samples of a data set and outputs of a model."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypedDict, runtime_checkable

from torch import Tensor

__all__ = ["Batch", "JointOutput", "OnError", "Sample", "SampleDataset", "SegDepthOutput"]

OnError = Literal["raise", "skip"]
"""What to do if an image cannot be read: raise an error, or skip it with a warning."""


class Sample(TypedDict, total=False):
    """One image with what is known about it. Keys of unknown values are absent, never None.

    Inside data sets the tensors are torchvision ``tv_tensors`` (an ``Image`` and two kinds of ``Mask``), so that every
    ``torchvision.transforms.v2`` pipeline transforms them together.
    """

    image: Tensor
    """RGB, float32 in 0..1, shape (3, H, W)."""
    label: Tensor
    """Class index, int64, shape (H, W); 255 is ignored."""
    depth: Tensor
    """Metres, float32, shape (1, H, W); NaN is unknown."""
    name: str
    """Path relative to the data root, with forward slashes; the key of pseudo-labels and splits."""


class Batch(TypedDict, total=False):
    """Collated samples of one domain: the tensors of `Sample` with a batch dimension, and their names."""

    image: Tensor
    """RGB in 0..1, (N, 3, H, W)."""
    label: Tensor
    """Class index or 255, int64 (N, H, W)."""
    depth: Tensor
    """Metres or NaN, (N, 1, H, W)."""
    name: list[str]
    """Name of each sample."""
    index: list[int]
    """Index of each sample in its data set; only in batches of `inference`."""
    unreadable: list[tuple[str, str]]
    """Samples that could not be read and were replaced by others: name, and what was wrong."""


class SegDepthOutput(NamedTuple):
    """The output of a model, at the network's own stride; the caller resizes it."""

    logits: Tensor
    """Class scores before softmax, shape (N, C, h, w)."""
    inverse_depth: Tensor | None
    """Predicted inverse depth, 655.36 / (metres + 0.01), shape (N, 1, h', w'); None without a depth head."""


class JointOutput(NamedTuple):
    """The training output of a network with a refined segmentation head (`DepthSegmenter.joint`), at its strides."""

    logits: Tensor
    """As in `SegDepthOutput`."""
    inverse_depth: Tensor
    """As in `SegDepthOutput`."""
    refined_logits: Tensor
    """Class scores of the refined head, shape (N, C, h, w)."""


@runtime_checkable
class SampleDataset(Protocol):
    """Any map-style data set of samples: all that trainers, rankers and `evaluate` need."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...
