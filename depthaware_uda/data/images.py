"""Decodes image, label and depth files into NumPy arrays of their own integer or float type.

Anything wrong with a file raises a ValueError that names it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

__all__ = ["read_depth_values", "read_first_channel", "read_ids", "read_image", "read_size", "upright_rgb"]

# What Pillow raises on files that are truncated or not images at all.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)

# Only these are opened, whatever a file's suffix: for some other formats Pillow starts external programs.
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

_RGB_OF_16_BITS = "RGB;16B"

# The transposition that makes an image of each EXIF orientation upright; 1 is upright already.
_UPRIGHT: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _Rejected(Exception):  # noqa: N818 - never leaves this module
    """A file that can be read, but does not hold what was expected."""


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An opened image; any error of Pillow, now or while decoding, becomes a ValueError that names the file."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            yield image
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{path}: too many pixels to be decoded ({error}); resize it, or raise PIL.Image.MAX_IMAGE_PIXELS if you "
            "trust its origin"
        ) from None
    except _Rejected as error:
        raise ValueError(f"{path}: {error}") from None
    except UnidentifiedImageError:
        known = ", ".join(_FORMATS)
        raise ValueError(f"{path}: cannot be read as an image: it is not one of {known}, or damaged") from None
    except _BROKEN as error:
        raise _unreadable(path, "cannot be read as an image; is it cut short?", error) from None


def _unreadable(path: Path, guess: str, error: Exception) -> ValueError:
    if isinstance(error, OSError) and error.strerror:  # the system refuses access, whatever the file holds
        return ValueError(f"{path}: cannot be read ({error.strerror})")
    return ValueError(f"{path}: {guess} ({error})")


def read_size(path: str | Path) -> tuple[int, int]:
    """Read (height, width) of an image as stored in the file, without decoding it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not an image.
    """
    with _opened(Path(path)) as image:
        return image.height, image.width


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image as RGB, turned upright by its EXIF orientation.

    For colour PNGs of 16 bits a channel, the upper 8 are kept; transparency is dropped.

    Returns:
        Array of shape (H, W, 3), 0..255.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short, is not an image, or has one channel of more than 8 bits.
    """
    with _opened(Path(path)) as image:
        if image.mode.startswith(("I", "F")):
            raise _Rejected(f"expected an image of 8 bits a channel, got mode {image.mode}; save it with 8 bits")
        return upright_rgb(image)


def upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an opened image of 8 bits a channel as RGB, (H, W, 3), turned upright by its EXIF orientation.

    `ImageOps.exif_transpose` would rewrite all of EXIF, and fails if a camera wrote a tag of the wrong type.
    """
    image.load()  # before reading the orientation: decoding a TIFF turns it, and drops the tag
    turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # otherwise Pillow warns of lost transparency
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.array(image if turn is None else image.transpose(turn))


def read_ids(path: str | Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read a label image: the ids (or palette indices) of one channel of up to 16 bits.

    Returns:
        Array of shape (H, W), uint8 or uint16, with the ids in the file.

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


def read_first_channel(path: str | Path) -> NDArray[np.uint16]:
    """Read all 16 bits of the first channel of an RGB PNG of 16 bits a channel, where SYNTHIA stores class ids.

    Returns:
        Array of shape (H, W).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short, is not an image, or is not RGB of 16 bits.
    """
    with _opened(Path(path)) as image:
        if _raw_mode(image) != _RGB_OF_16_BITS:
            raise _Rejected(
                f"expected an RGB PNG of 16 bits a channel with class ids in the first, got mode {image.mode} "
                f"({_raw_mode(image) or image.format}); an image editor that saves such a file loses the ids: "
                "use the original"
            )
    return _rgb_of_16_bits(Path(path), channel=0)


def read_depth_values(path: str | Path) -> NDArray[Any]:
    """Read the values of a depth file.

    PNG and TIFF may have one channel or three equal ones, NPY the shape (H, W) or (1, H, W).

    Returns:
        Array of shape (H, W), of the file's type (uint8, uint16, int32, or floats).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short, is not an image or array, or does not hold one number a pixel.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return _read_array(path)
    with _opened(path) as image:
        if _raw_mode(image) == _RGB_OF_16_BITS:
            values: NDArray[Any] = _rgb_of_16_bits(path)
        elif image.mode in ("L", "RGB", "F") or image.mode.startswith("I"):
            values = np.array(image)
        else:
            raise _Rejected(f"expected a depth image with one channel, or three equal ones, got mode {image.mode}")
        if values.ndim == 3:
            if (values != values[..., :1]).any():
                raise _Rejected("expected a depth image with one channel, or three equal ones, got a colour image")
            values = np.ascontiguousarray(values[..., 0])
        return values


def _read_array(path: Path) -> NDArray[Any]:
    try:
        # Mapped first: a header that claims more than the file holds is refused before memory is allocated.
        values: NDArray[Any] = np.array(np.lib.format.open_memmap(path, mode="r"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except Exception as error:  # NumPy evaluates the header as Python, so a damaged one raises nearly anything
        raise _unreadable(path, "cannot be read as a NumPy array of numbers; is it cut short?", error) from None
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 2 or values.dtype.kind not in "uif":
        raise ValueError(f"{path}: expected an array of numbers (H, W), got {values.dtype} of shape {values.shape}")
    return values


def _raw_mode(image: Image.Image) -> str:
    """Pillow's name for the pixel format in the file of an opened, not yet decoded image."""
    tiles = getattr(image, "tile", [])
    return str(tiles[0][3]) if tiles else ""


def _rgb_of_16_bits(path: Path, channel: int | None = None) -> NDArray[np.uint16]:
    """All bits of an RGB PNG of 16 bits a channel, or with `channel` of that one alone, (H, W), without copying others.

    Pillow keeps only one of the two bytes, so the file is decoded twice. PNG stores the high byte first; read as if the
    low byte came first, the byte that Pillow keeps is the low one. (The decoder of torchvision keeps 16 bits, but a
    damaged file ends the process.)
    """
    high, low = (_decode_as(path, raw, channel) for raw in (_RGB_OF_16_BITS, "RGB;16L"))
    return high * np.uint16(256) + low


def _decode_as(path: Path, raw_mode: str, channel: int | None) -> NDArray[np.uint8]:
    with _opened(path) as image:
        image.tile = [(*tile[:3], raw_mode) for tile in image.tile]  # type: ignore[attr-defined]
        return np.array(image if channel is None else image.getchannel(channel))


def _grey_stretch(image: Image.Image) -> int:
    """The factor by which Pillow stretches a PNG of 2 or 4 bits to 0..255; only known before loading."""
    return {"L;2": 85, "L;4": 17}.get(_raw_mode(image), 1)


def _as_uint16(values: NDArray[Any]) -> NDArray[np.uint16]:
    if values.size and not 0 <= values.min() <= values.max() <= 65535:
        raise _Rejected(f"expected values in 0..65535, got {values.min()}..{values.max()}")
    return values.astype(np.uint16)
