"""Decoding once: samples at their training size in memory-mapped files, shared by all processes of a machine."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import zlib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from depthaware_uda.data.cache_files import CacheFiles, CacheLayout, DepthFormat, format_bytes, read_records
from depthaware_uda.data.geometry import check_size
from depthaware_uda.data.masks import as_tv_tensors
from depthaware_uda.data.packing import PackedSample, pack, unpack
from depthaware_uda.data.transforms import resize
from depthaware_uda.data.wrappers import sample_names, source_files
from depthaware_uda.labels import LabelSpace
from depthaware_uda.types import Sample, SampleDataset

__all__ = ["CachedDataset", "cache_layout", "cached"]

_VERSION = 1


def cache_layout(
    dataset: SampleDataset, size: tuple[int, int] | None = None, *, depth_format: DepthFormat = "centimetres"
) -> CacheLayout:
    """What `cached` would write, and how many `bytes` of disk that takes; three samples are read.

    Args:
        dataset: As for `cached`, as the further arguments.
        size: (height, width) of the cached samples.
        depth_format: How depth is kept.

    Raises:
        ValueError: The data set is empty, or an argument is not usable.
    """
    return _Source(dataset, check_size(size), depth_format).layout


def cached(
    dataset: SampleDataset,
    directory: str | Path,
    size: tuple[int, int] | None = None,
    *,
    depth_format: DepthFormat = "centimetres",
    workers: int = 0,
    progress: bool = True,
) -> CachedDataset:
    """Decode and resize every sample once, into memory-mapped files, and serve them from there.

    The first call fills the cache, after it said how many bytes that takes; later ones open it. Any number of
    processes may call it at once, with any number of workers each: they share the work, and none waits for a lock. A
    call that was cut off is taken up where it was. A cache belongs to its source: each state of the source (names,
    sizes and times of its files, and the content of three samples) and each `size` has a folder of its own below
    `directory`, so a source that changed is decoded anew and never mistaken.

    Images and labels take 8 bits a value, depth 16 bits in centimetres (0.01 to 655.35 m): 6 bytes a pixel with label
    and depth, 3 without. Wrap random transforms around the cache (`Augmented`, or the trainers' `augment`), not inside
    it: they would be drawn once and for all.

    Args:
        dataset: Any data set of samples, always giving the same ones.
        directory: Folder of caches; one may serve any number of data sets.
        size: (height, width) to resize to: the image bilinear and antialiased, label and depth nearest. None keeps
            the size of the samples, which must then be the same.
        depth_format: ``"float32"`` keeps metres as they are, in twice the bytes; for depth that is not in metres, or
            beyond 655 m.
        workers: Processes to decode with; 0 decodes in this one.
        progress: Whether to say what is done and show a progress bar.

    Raises:
        ValueError: The data set is empty, samples differ in size or keys, or an argument is not usable.
        OSError: The disk of `directory` has too little room.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
    directory = Path(directory)
    source = _Source(dataset, check_size(size), depth_format)
    files = CacheFiles(directory / source.fingerprint, source.layout)
    if not files.complete():
        _fill(source, files, workers, progress)
    return CachedDataset(files, source.names, getattr(dataset, "label_space", None))


class CachedDataset:
    """Samples served from the files that `cached` wrote. Can be sent to worker processes.

    Args:
        storage: The files.
        names: Names of the samples, in order.
        label_space: Label space of the samples, if they have one.
    """

    def __init__(self, storage: CacheFiles, names: list[str], label_space: LabelSpace | None) -> None:
        self.storage, self.names = storage, names
        if label_space is not None:
            self.label_space = label_space

    @property
    def folder(self) -> Path:
        """Where the files lie; removing it frees their bytes."""
        return self.storage.folder

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} cached samples")
        index %= len(self)
        return unpack(self.storage.read(index, self.names[index]), share_depth=True)


class _Source(Dataset[PackedSample]):
    """The samples to cache, as the files hold them, and what is known of where they come from."""

    def __init__(self, dataset: SampleDataset, size: tuple[int, int] | None, depth_format: DepthFormat) -> None:
        if depth_format not in get_args(DepthFormat):
            raise ValueError(f"depth_format must be one of {get_args(DepthFormat)}, got {depth_format!r}")
        if len(dataset) == 0:
            raise ValueError("dataset: expected at least one sample, got an empty data set")
        self.dataset, self.size = dataset, size
        self.names = sample_names(dataset)
        probes = {index: self._read(index) for index in sorted({0, len(dataset) // 2, len(dataset) - 1})}
        self.layout = CacheLayout.of(probes[0], len(dataset), depth_format)
        self.identity = _digest([self.names, size, str(self.layout), depth_format])
        content = [zlib.crc32(array.data) for packed in probes.values() for array in packed[:3] if array is not None]
        self.fingerprint = _digest([_VERSION, self.identity, content, *_states(dataset)])

    def _read(self, index: int) -> PackedSample:
        sample = as_tv_tensors(self.dataset[index])
        return pack(sample if self.size is None else resize(self.size)(sample))

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
    """Writing as a data set, so that workers of a `DataLoader` do it."""

    def __init__(self, source: _Source, files: CacheFiles, order: list[int]) -> None:
        self.source, self.files, self.order = source, files, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> int:
        index = self.order[position]
        if not self.files.has(index):  # another process may have been here
            self.files.write(index, self.source[index])
        return index


def _fill(source: _Source, files: CacheFiles, workers: int, progress: bool) -> None:
    begun = files.folder.is_dir()
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
            # Processes that fill the cache together begin at different places.
            order = np.roll(missing, int(np.random.default_rng().integers(len(missing)))).tolist()
            # A generator of its own: reading must not move the global one, which the training run depends on.
            loader = DataLoader(
                _Filling(source, files, order), batch_size=None, num_workers=workers, generator=torch.Generator()
            )
            for _ in loader:
                bar.update()
    files.finish({"identity": source.identity, "first": source.names[0], "size": source.size})


def _announce(source: _Source, files: CacheFiles) -> None:
    tqdm.write(f"caching {source.layout} in {files.folder}")
    others = {name: record for name, record in read_records(files.folder.parent).items() if name != files.folder.name}
    for name, record in others.items():
        if record["identity"] == source.identity:
            tqdm.write(
                f"the source changed since {files.folder.parent / name} was written: decoding it anew; "
                f"remove that folder to free {format_bytes(record['bytes'])}"
            )


def _check_room(files: CacheFiles) -> None:
    # What an earlier call wrote already takes its place on the disk.
    written = sum(getattr(path.stat(), "st_blocks", 0) * 512 for path in files.folder.glob("*.bin"))
    free = shutil.disk_usage(files.folder).free
    if files.layout.bytes > free + written:
        raise OSError(
            errno.ENOSPC,
            f"the cache takes {format_bytes(files.layout.bytes)}, but the disk of {files.folder.parent} has "
            f"{format_bytes(free)} left; choose another directory, or a smaller size",
        )


def _states(dataset: SampleDataset) -> list[tuple[str, int, int]]:
    """Name, size and time of every file of a data set that tells its files."""
    states = ((path.name, path.stat()) for paths in source_files(dataset) for path in paths)
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _shapes(layout: CacheLayout) -> str:
    return ", ".join(f"{key} {shape[-2]} x {shape[-1]}" for key, (shape, _) in layout.files.items() if len(shape) > 1)
