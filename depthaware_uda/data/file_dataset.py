"""The base of all data sets on disk: it turns a list of files into samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors

from depthaware_uda.data.geometry import Geometry
from depthaware_uda.data.images import read_depth_values, read_ids, read_image
from depthaware_uda.data.listing import check_choice
from depthaware_uda.data.masks import DepthMask, LabelMask
from depthaware_uda.depth import DepthEncoding, get_depth_encoding
from depthaware_uda.labels import IGNORE_INDEX, LabelMap, remap
from depthaware_uda.types import Sample

__all__ = ["FileDataset", "SampleFiles"]

_SIZE_OF_THE_FILES = Geometry()


class SampleFiles(NamedTuple):
    """The files of one sample."""

    name: str
    """The sample's name: the path of its image below the data root."""
    image: Path
    """Its image file."""
    label: Path | None = None
    """Its label image; None if it has none."""
    depth: Path | None = None
    """Its depth file; None if it has none."""
    camera: Path | None = None
    """Camera parameters that turn a disparity into depth, where they differ from image to image."""


class FileDataset:
    """Samples read from files on demand. A subclass, or the caller, finds the files; this class reads them.

    For your own data set, list the files and pass them on; override `read_label_ids` or `depth_encoding_of` if the
    files are unusual.

    Args:
        files: The files of every sample.
        labels: The classes, and what the ids in the label files mean.
        unknown: ``"error"`` raises on an id that is not in the map, ``"ignore"`` maps it to 255.
        depth_encoding: What the numbers in the depth files mean.
        geometry: How samples are resized.
        transform: Called with every sample after reading.

    Raises:
        TypeError: `labels` is not a `LabelMap`, or `geometry` not a `Geometry`.
        ValueError: An argument is not one of its choices.
    """

    def __init__(
        self,
        files: Sequence[SampleFiles],
        *,
        labels: LabelMap,
        unknown: str = "error",
        depth_encoding: str | DepthEncoding = "centimetres",
        geometry: Geometry = _SIZE_OF_THE_FILES,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        check_choice("unknown", unknown, ("error", "ignore"))
        if not isinstance(labels, LabelMap):
            raise TypeError(f"labels must be a LabelMap, got {labels!r}; choose_label_map(label_space, ids) gives one")
        if not isinstance(geometry, Geometry):
            raise TypeError(f"geometry must be a Geometry, got {geometry!r}; Geometry((height, width)) gives one")
        self.files = list(files)
        self.names = [sample.name for sample in self.files]
        self.label_map, self.label_space = labels
        self.unknown = unknown
        self.depth_encoding = get_depth_encoding(depth_encoding)
        self.geometry = geometry
        self.transform = transform

    @property
    def is_metric(self) -> bool:
        """Whether depth is in metres rather than relative."""
        return self.depth_encoding.is_metric

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: A file cannot be read, differs in size from the image, or has an unknown id; it is named.
        """
        files = self.files[index]
        pixels = read_image(files.image)
        sample = Sample(name=files.name, image=tv_tensors.Image(self.geometry.image(pixels)))
        if files.label is not None:
            ids = self.read_label_ids(files.label)
            _check_shape(ids, files.label, pixels, files.image)
            sample["label"] = self._label(files.label, ids)
        if files.depth is not None:
            values = read_depth_values(files.depth)
            _check_shape(values, files.depth, pixels, files.image)
            metres = self._metres(files, self.geometry.pixels(values))
            sample["depth"] = DepthMask(torch.from_numpy(self.geometry.filled(metres, np.nan))[None])
        return sample if self.transform is None else self.transform(sample)

    def unlabelled(self, *, depth: bool = False) -> FileDataset:
        """A copy without labels and, unless `depth` is set, without depth: their files are not read."""
        other = copy.copy(self)
        other.files = [
            files._replace(label=None) if depth else files._replace(label=None, depth=None, camera=None)
            for files in self.files
        ]
        return other

    def read_label_ids(self, path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The ids of a label file, unmapped, (H, W)."""
        return read_ids(path)

    def depth_encoding_of(self, files: SampleFiles) -> DepthEncoding:
        """What the numbers in one depth file mean."""
        return self.depth_encoding

    def label_sample(self, index: int) -> Sample:
        """A sample without image and depth, whose files are not read, and before any transform."""
        files = self.files[index]
        sample = Sample(name=files.name)
        if files.label is not None:
            sample["label"] = self._label(files.label, self.read_label_ids(files.label))
        return sample

    def _label(self, path: Path, ids: NDArray[Any]) -> LabelMask:
        label = remap(self.geometry.pixels(ids), self.label_map, name=str(path), unknown=self.unknown)
        return LabelMask(torch.from_numpy(self.geometry.filled(label, IGNORE_INDEX)))

    def _metres(self, files: SampleFiles, values: NDArray[Any]) -> NDArray[np.float32]:
        encoding = self.depth_encoding_of(files)
        try:
            return encoding.decode(values)
        except ValueError as error:
            raise ValueError(f"{files.depth}: {error}") from None


def _check_shape(values: NDArray[Any], path: Path, pixels: NDArray[Any], image: Path) -> None:
    (height, width), found = pixels.shape[:2], values.shape
    if found != (height, width):
        turned = " (does its EXIF orientation turn the photograph?)" if found == (width, height) else ""
        raise ValueError(
            f"{path}: expected {height} x {width} pixels as in {image}{turned}, got {found[0]} x {found[1]}; "
            "resize one to the other, labels and depth with nearest-neighbour interpolation"
        )
