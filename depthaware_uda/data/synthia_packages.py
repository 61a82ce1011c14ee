"""The packages of SYNTHIA, and how to tell the others from SYNTHIA-RAND-CITYSCAPES, which is needed here.

The facts are from SYNTHIA's download page and the read-me files of its archives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "IMAGE_SIZE",
    "OTHER_PACKAGES",
    "REMEDY",
    "SPLITS",
    "VALIDATION_EVERY",
    "Package",
    "package_of_folder",
    "package_of_images",
]

VALIDATION_EVERY = 20
"""The first of every so many images is in the validation split (this library's own: SYNTHIA has none)."""
SPLITS = {"all": 9400, "train": 8930, "val": 470}
"""Number of images of SYNTHIA-RAND-CITYSCAPES, by split."""
IMAGE_SIZE = (760, 1280)
"""(height, width) of these images."""
REMEDY = "download SYNTHIA-RAND-CITYSCAPES (9,400 images of 1280 x 760 pixels with 23 ids and depth)"
"""What to do instead of using another package."""


class Package(NamedTuple):
    """A package of SYNTHIA that is not the one of the published protocols."""

    name: str
    """Its name and content, for messages."""
    folders: tuple[str, ...]
    """Folders below its root that SYNTHIA-RAND-CITYSCAPES does not have."""
    image_names: str | None = None
    """Regular expression found in the names of its images."""
    image_size: tuple[int, int] | None = None
    """(height, width) of its images, if it differs from `IMAGE_SIZE`."""


OTHER_PACKAGES = (
    Package(
        "SYNTHIA-RAND, the 13,407 random frames of 2016 with 11 classes and no depth",
        folders=("GTTXT",),
        image_names=r"ap_\d+_.*_Rand_\d+",
        image_size=(720, 960),
    ),
    Package(
        "SYNTHIA-SEQS, video sequences with 13 classes",
        folders=("RGB/Stereo_Left", "RGB/Stereo_Right"),
        image_names=r"(Stereo_(Left|Right)|Omni_[FBLR])/",
    ),
    Package(
        "SYNTHIA-SF, six sequences of San Francisco with the ids of Cityscapes",
        folders=("RGBLeft", "SEQ1/RGBLeft"),
        image_size=(1080, 1920),
    ),
    Package("SYNTHIA-AL, the sequences of 2019", folders=(), image_size=(480, 640)),
)
"""The other packages; any one of its features identifies a package."""


def package_of_folder(root: str | Path) -> Package | None:
    """The other package that a folder holds, as far as its subfolders show; None if they show none."""
    return next((one for one in OTHER_PACKAGES if any((Path(root) / name).is_dir() for name in one.folders)), None)


def package_of_images(names: Iterable[str], size: tuple[int, int]) -> Package | None:
    """The other package that images belong to, by any of their names or the (height, width) of the first; or None."""
    for one in OTHER_PACKAGES:
        if one.image_names and any(re.search(one.image_names, name) for name in names):
            return one
    return next((one for one in OTHER_PACKAGES if one.image_size == size), None)
