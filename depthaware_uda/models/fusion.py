"""Cross-task interaction: entropy maps of the segmentation, multiplied by predicted inverse depth."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from depthaware_uda.losses import self_information

__all__ = ["DepthAwareFusion", "FusionMode"]

FusionMode = Literal["depth_aware", "entropy"]
"""``"depth_aware"`` multiplies by inverse depth (DAF, DADA), ``"entropy"`` does not (AdvEnt)."""


class DepthAwareFusion(nn.Module):
    """Depth-aware map (-p log p / log C) * (depth_scale * inverse_depth) ** depth_power, the space DAF aligns.

    Near things, which are large and matter most, weigh more. The map is computed in float32 (float64 stays), also
    under autocast. It has no parameters.

    Args:
        mode: ``"depth_aware"``, or ``"entropy"`` for the plain weighted self-information map of AdvEnt.
        depth_power: Exponent of the inverse depth; the paper has 1, the published code 2 on target maps.
        depth_scale: Factor on the inverse depth, whose raw values reach hundreds.

    Shape:
        logits (N, C, H, W), inverse_depth (N, 1, H, W) -> (N, C, H, W).

    Raises:
        ValueError: An argument out of range; in `forward`, inverse depth is missing or of another size.
    """

    def __init__(self, mode: FusionMode = "depth_aware", depth_power: int = 1, *, depth_scale: float = 1.0) -> None:
        super().__init__()
        if mode not in get_args(FusionMode):
            raise ValueError(f"mode must be one of {get_args(FusionMode)}, got {mode!r}")
        if depth_power < 0:
            raise ValueError(f"depth_power must not be negative, got {depth_power}")
        if depth_scale <= 0:
            raise ValueError(f"depth_scale must be positive, got {depth_scale}")
        self.mode: FusionMode = mode
        self.depth_power = depth_power
        self.depth_scale = depth_scale

    def forward(self, logits: Tensor, inverse_depth: Tensor | None = None) -> Tensor:
        """The map of a batch."""
        information = self_information(logits)
        if self.mode == "entropy":
            return information
        if inverse_depth is None:
            raise ValueError("a depth-aware map needs inverse_depth; give the model a depth head or use mode='entropy'")
        if inverse_depth.shape[-2:] != logits.shape[-2:]:
            raise ValueError(
                f"logits {tuple(logits.shape)} and inverse_depth {tuple(inverse_depth.shape)} differ in height or "
                "width; resize both with depthaware_uda.models.resize_output"
            )
        return information * (self.depth_scale * inverse_depth.to(information.dtype)) ** self.depth_power

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return f"mode={self.mode!r}, depth_power={self.depth_power}, depth_scale={self.depth_scale}"
