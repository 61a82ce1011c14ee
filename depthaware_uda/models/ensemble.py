"""Several networks as one, whose errors average out."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from depthaware_uda.labels import get_label_space
from depthaware_uda.models.resize import finite_scores, logits_of, resize
from depthaware_uda.types import SegDepthOutput

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """The mean of several networks' predictions: of their class probabilities, and of their inverse depths.

    Networks that learnt differently err differently, and where they disagree the mean is unsure (Lakshminarayanan et
    al., 2017): what an ensemble is sure of is right more often. It can stand for a network in `evaluate`,
    `predict`, `EntropyRanker` and `write_pseudo_labels`.

    Args:
        models: Modules that map images to `SegDepthOutput`, of any strides, with the same classes.

    Shape:
        image (N, 3, H, W) -> logits (N, C, h, w), logarithms of probabilities, at the finest stride among the members'
        logits; inverse depth (N, 1, h', w') likewise, of the members that predict it, None if none does.

    Raises:
        TypeError: A member is not a module.
        ValueError: There are no members, or they name different classes; in `forward`, their numbers of classes differ.
    """

    def __init__(self, models: Iterable[nn.Module]) -> None:
        super().__init__()
        members = list(models)
        if not members:
            raise ValueError("an ensemble needs at least one network")
        self.members = nn.ModuleList(members)
        named = [space for model in members if (space := getattr(model, "label_space", None)) is not None]
        spaces = {space.name: space for space in map(get_label_space, named)}
        if len(spaces) > 1:
            raise ValueError(
                f"the networks name different classes: {', '.join(sorted(spaces))}; give networks of one label space"
            )
        self.label_space = next(iter(spaces.values()), None)
        sizes = {getattr(model, "image_size", None) for model in members}
        self.image_size = sizes.pop() if len(sizes) == 1 else None
        self.stride = max(getattr(model, "stride", 1) for model in members)

    def forward(self, image: Tensor) -> SegDepthOutput:
        """The mean of all members."""
        outputs: list[SegDepthOutput] = [model(image) for model in self.members]
        classes = [output.logits.shape[1] for output in outputs]
        if len(set(classes)) > 1:
            raise ValueError(f"the networks of an ensemble need the same classes, but have {classes} of them")
        logits = _at_finest([finite_scores(output.logits) for output in outputs])
        probability = torch.stack([scores.softmax(1) for scores in logits]).mean(0)
        depths = [output.inverse_depth for output in outputs if output.inverse_depth is not None]
        return SegDepthOutput(
            logits_of(probability),
            torch.stack(_at_finest(depths)).mean(0) if depths else None,
        )


def _at_finest(maps: list[Tensor]) -> list[Tensor]:
    """Maps (N, C, h, w) at the size of the finest of them."""
    finest = max((each.shape[-2:] for each in maps), key=math.prod)
    return [resize(each, finest) for each in maps]
