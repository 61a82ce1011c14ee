"""The factory that builds a segmentation network from a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import nn

from depthaware_uda.labels import LabelSpace, get_label_space, list_label_spaces
from depthaware_uda.models.backbones import CaffeResNet101, TimmBackbone
from depthaware_uda.models.heads import ASPPv2, DadaDepthHead, DepthAttentionHead, DepthGate
from depthaware_uda.models.input_size import is_size
from depthaware_uda.models.refined_head import RefinedSegmentationHead
from depthaware_uda.models.segmenter import DepthSegmenter
from depthaware_uda.models.timm_backbone import OutputStride

__all__ = ["DepthHeadName", "create_model"]

DepthHeadName = Literal["attention", "dada"]
"""`DepthAttentionHead` or `DadaDepthHead`."""


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
        TypeError: The name is not a string, or the number of classes not an integer.
        ValueError: Unknown name (near names are suggested), or arguments that do not fit each other.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be the name of a network, such as 'timm/resnet50', got {name!r}")
    space = None if label_space is None else get_label_space(label_space)
    _check_arguments(num_classes, space, depth_head, depth_size, image_size, refined_head=refined_head)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        backbone = _create_backbone(name, output_stride, pretrained_backbone, backbone_arguments)
        head = _create_depth_head(depth_head, backbone, attention=channel_attention)
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
    model.config = {
        "name": name,
        "num_classes": num_classes,
        "label_space": None if space is None else _space_record(space),
        "depth_head": depth_head,
        "channel_attention": channel_attention,
        "gate": gate,
        "dilations": list(dilations),
        "depth_size": None if depth_size is None else list(depth_size),
        "output_stride": backbone.output_stride,
        "backbone_arguments": dict(backbone_arguments or {}),
        **({"refined_head": True} if refined_head else {}),
        **({} if image_size is None else {"image_size": image_size}),
    }
    return model


def _check_arguments(
    num_classes: int,
    space: LabelSpace | None,
    depth_head: DepthHeadName | None,
    depth_size: tuple[int, int] | None,
    image_size: int | None,
    *,
    refined_head: bool,
) -> None:
    if not isinstance(num_classes, int):
        raise TypeError(f"num_classes must be the number of classes, got {num_classes!r}")
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    if space is not None and len(space) != num_classes:
        raise ValueError(f"num_classes is {num_classes}, but label space {space.name!r} has {len(space)} classes")
    if depth_head is not None and depth_head not in get_args(DepthHeadName):
        raise ValueError(f"depth_head must be one of {get_args(DepthHeadName)} or None, got {depth_head!r}")
    if depth_size is not None and not is_size(depth_size):
        raise ValueError(f"depth_size must be (height, width) in pixels or None, got {depth_size!r}")
    if image_size is not None and not (isinstance(image_size, int) and image_size > 0):
        raise ValueError(f"image_size must be pixels of the shorter side or None, got {image_size!r}")
    if refined_head and depth_head is None:
        raise ValueError("refined_head multiplies features by predicted depth; it needs a depth_head")


def _create_backbone(
    name: str, output_stride: OutputStride, pretrained: bool, arguments: Mapping[str, Any] | None
) -> CaffeResNet101 | TimmBackbone:
    if name.startswith("timm/"):
        return TimmBackbone(
            name.removeprefix("timm/"), output_stride=output_stride, pretrained=pretrained, arguments=arguments
        )
    if name != "deeplabv2_resnet101":
        raise ValueError(f"unknown model {name!r}: expected 'deeplabv2_resnet101' or 'timm/NAME'")
    if pretrained or arguments or output_stride not in (8, "auto"):
        raise ValueError(
            "deeplabv2_resnet101 has output_stride 8 and takes neither pretrained_backbone nor "
            "backbone_arguments: its weights come from a converted checkpoint"
        )
    backbone = CaffeResNet101()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
    return backbone


def _create_depth_head(
    name: DepthHeadName | None, backbone: CaffeResNet101 | TimmBackbone, *, attention: bool
) -> DepthAttentionHead | DadaDepthHead | None:
    if name is None:
        return None
    if name == "dada":
        return DadaDepthHead(backbone.channels)
    # Depth takes the size of the first stage at stride 8, as layer2 of the published network.
    stage = next((i for i, stride in enumerate(backbone.strides) if stride >= 8), -1)
    return DepthAttentionHead(backbone.channels, attention=attention, output_stage=stage)


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
