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
      v1.2/labels/  *.png, one channel of ids (or labels/; training and testing do without)
    validation/
      the same; all of it may also lie in a folder v1.2/"""


class MapillaryVistas(FileDataset):
    """Mapillary Vistas with the labels of version 1.2, which lie in ``split/labels`` or ``split/v1.2/labels``.

    Without a folder of labels the training split has none, as a target domain; the test split has none in any case.
    Samples are called by their path below the root, such as ``"training/images/abc.jpg"``.

    Photographs come in all sizes. With `size`, they keep their aspect by default: they are resized to fit, at the upper
    left, and filled up at the right or below, with black, 255 in the label. With `full_size_labels` the label keeps
    its own resolution and is filled up to the aspect of `size`, so that it covers what the image shows: so the
    published protocol evaluates.

    Args:
        root: Folder that holds ``training`` and ``validation``.
        split: ``"training"``, ``"validation"`` or ``"testing"``; ``"train"``, ``"val"`` and ``"test"`` are the same.
        labels: Label space to map to: ``"common7"``, or, with `label_map`, any other.
        version: Of the labels: ``"1.2"``. The labels of version 2.0 are others and are not read.
        label_map: Id in the files to class index of `labels`, or the file of such a map, instead of the published one.
        unknown: ``"error"`` raises on an id that is not of version 1.2, ``"ignore"`` makes it 255.
        size: (height, width) to resize to while reading, photographs bicubically, as the published code does; the
            files' own size if None.
        pad: Keep the aspect with `size`, as above; False stretches the photographs.
        full_size_labels: Leave labels at the resolution of their files, for evaluation.
        transform: Called with every sample that was read.

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
                "download brings the labels of 1.2 along in v1.2/labels"
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
    """Folder of the labels of a split; None where a split does without."""
    candidates = (folder / "v1.2" / "labels", folder / "labels")
    for candidate in candidates:
        if candidate.is_dir() and folder.name != "testing":
            return candidate
    if folder.name == "validation":
        raise missing_folder(candidates[0], folder, f"  {root}/{_EXPECTED}")
    return None
