"""The segmentation network with a depth branch, and the factory that builds it from a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from depthaware_uda.labels import LabelSpace, get_label_space, list_label_spaces
from depthaware_uda.models.backbones import CaffeResNet101, Normalization, PixelStatistics, TimmBackbone
from depthaware_uda.models.checkpointing import Checkpointing
from depthaware_uda.models.heads import ASPPv2, DadaDepthHead, DepthAttentionHead, DepthGate
from depthaware_uda.models.pretrained import PretrainedModel
from depthaware_uda.models.refined_head import RefinedSegmentationHead
from depthaware_uda.models.resize import resize
from depthaware_uda.models.timm_backbone import OutputStride
from depthaware_uda.types import JointOutput, SegDepthOutput

__all__ = ["DepthHeadName", "DepthSegmenter", "create_model"]

DepthHeadName = Literal["attention", "dada"]
"""`DepthAttentionHead` or `DadaDepthHead`."""


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
        ValueError: In `forward`, an image that is not (N, 3, H, W) or is smaller than the stride.
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


def _initialize_heads(model: DepthSegmenter, *, open_gate: bool) -> None:
    """Every convolution of the heads starts from N(0, 0.01), as published.

    With `open_gate` the gate starts at 1: features of a network without trained backbone then pass unscaled.
    """
    for head in (model.depth_head, model.gate, model.classifier):
        for module in head.modules() if head is not None else ():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
    if open_gate and isinstance(model.gate, DepthGate) and model.gate.conv.bias is not None:
        nn.init.ones_(model.gate.conv.bias)


def _space_record(space: LabelSpace) -> str | dict[str, Any]:
    """The name of a space of the library, the whole record of any other one."""
    known = space.name in list_label_spaces() and get_label_space(space.name) == space
    return space.name if known else space.to_dict()


def create_model(
    name: str,
    num_classes: int,
    *,
    label_space: str | LabelSpace | Mapping[str, Any] | None = None,
    depth_head: DepthHeadName | None = "attention",
    channel_attention: bool = True,
    gate: bool = True,
    refined_head: bool = False,
    dilations: Sequence[int] = (6, 12, 18, 24),
    depth_size: tuple[int, int] | None = None,
    image_size: int | None = None,
    output_stride: OutputStride = "auto",
    pretrained_backbone: bool = False,
    backbone_arguments: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> DepthSegmenter:
    """Build a segmentation network with a depth branch.

    Args:
        name: ``"deeplabv2_resnet101"``, the published network, or ``"timm/NAME"``, the same heads on any timm backbone
            that offers features.
        num_classes: Number of classes C.
        label_space: The classes' label space, by name or itself; kept with the weights and in every table.
        depth_head: ``"attention"`` (`DepthAttentionHead`), ``"dada"`` (`DadaDepthHead`), or None for no depth.
        channel_attention: Channel attention in the attention head.
        gate: Multiply semantic features by gated depth features.
        refined_head: Add the refined segmentation head of CTRL, for `DAFConfig.ctrl`; it is not used to predict.
        dilations: Dilations of the classifier; large ones want large images.
        depth_size: Resize inverse depth to this fixed size; the published code has (228, 304).
        image_size: Shorter side, in pixels, of the images that it will be trained on; kept with the weights, and
            `predict` resizes photographs to it.
        output_stride: Stride of a timm backbone's last stage: ``"auto"`` is 8 where timm can dilate the network and its
            own elsewhere, None is always its own. The ResNet-101 has 8.
        pretrained_backbone: Load timm's weights into a timm backbone.
        backbone_arguments: Further keyword arguments of a timm network.
        seed: Draw the initial weights from this seed, leaving torch's generator as it was; None draws from that one.

    Raises:
        ValueError: Unknown name (near names are suggested), or arguments that do not fit each other.
    """
    space = None if label_space is None else get_label_space(label_space)
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    if space is not None and len(space) != num_classes:
        raise ValueError(f"num_classes is {num_classes}, but label space {space.name!r} has {len(space)} classes")
    if depth_head is not None and depth_head not in get_args(DepthHeadName):
        raise ValueError(f"depth_head must be one of {get_args(DepthHeadName)} or None, got {depth_head!r}")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be pixels of the shorter side or None, got {image_size}")
    if refined_head and depth_head is None:
        raise ValueError("refined_head multiplies features by predicted depth; it needs a depth_head")
    config = {
        "name": name,
        "num_classes": num_classes,
        "label_space": None if space is None else _space_record(space),
        "depth_head": depth_head,
        "channel_attention": channel_attention,
        "gate": gate,
        "dilations": list(dilations),
        "depth_size": None if depth_size is None else list(depth_size),
        "output_stride": output_stride,
        "backbone_arguments": dict(backbone_arguments or {}),
        **({"refined_head": True} if refined_head else {}),
        **({} if image_size is None else {"image_size": image_size}),
    }
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        backbone: CaffeResNet101 | TimmBackbone
        if name == "deeplabv2_resnet101":
            if pretrained_backbone or backbone_arguments or output_stride not in (8, "auto"):
                raise ValueError(
                    "deeplabv2_resnet101 has output_stride 8 and takes neither pretrained_backbone nor "
                    "backbone_arguments: its weights come from a converted checkpoint"
                )
            backbone = CaffeResNet101()
            config["output_stride"] = 8
            for module in backbone.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, std=0.01)
        elif name.startswith("timm/"):
            backbone = TimmBackbone(
                name.removeprefix("timm/"),
                output_stride=output_stride,
                pretrained=pretrained_backbone,
                arguments=backbone_arguments,
            )
            config["output_stride"] = backbone.output_stride
        else:
            raise ValueError(f"unknown model {name!r}: expected 'deeplabv2_resnet101' or 'timm/NAME'")
        head: DepthAttentionHead | DadaDepthHead | None = None
        if depth_head == "attention":
            # Depth takes the size of the first stage at stride 8, as layer2 of the published network.
            stage = next((i for i, stride in enumerate(backbone.strides) if stride >= 8), -1)
            head = DepthAttentionHead(backbone.channels, attention=channel_attention, output_stage=stage)
        elif depth_head == "dada":
            head = DadaDepthHead(backbone.channels)
        last = backbone.channels[-1]
        model = DepthSegmenter(
            backbone,
            ASPPv2(last, num_classes, dilations=dilations),
            depth_head=head,
            gate=DepthGate(head.out_channels, last) if head is not None and gate else None,
            refined=RefinedSegmentationHead(last, num_classes, dilations=dilations) if refined_head else None,
            depth_size=depth_size,
            label_space=space,
            image_size=image_size,
        )
        _initialize_heads(model, open_gate=isinstance(backbone, TimmBackbone))
    model.config = config
    return model
