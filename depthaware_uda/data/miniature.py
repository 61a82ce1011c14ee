"""MiniCity on disk in the exact formats of SYNTHIA, Cityscapes and Mapillary Vistas, to try a pipeline without them.

A pipeline can be tried on its file formats in minutes, before the downloads are complete. Tests and the smoke mode of
the example scripts use it too.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthaware_uda.data.geometry import check_size, is_integer
from depthaware_uda.data.listing import check_choice
from depthaware_uda.data.minicity import Rendering, render
from depthaware_uda.depth import metres_to_centimetres
from depthaware_uda.files import atomic_path, write_json
from depthaware_uda.labels import IGNORE_INDEX, get_label_space, id_map

__all__ = ["write_miniature"]

Layout = Literal["synthia", "cityscapes", "mapillary"]
Split = Literal["train", "val"]

_SIXTEEN = get_label_space("cityscapes16")
_THINGS = tuple(_SIXTEEN.index(name) for name in ("person", "rider", "car", "bus", "motorcycle", "bicycle"))
# Mapillary Vistas has no map to the 16 classes; these are the ids that MiniCity's classes are written as.
_MAPILLARY_IDS = (13, 15, 17, 6, 3, 45, 48, 50, 30, 27, 19, 20, 55, 54, 57, 52)
_BASELINE, _FOCAL_LENGTH = 0.209313, 2262.52
_CITYSCAPES_WIDTH = 2048


def write_miniature(
    root: str | Path, layout: Layout, count: int = 4, *, size: tuple[int, int] = (96, 160), seed: int = 0
) -> Path:
    """Render MiniCity scenes and write them in the file layout of the named data set.

    SYNTHIA gets the synthetic style, the two others the real one. ``"synthia"`` writes ``RGB``, ``GT/LABELS`` (16-bit
    RGB: class id, instance id, 0; all objects of a class share one instance id) and ``Depth/Depth`` (centimetres; the
    sky is 655.35 m). ``"cityscapes"`` writes `count` images for training and a quarter of that, at least one, for
    validation, with ``gtFine``, ``disparity`` and ``camera``. ``"mapillary"`` writes as many, as JPEG, with
    ``v1.2/labels``; every other image is a quarter narrower, since the images of Vistas differ in size.

    Args:
        root: Folder to write to; created if missing.
        layout: The data set to imitate.
        count: Number of images, for training.
        size: (height, width) of the images.
        seed: Selects the scenes of MiniCity.

    Returns:
        The root.

    Raises:
        ValueError: An argument is not one of its choices.
    """
    check_choice("layout", layout, get_args(Layout))
    if not is_integer(count) or count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    if not (is_integer(seed) and 0 <= seed < 1 << 31):
        raise ValueError(f"seed must be an integer of at least 0 and below 2 ** 31, got {seed!r}")
    if (checked := check_size(size)) is None:
        raise ValueError("size must be (height, width) in pixels, got None")
    root = Path(root)
    if layout == "synthia":
        for index in range(count):
            _write_synthia(root, index, render(seed, index, size=checked))
        return root
    write: Callable[[Path, Split, int, Rendering], None]
    write = _write_cityscapes if layout == "cityscapes" else _write_mapillary
    splits: tuple[tuple[Split, int], ...] = (("train", count), ("val", max(1, count // 4)))
    for offset, (split, number) in enumerate(splits):
        for index in range(number):
            narrow = layout == "mapillary" and index % 2 == 1
            shape = (checked[0], max(16, checked[1] * 3 // 4)) if narrow else checked
            write(root, split, index, render(2 * seed + offset, index, style="real", size=shape))
    return root


def _write_synthia(root: Path, index: int, scene: Rendering) -> None:
    name = f"{index:07d}.png"
    _write_image(root / "RGB" / name, scene.image)
    ids = _to_ids("synthia")[scene.label]
    instances = np.where(np.isin(scene.label, _THINGS), 300 + scene.label.astype(np.uint16), 0)
    _write_png16(root / "GT" / "LABELS" / name, np.stack([ids, instances, np.zeros_like(ids)], -1))
    metres = np.where(np.isnan(scene.depth), np.inf, scene.depth)
    _write_png16(root / "Depth" / "Depth" / name, metres_to_centimetres(metres))


def _write_cityscapes(root: Path, split: Split, index: int, scene: Rendering) -> None:
    stem = f"minicity_{index:06d}_000019"

    def path(kind: str, ending: str) -> Path:
        return root / kind / split / "minicity" / f"{stem}_{ending}"

    _write_image(path("leftImg8bit", "leftImg8bit.png"), scene.image)
    _write_image(path("gtFine", "gtFine_labelIds.png"), _to_ids("cityscapes")[scene.label].astype(np.uint8))
    # The focal length scales with the image width, as for a camera with fewer pixels.
    focal_length = _FOCAL_LENGTH * scene.label.shape[1] / _CITYSCAPES_WIDTH
    disparity = np.round(256 * _BASELINE * focal_length / scene.depth + 1)
    _write_png16(path("disparity", "disparity.png"), np.nan_to_num(disparity).clip(0, 65535).astype(np.uint16))
    write_json(
        path("camera", "camera.json"),
        {"extrinsic": {"baseline": _BASELINE}, "intrinsic": {"fx": focal_length, "fy": focal_length}},
    )


def _write_mapillary(root: Path, split: Split, index: int, scene: Rendering) -> None:
    folder = root / {"train": "training", "val": "validation"}[split]
    _write_image(folder / "images" / f"minicity-{index:04d}.jpg", scene.image)
    ids = _to_ids("mapillary")[scene.label].astype(np.uint8)
    _write_image(folder / "v1.2" / "labels" / f"minicity-{index:04d}.png", ids)


def _to_ids(layout: Layout) -> NDArray[np.uint16]:
    """The table from MiniCity's classes to a data set's ids."""
    if layout == "mapillary":
        return np.array(_MAPILLARY_IDS, np.uint16)
    ids = {index: i for i, index in id_map(layout, _SIXTEEN).items() if index != IGNORE_INDEX}
    return np.array([ids[index] for index in range(len(_SIXTEEN))], np.uint16)


def _write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    with atomic_path(path) as partial:
        Image.fromarray(pixels).save(partial, quality=95)  # for JPEG; PNG is lossless


def _write_png16(path: Path, values: NDArray[np.uint16]) -> None:
    """Write (H, W) or (H, W, 3) as a PNG of 16 bits a channel; Pillow writes RGB only with 8."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = values.shape[:2]
    grey_or_rgb = 0 if values.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", width, height, 16, grey_or_rgb, 0, 0, 0)
    rows = values.astype(">u2").reshape(height, -1)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))  # 0: a row without a filter
    with atomic_path(path) as partial:
        partial.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
