"""The few types that every room shares: a sample of a data set and the output of a model."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypedDict, runtime_checkable

from torch import Tensor

__all__ = ["Batch", "JointOutput", "OnError", "Sample", "SampleDataset", "SegDepthOutput"]

OnError = Literal["raise", "skip"]
"""What happens when an image cannot be read: it is an error, or it is left out with a warning."""


class Sample(TypedDict, total=False):
    """One image with what is known about it. A key that is not known is absent, never None.

    Inside data sets the tensors are torchvision ``tv_tensors`` (an ``Image`` and two kinds of ``Mask``), so every
    ``torchvision.transforms.v2`` pipeline moves them together.
    """

    image: Tensor
    """RGB, float32 in 0..1, shape (3, H, W)."""
    label: Tensor
    """Class index, int64, shape (H, W); 255 is ignored."""
    depth: Tensor
    """Metres, float32, shape (1, H, W); NaN is unknown."""
    name: str
    """Path relative to the data root, forward slashes; the key of pseudo-labels and splits."""


class Batch(TypedDict, total=False):
    """Samples of one domain, collated: the tensors of `Sample` with a leading N, and their names."""

    image: Tensor
    """RGB in 0..1, (N, 3, H, W)."""
    label: Tensor
    """Class index or 255, int64 (N, H, W)."""
    depth: Tensor
    """Metres or NaN, (N, 1, H, W)."""
    name: list[str]
    """One name a sample."""
    index: list[int]
    """Where each sample is in its data set; in batches of `inference` only."""
    unreadable: list[tuple[str, str]]
    """Samples that could not be read, in place of which there are others: name, and what was wrong."""


class SegDepthOutput(NamedTuple):
    """What a model returns, at the network's own stride (resizing is the caller's)."""

    logits: Tensor
    """Class scores before softmax, shape (N, C, h, w)."""
    inverse_depth: Tensor | None
    """Predicted inverse depth, 655.36 / (metres + 0.01), shape (N, 1, h', w'); None without a depth head."""


class JointOutput(NamedTuple):
    """What a network with a refined segmentation head gives in training, by `DepthSegmenter.joint`, at its strides."""

    logits: Tensor
    """As in `SegDepthOutput`."""
    inverse_depth: Tensor
    """As in `SegDepthOutput`."""
    refined_logits: Tensor
    """Class scores of the refined head, shape (N, C, h, w)."""


@runtime_checkable
class SampleDataset(Protocol):
    """Any map-style data set of samples: what trainers, rankers and `evaluate` need, and no more."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...
