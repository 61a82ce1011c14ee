"""Findings about files and names rather than samples: labels without an image, or the wrong SYNTHIA package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from depthaware_uda.data.check.report import Finding, sample_finding
from depthaware_uda.data.contract import known_names, source_files
from depthaware_uda.data.images import read_size
from depthaware_uda.data.listing import IMAGE_SUFFIXES
from depthaware_uda.data.synthia import Synthia
from depthaware_uda.data.synthia_packages import IMAGE_SIZE, REMEDY, SPLITS, package_of_images
from depthaware_uda.types import SampleDataset

__all__ = ["source_findings"]


def source_findings(dataset: SampleDataset, names: Sequence[str]) -> Iterator[Finding]:
    """Findings about the names read from a data set, and about its files, if they are known."""
    listed = known_names(dataset)
    if listed is not None and len(listed) != len(dataset):
        message = f"the data set has {len(dataset)} samples but {len(listed)} names"
        yield Finding("error", "names that do not fit", message, "`names` must name every sample once, in order")
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        yield sample_finding(
            "error", "duplicated names", twice, "two samples share a name", "names must be unique: rename files"
        )
    files = source_files(dataset)
    yield from _without_image(files)
    innermost = _innermost(dataset)
    if isinstance(innermost, Synthia):
        yield from _synthia(innermost, names, [paths[0] for paths in files])


def _innermost(dataset: SampleDataset) -> SampleDataset:
    while (wrapped := getattr(dataset, "dataset", None)) is not None:
        dataset = wrapped
    return dataset


def _without_image(files: list[list[Path]]) -> Iterator[Finding]:
    """Label and depth files beside the ones in use whose image is not on the disk."""
    used = {path for paths in files for path in paths}
    suffixes = {path.suffix for paths in files for path in paths[1:]}
    endings: dict[Path, set[tuple[Path, str, str]]] = {}
    for image, *partners in files:
        for partner in partners:
            # The common start of the two names: the whole stem, or "aachen_000000_000019_" in Cityscapes.
            shared = _shared_start(image.stem, partner.stem)
            endings.setdefault(partner.parent, set()).add((image.parent, image.stem[shared:], partner.stem[shared:]))
    alone = []
    for folder, kinds in sorted(endings.items()):
        known = [(_stems(images, ending), other) for images, ending, other in sorted(kinds)]
        others = sorted(path for path in _entries(folder) if path.suffix in suffixes and path not in used)
        alone += [str(path) for path in others if not any(_belongs(path.stem, stems, end) for stems, end in known)]
    if alone:
        message = "these files have no image"
        remedy = "copy the missing images, or remove the files; the data set does not need them"
        yield sample_finding("warning", "partners without an image", alone, message, remedy)


def _shared_start(one: str, other: str) -> int:
    """Length of the common start of two names."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder, without hidden ones; none if it is missing, which is reported for its samples."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def _stems(folder: Path, ending: str) -> set[str]:
    """Stems of the images in a folder, used or not, without the ending."""
    stems = (path.stem for path in _entries(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
    return {stem.removesuffix(ending) for stem in stems if stem.endswith(ending)}


def _belongs(stem: str, stems: set[str], ending: str) -> bool:
    """Whether a file belongs to an image; files of other kinds, such as colours, need only start with its stem."""
    if stem.endswith(ending):
        return stem.removesuffix(ending) in stems
    return any(stem[:cut] in stems for cut in range(len(stem) + 1))


def _size_of(path: Path) -> tuple[int, int] | None:
    try:
        return read_size(path)
    except (OSError, ValueError):
        return None


def _synthia(dataset: Synthia, names: Sequence[str], images: list[Path]) -> Iterator[Finding]:
    """Whether images are from another package of SYNTHIA, by name or size, or are resized, or not complete."""
    size = next(filter(None, map(_size_of, images)), None)
    if size is None:
        return  # none can be opened, which is reported for each sample
    if package := package_of_images(names, size):
        yield Finding("error", "wrong SYNTHIA package", f"the images are those of {package.name}", REMEDY)
    elif size != IMAGE_SIZE:
        message = f"the first image has {size[1]} x {size[0]} pixels, SYNTHIA-RAND-CITYSCAPES has 1280 x 760"
        yield Finding(
            "warning", "resized SYNTHIA", message, "train from the original files: labels suffer when resized"
        )
    elif len(dataset) < (whole := SPLITS[dataset.split]):
        message = f"{len(dataset):,} images, SYNTHIA-RAND-CITYSCAPES has {whole:,}"
        yield Finding("note", "part of SYNTHIA", message, "published results use all images: unpack the rest")
