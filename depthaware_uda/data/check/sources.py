"""What the files of a data set tell beyond its samples: partners without an image, and the wrong SYNTHIA package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from depthaware_uda.data.check.report import Finding, sample_finding
from depthaware_uda.data.images import read_size
from depthaware_uda.data.synthia import Synthia
from depthaware_uda.data.synthia_packages import IMAGE_SIZE, IMAGES, REMEDY, package_of_images
from depthaware_uda.data.wrappers import source_files
from depthaware_uda.types import SampleDataset

__all__ = ["source_findings"]


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
        if folder.is_dir()
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


def _size_of(path: Path) -> tuple[int, int] | None:
    try:
        return read_size(path)
    except (OSError, ValueError):
        return None


def _synthia(names: Sequence[str], images: list[Path]) -> Iterator[Finding]:
    """Whether the images are those of another package of SYNTHIA, by their names or sizes, or not all there."""
    size = next(filter(None, map(_size_of, images)), None)
    if size is None:
        return  # not one of them can be opened, which is told sample by sample
    if package := package_of_images(names, size):
        yield Finding("error", "wrong SYNTHIA package", f"the images are those of {package.name}", REMEDY)
    elif size != IMAGE_SIZE:
        message = f"the first image has {size[1]} x {size[0]} pixels, SYNTHIA-RAND-CITYSCAPES has 1280 x 760"
        yield Finding(
            "warning", "resized SYNTHIA", message, "train from the original files: labels suffer when resized"
        )
    elif len(images) < IMAGES:
        message = f"{len(images):,} images, SYNTHIA-RAND-CITYSCAPES has {IMAGES:,}"
        yield Finding("note", "part of SYNTHIA", message, "published results are of all images: unpack the rest")
