"""Label spaces: class names, palettes, rare classes, evaluation subsets and id maps, all as tables.

The spaces are those of the published protocols (SYNTHIA -> Cityscapes with 16 classes, its subset of 13, and the
7 categories shared by SYNTHIA, Cityscapes, Mapillary Vistas and CamVid). Class 255 is ignored everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["IGNORE_INDEX", "LabelSpace", "get_label_space", "id_map", "list_label_spaces", "remap"]

IGNORE_INDEX = 255
"""The label of a pixel that no loss and no metric looks at."""


@dataclass(frozen=True)
class LabelSpace:
    """A set of classes: their names in index order, colours, rare classes and named evaluation subsets.

    Args:
        name: What users write to choose the space, for instance ``"cityscapes16"``.
        classes: Class names in index order.
        palette: One RGB colour (0..255) a class.
        rare: Names of the classes that are rare in street scenes (used by rare-class weighting).
        subsets: Named tuples of class names over which a further mIoU is reported, such as the 13 classes of mIoU*.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    rare: tuple[str, ...] = ()
    subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if len(self.palette) != len(self.classes):
            raise ValueError(
                f"palette of label space {self.name!r}: expected {len(self.classes)} colours, got {len(self.palette)}"
            )
        for group, names in {"rare": self.rare, **self.subsets}.items():
            if unknown := sorted(set(names) - set(self.classes)):
                raise ValueError(f"{group} of label space {self.name!r} names unknown classes: {unknown}")

    def __len__(self) -> int:
        return len(self.classes)

    def index(self, class_name: str) -> int:
        """Index of a class by name; ValueError lists the names there are."""
        try:
            return self.classes.index(class_name)
        except ValueError:
            raise ValueError(
                f"label space {self.name!r} has no class {class_name!r}; it has {list(self.classes)}"
            ) from None

    def indices(self, class_names: tuple[str, ...]) -> tuple[int, ...]:
        """Indices of several classes, in the order given."""
        return tuple(self.index(name) for name in class_names)

    def to_dict(self) -> dict[str, Any]:
        """The space as JSON-ready values."""
        return {**asdict(self), "subsets": dict(self.subsets)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> LabelSpace:
        """The space of which `to_dict` gave the values, also after JSON."""
        return cls(
            name=record["name"],
            classes=tuple(record["classes"]),
            palette=tuple((red, green, blue) for red, green, blue in record["palette"]),
            rare=tuple(record["rare"]),
            subsets={name: tuple(members) for name, members in record["subsets"].items()},
        )

    def colorize(self, label: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Colours of a label map: (..., H, W) class indices to (..., H, W, 3) RGB; ignored pixels are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.palette
        colours: NDArray[np.uint8] = table[np.asarray(label, np.uint8)]
        return colours


_CITYSCAPES16 = LabelSpace(
    "cityscapes16",
    classes=(
        *("road", "sidewalk", "building", "wall", "fence", "pole", "light", "sign"),
        *("vegetation", "sky", "person", "rider", "car", "bus", "motorcycle", "bicycle"),
    ),
    palette=(
        *((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153)),
        *((250, 170, 30), (220, 220, 0), (107, 142, 35), (70, 130, 180), (220, 20, 60), (255, 0, 0)),
        *((0, 0, 142), (0, 60, 100), (0, 0, 230), (119, 11, 32)),
    ),
    rare=("wall", "fence", "pole", "light", "sign", "rider", "bus", "motorcycle", "bicycle"),
    subsets={
        "13": (
            *("road", "sidewalk", "building", "light", "sign", "vegetation", "sky"),
            *("person", "rider", "car", "bus", "motorcycle", "bicycle"),
        )
    },
)
_COMMON7 = LabelSpace(
    "common7",
    classes=("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
    palette=(
        *((128, 64, 128), (70, 70, 70), (153, 153, 153), (107, 142, 35)),
        *((70, 130, 180), (220, 20, 60), (0, 0, 142)),
    ),
    rare=("object", "human"),
)
_SPACES = {space.name: space for space in (_CITYSCAPES16, _COMMON7)}

# Where an id is known to the data set but not to the label space, its class is 255.
_ID_MAPS: dict[tuple[str, str], Mapping[int, int]] = {
    # MiniCity renders the 16 classes under their own indices.
    ("minicity", "cityscapes16"): {**{i: i for i in range(16)}, 255: 255},
    ("minicity", "common7"): {
        **dict(enumerate((0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 5, 5, 6, 6, 6, 6))),
        255: 255,
    },
    # CamVid, 11 classes: sky building pole road pavement tree sign fence car pedestrian bicyclist, 11 is void.
    ("camvid", "common7"): {**dict(enumerate((4, 1, 2, 0, 0, 3, 2, 1, 6, 5, 5))), 11: 255, 255: 255},
}


def list_label_spaces() -> list[str]:
    """Names of the label spaces, sorted."""
    return sorted(_SPACES)


def get_label_space(space: str | LabelSpace | Mapping[str, Any]) -> LabelSpace:
    """The label space of a name, or of what `LabelSpace.to_dict` gave; a `LabelSpace` is returned as it is."""
    if isinstance(space, LabelSpace):
        return space
    if isinstance(space, Mapping):
        return LabelSpace.from_dict(space)
    if space not in _SPACES:
        raise ValueError(f"unknown label space {space!r}; known: {list_label_spaces()}, or pass a LabelSpace")
    return _SPACES[space]


def id_map(dataset: str, space: str | LabelSpace) -> Mapping[int, int]:
    """The table from a data set's own label ids to class indices of a label space (255 where not a class)."""
    name = get_label_space(space).name
    if (dataset, name) not in _ID_MAPS:
        known = sorted(target for source, target in _ID_MAPS if source == dataset)
        raise ValueError(f"no id map from {dataset!r} to label space {name!r}; {dataset!r} maps to {known}")
    return _ID_MAPS[dataset, name]


def remap(
    label: NDArray[np.integer], table: Mapping[int, int], *, name: str = "label", unknown: str = "error"
) -> NDArray[np.int64]:
    """Class indices of a map of raw ids, by one table look-up.

    Args:
        label: Raw ids, 0..65535, any shape.
        table: Raw id to class index.
        name: What the error calls the label, usually its file.
        unknown: ``"error"`` raises on an id that the table lacks, ``"ignore"`` makes it 255.

    Raises:
        ValueError: An id is not in the table, with the id and the file named.
    """
    if unknown not in ("error", "ignore"):
        raise ValueError(f"unknown must be 'error' or 'ignore', got {unknown!r}")
    lookup = np.full(1 << 16, -1, np.int64)
    lookup[list(table)] = list(table.values())
    classes: NDArray[np.int64] = lookup[label]
    missing = classes < 0
    if missing.any():
        if unknown == "error":
            ids = np.unique(np.asarray(label)[missing]).tolist()
            raise ValueError(
                f"{name}: label ids {ids} are not in the id map; add them to it (255 to ignore), "
                "or pass unknown='ignore'"
            )
        classes[missing] = IGNORE_INDEX
    return classes
