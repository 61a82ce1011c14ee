"""Whether a discriminator does its work: two numbers for each domain, and a sentence when they look wrong."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from depthaware_uda.losses import TARGET

__all__ = ["discriminator_measures", "discriminator_remark"]

_ACCURACY = "discriminator_accuracy_{}"
_SATURATION = "discriminator_saturation_{}"
_SURE = 8.0  # a sigmoid of 0.9997: the gradient is a 3000th of what it is at 0


@torch.no_grad()
def discriminator_measures(scores: Tensor, domain: float) -> dict[str, Tensor]:
    """Accuracy and saturation of a discriminator on maps of one domain.

    Args:
        scores: Before the sigmoid; above 0 means the target's domain.
        domain: The domain that the maps are of, `losses.SOURCE` or `losses.TARGET`.

    Returns:
        ``discriminator_accuracy_*``, the share of patches whose domain is recognised, and
        ``discriminator_saturation_*``, the share of patches that are judged with near certainty (|score| above 8).
    """
    name = "target" if domain == TARGET else "source"
    right = (scores > 0) == (domain == TARGET)
    sure = scores.abs() > _SURE
    return {_ACCURACY.format(name): right.float().mean(), _SATURATION.format(name): sure.float().mean()}


def discriminator_remark(values: Mapping[str, float]) -> str | None:
    """One sentence on means over some steps if the discriminator looks wrong, else None.

    Args:
        values: Means by name, those of `discriminator_measures` among them.
    """
    if _ACCURACY.format("target") not in values:
        return None
    source, target = (values[_ACCURACY.format(name)] for name in ("source", "target"))
    sure = min(values[_SATURATION.format(name)] for name in ("source", "target"))
    if min(source, target) > 0.99 and sure > 0.9:
        return (
            f"The discriminator is saturated: it tells {100 * min(source, target):.0f} % of both domains' patches "
            f"apart, {100 * sure:.0f} % with near certainty, so that it can hardly teach the network; lower "
            "discriminator_learning_rate or depth_scale, or raise adversarial_weight."
        )
    if min(source, target) < 0.02 and max(source, target) > 0.98:
        seen = "source" if source > target else "target"
        return (
            f"The discriminator has collapsed: it takes nearly every patch of both domains for the {seen}'s, so that "
            "its gradient says nothing of the difference; change discriminator_learning_rate, or look at the maps, "
            "which may be near 0 (depth_scale)."
        )
    return None
