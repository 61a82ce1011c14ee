"""Filling a cache: reading the source, identifying its state, and sharing the work among processes."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import zlib
from typing import Any, get_args

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from depthaware_uda.data.cache.files import CacheFiles, CacheLayout, DepthFormat, format_bytes, read_records
from depthaware_uda.data.contract import check_dataset_type, looks, sample_names, source_files
from depthaware_uda.data.geometry import Geometry
from depthaware_uda.data.masks import as_tv_tensors
from depthaware_uda.data.packing import PackedSample, pack
from depthaware_uda.data.transforms import resize
from depthaware_uda.depth import DepthEncoding
from depthaware_uda.labels import LabelSpace
from depthaware_uda.types import SampleDataset

__all__ = ["Source", "fill"]

_VERSION = 2
_SETTINGS = ("label_space", "label_map", "unknown", "depth_encoding", "geometry")
_WRITTEN_ALIKE = (str, dict, LabelSpace, DepthEncoding, Geometry)


class Source(Dataset[PackedSample]):
    """The samples to cache, packed as in the files, with a fingerprint of the data set's state."""

    def __init__(self, dataset: SampleDataset, size: tuple[int, int] | None, depth_format: DepthFormat) -> None:
        if depth_format not in get_args(DepthFormat):
            raise ValueError(f"depth_format must be one of {get_args(DepthFormat)}, got {depth_format!r}")
        check_dataset_type(dataset)
        if len(dataset) == 0:
            raise ValueError("dataset: expected at least one sample, got an empty data set")
        self.dataset, self.size = dataset, size
        self.names = sample_names(dataset)
        probes = {index: self._read(index) for index in sorted({0, len(dataset) // 2, len(dataset) - 1})}
        self.layout = CacheLayout.of(probes[0], len(dataset), depth_format)
        self.identity = _digest([self.names, size, str(self.layout), depth_format])
        content = [checksum for packed in probes.values() for checksum in _checksums(packed)]
        self.fingerprint = _digest([_VERSION, self.identity, content, _settings(dataset), *_states(dataset)])

    def _read(self, index: int) -> PackedSample:
        sample = as_tv_tensors(self.dataset[index])
        return pack(sample if self.size is None else resize(self.size)(sample))

    def check_repeatable(self) -> None:
        """Raise a ValueError if a sample differs each time it is read."""
        for index in looks(self.dataset):
            if _checksums(self._read(index)) != _checksums(self._read(index)):
                raise ValueError(
                    f"dataset: {self.names[index]!r} is another sample each time it is read, and a cache would keep "
                    "one forever; wrap random transforms around the cache, as Augmented(cached(...), transform)"
                )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> PackedSample:
        packed = self._read(index)
        found = CacheLayout.of(packed, self.layout.samples, self.layout.depth_format)
        if found != self.layout:
            raise ValueError(
                f"samples of a cache must be alike: {self.names[0]!r} is {_shapes(self.layout)}, "
                f"{self.names[index]!r} is {_shapes(found)}; give cached() a size, or drop what only some samples have"
            )
        return packed


class _Filling(Dataset[int]):
    """A data set whose items are written when read, so that workers of a `DataLoader` do the writing."""

    def __init__(self, source: Source, files: CacheFiles, order: list[int]) -> None:
        self.source, self.files, self.order = source, files, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> int:
        index = self.order[position]
        if not self.files.has(index):  # another process may have written it
            self.files.write(index, self.source[index])
        return index


def fill(source: Source, files: CacheFiles, num_workers: int, progress: bool) -> None:
    """Write every sample that is missing, and then the record."""
    begun = files.folder.is_dir()
    if not begun:
        source.check_repeatable()
    files.folder.mkdir(parents=True, exist_ok=True)
    if progress:
        _announce(source, files)
    _check_room(files)
    files.create()
    if begun:
        files.forget_damaged()
    with tqdm(total=len(source), desc="caching", unit="image", disable=not progress) as bar:
        while missing := files.missing():
            bar.update(len(source) - len(missing) - bar.n)
            # Processes that fill the cache together start at different places.
            order = np.roll(missing, int(np.random.default_rng().integers(len(missing)))).tolist()
            # Its own generator: reading must not advance the global one, which the training run depends on.
            loader = DataLoader(
                _Filling(source, files, order), batch_size=None, num_workers=num_workers, generator=torch.Generator()
            )
            for _ in loader:
                bar.update()
    files.finish({"identity": source.identity, "first": source.names[0], "size": source.size})


def _announce(source: Source, files: CacheFiles) -> None:
    tqdm.write(f"caching {source.layout} in {files.folder}")
    others = {name: record for name, record in read_records(files.folder.parent).items() if name != files.folder.name}
    for name, record in others.items():
        if record["identity"] == source.identity:
            tqdm.write(
                f"the source changed since {files.folder.parent / name} was written: decoding it anew; "
                f"remove that folder to free {format_bytes(record['bytes'])}"
            )


def _check_room(files: CacheFiles) -> None:
    # What an earlier call wrote already takes up its space on the disk.
    written = sum(getattr(path.stat(), "st_blocks", 0) * 512 for path in files.folder.glob("*.bin"))
    free = shutil.disk_usage(files.folder).free
    if files.layout.bytes > free + written:
        raise OSError(
            errno.ENOSPC,
            f"the cache takes {format_bytes(files.layout.bytes)}, but the disk of {files.folder.parent} has "
            f"{format_bytes(free)} left; choose another directory, or a smaller size",
        )


def _checksums(packed: PackedSample) -> list[int]:
    return [zlib.crc32(array.data) for array in packed[:3] if array is not None]


def _states(dataset: SampleDataset) -> list[tuple[str, int, int]]:
    """Name, size and time of every file of a data set, if they are known."""
    states = ((path.name, path.stat()) for paths in source_files(dataset) for path in paths)
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def _settings(dataset: object) -> list[str]:
    """Settings that determine labels and depth: three samples need not show every id of a label map."""
    values = {name: getattr(dataset, name, None) for name in _SETTINGS}
    inner = [getattr(dataset, "dataset", None), *getattr(dataset, "datasets", ())]
    return [
        # Only types whose string is the same in every process: others would look like a new source each time.
        *(f"{name}={value}" for name, value in values.items() if isinstance(value, _WRITTEN_ALIKE)),
        *(setting for one in inner if one is not None for setting in _settings(one)),
    ]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _shapes(layout: CacheLayout) -> str:
    return ", ".join(f"{key} {shape[-2]} x {shape[-1]}" for key, (shape, _) in layout.files.items() if len(shape) > 1)
