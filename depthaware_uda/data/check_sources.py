"""What the files of a data set tell beyond its samples: partners without an image, and the wrong SYNTHIA package."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from depthaware_uda.data.check_report import Finding, sample_finding
from depthaware_uda.data.synthia import Synthia
from depthaware_uda.data.wrappers import source_files
from depthaware_uda.types import SampleDataset

__all__ = ["source_findings"]

_SYNTHIA_IMAGES, _SYNTHIA_SIZE = 9400, (760, 1280)
# Sizes (height, width) and names of the packages of SYNTHIA that are not the one of the protocols.
_SIZES = {
    (720, 960): "SYNTHIA-RAND, the 13,407 random frames of 2016 with 11 classes and no depth",
    (1080, 1920): "SYNTHIA-SF, six sequences of San Francisco with the ids of Cityscapes",
    (480, 640): "SYNTHIA-AL, the sequences of 2019",
}
_NAMES = (
    (re.compile(r"ap_\d+_.*_Rand_\d+"), _SIZES[720, 960]),
    (re.compile(r"(Stereo_(Left|Right)|Omni_[FBLR])/"), "SYNTHIA-SEQS, video sequences with 13 classes"),
)
_REMEDY = "download SYNTHIA-RAND-CITYSCAPES (9,400 images of 1280 x 760 pixels with 23 ids and depth)"


def source_findings(dataset: SampleDataset, names: Sequence[str]) -> Iterator[Finding]:
    """Findings about the files of a data set, if it tells them."""
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        yield sample_finding(
            "error", "duplicated names", twice, "two samples share a name", "names must be unique: rename files"
        )
    files = source_files(dataset)
    yield from _without_image(files)
    if isinstance(_innermost(dataset), Synthia):
        yield from _synthia(names, [paths[0] for paths in files])


def _innermost(dataset: SampleDataset) -> SampleDataset:
    while (wrapped := getattr(dataset, "dataset", None)) is not None:
        dataset = wrapped
    return dataset


def _without_image(files: list[list[Path]]) -> Iterator[Finding]:
    """Labels and depths whose image is not there: files beside the partners that belong to no image."""
    partners = {path for paths in files for path in paths[1:]}
    images = {path for paths in files for path in paths[:1]}
    known: dict[Path, set[str]] = {}
    for paths in files:
        for path in paths[1:]:
            # What the names of an image and its partner share: all of it, or "aachen_000000_000019_" in Cityscapes.
            known.setdefault(path.parent, set()).add(_shared_start(paths[0].stem, path.stem))
    alone = [
        str(path)
        for folder, stems in sorted(known.items())
        for path in sorted(folder.iterdir())
        if path.suffix in {partner.suffix for partner in partners} and path not in partners and path not in images
        if not any(path.stem[:cut] in stems for cut in range(len(path.stem) + 1))
    ]
    if alone:
        message = "these files have no image"
        remedy = "copy the missing images, or remove the files; the data set does without them"
        yield sample_finding("warning", "partners without an image", alone, message, remedy)


def _shared_start(one: str, other: str) -> str:
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def _synthia(names: Sequence[str], images: list[Path]) -> Iterator[Finding]:
    """Whether the images are those of another package of SYNTHIA, by their names or sizes, or not all there."""
    for pattern, package in _NAMES:
        if any(pattern.search(name) for name in names):
            yield Finding("error", "wrong SYNTHIA package", f"the names are those of {package}", _REMEDY)
            return
    with Image.open(images[0]) as image:
        size = image.height, image.width
    if size in _SIZES:
        yield Finding("error", "wrong SYNTHIA package", f"the images have the size of {_SIZES[size]}", _REMEDY)
    elif size != _SYNTHIA_SIZE:
        message = f"the first image has {size[1]} x {size[0]} pixels, SYNTHIA-RAND-CITYSCAPES has 1280 x 760"
        yield Finding(
            "warning", "resized SYNTHIA", message, "train from the original files: labels suffer when resized"
        )
    elif len(images) < _SYNTHIA_IMAGES:
        message = f"{len(images):,} images, SYNTHIA-RAND-CITYSCAPES has {_SYNTHIA_IMAGES:,}"
        yield Finding("note", "part of SYNTHIA", message, "published results are of all images: unpack the rest")
