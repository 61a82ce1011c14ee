"""Cityscapes: photographs of 50 cities from a car, 2048 x 1024 pixels, with fine labels and stereo disparity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from depthaware_uda.data.file_dataset import FileDataset, SampleFiles
from depthaware_uda.data.geometry import Geometry
from depthaware_uda.data.listing import check_choice, images_by_stem, missing_folder, partners
from depthaware_uda.depth import DepthEncoding
from depthaware_uda.files import read_json
from depthaware_uda.labels import LabelSpace, choose_label_map
from depthaware_uda.types import Sample

__all__ = ["Cityscapes"]

_EXPECTED = """
    leftImg8bit/  SPLIT/CITY/*_leftImg8bit.png
    gtFine/       SPLIT/CITY/*_gtFine_labelIds.png (optional for train and test)
    disparity/    SPLIT/CITY/*_disparity.png       (with depth=True)
    camera/       SPLIT/CITY/*_camera.json         (with depth=True)
    each may also lie in the folder of its archive, such as leftImg8bit_trainvaltest/leftImg8bit/"""


class Cityscapes(FileDataset):
    """Cityscapes, with the archives unpacked side by side or each into its own ``*_trainvaltest`` folder.

    Labels are read from ``*_gtFine_labelIds.png``; they need no preparation. Without ``gtFine/train`` the training
    split has no labels, as for a target domain; the test split never has any. A sample's name is its path below the
    root, such as ``"leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png"``.

    Depth is baseline x focal length / disparity, with the parameters of each image's camera. It is NaN where there is
    no disparity (0 in the file) or the disparity is zero (1 in the file).

    Args:
        root: Folder that holds ``leftImg8bit``, ``gtFine`` and so on, or their ``*_trainvaltest`` folders.
        split: ``"train"``, ``"val"`` or ``"test"``.
        labels: Label space to map to: ``"cityscapes16"``, ``"cityscapes19"``, ``"common7"``, or, with `label_map`,
            any other.
        depth: Whether samples have depth, computed from disparities and cameras.
        label_map: Maps ids in the files to class indices of `labels`; a mapping or a file. Default: the published map.
        unknown: ``"error"`` raises on an id that Cityscapes does not have, ``"ignore"`` maps it to 255.
        size: (height, width) to resize to while reading, images bicubically as in the published code; None keeps the
            size of the files.
        full_size_labels: Leave labels and depth at the size of their files, for evaluation at full resolution.
        transform: Called with every sample after reading.

    Raises:
        FileNotFoundError: A folder, or a file that belongs to an image, is missing.
        ValueError: An argument is not one of its choices, or there are no images.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "val", "test"] = "train",
        *,
        labels: str | LabelSpace = "cityscapes16",
        depth: bool = False,
        label_map: Mapping[int, int | str] | str | Path | None = None,
        unknown: Literal["error", "ignore"] = "error",
        size: tuple[int, int] | None = None,
        full_size_labels: bool = False,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        check_choice("split", split, ("train", "val", "test"))
        self.root, self.split = Path(root), split
        super().__init__(
            _find(self.root, split, depth),
            labels=choose_label_map(labels, label_map, dataset="cityscapes"),
            unknown=unknown,
            geometry=Geometry(size, full_size_labels=full_size_labels, interpolation="bicubic"),
            transform=transform,
        )

    def depth_encoding_of(self, files: SampleFiles) -> DepthEncoding:
        """Cityscapes' disparity, with the camera of one image."""
        assert files.camera is not None  # every disparity has one
        record = read_json(files.camera)
        try:
            return DepthEncoding.cityscapes(record["extrinsic"]["baseline"], record["intrinsic"]["fx"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{files.camera}: expected a camera with extrinsic baseline (metres) and intrinsic fx (pixels), "
                f"got {error!r}"
            ) from None


def _find(root: Path, split: str, depth: bool) -> list[SampleFiles]:
    folder = _folder(root, split, "leftImg8bit")
    images = images_by_stem("leftImg8bit", folder, (".png",), ending="_leftImg8bit")
    disparity, camera = (_folder(root, split, kind) if depth else None for kind in ("disparity", "camera"))
    rows = zip(
        images.values(),
        partners("gtFine", _labels(root, split), images, (".png",), ending="_gtFine_labelIds"),
        partners("disparity", disparity, images, (".png",), ending="_disparity"),
        partners("camera", camera, images, (".json",), ending="_camera"),
        strict=True,
    )
    prefix = folder.relative_to(root).as_posix()
    return [SampleFiles(f"{prefix}/{image}", folder / image, *found) for image, *found in rows]


def _labels(root: Path, split: str) -> Path | None:
    """Folder of the labels of a split; None if the split has none."""
    archive = _archive(root, "gtFine")
    if split == "val" or (split == "train" and archive is not None and (archive / split).is_dir()):
        return _folder(root, split, "gtFine")
    return None


def _archive(root: Path, kind: str) -> Path | None:
    """Folder of one archive of Cityscapes, or None."""
    candidates = (root / kind, root / f"{kind}_trainvaltest" / kind)
    return next((folder for folder in candidates if folder.is_dir()), None)


def _folder(root: Path, split: str, kind: str) -> Path:
    archive = _archive(root, kind)
    folder = (archive or root / kind) / split
    if not folder.is_dir():
        raise missing_folder(folder, archive or root, f"  {root}/{_EXPECTED}")
    return folder
