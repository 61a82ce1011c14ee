"""Your own images, labels and depth in folders, matched by relative path without suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from depthaware_uda.data.file_dataset import FileDataset, SampleFiles
from depthaware_uda.data.geometry import Geometry
from depthaware_uda.data.listing import DEPTH_SUFFIXES, IMAGE_SUFFIXES, images_by_stem, missing_folder, partners
from depthaware_uda.depth import DepthEncoding
from depthaware_uda.labels import LabelSpace, choose_label_map
from depthaware_uda.types import Sample

__all__ = ["SegmentationFolder"]

_LABELS = (".png",)


class SegmentationFolder(FileDataset):
    """Images in a folder, flat or nested, with labels and depth in folders of the same structure.

    ``images/town/0001.jpg`` belongs to ``labels/town/0001.png`` and ``depth/town/0001.png``. Every image needs its
    partner in each folder that is given; files without an image are ignored. A sample's name is its path below
    `images`.

    Args:
        images: Folder of photographs (``.jpg``, ``.jpeg``, ``.png``, ``.bmp``, ``.tif``, ``.tiff``, ``.webp``).
        labels: Folder of label images (``.png``): one channel of ids. Without it, samples have no label.
        depth: Folder of depth files (``.png``, ``.tif``, ``.tiff``, ``.npy``). Without it, samples have no depth.
        label_space: Name of a label space, or your own `LabelSpace`; may be left out if the file `label_map` names
            one.
        label_map: Maps ids in the files to class indices or names (255 or ``"ignore"`` to ignore); a mapping or a file,
            see `depthaware_uda.labels.load_label_map`. By default the ids are class indices.
        unknown: ``"error"`` raises on an id that is not in `label_map`, ``"ignore"`` maps it to 255.
        depth_encoding: What the numbers in the depth files mean: ``"centimetres"``, ``"millimetres"``, ``"metres"``,
            ``"relative_inverse"``, or a `DepthEncoding`, such as ``DepthEncoding.disparity(0.2, 2262)``.
        size: (height, width) to resize to while reading; None keeps the size of the files.
        pad: Keep the aspect ratio: fit images into `size` and pad at the right or bottom, instead of stretching them.
        full_size_labels: Leave labels and depth at the size of their files (with `pad`, padded to the aspect ratio of
            `size`), for evaluation at full resolution.
        transform: Called with every sample after reading.

    Raises:
        FileNotFoundError: A folder, the partner of an image, or the file of the label map is missing.
        ValueError: There are no images, two files differ only in their suffix, or an argument is invalid.
    """

    def __init__(
        self,
        images: str | Path,
        labels: str | Path | None = None,
        depth: str | Path | None = None,
        *,
        label_space: str | LabelSpace | None = None,
        label_map: Mapping[int, int | str] | str | Path | None = None,
        unknown: Literal["error", "ignore"] = "error",
        depth_encoding: str | DepthEncoding = "centimetres",
        size: tuple[int, int] | None = None,
        pad: bool = False,
        full_size_labels: bool = False,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        super().__init__(
            _find(Path(images), labels, depth),
            labels=choose_label_map(label_space, label_map),
            unknown=unknown,
            depth_encoding=depth_encoding,
            geometry=Geometry(size, pad, full_size_labels),
            transform=transform,
        )


def _find(folder: Path, labels: str | Path | None, depth: str | Path | None) -> list[SampleFiles]:
    images = images_by_stem("images", _existing(folder, IMAGE_SUFFIXES))
    rows = zip(
        images.values(),
        partners("labels", None if labels is None else _existing(Path(labels), _LABELS), images, _LABELS),
        partners("depth", None if depth is None else _existing(Path(depth), DEPTH_SUFFIXES), images, DEPTH_SUFFIXES),
        strict=True,
    )
    return [SampleFiles(name, folder / name, *found) for name, *found in rows]


def _existing(folder: Path, suffixes: tuple[str, ...]) -> Path:
    if not folder.is_dir():
        expected = f"  {folder}/\n    *{', *'.join(suffixes)} (also in subfolders)"
        raise missing_folder(folder, folder.parent, expected)
    return folder
