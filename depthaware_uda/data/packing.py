"""Compact samples with 8-bit images and labels, as the data sets in memory and in caches store them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors

from depthaware_uda.data.masks import DepthMask, LabelMask
from depthaware_uda.labels import IGNORE_INDEX
from depthaware_uda.types import Sample

__all__ = ["PackedSample", "pack", "unit_range", "unpack"]


class PackedSample(NamedTuple):
    """A sample in a quarter of the memory. NumPy arrays, as every tensor sent by a worker process holds a file open."""

    image: NDArray[np.uint8]
    """RGB, (3, H, W)."""
    label: NDArray[np.uint8] | None
    """Class indices, (H, W)."""
    depth: NDArray[np.float32] | None
    """Metres, (1, H, W)."""
    name: str | None
    """The sample's name."""


def unit_range(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels in 0..255 as floats in 0..1, of the same shape, always in C order."""
    floats = pixels.astype(np.float32, order="C")
    floats /= np.float32(255)  # in place, which is fastest
    return floats


def pack(sample: Sample) -> PackedSample:
    """Pack a copy of a sample; an image of higher precision is rounded to 8 bits.

    Raises:
        ValueError: The image is not floating point in 0..1, or a label is not in 0..255, which 8 bits cannot hold.
    """
    image, label, depth = sample["image"], sample.get("label"), sample.get("depth")
    _check_range(sample.get("name", "a sample without a name"), image, label)
    return PackedSample(
        image=(image * 255).round().clamp(0, 255).to(torch.uint8).numpy(),
        label=None if label is None else label.to(torch.uint8, copy=True).numpy(),
        depth=None if depth is None else depth.to(torch.float32, copy=True).numpy(),
        name=sample.get("name"),
    )


def _check_range(name: str, image: Tensor, label: Tensor | None) -> None:
    if not image.numel():
        raise ValueError(f"image of {name!r} has no pixels, its shape is {tuple(image.shape)}")
    lowest, highest = (float(value) for value in image.aminmax())
    # Resampling may overshoot a little.
    if not image.is_floating_point() or not (lowest > -0.5 and highest < 1.5):
        raise ValueError(
            f"image of {name!r} is {image.dtype} in {lowest:.3g}..{highest:.3g}, expected floating point in 0..1; "
            "divide 8 bits by 255, and leave normalising to the model"
        )
    if label is not None and label.numel():
        least, greatest = (int(value) for value in label.aminmax())
        if not 0 <= least <= greatest <= IGNORE_INDEX:
            raise ValueError(
                f"label of {name!r} holds {least}..{greatest}, expected class indices in 0..{IGNORE_INDEX - 1}, or "
                f"{IGNORE_INDEX} to ignore"
            )


def unpack(packed: PackedSample, *, share_depth: bool = False) -> Sample:
    """Unpack a sample into new tensors; with `share_depth`, its depth shares memory with the packed array."""
    sample = Sample(image=tv_tensors.Image(torch.from_numpy(unit_range(packed.image))))
    if packed.label is not None:
        # In NumPy, which requests large pages: filling new memory takes most of the time of reading a cached sample.
        sample["label"] = LabelMask(torch.from_numpy(packed.label.astype(np.int64)))
    if packed.depth is not None:
        depth = torch.from_numpy(packed.depth)
        sample["depth"] = DepthMask(depth if share_depth else depth.clone())
    if packed.name is not None:
        sample["name"] = packed.name
    return sample
