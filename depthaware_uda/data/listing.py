"""Lists and matches the files of a data set on disk, with errors that show what was expected."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

__all__ = [
    "DEPTH_SUFFIXES",
    "IMAGE_SUFFIXES",
    "by_stem",
    "check_choice",
    "images_by_stem",
    "list_files",
    "missing_folder",
    "no_images",
    "partners",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Suffixes of images, in upper or lower case."""

DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
"""Suffixes of depth files, in upper or lower case."""


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """List the files below a folder with one of the suffixes, as sorted relative paths with forward slashes.

    Hidden files are left out. Links to folders are followed, as data sets are often linked together from several disks,
    except a link back to a folder that contains it. A folder that cannot be read raises an OSError.
    """
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".") and not _leads_back(Path(parent, name))]
        prefix = Path(parent).relative_to(folder)
        found += [
            (prefix / name).as_posix() for name in files if name.lower().endswith(suffixes) and not name.startswith(".")
        ]
    return sorted(found)


def _raise(error: OSError) -> NoReturn:
    raise error


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it was reached through."""
    return folder.is_symlink() and folder.resolve() in {above.resolve() for above in folder.absolute().parents}


def by_stem(argument: str, folder: Path, suffixes: tuple[str, ...], *, ending: str = "") -> dict[str, str]:
    """Files below a folder by their relative path without suffix, sorted.

    Args:
        argument: Name of the folder in errors.
        folder: Where to look, at any depth.
        suffixes: Suffixes to look for, in upper or lower case.
        ending: Only take files whose stem ends with it; it is removed from the stem.

    Raises:
        ValueError: Two files share a stem.
    """
    found: dict[str, str] = {}
    for name in list_files(folder, suffixes):
        stem = name.rpartition(".")[0]
        if not stem.endswith(ending):
            continue
        if (other := found.setdefault(stem.removesuffix(ending), name)) != name:
            raise ValueError(
                f"{argument}: {other} and {name} in {folder} differ only in their suffix; remove one, or move labels "
                "and depth to folders of their own"
            )
    return found


def images_by_stem(
    argument: str, folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES, *, ending: str = ""
) -> dict[str, str]:
    """The images of a data set, as `by_stem` finds them; ValueError if there are none."""
    images = by_stem(argument, folder, suffixes, ending=ending)
    if not images:
        raise no_images(folder, tuple(f"{ending}{suffix}" for suffix in suffixes))
    return images


def partners(
    argument: str, folder: Path | None, stems: Collection[str], suffixes: tuple[str, ...], *, ending: str = ""
) -> Sequence[Path | None]:
    """Find the file of every stem below a folder, as `by_stem` matches them; all are None if `folder` is None.

    Names match whether their accents are composed or decomposed in Unicode, which differs in copies from macOS.

    Raises:
        FileNotFoundError: A stem has no file; the first few are named.
        ValueError: Two files share a stem.
    """
    if folder is None:
        return [None] * len(stems)
    found = by_stem(argument, folder, suffixes, ending=ending)
    alike = {_composed(stem): name for stem, name in found.items()}
    matched = {stem: found.get(stem, alike.get(_composed(stem))) for stem in stems}
    missing = [f"{stem}{ending}{suffixes[0]}" for stem, name in matched.items() if name is None]
    if missing:
        raise FileNotFoundError(
            f"{argument}: {len(missing)} of {len(stems)} images have no partner in {folder}; "
            f"the first missing: {missing[:5]}; the first files there: {list_files(folder, ('',))[:5]}. "
            "Add the files, or remove the images; FileDataset takes files of any names"
        )
    return [folder / name for name in matched.values() if name is not None]


def _composed(stem: str) -> str:
    return unicodedata.normalize("NFC", stem)


def missing_folder(folder: Path, root: Path, expected: str) -> FileNotFoundError:
    """The error for a missing folder: what was expected below `root`, and what is there."""
    if root.is_dir():
        entries = sorted(f"{path.name}/" if path.is_dir() else path.name for path in root.iterdir())
        found = ", ".join(entries[:10]) + (f" and {len(entries) - 10} more" if len(entries) > 10 else "")
        found = f"{root} holds: {found or 'nothing'}"
    elif root.exists():
        found = f"{root} is a file, not a folder; if it is an archive, unpack it"
    else:
        found = f"{root} does not exist"
    return FileNotFoundError(f"{folder}: no such folder\nexpected:\n{expected.rstrip()}\nfound:\n  {found}")


def no_images(folder: Path, suffixes: tuple[str, ...]) -> ValueError:
    """The error for a folder without images."""
    return ValueError(f"{folder}: expected images ({', '.join(suffixes)}), found none")


def check_choice(argument: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise a ValueError unless a value is one of its choices."""
    if value not in choices:
        raise ValueError(f"{argument} must be one of {choices}, got {value!r}")
