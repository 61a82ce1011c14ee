"""A cache of decoded samples at their training size: memory-mapped files that all processes of a machine share."""

from __future__ import annotations

from pathlib import Path

from depthaware_uda.data.cache.files import CacheFiles, CacheLayout, DepthFormat
from depthaware_uda.data.cache.filling import Source, fill
from depthaware_uda.data.contract import check_loading, has_metric_depth, known_label_space
from depthaware_uda.data.geometry import check_size
from depthaware_uda.data.packing import unpack
from depthaware_uda.labels import LabelSpace
from depthaware_uda.types import Sample, SampleDataset

__all__ = ["CachedDataset", "cache_layout", "cached"]


def cache_layout(
    dataset: SampleDataset, size: tuple[int, int] | None = None, *, depth_format: DepthFormat = "centimetres"
) -> CacheLayout:
    """The layout that `cached` would write, with its size on disk in `bytes`; three samples are read.

    Args:
        dataset: As in `cached`, like the other arguments.
        size: (height, width) of the cached samples.
        depth_format: How depth is stored.

    Raises:
        ValueError: The data set is empty, or an argument is invalid.
    """
    return Source(dataset, check_size(size), depth_format).layout


def cached(
    dataset: SampleDataset,
    directory: str | Path,
    size: tuple[int, int] | None = None,
    *,
    depth_format: DepthFormat = "centimetres",
    num_workers: int = 0,
    progress: bool = True,
) -> CachedDataset:
    """Decode and resize every sample once, into memory-mapped files, and serve them from there.

    The first call prints how many bytes the cache takes, and fills it; later calls open it. Any number of processes may
    call it at once, with any number of workers each: they share the work without locks. An interrupted call is resumed
    by the next one. Each state of the source (names, sizes and times of its files, label map, depth encoding, and the
    content of three samples) and each `size` has its own folder below `directory`, so a source that changed is decoded
    again. If the files of a data set are not known, only changes of names and of the first, middle and last sample are
    noticed: after others, remove its cache.

    Images and labels take 8 bits a value, depth 16 bits in centimetres (0.01 to 655.35 m): 6 bytes a pixel with label
    and depth, 3 without. Wrap random transforms around the cache (`Augmented`, or the trainers' `augment`), not inside
    it, where they would be drawn only once.

    Args:
        dataset: Any data set whose samples are the same each time.
        directory: Folder of caches; any number of data sets may share it.
        size: (height, width) to resize to: the image bilinear and antialiased, label and depth nearest. None keeps
            the size of the samples, which must then be equal.
        depth_format: ``"float32"`` stores metres as they are, in twice the bytes; for depth that is not in metres, or
            beyond 655 m.
        num_workers: Processes that decode; 0 decodes in this one.
        progress: Whether to print what is done and show a progress bar.

    Raises:
        ValueError: The data set is empty, samples differ in size or keys, a sample differs each time it is read,
            an image is not in 0..1 or a label not in 0..255, or an argument is invalid.
        OSError: The disk of `directory` has too little space.
    """
    check_loading(num_workers=num_workers)
    directory = Path(directory)
    source = Source(dataset, check_size(size), depth_format)
    files = CacheFiles(directory / source.fingerprint, source.layout)
    if not files.complete():
        fill(source, files, num_workers, progress)
    return CachedDataset(files, source.names, known_label_space(dataset), is_metric=has_metric_depth(dataset))


class CachedDataset:
    """Samples served from the files that `cached` wrote. It can be pickled to worker processes.

    Args:
        storage: The files.
        names: Names of the samples, in order.
        label_space: Label space of the samples, if they have one.
        is_metric: Whether their depth is in metres rather than relative.
    """

    def __init__(
        self, storage: CacheFiles, names: list[str], label_space: LabelSpace | None, *, is_metric: bool = True
    ) -> None:
        self.storage, self.names, self.is_metric = storage, names, is_metric
        if label_space is not None:
            self.label_space = label_space

    @property
    def folder(self) -> Path:
        """Folder of the files; remove it to free their space."""
        return self.storage.folder

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} cached samples")
        index %= len(self)
        return unpack(self.storage.read(index, self.names[index]), share_depth=True)
