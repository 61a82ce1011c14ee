"""Class by class figures that papers report, to draw beside one's own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from depthaware_uda.labels import get_label_space

__all__ = ["list_published", "published_rows"]

# Percent IoU in the order of the label space, as reported by the authors of Depth Guidance and Intra-Domain Adaptation
# for Semantic Segmentation.
_ROWS: Mapping[str, tuple[str, dict[str, tuple[float, ...]]]] = MappingProxyType(
    {
        "synthia-cityscapes16": (
            "cityscapes16",
            {
                "DAF + IDA (published)": (
                    *(86.3, 41.6, 81.4, 18.3, 1.3, 25.1, 11.0, 10.5),
                    *(82.9, 85.6, 62.4, 27.1, 83.9, 55.9, 33.3, 41.2),
                )
            },
        ),
        "synthia-cityscapes7": (
            "common7",
            {"DAF + IDA (published)": (94.0, 82.2, 30.0, 80.6, 85.5, 64.3, 81.6)},
        ),
        "synthia-mapillary7": (
            "common7",
            {"DAF + IDA (published)": (87.2, 67.1, 39.1, 79.9, 93.9, 64.9, 80.8)},
        ),
    }
)


def list_published() -> list[str]:
    """Names of the protocols of which `published_rows` knows figures."""
    return sorted(_ROWS)


def published_rows(protocol: str) -> dict[str, dict[str, float]]:
    """Published IoU in 0..1 by method and class name, at full resolution.

    Args:
        protocol: ``"synthia-cityscapes16"``, ``"synthia-cityscapes7"`` or ``"synthia-mapillary7"``.

    Raises:
        ValueError: The protocol is not known.
    """
    if protocol not in _ROWS:
        raise ValueError(f"protocol must be one of {list_published()}, got {protocol!r}")
    space, rows = _ROWS[protocol]
    classes = get_label_space(space).classes
    return {
        method: {name: value / 100 for name, value in zip(classes, values, strict=True)}
        for method, values in rows.items()
    }
