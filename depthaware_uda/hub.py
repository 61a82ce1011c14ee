"""Weights from elsewhere: folders written by `save_pretrained`, and the key names of the authors' checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from depthaware_uda.files import read_json
from depthaware_uda.models.segmenter import CONFIG_FILE, WEIGHTS_FILE, DepthSegmenter, create_model

__all__ = ["convert_discriminator_state_dict", "convert_state_dict", "load_pretrained"]

# The authors' layer names and ours; what is not listed (conv1, bn1, layer1..4) belongs to the backbone as it stands.
_RENAMES = (
    (r"layer6\.conv2d_list\.(\d)\.", r"classifier.branches.\1."),
    (r"dec4\.", "gate.conv."),
    (r"convR2\.", "depth_head.predict."),
    (r"convR0\.", "depth_head.refine.0."),
    (r"bnR0\.", "depth_head.refine.1."),
    (r"mff_conv\.", "depth_head.merge.0."),
    (r"mff_bn\.", "depth_head.merge.1."),
)
_STAGE_RENAMES = (
    (r"att(\d)\.1\.", "depth_head.attention.{stage}.squeeze."),
    (r"att(\d)\.3\.", "depth_head.attention.{stage}.excite."),
    (r"up(\d)\.conv1\.", "depth_head.projections.{stage}.0."),
    (r"up(\d)\.bn1\.", "depth_head.projections.{stage}.1."),
)


def _convert_key(key: str) -> str:
    for pattern, replacement in _RENAMES:
        if re.match(pattern, key):
            return re.sub(pattern, replacement, key, count=1)
    for pattern, template in _STAGE_RENAMES:
        if match := re.match(pattern, key):
            return template.format(stage=int(match[1]) - 1) + key[match.end() :]
    return f"backbone.{key}"


def convert_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the authors' segmentation network to those of ``create_model("deeplabv2_resnet101", ...)``.

    Keys may carry the ``module.`` prefix of a parallel wrapper. Load the result with ``strict=True``: a key that is
    missing or too many is then an error.
    """
    return {_convert_key(key.removeprefix("module.")): value for key, value in state_dict.items()}


def convert_discriminator_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the authors' discriminator to those of `create_discriminator`."""
    return {key.removeprefix("module.").removeprefix("discriminator."): value for key, value in state_dict.items()}


def load_pretrained(folder: str | Path, *, device: str | torch.device = "cpu") -> DepthSegmenter:
    """Load a model that `DepthSegmenter.save_pretrained` wrote, in eval mode.

    Raises:
        FileNotFoundError: The folder, its `config.json` or its `model.safetensors` is missing.
        ValueError: The configuration or the weights do not describe a model of this library.
    """
    folder = Path(folder)
    for file in (folder / CONFIG_FILE, folder / WEIGHTS_FILE):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} is missing: expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, "
                "as save_pretrained writes it"
            )
    config = read_json(folder / CONFIG_FILE)
    try:
        model = create_model(**config)
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (TypeError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{folder}: {CONFIG_FILE} and {WEIGHTS_FILE} do not fit this library: {error}") from error
    return model.to(device).eval()
