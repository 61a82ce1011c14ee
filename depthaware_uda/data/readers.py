"""Reading image, label and depth files, and listing them: what the data sets on disk share.

Files come in as NumPy arrays of their own integer type; `read_sample` turns them into the contract of `Sample`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torchvision import tv_tensors

from depthaware_uda.data.masks import DepthMask, LabelMask
from depthaware_uda.depth import centimetres_to_metres
from depthaware_uda.labels import remap
from depthaware_uda.types import Sample

__all__ = [
    "IMAGE_SUFFIXES",
    "check_size",
    "list_files",
    "missing_folder",
    "read_depth_centimetres",
    "read_ids",
    "read_image",
    "read_sample",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""What counts as a photograph, in any case of letters."""

# What Pillow raises on files that are cut short or are something else altogether.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An opened image; whatever Pillow finds wrong, now or while decoding, is a ValueError that names the file."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except _Rejected as error:
        raise ValueError(f"{path}: {error}") from None
    except _BROKEN as error:
        raise ValueError(f"{path}: cannot be read as an image; is it cut short? ({error})") from None


class _Rejected(Exception):  # noqa: N818 - never leaves this module
    """A file that was read, and is not what was asked for."""


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a photograph as RGB, turned upright by its EXIF orientation.

    Returns:
        Array of shape (H, W, 3), 0..255.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short, is not an image, or has more than 8 bits a channel.
    """
    with _opened(Path(path)) as image:
        if image.mode.startswith(("I", "F")):
            raise _Rejected(f"expected an image of 8 bits a channel, got mode {image.mode}; convert it first")
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def read_ids(path: str | Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read a label image: the ids (or palette indices) of one channel of up to 16 bits.

    Returns:
        Array of shape (H, W), uint8 or uint16, the ids as they stand in the file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short, is not an image, or is a colour image.
    """
    with _opened(Path(path)) as image:
        if image.mode == "1":
            return np.array(image).astype(np.uint8)
        if image.mode in ("L", "P"):
            stretch = _grey_stretch(image)
            return np.array(image) // stretch
        if image.mode.startswith("I"):
            return _as_uint16(np.array(image))
        raise _Rejected(
            f"expected a label image with one channel of class ids, got mode {image.mode}; turn colours into ids first"
        )


def _grey_stretch(image: Image.Image) -> int:
    """Find by how much Pillow will multiply the greys of a PNG of 2 or 4 bits, to span 0..255; only before loading."""
    tiles = getattr(image, "tile", [])
    return {"L;2": 85, "L;4": 17}.get(str(tiles[0][3]) if tiles else "", 1)


def read_depth_centimetres(path: str | Path) -> NDArray[np.uint16]:
    """Read a depth image: one channel of 16 bits, in centimetres, 0 where unknown.

    Returns:
        Array of shape (H, W).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short, is not an image, or does not have one channel of 16 bits.
    """
    with _opened(Path(path)) as image:
        if not image.mode.startswith("I"):
            raise _Rejected(f"expected a depth image with one channel of 16 bits in centimetres, got mode {image.mode}")
        return _as_uint16(np.array(image))


def _as_uint16(values: NDArray[Any]) -> NDArray[np.uint16]:
    if values.size and not 0 <= values.min() <= values.max() <= 65535:
        raise _Rejected(f"expected values in 0..65535, got {values.min()}..{values.max()}")
    return values.astype(np.uint16)


def _resize_nearest(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize (H, W) to `size`; each new pixel takes the old pixel under its centre."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for new, old in zip(size, values.shape, strict=True)
    )
    resized: NDArray[Any] = values[rows[:, None], columns]
    return resized


def read_sample(
    name: str,
    image: Path,
    *,
    label: Path | None = None,
    label_map: Mapping[int, int] | None = None,
    depth: Path | None = None,
    size: tuple[int, int] | None = None,
) -> Sample:
    """Read the files of one sample and bring them to the contract of `Sample`.

    Args:
        name: The sample's name.
        image: File of the photograph.
        label: File of the label ids; the sample has no label without it.
        label_map: Id to class index; needed with `label`.
        depth: File of the depth in centimetres; the sample has no depth without it.
        size: (height, width) to resize to: the image bilinear and antialiased, label and depth nearest.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file cannot be read, its size differs from the image's, or the map lacks one of its ids.
    """
    pixels = read_image(image)
    height, width = pixels.shape[:2]

    def fitted(values: NDArray[Any], path: Path) -> NDArray[Any]:
        if values.shape != (height, width):
            raise ValueError(
                f"{path}: expected {height} x {width} pixels as in {image}, got {values.shape[0]} x {values.shape[1]}"
            )
        return values if size is None else _resize_nearest(values, size)

    sample = Sample(name=name)
    if label is not None:
        ids = fitted(read_ids(label), label)
        sample["label"] = LabelMask(torch.from_numpy(remap(ids, label_map or {}, name=str(label))))
    if depth is not None:
        metres = centimetres_to_metres(fitted(read_depth_centimetres(depth), depth))
        sample["depth"] = DepthMask(torch.from_numpy(metres)[None])
    if size is not None and size != (height, width):
        pixels = np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    sample["image"] = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float() / 255)
    return sample


def check_size(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Give back a (height, width) in pixels, or None; ValueError if it is anything else."""
    if size is None:
        return None
    values = tuple(size) if isinstance(size, Iterable) else (size,)
    if len(values) != 2 or not all(isinstance(value, int) and value > 0 for value in values):
        raise ValueError(f"size must be (height, width) in whole pixels above 0, got {size!r}")
    return values[0], values[1]


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """List the files below a folder with one of the suffixes: sorted relative paths, forward slashes, none hidden."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))


def missing_folder(folder: Path, root: Path, expected: str) -> FileNotFoundError:
    """Make the error for a missing folder: what was expected below `root`, and what is there."""
    if root.is_dir():
        entries = sorted(f"{path.name}/" if path.is_dir() else path.name for path in root.iterdir())
        found = ", ".join(entries[:10]) + (f" and {len(entries) - 10} more" if len(entries) > 10 else "")
        found = f"{root} holds: {found or 'nothing'}"
    else:
        found = f"{root} does not exist"
    return FileNotFoundError(f"{folder}: no such folder\nexpected:\n{expected.rstrip()}\nfound:\n  {found}")
