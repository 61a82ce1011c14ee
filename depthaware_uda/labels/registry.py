"""Label spaces and id maps by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from depthaware_uda.labels.space import IGNORE_INDEX, LabelSpace
from depthaware_uda.labels.tables import GROUPS, ID_NAMES, SPACES

__all__ = ["get_label_space", "id_map", "id_names", "list_label_spaces"]


def list_label_spaces() -> list[str]:
    """Names of the label spaces, sorted."""
    return sorted(SPACES)


def get_label_space(space: str | LabelSpace | Mapping[str, Any]) -> LabelSpace:
    """The label space of this name, or from the output of `LabelSpace.to_dict`; a `LabelSpace` is returned as it is.

    Raises:
        ValueError: There is no such label space; the message lists the known names.
    """
    if isinstance(space, LabelSpace):
        return space
    if isinstance(space, Mapping):
        return LabelSpace.from_dict(space)
    if not isinstance(space, str) or space not in SPACES:
        raise ValueError(f"unknown label space {space!r}; known: {list_label_spaces()}, or pass a LabelSpace")
    return SPACES[space]


def id_names(dataset: str) -> dict[int, str]:
    """Every id that the label files of a data set may hold, with its name; a ValueError lists the known data sets."""
    if dataset not in ID_NAMES:
        raise ValueError(f"unknown data set {dataset!r}; known: {sorted(ID_NAMES)}")
    return dict(ID_NAMES[dataset])


def id_map(dataset: str, space: str | LabelSpace) -> dict[int, int]:
    """The table from every label id of a data set to class indices of a label space.

    Ids of the data set without a class in the space, such as void, map to 255; ids that are not in the table do not
    belong to the data set.

    Raises:
        ValueError: There is no map from the data set to the space.
    """
    space = get_label_space(space)
    groups = GROUPS.get((dataset, space.name))
    if groups is None:
        known = sorted(target for source, target in GROUPS if source == dataset)
        raise ValueError(
            f"no id map from {dataset!r} to label space {space.name!r}; {dataset!r} maps to {known}. "
            "Pass your own label_map for another space"
        )
    ignored = dict.fromkeys(ID_NAMES[dataset], IGNORE_INDEX)
    return ignored | {i: space.index(name) for name, ids in groups.items() for i in ids}
