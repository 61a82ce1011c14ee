"""Mapillary Vistas v1.2: photographs of streets all over the world, in many sizes, with 66 labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from depthaware_uda.data.file_dataset import FileDataset, SampleFiles
from depthaware_uda.data.geometry import Geometry
from depthaware_uda.data.listing import check_choice, images_by_stem, missing_folder, partners
from depthaware_uda.labels import LabelSpace, choose_label_map
from depthaware_uda.types import Sample

__all__ = ["MapillaryVistas"]

_SPLITS = {"train": "training", "val": "validation", "test": "testing"}
_EXPECTED = """
    training/
      images/       *.jpg
      v1.2/labels/  *.png, one channel of ids (or labels/; optional for training and testing)
    validation/
      the same; everything may also lie in a folder v1.2/"""


class MapillaryVistas(FileDataset):
    """Mapillary Vistas with the labels of version 1.2, which lie in ``split/labels`` or ``split/v1.2/labels``.

    Without a folder of labels the training split has none, as for a target domain; the test split never has any.
    A sample's name is its path below the root, such as ``"training/images/abc.jpg"``.

    Photographs differ in size. With `size`, they keep their aspect ratio by default: they are resized to fit, placed at
    the upper left, and padded at the right or at the bottom with black (255 in the label). With `full_size_labels` the
    label keeps its own resolution and is padded to the aspect ratio of `size`, so that it covers what the image shows,
    as in the evaluation of the published protocol.

    Args:
        root: Folder that holds ``training`` and ``validation``.
        split: ``"training"``, ``"validation"`` or ``"testing"``; ``"train"``, ``"val"`` and ``"test"`` are the same.
        labels: Label space to map to: ``"common7"``, or, with `label_map`, any other.
        version: Version of the labels, ``"1.2"``. Version 2.0 has other classes and is not supported.
        label_map: Maps ids in the files to class indices of `labels`; a mapping or a file. Default: the published map.
        unknown: ``"error"`` raises on an id that version 1.2 does not have, ``"ignore"`` maps it to 255.
        size: (height, width) to resize to while reading, images bicubically as in the published code; None keeps the
            size of the files.
        pad: Keep the aspect ratio with `size`, as above; False stretches the photographs.
        full_size_labels: Leave labels at the resolution of their files, for evaluation.
        transform: Called with every sample after reading.

    Raises:
        FileNotFoundError: A folder, or the label of an image, is missing.
        ValueError: An argument is not one of its choices, or there are no images.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["training", "validation", "testing", "train", "val", "test"] = "training",
        *,
        labels: str | LabelSpace = "common7",
        version: Literal["1.2"] = "1.2",
        label_map: Mapping[int, int | str] | str | Path | None = None,
        unknown: Literal["error", "ignore"] = "error",
        size: tuple[int, int] | None = None,
        pad: bool = True,
        full_size_labels: bool = False,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        check_choice("split", split, (*_SPLITS.values(), *_SPLITS))
        if version != "1.2":
            raise ValueError(
                f"version must be '1.2', got {version!r}: version 2.0 of Mapillary Vistas has other classes; its "
                "download includes the labels of 1.2 in v1.2/labels"
            )
        self.root, self.split, self.version = Path(root), _SPLITS.get(split, split), version
        super().__init__(
            _find(self.root, self.split),
            labels=choose_label_map(labels, label_map, dataset="mapillary"),
            unknown=unknown,
            geometry=Geometry(size, pad, full_size_labels, "bicubic"),
            transform=transform,
        )


def _find(root: Path, split: str) -> list[SampleFiles]:
    base = root if (root / split).is_dir() else root / "v1.2"
    base = base if (base / split).is_dir() else root
    folder = base / split / "images"
    if not folder.is_dir():
        raise missing_folder(folder, root, f"  {root}/{_EXPECTED}")
    images = images_by_stem("images", folder)
    found = partners("labels", _labels(root, base / split), images, (".png",))
    prefix = folder.relative_to(root).as_posix()
    return [
        SampleFiles(f"{prefix}/{image}", folder / image, label)
        for image, label in zip(images.values(), found, strict=True)
    ]


def _labels(root: Path, folder: Path) -> Path | None:
    """Folder of the labels of a split; None if the split has none."""
    candidates = (folder / "v1.2" / "labels", folder / "labels")
    for candidate in candidates:
        if candidate.is_dir() and folder.name != "testing":
            return candidate
    if folder.name == "validation":
        raise missing_folder(candidates[0], folder, f"  {root}/{_EXPECTED}")
    return None
