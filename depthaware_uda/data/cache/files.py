"""The files of one cache: a flat file for each key, a checksum for each sample, and a record once it is complete.

Nothing is locked. Every process that fills a cache writes the same bytes to the same places, first a sample and then
its checksum, so a sample with a checksum is whole, and a process that dies leaves nothing to clean up.
"""

from __future__ import annotations

import math
import os
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from depthaware_uda.data.packing import PackedSample
from depthaware_uda.depth import centimetres_to_metres, metres_to_centimetres
from depthaware_uda.files import expecting, read_json, write_json

__all__ = ["CacheFiles", "CacheLayout", "DepthFormat"]

DepthFormat = Literal["centimetres", "float32"]
"""How depth is stored: 16-bit centimetres, or metres as float32 where centimetres would lose something."""
RECORD_FILE = "cache.json"
_CHECKSUMS = "checksums"


@dataclass(frozen=True)
class CacheLayout:
    """Shapes of the samples of a cache, and their size in bytes; `str` gives a readable summary.

    A key that samples do not have has the shape None.
    """

    samples: int
    """Number of samples."""
    image: tuple[int, int, int]
    """(3, H, W)."""
    label: tuple[int, int] | None
    """(H, W)."""
    depth: tuple[int, int, int] | None
    """(1, H, W)."""
    depth_format: DepthFormat = "centimetres"
    """How depth is stored."""

    @classmethod
    def of(cls, packed: PackedSample, samples: int, depth_format: DepthFormat) -> CacheLayout:
        """The layout of samples like this one."""
        label = None if packed.label is None else (packed.label.shape[0], packed.label.shape[1])
        depth = None if packed.depth is None else (1, packed.depth.shape[1], packed.depth.shape[2])
        return cls(samples, (3, packed.image.shape[1], packed.image.shape[2]), label, depth, depth_format)

    @property
    def files(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and type of every file, by key."""
        depth_type = np.uint16 if self.depth_format == "centimetres" else np.float32
        arrays = {"image": (self.image, np.uint8), "label": (self.label, np.uint8), "depth": (self.depth, depth_type)}
        found = {key: ((self.samples, *shape), np.dtype(dtype)) for key, (shape, dtype) in arrays.items() if shape}
        return {**found, _CHECKSUMS: ((self.samples,), np.dtype(np.uint32))}

    @property
    def bytes(self) -> int:
        """Bytes on disk of all samples."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.files.values())

    def __str__(self) -> str:
        keys = ", ".join(key for key in self.files if key != _CHECKSUMS)
        height, width = self.image[1:]
        return f"{self.samples:,} samples of {height} x {width} ({keys}): {format_bytes(self.bytes)}"


def format_bytes(count: int) -> str:
    """A number of bytes for people: 812 bytes, 3.1 MB, 7.8 GB."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if count >= 1000**power:
            return f"{count / 1000**power:.1f} {unit}"
    return f"{count} bytes"


class CacheFiles:
    """The files of a layout in a folder; `create` makes those that are missing, empty, at their full size.

    Objects can be pickled to worker processes, which map the files again.
    """

    def __init__(self, folder: Path, layout: CacheLayout) -> None:
        self.folder, self.layout = folder, layout

    def create(self) -> None:
        """Create the files that are missing, and resize those of another size; existing content stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for key, (shape, dtype) in self.layout.files.items():
            descriptor = os.open(self._path(key), os.O_CREAT | os.O_RDWR | getattr(os, "O_BINARY", 0))
            try:
                if os.fstat(descriptor).st_size != math.prod(shape) * dtype.itemsize:
                    os.ftruncate(descriptor, math.prod(shape) * dtype.itemsize)
            finally:
                os.close(descriptor)

    def complete(self) -> bool:
        """Whether the record says that all samples were written, and the files have their sizes."""
        if not (self.folder / RECORD_FILE).is_file():
            return False
        sizes = {key: math.prod(shape) * dtype.itemsize for key, (shape, dtype) in self.layout.files.items()}
        return all(self._path(key).is_file() and self._path(key).stat().st_size == size for key, size in sizes.items())

    def finish(self, record: dict[str, Any]) -> None:
        """Flush all files to the disk and write the record."""
        for key in self.layout.files:
            with self._path(key).open("r+b") as file:
                os.fsync(file.fileno())
        write_json(self.folder / RECORD_FILE, {**record, "layout": asdict(self.layout), "bytes": self.layout.bytes})

    def missing(self) -> list[int]:
        """Indices of the samples that have no checksum yet."""
        missing: list[int] = np.flatnonzero(self._maps[_CHECKSUMS] == 0).tolist()
        return missing

    def has(self, index: int) -> bool:
        """Whether a sample has a checksum by now."""
        return bool(self._maps[_CHECKSUMS][index])

    def forget_damaged(self) -> None:
        """Clear the checksum of every sample that does not match it, as after an interrupted write."""
        for index in np.flatnonzero(self._maps[_CHECKSUMS]).tolist():
            if self._maps[_CHECKSUMS][index] != _checksum([self._maps[key][index] for key in self._keys]):
                self._write(_CHECKSUMS, index, np.zeros(1, np.uint32))

    def write(self, index: int, packed: PackedSample) -> None:
        """Write a sample, and then its checksum."""
        arrays: dict[str, NDArray[Any]] = {"image": packed.image}
        if packed.label is not None:
            arrays["label"] = packed.label
        if packed.depth is not None:
            metres = self.layout.depth_format == "float32"
            arrays["depth"] = packed.depth if metres else metres_to_centimetres(packed.depth)
        for key, array in arrays.items():
            self._write(key, index, array)
        self._write(_CHECKSUMS, index, np.array([_checksum(list(arrays.values()))], np.uint32))

    def read(self, index: int, name: str) -> PackedSample:
        """Read a sample; its depth is a new array, image and label are views of the mapped files."""
        depth = self._maps["depth"][index] if "depth" in self._maps else None
        if depth is not None:
            depth = centimetres_to_metres(depth) if self.layout.depth_format == "centimetres" else depth.copy()
        return PackedSample(
            image=self._maps["image"][index],
            label=self._maps["label"][index] if "label" in self._maps else None,
            depth=depth,
            name=name,
        )

    @property
    def _keys(self) -> list[str]:
        return [key for key in self.layout.files if key != _CHECKSUMS]

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.bin"

    @cached_property
    def _maps(self) -> dict[str, NDArray[Any]]:
        # Copy on write: nothing here writes, but PyTorch warns about read-only arrays.
        return {
            key: np.memmap(self._path(key), dtype, "r" if key == _CHECKSUMS else "c", shape=shape)
            for key, (shape, dtype) in self.layout.files.items()
        }

    def _write(self, key: str, index: int, array: NDArray[Any]) -> None:
        shape, dtype = self.layout.files[key]
        with self._path(key).open("r+b", buffering=0) as file:
            file.seek(index * math.prod(shape[1:]) * dtype.itemsize)
            file.write(np.ascontiguousarray(array, dtype).data)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "layout": self.layout}


def _checksum(arrays: list[NDArray[Any]]) -> int:
    """CRC-32 of the arrays in order; never 0, which marks a sample that is not written yet."""
    value = 0
    for array in arrays:
        value = zlib.crc32(np.ascontiguousarray(array).data, value)
    return value or 1


def read_records(directory: Path) -> dict[str, dict[str, Any]]:
    """Records of all complete caches below a directory, by folder name; damaged ones are left out."""
    records = {}
    for path in sorted(directory.glob(f"*/{RECORD_FILE}")):
        with suppress(ValueError), expecting("the record of a cache", path):
            record = read_json(path)
            records[path.parent.name] = {**record, "identity": record["identity"], "bytes": int(record["bytes"])}
    return records
