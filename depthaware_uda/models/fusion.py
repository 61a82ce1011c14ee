"""Cross-task interaction: the maps that domains are aligned in, of a segmentation and of the depth beside it."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from depthaware_uda.depth import MAX_METRES, to_inverse_depth
from depthaware_uda.losses import at_least_float32, self_information

__all__ = ["DEPTH_BINS", "DepthAwareFusion", "FusionMode", "JointSpace", "depth_bin_logits"]

FusionMode = Literal["depth_aware", "entropy"]
"""``"depth_aware"`` multiplies by inverse depth (DAF, DADA), ``"entropy"`` does not (AdvEnt)."""
DEPTH_BINS = 15
"""How many bins CTRL divides depth into."""
_NEAREST, _FARTHEST = 1.0, MAX_METRES + 0.01


class DepthAwareFusion(nn.Module):
    """Depth-aware map (-p log p / log C) * (depth_scale * inverse_depth) ** depth_power, the space DAF aligns.

    Near things, which are large and matter most, weigh more. The map is computed in float32 (float64 stays), also
    under autocast. It has no parameters.

    Args:
        mode: ``"depth_aware"``, or ``"entropy"`` for the plain weighted self-information map of AdvEnt.
        depth_power: Exponent of the inverse depth, a whole number: a prediction may be negative. The paper has 1, the
            published code 2 on target maps.
        depth_scale: Factor on the inverse depth, whose raw values reach hundreds.

    Shape:
        logits (N, C, H, W), inverse_depth (N, 1, H, W) -> (N, C, H, W).

    Raises:
        ValueError: An argument out of range; in `forward`, inverse depth is missing or of another shape.
    """

    def __init__(self, mode: FusionMode = "depth_aware", depth_power: int = 1, *, depth_scale: float = 1.0) -> None:
        super().__init__()
        if mode not in get_args(FusionMode):
            raise ValueError(f"mode must be one of {get_args(FusionMode)}, got {mode!r}")
        if not isinstance(depth_power, int) or depth_power < 0:
            raise ValueError(
                f"depth_power must be a whole number of at least 0, got {depth_power!r}: a predicted inverse depth "
                "may be negative, and no other power of it is defined"
            )
        if not 0 < depth_scale < math.inf:
            raise ValueError(f"depth_scale must be positive and finite, got {depth_scale}")
        self.mode: FusionMode = mode
        self.depth_power = depth_power
        self.depth_scale = depth_scale

    def channels(self, num_classes: int) -> int:
        """Channels of the map, for `create_discriminator`."""
        return num_classes

    def forward(self, logits: Tensor, inverse_depth: Tensor | None = None) -> Tensor:
        """The map of a batch."""
        information = self_information(logits)
        if self.mode == "entropy":
            return information
        if inverse_depth is None:
            raise ValueError(
                "a depth-aware map needs inverse_depth; give the model a depth head, or use "
                "DepthAwareFusion(mode='entropy')"
            )
        if inverse_depth.ndim != 4 or inverse_depth.shape[1] != 1:
            raise ValueError(f"inverse_depth must be (N, 1, H, W), got {tuple(inverse_depth.shape)}")
        if len(inverse_depth) != len(logits):
            raise ValueError(f"logits are of {len(logits)} images, inverse_depth of {len(inverse_depth)}")
        if inverse_depth.shape[-2:] != logits.shape[-2:]:
            raise ValueError(
                f"logits {tuple(logits.shape)} and inverse_depth {tuple(inverse_depth.shape)} differ in height or "
                "width; resize both with depthaware_uda.models.resize_output"
            )
        return information * (self.depth_scale * inverse_depth.to(information.dtype)) ** self.depth_power

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return f"mode={self.mode!r}, depth_power={self.depth_power}, depth_scale={self.depth_scale}"


def depth_bin_logits(inverse_depth: Tensor, bins: int = DEPTH_BINS) -> Tensor:
    """Soft assignment of inverse depth to bins of depth: the softmax of these is the probability of each bin.

    The bins divide 1 m to 655.36 m evenly in logarithm; bin i lies at its middle, 655.36 ** ((2i + 1) / 2K) metres. The
    logit of a bin is the negative squared distance to it, in the unit of inverse depth.

    Args:
        inverse_depth: Predicted inverse depth, 655.36 / (metres + 0.01).
        bins: Number of bins K.

    Shape:
        (N, 1, H, W) -> (N, K, H, W), nearest bin first.
    """
    position = (2 * torch.arange(bins, dtype=torch.float64) + 1) / (2 * bins)
    metres = _NEAREST * (_FARTHEST / _NEAREST) ** position
    inverse_depth = at_least_float32(inverse_depth)
    middles = to_inverse_depth(metres).to(inverse_depth, non_blocking=True)
    return -((inverse_depth - middles.view(1, -1, 1, 1)) ** 2)


class JointSpace(nn.Module):
    """What CTRL aligns: weighted self-information of segmentation, depth bins and refined segmentation, concatenated.

    Computed in float32 (float64 stays). It has no parameters.

    Args:
        bins: Number of depth bins K.

    Shape:
        logits (N, C, H, W), inverse_depth (N, 1, H, W), refined_logits (N, C, H, W) -> (N, 2C + K, H, W).

    Raises:
        ValueError: In `forward`, the maps differ in size.
    """

    def __init__(self, bins: int = DEPTH_BINS) -> None:
        super().__init__()
        if not isinstance(bins, int) or bins < 2:
            raise ValueError(f"bins must be a whole number of at least 2, got {bins!r}")
        self.bins = bins

    def channels(self, num_classes: int) -> int:
        """Channels of the map, for `create_discriminator`."""
        return 2 * num_classes + self.bins

    def forward(self, logits: Tensor, inverse_depth: Tensor, refined_logits: Tensor) -> Tensor:
        """The map of a batch."""
        sizes = {tuple(maps.shape[-2:]) for maps in (logits, inverse_depth, refined_logits)}
        if len(sizes) > 1:
            raise ValueError(
                f"the maps differ in height or width: {sorted(sizes)}; resize all with models.resize_output"
            )
        depth = depth_bin_logits(inverse_depth, self.bins)
        return torch.cat([self_information(maps) for maps in (logits, depth, refined_logits)], dim=1)
