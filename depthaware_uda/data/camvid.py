"""CamVid: photographs of Cambridge from a car, 11 classes and void, 480 x 360 pixels (the common SegNet edition)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from depthaware_uda.data.file_dataset import FileDataset, SampleFiles
from depthaware_uda.data.geometry import Geometry
from depthaware_uda.data.listing import check_choice, images_by_stem, missing_folder, partners
from depthaware_uda.labels import LabelSpace, choose_label_map
from depthaware_uda.types import Sample

__all__ = ["CamVid"]


class CamVid(FileDataset):
    """CamVid in folders ``root/split/images`` and ``root/split/labels``, matched by file name without suffix.

    Label images hold the ids 0..10 in the order sky, building, pole, road, pavement, tree, sign, fence, car,
    pedestrian, bicyclist; 11 is void. Adapting to CamVid needs no labels: without the folder ``labels`` the samples
    have none. A sample's name is its path below the root, such as ``"train/images/0001TP_006690.jpg"``.

    Args:
        root: Folder that holds ``train`` and ``val``.
        split: ``"train"`` or ``"val"``.
        labels: Label space to map to, ``"common7"``, ``"camvid11"``, or, with `label_map`, any other.
        label_map: Maps ids in the files to class indices of `labels`; a mapping or a file. Default: the published map.
        unknown: ``"error"`` raises on an id that CamVid does not have, ``"ignore"`` maps it to 255.
        size: (height, width) to resize to while reading; the files' own size if None.
        full_size_labels: Leave labels at the size of their files, for evaluation at full resolution.
        transform: Called with every sample after reading.

    Raises:
        FileNotFoundError: A folder, or the label of an image, is missing.
        ValueError: An argument is not one of its choices, there are no images, or two differ only in their suffix.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "val"] = "train",
        *,
        labels: str | LabelSpace = "common7",
        label_map: Mapping[int, int | str] | str | Path | None = None,
        unknown: Literal["error", "ignore"] = "error",
        size: tuple[int, int] | None = None,
        full_size_labels: bool = False,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        check_choice("split", split, ("train", "val"))
        self.root, self.split = Path(root), split
        super().__init__(
            _find(self.root, split),
            labels=choose_label_map(labels, label_map, dataset="camvid"),
            unknown=unknown,
            geometry=Geometry(size, full_size_labels=full_size_labels),
            transform=transform,
        )


def _find(root: Path, split: str) -> list[SampleFiles]:
    folder = root / split / "images"
    if not folder.is_dir():
        expected = f"  {root}/\n    {split}/\n      images/  *.jpg or *.png\n      labels/  *.png (may be absent)"
        raise missing_folder(folder, root, expected)
    images = images_by_stem("images", folder)
    labels = root / split / "labels"
    found = partners("labels", labels if labels.is_dir() else None, images, (".png",))
    return [
        SampleFiles(f"{split}/images/{image}", folder / image, label)
        for image, label in zip(images.values(), found, strict=True)
    ]
