"""CamVid: photographs of Cambridge from a car, 11 classes and void, 480 x 360 pixels (the common SegNet edition)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from depthaware_uda.data.readers import IMAGE_SUFFIXES, check_size, list_files, missing_folder, read_sample
from depthaware_uda.labels import LabelSpace, get_label_space, id_map
from depthaware_uda.types import Sample

__all__ = ["CamVid"]

_SPLITS = ("train", "val")


class CamVid:
    """CamVid in folders ``root/split/images`` and ``root/split/labels``, matched by file name without suffix.

    Label images hold the ids 0..10 in the order sky, building, pole, road, pavement, tree, sign, fence, car,
    pedestrian, bicyclist; 11 is void. Adapting to CamVid needs no labels: without the folder ``labels`` the samples
    have none. Samples are called by their path below the root, such as ``"train/images/0001TP_006690.jpg"``.

    Args:
        root: Folder that holds ``train`` and ``val``.
        split: ``"train"`` or ``"val"``.
        labels: Label space to map to, ``"common7"``.
        size: (height, width) to resize to while reading; the files' own size if None.
        transform: Called with every sample that was read.

    Raises:
        FileNotFoundError: A folder, or the label of an image, is missing.
        ValueError: An argument is not one of its choices, or there are no images.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        labels: str | LabelSpace = "common7",
        size: tuple[int, int] | None = None,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f"split must be one of {_SPLITS}, got {split!r}")
        self.root, self.split, self.transform = Path(root), split, transform
        self.label_space = get_label_space(labels)
        self._label_map = id_map("camvid", self.label_space)
        self._size = check_size(size)

        folder = self.root / split / "images"
        if not folder.is_dir():
            expected = f"  {root}/\n    {split}/\n      images/  *.jpg or *.png\n      labels/  *.png (may be absent)"
            raise missing_folder(folder, self.root, expected)
        self._images = list_files(folder, IMAGE_SUFFIXES)
        if not self._images:
            raise ValueError(f"{folder}: expected images (*.jpg or *.png), found none")
        self._has_labels = (self.root / split / "labels").is_dir()
        if self._has_labels:
            missing = [str(self._label(image)) for image in self._images if not self._label(image).is_file()]
            if missing:
                raise FileNotFoundError(
                    f"{len(missing)} of {len(self._images)} images have no label; the first missing: {missing[:5]}"
                )
        self.names = [f"{split}/images/{image}" for image in self._images]

    def _label(self, image: str) -> Path:
        return (self.root / self.split / "labels" / image).with_suffix(".png")

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image = self._images[index]
        sample = read_sample(
            self.names[index],
            self.root / self.split / "images" / image,
            label=self._label(image) if self._has_labels else None,
            label_map=self._label_map,
            size=self._size,
        )
        return sample if self.transform is None else self.transform(sample)
