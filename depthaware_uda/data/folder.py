"""Your own images, labels and depth in folders, matched by relative path without suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from depthaware_uda.data.readers import IMAGE_SUFFIXES, check_size, list_files, missing_folder, read_sample
from depthaware_uda.labels import IGNORE_INDEX, LabelSpace, get_label_space
from depthaware_uda.types import Sample

__all__ = ["SegmentationFolder"]


class SegmentationFolder:
    """Images in a folder, flat or nested, with labels and depth in folders of the same structure.

    ``images/town/0001.jpg`` belongs to ``labels/town/0001.png`` and ``depth/town/0001.png``. Every image needs its
    partner in each folder that is given; files without an image are left alone. Samples are called by their path
    below `images`.

    Args:
        images: Folder of photographs (``.jpg``, ``.jpeg``, ``.png``).
        labels: Folder of label images (``.png``): one channel of ids. Samples have no label without it.
        depth: Folder of depth images (``.png``): 16 bits, centimetres, 0 = unknown. Samples have no depth without it.
        label_space: Name of a label space, or a `LabelSpace` of your own.
        label_map: Id in the files to class index (255 to ignore). By default the ids are class indices already.
        size: (height, width) to resize to while reading; the files' own size if None.
        transform: Called with every sample that was read.

    Raises:
        FileNotFoundError: A folder, or the partner of an image, is missing.
        ValueError: There are no images, two files share a relative path without suffix, or an argument is invalid.
    """

    def __init__(
        self,
        images: str | Path,
        labels: str | Path | None = None,
        depth: str | Path | None = None,
        *,
        label_space: str | LabelSpace,
        label_map: Mapping[int, int] | None = None,
        size: tuple[int, int] | None = None,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        self.label_space = get_label_space(label_space)
        self.transform = transform
        self._label_map = _checked_map(label_map, self.label_space)
        self._size = check_size(size)

        self._root = Path(images)
        found = _by_stem("images", self._root, IMAGE_SUFFIXES)
        if not found:
            raise ValueError(f"{self._root}: expected images ({', '.join(IMAGE_SUFFIXES)}), found none")
        self.names = sorted(found.values())
        stems = [_stem(name) for name in self.names]
        self._labels = None if labels is None else _partners("labels", Path(labels), stems)
        self._depth = None if depth is None else _partners("depth", Path(depth), stems)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        sample = read_sample(
            name,
            self._root / name,
            label=None if self._labels is None else self._labels[index],
            label_map=self._label_map,
            depth=None if self._depth is None else self._depth[index],
            size=self._size,
        )
        return sample if self.transform is None else self.transform(sample)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _by_stem(argument: str, folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Files below a folder by their relative path without suffix."""
    if not folder.is_dir():
        expected = f"  {folder}/\n    *{', *'.join(suffixes)} (also in subfolders)"
        raise missing_folder(folder, folder.parent, expected)
    found: dict[str, str] = {}
    for name in list_files(folder, suffixes):
        if (other := found.setdefault(_stem(name), name)) != name:
            raise ValueError(f"{argument}: {other} and {name} in {folder} differ by their suffix alone; remove one")
    return found


def _partners(argument: str, folder: Path, stems: list[str]) -> list[Path]:
    found = _by_stem(argument, folder, (".png",))
    missing = [f"{stem}.png" for stem in stems if stem not in found]
    if missing:
        raise FileNotFoundError(
            f"{argument}: {len(missing)} of {len(stems)} images have no partner in {folder}; "
            f"the first missing: {missing[:5]}"
        )
    return [folder / found[stem] for stem in stems]


def _checked_map(label_map: Mapping[int, int] | None, space: LabelSpace) -> dict[int, int]:
    allowed = {*range(len(space)), IGNORE_INDEX}
    if label_map is None:
        return {index: index for index in allowed}
    wrong = {key: value for key, value in label_map.items() if not 0 <= key <= 65535 or value not in allowed}
    if wrong:
        raise ValueError(
            f"label_map: expected ids 0..65535 to class indices 0..{len(space) - 1} or {IGNORE_INDEX}, got {wrong}"
        )
    return dict(label_map)
