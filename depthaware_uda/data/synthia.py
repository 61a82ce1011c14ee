"""SYNTHIA-RAND-CITYSCAPES: 9,400 renders of 1280 x 760 pixels with labels and depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from depthaware_uda.data.file_dataset import FileDataset, SampleFiles
from depthaware_uda.data.geometry import Geometry
from depthaware_uda.data.images import read_first_channel, read_ids
from depthaware_uda.data.listing import check_choice, images_by_stem, missing_folder, partners
from depthaware_uda.data.synthia_packages import REMEDY, VALIDATION_EVERY, package_of_folder
from depthaware_uda.labels import LabelSpace, choose_label_map
from depthaware_uda.types import Sample

__all__ = ["Synthia"]

_DOWNLOADED, _PARSED = "GT/LABELS", "parsed_LABELS"
_EXPECTED = """
    RGB/          *.png
    GT/LABELS/    *.png, 16-bit RGB with class ids in the first channel (or parsed_LABELS/, one channel of ids)
    Depth/Depth/  *.png, 16 bits, centimetres (or directly in Depth/);
                  may be absent with depth=False"""
# The archive unpacks into a folder of this name.
_ARCHIVE = "RAND_CITYSCAPES"
_PNG = (".png",)


class Synthia(FileDataset):
    """SYNTHIA-RAND-CITYSCAPES as downloaded, or with the single-channel labels of the published protocols.

    ``GT/LABELS`` is read as downloaded: 16-bit RGB images with the class id in the first channel and the instance id in
    the second; no other label package is needed. Without that folder, ``parsed_LABELS`` is read, one channel of the
    same ids. Depth is in centimetres; the sky has the largest 16-bit value, 655.35 metres. A sample's name is its path
    below the root, such as ``"RGB/0000000.png"``.

    Args:
        root: Folder that holds ``RGB``, ``GT`` (or ``parsed_LABELS``) and ``Depth``, or the folder
            ``RAND_CITYSCAPES`` of the archive with all of them.
        split: ``"all"``, on which the published protocols train. SYNTHIA has no official split: ``"val"`` is every
            twentieth image, ``"train"`` the others.
        labels: Label space to map to: ``"cityscapes16"``, ``"cityscapes19"``, ``"common7"``, or, with `label_map`,
            any other.
        depth: Whether to read depth.
        label_map: Maps ids in the files to class indices of `labels`; a mapping or a file. Default: the published map.
        unknown: ``"error"`` raises on an id that SYNTHIA does not have, ``"ignore"`` maps it to 255.
        size: (height, width) to resize to while reading, images bicubically as in the published code; None keeps the
            size of the files.
        full_size_labels: Leave labels and depth at the size of their files, for evaluation at full resolution.
        transform: Called with every sample after reading.

    Attributes:
        layout: ``"downloaded"`` if the labels come from ``GT/LABELS``, ``"parsed"`` if from ``parsed_LABELS``.

    Raises:
        FileNotFoundError: A folder, or the label or depth of an image, is missing.
        ValueError: An argument is not one of its choices, there are no images, or the folder holds another package of
            SYNTHIA, which the message names.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["all", "train", "val"] = "all",
        *,
        labels: str | LabelSpace = "cityscapes16",
        depth: bool = True,
        label_map: Mapping[int, int | str] | str | Path | None = None,
        unknown: Literal["error", "ignore"] = "error",
        size: tuple[int, int] | None = None,
        full_size_labels: bool = False,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        check_choice("split", split, ("all", "train", "val"))
        self.root, self.split = Path(root), split
        base = self.root / _ARCHIVE if (self.root / _ARCHIVE / "RGB").is_dir() else self.root
        self.layout: Literal["downloaded", "parsed"] = "downloaded" if (base / _DOWNLOADED).is_dir() else "parsed"
        super().__init__(
            _of_split(_find(self.root, base, self.layout, depth), split),
            labels=choose_label_map(labels, label_map, dataset="synthia"),
            unknown=unknown,
            depth_encoding="centimetres",
            geometry=Geometry(size, full_size_labels=full_size_labels, interpolation="bicubic"),
            transform=transform,
        )

    def read_label_ids(self, path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The ids of a label file, unmapped, (H, W)."""
        return read_first_channel(path) if self.layout == "downloaded" else read_ids(path)


def _find(root: Path, base: Path, layout: str, depth: bool) -> list[SampleFiles]:
    if package := package_of_folder(base):
        raise ValueError(f"{base}: this is {package.name}; {REMEDY}")
    folder = _existing(base, "RGB")
    images = images_by_stem("RGB", folder, _PNG)
    nested = (base / "Depth" / "Depth").is_dir()
    rows = zip(
        images.values(),
        partners("labels", _existing(base, _DOWNLOADED if layout == "downloaded" else _PARSED), images, _PNG),
        partners("depth", _existing(base, "Depth/Depth" if nested else "Depth") if depth else None, images, _PNG),
        strict=True,
    )
    prefix = folder.relative_to(root).as_posix()
    return [SampleFiles(f"{prefix}/{image}", folder / image, *found) for image, *found in rows]


def _existing(base: Path, name: str) -> Path:
    if not (base / name).is_dir():
        raise missing_folder(base / name, base, f"  {base}/{_EXPECTED}")
    return base / name


def _of_split(files: list[SampleFiles], split: str) -> list[SampleFiles]:
    if split == "all":
        return files
    return [one for i, one in enumerate(files) if (i % VALIDATION_EVERY == 0) == (split == "val")]
