"""A protocol: the data, classes and sizes of an experiment, and how to load its data sets from folders."""

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
# Rendered on demand: these need no folder.
_RENDERED = frozenset({"minicity", "minicity-real"})
_MINICITY_IMAGES = {"source": 600, "target": 300, "validation": 100}


@dataclass(frozen=True, kw_only=True)
class AdaptationProtocol:
    """One experiment of unsupervised domain adaptation: labelled source, unlabelled target, labelled validation data.

    `source_data`, `target_data` and `validation_data` load the data sets from their folders.
    """

    name: str
    """Name for `get_protocol`, such as ``"ep1"``."""
    title: str
    """Heading of its result tables."""
    source: SourceName
    """The labelled data set, with depth."""
    target: TargetName
    """The data set to adapt to, and to evaluate on."""
    label_space: str
    """Name of the label space of source and target."""
    source_size: Size
    """(height, width) of source images in training."""
    target_size: Size
    """(height, width) of target images in training and evaluation."""
    full_size_labels: bool = True
    """Whether evaluation resizes predictions to the size of the labels, instead of labels to the size of the images."""
    published: tuple[PublishedResult, ...] = ()
    """Published results, in the order of the papers."""

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
        """Names of the data sets that need a folder: the keys of the argument `roots` of `source_data`."""
        return tuple(name for name in (self.source, self.target) if name not in _RENDERED)

    def source_data(self, roots: Mapping[str, str | Path] | None = None) -> SampleDataset:
        """The labelled source at its training size, with depth.

        Args:
            roots: Folder of each data set that needs one, by name.

        Raises:
            ValueError: `roots` lacks the folder of a data set, or the folder holds something else.
            FileNotFoundError: The folder, or a part of it, is missing.
        """
        if self.source == "minicity":
            return MiniCity(_MINICITY_IMAGES["source"], size=self.source_size, labels=self.label_space)
        return Synthia(self._root(self.source, roots), labels=self.label_space, size=self.source_size)

    def target_data(self, roots: Mapping[str, str | Path] | None = None) -> SampleDataset:
        """The target's training images at their training size; training must not use the labels that they may have.

        Arguments and errors are those of `source_data`.
        """
        return self._target_split("train", roots, full_size_labels=False)

    def validation_data(self, roots: Mapping[str, str | Path] | None = None) -> SampleDataset:
        """The target's validation images at their evaluation size, with labels.

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
