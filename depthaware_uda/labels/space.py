"""A label space: class names, palette, rare classes and evaluation subsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["IGNORE_INDEX", "LabelSpace", "check_same_classes"]

IGNORE_INDEX = 255
"""The label of pixels that losses and metrics ignore."""


@dataclass(frozen=True)
class LabelSpace:
    """A set of classes: their names in index order, colours, rare classes and named evaluation subsets.

    Args:
        name: The name by which users choose the space, for instance ``"cityscapes16"``.
        classes: Class names in index order.
        palette: RGB colour (0..255) of each class.
        rare: Names of the classes that are rare in street scenes (used by rare-class weighting).
        subsets: Named tuples of class names over which a further mIoU is reported, such as the 13 classes of mIoU*.

    Lists are converted to tuples, so that a space equals its original after saving and loading.

    Raises:
        ValueError: Two classes share a name, there are none or more than 255, a name is not a string, colours are
            missing or not three integers in 0..255, or `rare` or a subset names an unknown class.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    rare: tuple[str, ...] = ()
    subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if isinstance(self.classes, str) or not self.classes:
            raise ValueError(f"classes of label space {self.name!r} must be one or more names, got {self.classes!r}")
        subsets = {name: tuple(members) for name, members in self.subsets.items()}
        palette = tuple(self._colour(colour) for colour in self.palette)
        fields = {"classes": tuple(self.classes), "palette": palette, "rare": tuple(self.rare), "subsets": subsets}
        for name, value in fields.items():
            object.__setattr__(self, name, value)  # how to set a field of a frozen dataclass
        if wrong := [name for name in (self.name, *self.classes) if not isinstance(name, str)]:
            raise ValueError(f"names of label space {self.name!r} and its classes must be strings, got {wrong}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes of label space {self.name!r} must have different names, got {self.classes}")
        if len(self.classes) > IGNORE_INDEX:
            raise ValueError(
                f"label space {self.name!r} has {len(self.classes)} classes, but the index {IGNORE_INDEX} means "
                f"ignored: there may be at most {IGNORE_INDEX}"
            )
        if len(self.palette) != len(self.classes):
            raise ValueError(
                f"palette of label space {self.name!r}: expected {len(self.classes)} colours, got {len(self.palette)}"
            )
        for group, names in {"rare": self.rare, **self.subsets}.items():
            if unknown := sorted(set(names) - set(self.classes)):
                raise ValueError(f"{group} of label space {self.name!r} names unknown classes: {unknown}")

    def _colour(self, colour: Sequence[int]) -> tuple[int, int, int]:
        known = [int(part) for part in colour if isinstance(part, (int, np.integer)) and 0 <= part <= 255]
        if not len(known) == len(colour) == 3:
            raise ValueError(
                f"palette of label space {self.name!r}: expected (red, green, blue) in 0..255, got {colour!r}"
            )
        return known[0], known[1], known[2]

    def __len__(self) -> int:
        return len(self.classes)

    def index(self, class_name: str) -> int:
        """Index of a class by name; a ValueError lists the known names."""
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
        """The space from the output of `to_dict`, also after JSON."""
        return cls(
            name=record["name"],
            classes=tuple(record["classes"]),
            palette=tuple((red, green, blue) for red, green, blue in record["palette"]),
            rare=tuple(record["rare"]),
            subsets={name: tuple(members) for name, members in record["subsets"].items()},
        )

    def colorize(self, label: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Colours of labels: (..., H, W) class indices to (..., H, W, 3) RGB; ignored pixels are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.palette
        colours: NDArray[np.uint8] = table[np.asarray(label, np.uint8)]
        return colours


def check_same_classes(data: LabelSpace | None, model: LabelSpace | None, what: str) -> None:
    """ValueError if data, named `what`, and a model have equally many, but different or reordered classes."""
    if data is None or model is None or len(data) != len(model) or data.classes == model.classes:
        return
    raise ValueError(
        f"{what} has the classes {list(data.classes)} of {data.name!r}, but the model was made for "
        f"{list(model.classes)} of {model.name!r}: as many, but not the same; load the data with the classes of the "
        "model, or create the model with the label_space of the data"
    )
