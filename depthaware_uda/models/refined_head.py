"""The refined segmentation head of CTRL (Saha et al., 2021): a second segmentation that knows depth."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from depthaware_uda.models.heads import ASPPv2
from depthaware_uda.models.resize import resize

__all__ = ["RefinedSegmentationHead"]


class RefinedSegmentationHead(nn.Module):
    """Classify features a second time, multiplied by predicted inverse depth (the semantics refinement head of CTRL).

    Args:
        in_channels: Channels of the features.
        num_classes: Classes C.
        dilations: Of the classifier, see `ASPPv2`.

    Shape:
        features (N, in_channels, H, W), inverse_depth (N, 1, h, w) -> logits (N, C, H, W).
    """

    def __init__(self, in_channels: int, num_classes: int, *, dilations: Sequence[int] = (6, 12, 18, 24)) -> None:
        super().__init__()
        self.classifier = ASPPv2(in_channels, num_classes, dilations=dilations)
        for convolution in self.classifier.branches:
            assert isinstance(convolution, nn.Conv2d)
            nn.init.normal_(convolution.weight, std=0.01)

    def forward(self, features: Tensor, inverse_depth: Tensor) -> Tensor:
        """Class scores before softmax."""
        logits: Tensor = self.classifier(features * resize(inverse_depth, features.shape[-2:]).to(features.dtype))
        return logits
