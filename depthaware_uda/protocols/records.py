"""A protocol: which data, classes and sizes an experiment has, and how its data sets are made from folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from depthaware_uda.data import CamVid, Cityscapes, MapillaryVistas, MiniCity, Synthia
from depthaware_uda.labels import LabelSpace, get_label_space
from depthaware_uda.protocols.published import PublishedResult
from depthaware_uda.types import SampleDataset

__all__ = ["AdaptationProtocol"]

Size = tuple[int, int]
SourceName = Literal["synthia", "minicity"]
TargetName = Literal["cityscapes", "mapillary", "camvid", "minicity-real"]
# Rendered when they are asked for: these need no folder.
_RENDERED = frozenset({"minicity", "minicity-real"})
_MINICITY_IMAGES = {"source": 600, "target": 300, "validation": 100}


@dataclass(frozen=True, kw_only=True)
class AdaptationProtocol:
    """One experiment of unsupervised domain adaptation: labelled source, unlabelled target, labelled validation data.

    `source_data`, `target_data` and `validation_data` make the data sets, given the folders they lie in.
    """

    name: str
    """What `get_protocol` takes, such as ``"ep1"``."""
    title: str
    """Heading of its tables."""
    source: SourceName
    """The labelled data set, with depth."""
    target: TargetName
    """The data set that is adapted to, and measured on."""
    label_space: str
    """Name of the label space of both."""
    source_size: Size
    """(height, width) that source images are trained at."""
    target_size: Size
    """(height, width) that target images are trained and evaluated at."""
    full_size_labels: bool = True
    """Whether predictions are resized to the labels' own size to be compared, instead of labels to the image's."""
    published: tuple[PublishedResult, ...] = ()
    """Rows of the papers, in their order."""

    def __post_init__(self) -> None:
        if self.source not in get_args(SourceName) or self.target not in get_args(TargetName):
            known = f"{get_args(SourceName)} and {get_args(TargetName)}"
            raise ValueError(f"source and target must be one of {known}, got {self.source!r} and {self.target!r}")
        get_label_space(self.label_space)

    @property
    def classes(self) -> LabelSpace:
        """The label space."""
        return get_label_space(self.label_space)

    @property
    def roots(self) -> tuple[str, ...]:
        """Names of the data sets that need a folder, as `source_data` and the others want them in `roots`."""
        return tuple(name for name in (self.source, self.target) if name not in _RENDERED)

    def source_data(self, roots: Mapping[str, str | Path] | None = None) -> SampleDataset:
        """The labelled source at its training size, with depth.

        Args:
            roots: Folder of each data set in `roots`, by name.

        Raises:
            ValueError: The folder of a data set is not among the roots, or holds something else.
            FileNotFoundError: The folder, or a part of it, is missing.
        """
        if self.source == "minicity":
            return MiniCity(_MINICITY_IMAGES["source"], size=self.source_size, labels=self.label_space)
        return Synthia(self._root(self.source, roots), labels=self.label_space, size=self.source_size)

    def target_data(self, roots: Mapping[str, str | Path] | None = None) -> SampleDataset:
        """The target's training images at their training size; labels they may have are for nobody to look at.

        Arguments and errors are those of `source_data`.
        """
        return self._target_split("train", roots, full_size_labels=False)

    def validation_data(self, roots: Mapping[str, str | Path] | None = None) -> SampleDataset:
        """The target's validation images at the size they are evaluated at, with labels.

        Arguments and errors are those of `source_data`.
        """
        return self._target_split("val", roots, full_size_labels=self.full_size_labels)

    def _target_split(
        self, split: Literal["train", "val"], roots: Mapping[str, str | Path] | None, *, full_size_labels: bool
    ) -> SampleDataset:
        size, labels = self.target_size, self.label_space
        if self.target == "minicity-real":
            count, seed = (_MINICITY_IMAGES["target"], 1) if split == "train" else (_MINICITY_IMAGES["validation"], 2)
            return MiniCity(count, style="real", size=size, seed=seed, labels=labels)
        root = self._root(self.target, roots)
        if self.target == "cityscapes":
            return Cityscapes(root, split, labels=labels, size=size, full_size_labels=full_size_labels)
        if self.target == "mapillary":
            return MapillaryVistas(root, split, labels=labels, size=size, full_size_labels=full_size_labels)
        return CamVid(root, split, labels=labels, size=size, full_size_labels=full_size_labels)

    def _root(self, name: str, roots: Mapping[str, str | Path] | None) -> Path:
        if roots is None or name not in roots:
            given = "none" if not roots else str(sorted(roots))
            wanted = ", ".join(f"{needed!r}: FOLDER" for needed in self.roots)
            raise ValueError(f"protocol {self.name!r} needs roots={{{wanted}}}, got {given}")
        return Path(roots[name])
