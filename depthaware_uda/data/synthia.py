"""SYNTHIA-RAND-CITYSCAPES: 9,400 renders of 1280 x 760 pixels with labels and depth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from depthaware_uda.data.file_dataset import FileDataset, SampleFiles
from depthaware_uda.data.geometry import Geometry
from depthaware_uda.data.images import read_first_channel, read_ids
from depthaware_uda.data.listing import by_stem, check_choice, missing_folder, no_images, partners
from depthaware_uda.labels import LabelSpace, id_map
from depthaware_uda.types import Sample

__all__ = ["Synthia"]

_DOWNLOADED, _PARSED = "GT/LABELS", "parsed_LABELS"
_EXPECTED = """
    RGB/          *.png
    GT/LABELS/    *.png, 16-bit RGB with class ids in the first channel (or parsed_LABELS/, one channel of ids)
    Depth/Depth/  *.png, 16 bits, centimetres (or directly in Depth/)"""
# By what other packages of SYNTHIA are recognised: a path below the root, and the package's name.
_OTHER_PACKAGES = (
    ("RGB/Stereo_Left", "a video sequence (SYNTHIA-SEQS)"),
    ("RGBLeft", "SYNTHIA-SF"),
    ("GTTXT", "SYNTHIA-RAND, the random frames of 2016 with 11 classes"),
    ("train/RGB", "SYNTHIA-AL"),
)
_VALIDATION_EVERY = 20


class Synthia(FileDataset):
    """SYNTHIA-RAND-CITYSCAPES as it is downloaded, or with the single-channel labels of the published protocols.

    ``GT/LABELS`` is read as it comes: RGB images of 16 bits, the class id in the first channel, the instance id in the
    second; no other label package is needed. Without that folder, ``parsed_LABELS`` is read, one channel of the same
    ids. Depth is in centimetres; the sky is at the far end of 16 bits, 655.35 metres. Samples are called by their path
    below the root, such as ``"RGB/0000000.png"``.

    Args:
        root: Folder that holds ``RGB``, ``GT`` (or ``parsed_LABELS``) and ``Depth``.
        split: ``"all"``, as the published protocols train. SYNTHIA has no split of its own: ``"val"`` is every
            twentieth image, ``"train"`` the others.
        labels: Label space to map to: ``"cityscapes16"``, ``"cityscapes19"`` or ``"common7"``.
        depth: Whether to read depth.
        unknown: ``"error"`` raises on an id that is not SYNTHIA's, ``"ignore"`` makes it 255.
        size: (height, width) to resize to while reading; the files' own size if None.
        full_size_labels: Leave labels and depth at the size of their files, for evaluation at full resolution.
        transform: Called with every sample that was read.

    Attributes:
        layout: ``"downloaded"`` where the labels come from ``GT/LABELS``, ``"parsed"`` from ``parsed_LABELS``.

    Raises:
        FileNotFoundError: A folder, or the label or depth of an image, is missing.
        ValueError: An argument is not one of its choices, there are no images, or the folder holds another package of
            SYNTHIA, which is named.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["all", "train", "val"] = "all",
        *,
        labels: str | LabelSpace = "cityscapes16",
        depth: bool = True,
        unknown: Literal["error", "ignore"] = "error",
        size: tuple[int, int] | None = None,
        full_size_labels: bool = False,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        check_choice("split", split, ("all", "train", "val"))
        self.root, self.split = Path(root), split
        self.layout: Literal["downloaded", "parsed"] = "downloaded" if (self.root / _DOWNLOADED).is_dir() else "parsed"
        super().__init__(
            _of_split(_find(self.root, self.layout, depth), split),
            label_space=labels,
            label_map=id_map("synthia", labels),
            unknown=unknown,
            depth_encoding="centimetres",
            geometry=Geometry(size, full_size_labels=full_size_labels),
            transform=transform,
        )

    def read_label_ids(self, path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The ids in a label file as they stand there, (H, W)."""
        return read_first_channel(path) if self.layout == "downloaded" else read_ids(path)


def _find(root: Path, layout: str, depth: bool) -> list[SampleFiles]:
    for path, package in _OTHER_PACKAGES:
        if (root / path).is_dir():
            raise ValueError(f"{root}: this is {package}, not SYNTHIA-RAND-CITYSCAPES; download that package")
    folder = _existing(root, "RGB")
    images = by_stem("RGB", folder, (".png",))
    if not images:
        raise no_images(folder, (".png",))
    stems = list(images)
    labels = partners("labels", _existing(root, _DOWNLOADED if layout == "downloaded" else _PARSED), stems, (".png",))
    depths: list[Path] | list[None] = [None] * len(stems)
    if depth:
        nested = (root / "Depth" / "Depth").is_dir()
        depths = partners("depth", _existing(root, "Depth/Depth" if nested else "Depth"), stems, (".png",))
    rows = zip(images.values(), labels, depths, strict=True)
    return [SampleFiles(f"RGB/{image}", folder / image, label, depth) for image, label, depth in rows]


def _existing(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        remedy = ", or pass depth=False" if name == "Depth" else ""
        raise missing_folder(root / name, root, f"  {root}/{_EXPECTED}{remedy}")
    return root / name


def _of_split(files: list[SampleFiles], split: str) -> list[SampleFiles]:
    if split == "all":
        return files
    return [one for i, one in enumerate(files) if (i % _VALIDATION_EVERY == 0) == (split == "val")]
