"""The joint space of CTRL (Saha et al., 2021): a second segmentation that knows depth, and maps of all three tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from depthaware_uda.depth import MAX_METRES, to_inverse_depth
from depthaware_uda.losses import self_information
from depthaware_uda.models.heads import ASPPv2
from depthaware_uda.models.resize import resize
from depthaware_uda.models.segmenter import DepthSegmenter
from depthaware_uda.types import SegDepthOutput

__all__ = ["DEPTH_BINS", "JointOutput", "JointSegmenter", "JointSpace", "RefinedSegmentationHead", "depth_bin_logits"]

DEPTH_BINS = 15
"""How many bins CTRL divides depth into."""
_NEAREST, _FARTHEST = 1.0, MAX_METRES + 0.01


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
    if inverse_depth.dtype in (torch.float16, torch.bfloat16):
        inverse_depth = inverse_depth.float()
    return -((inverse_depth - to_inverse_depth(metres).to(inverse_depth).view(1, -1, 1, 1)) ** 2)


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
        if bins < 2:
            raise ValueError(f"bins must be at least 2, got {bins}")
        self.bins = bins

    def channels(self, num_classes: int) -> int:
        """Channels of the map, for `create_discriminator`."""
        return 2 * num_classes + self.bins

    def forward(self, logits: Tensor, inverse_depth: Tensor, refined_logits: Tensor) -> Tensor:
        """The map of a batch."""
        sizes = {tuple(maps.shape[-2:]) for maps in (logits, inverse_depth, refined_logits)}
        if len(sizes) > 1:
            raise ValueError(f"the maps differ in height or width: {sorted(sizes)}; resize them to one size first")
        depth = depth_bin_logits(inverse_depth, self.bins)
        return torch.cat([self_information(maps) for maps in (logits, depth, refined_logits)], dim=1)


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


class JointOutput(NamedTuple):
    """What `JointSegmenter.joint` gives, at the network's own strides."""

    logits: Tensor
    """Of the first classifier, (N, C, h, w)."""
    inverse_depth: Tensor
    """(N, 1, h', w')."""
    refined_logits: Tensor
    """Of the second classifier, which sees features times inverse depth, (N, C, h, w)."""


class JointSegmenter(nn.Module):
    """A network with a depth head and a gate, and the refined head of CTRL on its gated features.

    Called like any other network it gives logits and inverse depth, so evaluation, ranking and prediction take it;
    `joint` gives the refined logits too.

    Args:
        network: From ``create_model("deeplabv2_resnet101", ..., depth_head="dada")`` for CTRL.

    Raises:
        ValueError: The network has no depth head, no gate, or another classifier than `ASPPv2`.
    """

    def __init__(self, network: DepthSegmenter) -> None:
        super().__init__()
        classifier = network.classifier
        if network.depth_head is None or network.gate is None or not isinstance(classifier, ASPPv2):
            raise ValueError(
                "network must have a depth head, a gate and an ASPPv2 classifier, as create_model builds it"
            )
        first = classifier.branches[0]
        assert isinstance(first, nn.Conv2d)
        dilations = [int(branch.dilation[0]) for branch in classifier.branches if isinstance(branch, nn.Conv2d)]
        self.network = network
        self.refined = RefinedSegmentationHead(first.in_channels, first.out_channels, dilations=dilations)
        self.label_space = network.label_space
        self.stride = network.stride

    def forward(self, image: Tensor) -> SegDepthOutput:
        """Logits and inverse depth of a batch of images."""
        output: SegDepthOutput = self.network(image)
        return output

    def joint(self, image: Tensor) -> JointOutput:
        """Logits, inverse depth and refined logits of a batch of images, for training."""
        features, inverse_depth = self.network.features(image)
        assert inverse_depth is not None  # the network has a depth head
        return JointOutput(self.network.classifier(features), inverse_depth, self.refined(features, inverse_depth))
