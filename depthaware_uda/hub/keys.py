"""Names of tensors in published checkpoints, and the names that the same tensors have here."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

__all__ = ["convert_discriminator_state_dict", "convert_state_dict"]

# Published layer names and ours; what is not listed (conv1, bn1, layer1..4) belongs to the backbone as it stands.
_RENAMES = (
    (r"layer6\.conv2d_list\.(\d)\.", r"classifier.branches.\1."),
    (r"dec4\.", "gate.conv."),
    # DAF
    (r"convR2\.", "depth_head.predict."),
    (r"convR0\.", "depth_head.refine.0."),
    (r"bnR0\.", "depth_head.refine.1."),
    (r"mff_conv\.", "depth_head.merge.0."),
    (r"mff_bn\.", "depth_head.merge.1."),
)
# Layers that count from 1 there and from 0 here.
_COUNTED_RENAMES = (
    # DAF, by stage
    (r"att(\d)\.1\.", "depth_head.attention.{}.squeeze."),
    (r"att(\d)\.3\.", "depth_head.attention.{}.excite."),
    (r"up(\d)\.conv1\.", "depth_head.projections.{}.0."),
    (r"up(\d)\.bn1\.", "depth_head.projections.{}.1."),
    # DADA, by convolution
    (r"enc4_(\d)\.", "depth_head.convolutions.{}."),
)


def _convert_key(key: str) -> str:
    for pattern, replacement in _RENAMES:
        if re.match(pattern, key):
            return re.sub(pattern, replacement, key, count=1)
    for pattern, template in _COUNTED_RENAMES:
        if match := re.match(pattern, key):
            return template.format(int(match[1]) - 1) + key[match.end() :]
    return f"backbone.{key}"


def convert_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a published DAF, DADA or AdvEnt network to those of our ``"deeplabv2_resnet101"``.

    Keys may carry the ``module.`` prefix of a parallel wrapper. Load the result with ``strict=True``: a key that is
    missing or too many is then an error. `convert_checkpoint` does all of it, from the file to the model.
    """
    return {_convert_key(key.removeprefix("module.")): value for key, value in state_dict.items()}


def convert_discriminator_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the authors' discriminator to those of `create_discriminator`."""
    return {key.removeprefix("module.").removeprefix("discriminator."): value for key, value in state_dict.items()}
