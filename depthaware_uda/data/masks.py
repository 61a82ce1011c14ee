"""The tensors of a sample as torchvision transforms them: an image, a mask of classes and a mask of metres.

A torchvision transform that reaches beyond the image (a rotation, a crop over the border, padding) fills masks with 0,
which would mean class 0 or a depth of 0. `LabelMask` and `DepthMask` are filled with 255 and NaN instead, whatever the
transform's own `fill`, so that every ``torchvision.transforms.v2`` pipeline is correct for whole samples. Masks take
the nearest pixel: classes, metres and NaN are never mixed. When resized, they take the pixel under each new pixel's
centre; torchvision's own masks take the one at its upper left corner, which shifts labels against their image by up to
half a pixel of the smaller picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from depthaware_uda.labels import IGNORE_INDEX
from depthaware_uda.types import Sample

__all__ = ["DepthMask", "LabelMask", "as_tv_tensors", "check_typed"]

MaskT = TypeVar("MaskT", "LabelMask", "DepthMask")

# All of torchvision's operations whose output can reach beyond the border of a mask.
_SHOW_OUTSIDE = ("affine", "center_crop", "crop", "elastic", "pad", "perspective", "rotate")


class LabelMask(tv_tensors.Mask):
    """Class indices, int64 (H, W); what lies beyond the border is 255."""


class DepthMask(tv_tensors.Mask):
    """Metres, float32 (1, H, W); what lies beyond the border is NaN."""


def _filled(name: str, fill: float) -> Callable[..., Any]:
    """A torchvision operation that fills what lies outside with `fill`; a mask of ones shows where that is."""
    operation = getattr(functional, name)

    def kernel(inpt: MaskT, *args: Any, **kwargs: Any) -> MaskT:
        values = inpt.as_subclass(Tensor)
        inside = operation(tv_tensors.Mask(torch.ones_like(values, dtype=torch.uint8)), *args, **kwargs)
        moved = operation(tv_tensors.Mask(values), *args, **kwargs).as_subclass(Tensor)
        return tv_tensors.wrap(moved.masked_fill(inside.as_subclass(Tensor) != 1, fill), like=inpt)  # type: ignore[no-any-return]

    return kernel


def _resize(inpt: MaskT, size: list[int] | None, *args: Any, max_size: int | None = None, **kwargs: Any) -> MaskT:
    """`functional.resize` of a mask, ignoring interpolation and antialiasing, which are meant for its image."""
    values = inpt.as_subclass(Tensor)
    planes = values.reshape(-1, *values.shape[-2:])
    resized = functional.resize_image(planes, size, interpolation=InterpolationMode.NEAREST_EXACT, max_size=max_size)
    return tv_tensors.wrap(resized.reshape(*values.shape[:-2], *resized.shape[-2:]), like=inpt)  # type: ignore[no-any-return]


def _resized_crop(
    inpt: MaskT, top: int, left: int, height: int, width: int, size: list[int], *args: Any, **kwargs: Any
) -> MaskT:
    """`functional.resized_crop` of a mask, as a crop followed by a resize."""
    return functional.resize(functional.crop(inpt, top, left, height, width), size)  # type: ignore[no-any-return]


for _mask, _fill in ((LabelMask, float(IGNORE_INDEX)), (DepthMask, math.nan)):
    for _name in _SHOW_OUTSIDE:
        functional.register_kernel(_name, _mask)(_filled(_name, _fill))
    functional.register_kernel("resize", _mask)(_resize)
    functional.register_kernel("resized_crop", _mask)(_resized_crop)


def as_tv_tensors(sample: Sample) -> Sample:
    """The same sample with its tensors as `Image`, `LabelMask` and `DepthMask`, sharing their memory."""
    typed = Sample(**sample)
    if "image" in sample:
        typed["image"] = tv_tensors.Image(sample["image"].as_subclass(Tensor))
    if "label" in sample:
        typed["label"] = LabelMask(sample["label"].as_subclass(Tensor))
    if "depth" in sample:
        typed["depth"] = DepthMask(sample["depth"].as_subclass(Tensor))
    return typed


def check_typed(inputs: list[Any], types: tuple[type[Tensor], ...], *, along: bool) -> None:
    """Raise a TypeError if torchvision would leave a plain tensor of pixels unchanged, not knowing its type.

    Args:
        inputs: The inputs of the transform.
        types: Types that it transforms.
        along: Whether plain tensors of the same size as a transformed one would have to be transformed, too.
    """
    sizes = {tuple(value.shape[-2:]) for value in inputs if isinstance(value, types)}
    for value in inputs:
        plain = isinstance(value, Tensor) and not isinstance(value, tv_tensors.TVTensor) and value.ndim >= 2
        if plain and (not sizes or (along and tuple(value.shape[-2:]) in sizes)):
            raise TypeError(
                f"got a plain tensor of shape {tuple(value.shape)}, which torchvision's transforms leave unchanged; "
                "call as_tv_tensors(sample) first, or apply the transform with Augmented(dataset, transform)"
            )
