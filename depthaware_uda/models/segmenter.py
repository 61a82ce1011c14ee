"""The segmentation network with a depth branch, composed of a backbone and heads."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from depthaware_uda.labels import LabelSpace
from depthaware_uda.models.backbones import Normalization, PixelStatistics
from depthaware_uda.models.checkpointing import Checkpointing
from depthaware_uda.models.pretrained import PretrainedModel
from depthaware_uda.models.resize import resize
from depthaware_uda.types import JointOutput, SegDepthOutput

__all__ = ["DepthSegmenter"]


class Backbone(Protocol):
    """What `DepthSegmenter` asks of a backbone: one feature map a stage, their strides, and its pixel statistics."""

    @property
    def strides(self) -> tuple[int, ...]: ...

    @property
    def pixels(self) -> PixelStatistics: ...

    def __call__(self, image: Tensor, /) -> Any: ...


class DepthSegmenter(PretrainedModel):
    """Backbone, depth head, gate and classifier, composed: semantic features are gated by depth features.

    Args:
        backbone: Gives one feature map a stage; the last one is classified.
        classifier: Maps the (gated) last stage to logits.
        depth_head: Maps the stages to (inverse_depth, depth_features); None for a network without depth.
        gate: Maps (last stage, depth_features) to gated features; None leaves them as they are.
        refined: Maps (gated features, inverse depth) to logits a second time, for `joint`: `RefinedSegmentationHead`.
        depth_size: Fixed size that inverse depth is resized to; the published code has (228, 304), None keeps its own.
        label_space: The classes that the logits stand for, if they have names.
        image_size: Shorter side, in pixels, of the images that the network is trained on, which `predict` resizes to.

    Shape:
        image (N, 3, H, W), RGB in 0..1 -> logits (N, C, h, w) at the backbone's stride, inverse depth (N, 1, h', w').

    Raises:
        ValueError: A gate or a refined head without a depth head; in `forward`, an image that is not (N, 3, H, W) in
            floating point, or is smaller than the stride.
    """

    def __init__(
        self,
        backbone: Backbone,
        classifier: nn.Module,
        *,
        depth_head: nn.Module | None = None,
        gate: nn.Module | None = None,
        refined: nn.Module | None = None,
        depth_size: tuple[int, int] | None = None,
        label_space: LabelSpace | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        if gate is not None and depth_head is None:
            raise ValueError("a gate needs a depth_head, whose depth features it multiplies in")
        if refined is not None and depth_head is None:
            raise ValueError("a refined head needs a depth_head, whose inverse depth it multiplies in")
        self.normalization = Normalization(backbone.pixels)
        self.backbone = backbone
        self.depth_head = depth_head
        self.gate = gate
        self.classifier = classifier
        self.refined = refined
        self.depth_size = depth_size
        self.label_space = label_space
        self.image_size = image_size
        self.stride = max(backbone.strides)

    def forward(self, image: Tensor) -> SegDepthOutput:
        """Logits and inverse depth of a batch of images."""
        features, inverse_depth = self.features(image)
        return SegDepthOutput(self.classifier(features), inverse_depth)

    def joint(self, image: Tensor) -> JointOutput:
        """Logits, inverse depth and refined logits of a batch of images, for training as CTRL does.

        Raises:
            ValueError: The network has no refined head; or as in `forward`.
        """
        if self.refined is None:
            raise ValueError("the network has no refined head; create_model(..., refined_head=True) gives it one")
        features, inverse_depth = self.features(image)
        assert inverse_depth is not None  # a refined head comes with a depth head
        return JointOutput(self.classifier(features), inverse_depth, self.refined(features, inverse_depth))

    def features(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the classifier sees of a batch of images, gated by depth if there is a gate; and the inverse depth."""
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[-2:]) < self.stride:
            raise ValueError(
                f"image must be (N, 3, H, W) with H and W at least {self.stride}, the network's stride; "
                f"got {tuple(image.shape)}"
            )
        if not image.is_floating_point():
            raise ValueError(f"image is {image.dtype}, expected RGB in 0..1 in floating point; divide 8 bits by 255")
        stages = self.backbone(self.normalization(image))
        features = stages[-1]
        if self.depth_head is None:
            return features, None
        inverse_depth, depth_features = self.depth_head(stages)
        if self.gate is not None:
            features = self.gate(features, depth_features)
        if self.depth_size is not None:
            inverse_depth = resize(inverse_depth, self.depth_size)
        return features, inverse_depth

    def set_checkpointing(self, checkpointing: Checkpointing) -> None:
        """Let the backbone forget activations in training and compute them again in the backward pass.

        Batch norm must not count what it sees twice: trainers take care of it; a loop of your own puts
        `models.statistics_kept` around its backward pass.

        Raises:
            ValueError: The backbone has no checkpointing of this kind.
        """
        set_checkpointing = getattr(self.backbone, "set_checkpointing", None)
        if set_checkpointing is not None:
            set_checkpointing(checkpointing)
        elif checkpointing != "none":
            raise ValueError(f"{type(self.backbone).__name__} has no set_checkpointing: use checkpointing='none'")

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by group, ``"backbone"`` and ``"heads"``, every tensor once."""
        backbone = {id(p) for p in self.backbone.parameters()} if isinstance(self.backbone, nn.Module) else set()
        groups: dict[str, list[nn.Parameter]] = {"backbone": [], "heads": []}
        for parameter in self.parameters():
            if parameter.requires_grad:
                groups["backbone" if id(parameter) in backbone else "heads"].append(parameter)
        return groups
