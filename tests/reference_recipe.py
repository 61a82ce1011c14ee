"""Weights and inputs of the reference measurements in `goldens.npz`, regenerated from names and seeds.

The numbers were measured in float64 on the public implementation of DAF + IDA, with 16 classes. Its weights were not
trained: every tensor was drawn from a generator seeded with the tensor's name, so that they need not be stored.
Contents of `goldens.npz` (maps in float32, the rest in float64):

- ``eval_logits, eval_depth, train_logits, train_depth``: the network on `image(0, 1, 97, 129)`, in both modes; inverse
  depth at 228 x 304, every 6th row and 8th column of it;
- ``cross_entropy, berhu, entropy_map, entropy``: of `loss_inputs()`; the map at every 3rd row and column;
- ``daf_losses``: three DAF steps; columns segmentation, depth, adversarial, discriminator on source and on target;
- ``daf_gradient/KEY, daf_change/KEY``: the first 32 gradient values after the first step's backward passes, and the
  first 32 values of the weights after three steps minus those before;
- ``rank_scores, rank_order, rank_easy_F``: of `ranking_inputs()`, with F the fraction of easy images;
- ``pseudo_label, confusion, iou``: of the logits of `loss_inputs()`, threshold 0.9; rows of the matrix are labels.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Shapes = dict[str, tuple[int, ...]]

CAFFE_MEAN = (104.00698793, 116.66876762, 122.67891434)


def network_shapes(classes: int = 16) -> Shapes:
    """Key and shape of every tensor of the reference segmentation network."""
    return {
        "conv1.weight": (64, 3, 7, 7),
        **_batch_norm("bn1", 64),
        **_residual_stage("layer1", 64, 64, 3),
        **_residual_stage("layer2", 256, 128, 4),
        **_residual_stage("layer3", 512, 256, 23),
        **_residual_stage("layer4", 1024, 512, 3),
        **_depth_branch((256, 512, 1024, 2048)),
        "dec4.weight": (2048, 64, 1, 1),
        "dec4.bias": (2048,),
        **{f"layer6.conv2d_list.{i}.weight": (classes, 2048, 3, 3) for i in range(4)},
        **{f"layer6.conv2d_list.{i}.bias": (classes,) for i in range(4)},
    }


def discriminator_shapes(classes: int = 16) -> Shapes:
    """Key and shape of every tensor of the reference discriminator."""
    widths = (classes, 64, 128, 256, 512, 1)
    shapes: Shapes = {}
    for i in range(5):
        shapes[f"discriminator.{2 * i}.weight"] = (widths[i + 1], widths[i], 4, 4)
        shapes[f"discriminator.{2 * i}.bias"] = (widths[i + 1],)
    return shapes


def _batch_norm(prefix: str, channels: int) -> Shapes:
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{prefix}.{name}": (channels,) for name in vectors}, f"{prefix}.num_batches_tracked": ()}


def _residual_stage(prefix: str, in_channels: int, width: int, blocks: int) -> Shapes:
    shapes: Shapes = {}
    for block in range(blocks):
        at = f"{prefix}.{block}"
        entering = 4 * width if block else in_channels
        shapes |= {f"{at}.conv1.weight": (width, entering, 1, 1), **_batch_norm(f"{at}.bn1", width)}
        shapes |= {f"{at}.conv2.weight": (width, width, 3, 3), **_batch_norm(f"{at}.bn2", width)}
        shapes |= {f"{at}.conv3.weight": (4 * width, width, 1, 1), **_batch_norm(f"{at}.bn3", 4 * width)}
    shapes[f"{prefix}.0.downsample.0.weight"] = (4 * width, in_channels, 1, 1)
    return shapes | _batch_norm(f"{prefix}.0.downsample.1", 4 * width)


def _depth_branch(stages: tuple[int, ...]) -> Shapes:
    shapes: Shapes = {}
    for number, channels in enumerate(stages, start=1):
        shapes[f"att{number}.1.weight"] = (channels // 16, channels, 1, 1)
        shapes[f"att{number}.3.weight"] = (channels, channels // 16, 1, 1)
        shapes |= {f"up{number}.conv1.weight": (16, channels, 5, 5), **_batch_norm(f"up{number}.bn1", 16)}
    shapes |= {"mff_conv.weight": (64, 64, 5, 5), **_batch_norm("mff_bn", 64)}
    shapes |= {"convR0.weight": (64, 64, 5, 5), **_batch_norm("bnR0", 64)}
    return shapes | {"convR2.weight": (1, 64, 5, 5), "convR2.bias": (1,)}


def drawn(key: str, shape: tuple[int, ...]) -> Array:
    """The float32 values of a tensor, determined by its key alone; zero for a batch counter."""
    if key.endswith(".num_batches_tracked"):
        return np.zeros(shape, np.int64)
    seed = [zlib.crc32(key.encode()), 0]
    values = np.random.default_rng(seed).standard_normal(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    kind = key.rsplit(".", 1)[1]
    if kind in ("running_mean", "bias"):
        return 0.1 * values
    if kind == "running_var":
        return np.exp(0.1 * values)
    if len(shape) == 1:  # a batch norm's scale; the last one of a residual block is small
        return (0.3 if ".bn3." in key else 1.0) * (1 + 0.1 * values)
    he = np.sqrt(2.0 / np.prod(shape[1:]))
    return values * np.float32(he / 64 if key == "conv1.weight" else he)  # the stem sees pixels of +-128


def image(seed: int, count: int, height: int, width: int) -> Array:
    """(count, 3, height, width) float32 as the reference expects it: BGR in 0..255 minus the Caffe mean."""
    pixels = np.random.default_rng([seed, 1]).uniform(0, 255, (count, 3, height, width)).astype(np.float32)
    return pixels - np.array(CAFFE_MEAN, np.float32).reshape(1, 3, 1, 1)


def label(seed: int, count: int, height: int, width: int, classes: int = 16) -> Array:
    """(count, height, width) int64 classes; one pixel in ten is 255, ignored."""
    generator = np.random.default_rng([seed, 2])
    classes_drawn = generator.integers(0, classes, (count, height, width))
    return np.where(generator.random((count, height, width)) < 0.1, 255, classes_drawn)


def inverse_depth(seed: int, count: int, height: int, width: int) -> Array:
    """(count, height, width) float32 inverse depth 65536 / (d + 1) of d centimetres, 2 m to 655 m away."""
    centimetres = np.random.default_rng([seed, 3]).uniform(200, 65535, (count, height, width))
    return (65536.0 / (centimetres + 1)).astype(np.float32)


def loss_inputs() -> dict[str, Array]:
    """Logits and labels of two images of 23 x 31, predicted and true inverse depth of one."""
    generator = np.random.default_rng([0, 9])
    logits = 3 * generator.standard_normal((2, 16, 23, 31)).astype(np.float32)
    prediction = 20 * generator.standard_normal((1, 1, 23, 31)).astype(np.float32)
    return {
        "logits": logits,
        "label": label(0, 2, 23, 31),
        "inverse_depth": prediction,
        "true_inverse_depth": inverse_depth(0, 1, 23, 31)[:, None],
    }


def ranking_inputs() -> Iterator[tuple[Array, Array]]:
    """Logits and inverse depth of nine images of 24 x 40, some more confident than others."""
    for number in range(9):
        generator = np.random.default_rng([0, 20, number])
        logits = generator.standard_normal((1, 16, 24, 40)).astype(np.float32) * (1 + number % 4)
        yield logits, generator.uniform(-2, 60, (1, 1, 24, 40)).astype(np.float32)
