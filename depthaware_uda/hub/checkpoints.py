"""Published checkpoints become models: DAF, DADA, AdvEnt, IntraDA, the Caffe initialisation, ResNets of torchvision.

Every tensor must have its place in the network, and every place its tensor: an error lists those that do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from depthaware_uda.hub.keys import convert_state_dict
from depthaware_uda.hub.loading import build_model
from depthaware_uda.hub.reading import read_checkpoint
from depthaware_uda.labels import LabelSpace, get_label_space, list_label_spaces
from depthaware_uda.models.backbones import CaffeResNet101, TimmBackbone
from depthaware_uda.models.factory import create_model
from depthaware_uda.models.segmenter import DepthSegmenter

__all__ = ["Architecture", "convert_checkpoint", "load_backbone"]

Architecture = Literal["auto", "daf", "dada", "deeplabv2", "caffe_resnet101", "resnet"]
"""``daf``: DAF and IDA; ``deeplabv2``: AdvEnt, IntraDA and others without depth; the last two hold a backbone alone."""

# What create_model needs for the networks of the papers; the authors of DAF resize depth to 228 x 304.
_NETWORKS: dict[str, dict[str, Any]] = {
    "daf": {"depth_size": (228, 304)},
    "dada": {"depth_head": "dada"},
    "deeplabv2": {"depth_head": None},
}
_MARKS = {"daf": "att1.1.weight", "dada": "enc4_1.weight", "deeplabv2": "layer6.conv2d_list.0.weight"}
_CLASSIFIER = "layer6.conv2d_list.0.weight"
# Blocks of the four stages, and whether they are bottlenecks.
_RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "timm/resnet18",
    ((3, 4, 6, 3), False): "timm/resnet34",
    ((3, 4, 6, 3), True): "timm/resnet50",
    ((3, 4, 23, 3), True): "timm/resnet101",
    ((3, 8, 36, 3), True): "timm/resnet152",
}


def convert_checkpoint(
    path: str | Path,
    architecture: Architecture = "auto",
    *,
    num_classes: int | None = None,
    label_space: str | LabelSpace | None = None,
    seed: int | None = None,
) -> DepthSegmenter:
    """Build the network that a published checkpoint belongs to, with its weights, in eval mode.

    Args:
        path: A `.pth` file (a state dict, bare or under ``model_state_dict``, with or without the ``module.`` prefix
            of a parallel wrapper), or the same as `.safetensors`.
        architecture: What the file holds; ``"auto"`` tells it from the names of the tensors. ``"daf"``: DAF and IDA.
            ``"dada"``: DADA. ``"deeplabv2"``: AdvEnt, IntraDA and other DeepLab-v2 networks without depth; the
            auxiliary classifier (``layer5``) of multi-level ones, which plays no part in predictions, is dropped.
            ``"caffe_resnet101"``: the initialisation from ImageNet and COCO that all of them start from, without its
            classifier. ``"resnet"``: torchvision's or timm's classification ResNets, without their classifier. The last
            two give new heads on the backbone.
        num_classes: Classes of the new heads, for a backbone; otherwise the checkpoint says it.
        label_space: Names of the classes; by default those of the published protocols with as many classes, if any.
        seed: Draws the new heads of a backbone.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file wants to run code when it is read, or holds no tensors by name; the architecture is not
            recognised; or tensors are missing, too many, or of another shape, all of which are listed.
    """
    if architecture not in get_args(Architecture):
        raise ValueError(f"architecture must be one of {get_args(Architecture)}, got {architecture!r}")
    tensors = read_checkpoint(path)
    kind = _recognized(tensors, path) if architecture == "auto" else architecture
    if kind in _NETWORKS:
        return _network(kind, tensors, path, num_classes, label_space)
    if num_classes is None:
        raise ValueError(f"{path} holds a backbone: pass num_classes=, the classes of the new heads on it")
    name = "deeplabv2_resnet101" if kind == "caffe_resnet101" else _resnet_name(tensors, path)
    model = create_model(name, num_classes, label_space=_space(num_classes, label_space), seed=seed)
    _fill_backbone(model, tensors, path)
    return model.eval()


def load_backbone(model: DepthSegmenter, path: str | Path) -> None:
    """Load the Caffe initialisation, or a ResNet of torchvision or timm, into the backbone of a model of your own.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As for `convert_checkpoint`; or the weights were trained on other pixels than the backbone gets.
    """
    _fill_backbone(model, read_checkpoint(path), path)


def _recognized(tensors: Mapping[str, Tensor], path: str | Path) -> str:
    for kind, mark in _MARKS.items():
        if mark in tensors:
            return kind
    if _caffe_prefix(tensors):
        return "caffe_resnet101"
    if {"conv1.weight", "layer4.0.conv1.weight"} <= set(tensors):
        return "resnet"
    raise ValueError(
        f"{path}: of no known architecture {get_args(Architecture)[1:]}; its first tensors are {sorted(tensors)[:5]}. "
        "Build the network yourself, and give it the tensors of read_checkpoint"
    )


def _network(
    kind: str,
    tensors: dict[str, Tensor],
    path: str | Path,
    num_classes: int | None,
    label_space: str | LabelSpace | None,
) -> DepthSegmenter:
    if _CLASSIFIER not in tensors:
        raise ValueError(f"{path}: has no {_CLASSIFIER!r}, so it is not of architecture {kind!r}")
    classes = len(tensors[_CLASSIFIER])
    if num_classes not in (None, classes):
        raise ValueError(f"{path}: num_classes is {num_classes}, but the checkpoint has {classes} classes")
    kept = {key: value for key, value in tensors.items() if kind == "daf" or not key.startswith("layer5.")}
    arguments = {**_NETWORKS[kind], "label_space": _space(classes, label_space)}
    with torch.device("meta"):
        expected = create_model("deeplabv2_resnet101", classes, **arguments).state_dict()
    converted = _fitted(convert_state_dict(kept), expected, path)
    return build_model({"name": "deeplabv2_resnet101", "num_classes": classes, **arguments}, converted).eval()


def _space(classes: int, label_space: str | LabelSpace | None) -> str | LabelSpace | None:
    """The space asked for, or that of the published protocols with as many classes."""
    if label_space is not None:
        return label_space
    published = [name for name in list_label_spaces() if re.fullmatch(r"(cityscapes|common)\d+", name)]
    return next((name for name in published if len(get_label_space(name)) == classes), None)


def _fitted(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """The tensors in single precision, if they are exactly those expected.

    Old versions of PyTorch did not write the counters of batch norm: those start from 0.
    """
    counters = {key: torch.zeros((), dtype=torch.long) for key in expected if key.endswith(".num_batches_tracked")}
    tensors = {**counters, **tensors}
    shapes = [
        f"{key} ({tuple(tensors[key].shape)} instead of {tuple(expected[key].shape)})"
        for key in expected.keys() & tensors.keys()
        if tensors[key].shape != expected[key].shape
    ]
    troubles = {
        "missing": expected.keys() - tensors.keys(),
        "unexpected": tensors.keys() - expected.keys(),
        "of another shape": shapes,
    }
    if any(troubles.values()):
        listed = "; ".join(f"{len(keys)} {what}: {_listed(keys)}" for what, keys in troubles.items() if keys)
        raise ValueError(f"{path}: the tensors are not those of the network. {listed}")
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}


def _listed(keys: Iterable[str], most: int = 40) -> str:
    names = sorted(keys)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _caffe_prefix(tensors: Mapping[str, Tensor]) -> str | None:
    """The component before every layer name, with its dot, as in ``Scale.conv1.weight``."""
    prefixes = {key.split(".")[0] + "." for key in tensors}
    return prefixes.pop() if len(prefixes) == 1 and f"{min(prefixes)}layer4.0.conv1.weight" in tensors else None


def _resnet_name(tensors: Mapping[str, Tensor], path: str | Path) -> str:
    layers = (f"layer{number}." for number in range(1, 5))
    blocks = tuple(len({key.split(".")[1] for key in tensors if key.startswith(layer)}) for layer in layers)
    bottlenecks = "layer1.0.conv3.weight" in tensors
    if (blocks, bottlenecks) not in _RESNETS:
        raise ValueError(f"{path}: no ResNet has {blocks} blocks; create the model yourself and use load_backbone")
    return _RESNETS[blocks, bottlenecks]


def _fill_backbone(model: DepthSegmenter, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    prefix = _caffe_prefix(tensors)
    backbone = model.backbone
    if isinstance(backbone, CaffeResNet101) != (prefix is not None) or not isinstance(backbone, nn.Module):
        trained = "the Caffe initialisation (BGR, 0..255)" if prefix else "a ResNet of torchvision or timm (RGB, 0..1)"
        raise ValueError(
            f"{path} holds {trained}, and the model's backbone is a {type(backbone).__name__}, which wants other "
            "pixels; the Caffe weights go into 'deeplabv2_resnet101', the others into 'timm/resnet...'"
        )
    classifier = "layer5." if prefix else "fc."
    network: nn.Module = backbone.network if isinstance(backbone, TimmBackbone) else backbone
    named = {key.removeprefix(prefix or ""): value for key, value in tensors.items()}
    kept = {key: value for key, value in named.items() if not key.startswith(classifier)}
    network.load_state_dict(_fitted(kept, network.state_dict(), path))
