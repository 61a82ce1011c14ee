"""Class-mix: pastes some classes of one image onto another (ClassMix, Olsson et al., 2021).

Across domains, as in DACS (Tranheden et al., 2021), source pixels with their true labels are pasted onto a target image
with pseudo-labels. Pasting only what is nearer than what it hides respects occlusion (DepthMix, Hoyer et al., 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor

from depthaware_uda.labels import IGNORE_INDEX

__all__ = ["class_mask", "mix", "nearer"]


def class_mask(label: Tensor) -> Tensor:
    """Mask of a random half of the classes in each label; an odd number of classes is rounded up.

    Pixels without a label are never chosen. Random numbers come from torch's generator on the label's device, without
    waiting for the device.

    Shape:
        label (N, H, W) integers, ids 0 to 255 -> (N, H, W) bool.

    Raises:
        ValueError: The label has another shape or is floating point, or, on a CPU, has ids outside 0 to 255.
    """
    if label.ndim != 3 or label.is_floating_point():
        raise ValueError(f"label is {label.dtype} {tuple(label.shape)}, expected class indices in integers, (N, H, W)")
    ids = label.long().flatten(1)
    if ids.is_cpu and (foreign := ids[(ids < 0) | (ids > 255)]).numel():
        raise ValueError(f"label holds the id {int(foreign[0])}, expected classes, or {IGNORE_INDEX} for none")
    shown = torch.zeros(len(label), 256, dtype=torch.bool, device=label.device).scatter_(1, ids, True)
    shown[:, IGNORE_INDEX] = False
    lots = torch.rand(shown.shape, device=label.device) + ~shown  # classes that are not shown come last
    place = lots.argsort(dim=1).argsort(dim=1)
    drawn = shown & (place < (shown.sum(dim=1, keepdim=True) + 1) // 2)
    return drawn.gather(1, ids).view_as(label)


def nearer(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """The part of a mask where the pasted image is at least as near as what it hides.

    Args:
        mask: Pixels to paste.
        source: Inverse depth of the pasted image; pixels where it is NaN (unknown) are not pasted.
        target: Inverse depth of the image below, in the same unit, such as the network's prediction.

    Shape:
        mask (N, H, W) bool, source and target (N, 1, H, W) -> (N, H, W) bool.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    if source.shape != target.shape or source.shape != mask[:, None].shape:
        raise ValueError(
            f"source {tuple(source.shape)} and target {tuple(target.shape)} must be (N, 1, H, W) of a mask (N, H, W), "
            f"got {tuple(mask.shape)}; bring all to one size first"
        )
    return mask & (source >= target)[:, 0]


def mix(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Source where the mask is set, target elsewhere; for images, labels, depth and weights alike.

    Shape:
        mask (N, H, W) bool, source and target both (N, H, W) or both (N, C, H, W) -> their shape.

    Raises:
        ValueError: The shapes do not fit each other, or one holds integers and the other floating-point numbers.
    """
    if source.shape != target.shape or mask.shape != (source.shape[0], *source.shape[-2:]):
        raise ValueError(
            f"source {tuple(source.shape)} and target {tuple(target.shape)} must have one shape, "
            f"and mask {tuple(mask.shape)} must match their number and size of images; bring all to one size first"
        )
    if source.is_floating_point() != target.is_floating_point():
        raise ValueError(
            f"source is {source.dtype}, target {target.dtype}: divide 8-bit images by 255, and give labels as integers"
        )
    return torch.where(mask if source.ndim == 3 else mask[:, None], source, target)
