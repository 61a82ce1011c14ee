"""What can be predicted: a file, a folder, a pattern, an image, a data set, or anything that yields images."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import IOBase
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from depthaware_uda.data.collate import check_some_pixels, check_tensor
from depthaware_uda.data.contract import check_sample_type, sample_names
from depthaware_uda.data.images import read_image, upright_rgb
from depthaware_uda.data.listing import IMAGE_SUFFIXES, list_files
from depthaware_uda.types import Sample, SampleDataset

__all__ = ["Frame", "PredictionInput", "Source", "open_input"]

OneImage = str | Path | Image.Image | NDArray[Any] | Tensor
PredictionInput = OneImage | SampleDataset | Iterable[OneImage]
"""A path (file, folder or pattern), an image, a batch of images, a data set, or an iterable of paths and images."""

_EXPECTED = (
    "expected a path, a PIL image, an array (H, W, 3) or (N, H, W, 3) of 8 bits, a tensor (3, H, W) or (N, 3, H, W), "
    "a data set, or an iterable of these"
)


class Frame(NamedTuple):
    """An image that is read when it is needed."""

    name: str
    """What its results are filed under."""
    read: Callable[[], Tensor]
    """Gives the image, RGB of shape (3, H, W), uint8 or float32 in 0..1."""


class Source(NamedTuple):
    """The images of an input, in order."""

    frames: Iterator[Frame]
    """The images, read one by one."""
    total: int | None
    """How many there are, where that can be known."""
    single: bool
    """Whether the input was one image, rather than a collection of one."""


def open_input(images: PredictionInput, *, leave_out: Path | None = None) -> Source:
    """Recognise an input and check what can be checked before anything is read.

    Args:
        images: See `PredictionInput`.
        leave_out: A folder whose files are not read, even if it lies inside the input.

    Raises:
        FileNotFoundError: There is no such file or folder.
        TypeError: The input is something else.
        ValueError: A folder or pattern without images, an address, or an image of another shape or range.
    """
    if isinstance(images, (str, Path)):
        return _open_path(str(images), leave_out)
    if isinstance(images, (Tensor, np.ndarray)) and images.ndim == 4:
        frames = [Frame(_number(i), _reader(image, f"image {i}")) for i, image in enumerate(images)]
        return Source(iter(frames), len(frames), single=False)
    if isinstance(images, (Image.Image, np.ndarray, Tensor)):
        return Source(iter([Frame("image.png", _reader(images, "the image"))]), 1, single=True)
    if isinstance(images, (Mapping, bytes, IOBase)):
        raise TypeError(f"cannot predict {type(images).__name__}: {_EXPECTED}")
    if isinstance(images, SampleDataset) and not isinstance(images, (list, tuple)):
        return _open_dataset(images)
    if isinstance(images, (list, tuple)):
        return Source(_numbered(images, copy=False), len(images), single=False)
    if isinstance(images, Iterable):
        return Source(_numbered(images, copy=True), None, single=False)
    raise TypeError(f"cannot predict {type(images).__name__}: {_EXPECTED}")


def _open_path(text: str, leave_out: Path | None) -> Source:
    path = Path(text)
    if "://" in text:
        raise ValueError(f"{text}: addresses are not fetched; download the file and pass its path")
    if path.is_file():
        return Source(iter([Frame(path.name, _file_reader(path))]), 1, single=True)
    if path.is_dir():
        root, files = path, [path / name for name in list_files(path, IMAGE_SUFFIXES)]
    elif glob.has_magic(text):
        root = Path(*_before_magic(PurePath(text)))
        files = sorted(Path(match) for match in glob.glob(text, recursive=True))  # noqa: PTH207 - absolute ones too
        files = [file for file in files if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES]
    else:
        raise FileNotFoundError(f"{text}: no such file or folder, and no pattern with * or ?")
    if leave_out is not None:
        files = [file for file in files if leave_out.resolve() not in file.resolve().parents]
    if not files:
        raise ValueError(f"{text}: expected images ({', '.join(IMAGE_SUFFIXES)}), found none")
    frames = (Frame(file.relative_to(root).as_posix(), _file_reader(file)) for file in files)
    return Source(frames, len(files), single=False)


def _before_magic(pattern: PurePath) -> Iterator[str]:
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _open_dataset(dataset: SampleDataset) -> Source:
    names = sample_names(dataset)

    def reader(index: int, name: str) -> Callable[[], Tensor]:
        return lambda: _sample_image(dataset[index], name)

    frames = (Frame(name, reader(index, name)) for index, name in enumerate(names))
    return Source(frames, len(names), single=False)


def _sample_image(sample: Sample, name: str) -> Tensor:
    check_sample_type(sample, name)
    image = sample["image"]
    check_tensor(image, "image", name)
    known = image.is_floating_point() or image.dtype == torch.uint8
    if image.ndim != 3 or len(image) != 3 or image.numel() == 0 or not known:
        raise ValueError(
            f"image of {name} is {image.dtype} {tuple(image.shape)}, expected RGB in 0..1 in floating point, (3, H, W)"
        )
    check_some_pixels(image, f"image of {name}")
    return image.as_subclass(Tensor)


def _numbered(images: Iterable[OneImage], *, copy: bool) -> Iterator[Frame]:
    """Images by number, files by path; with `copy` at once, for what yields all frames of a video in one buffer."""
    for index, image in enumerate(images):
        if isinstance(image, (str, Path)):
            yield Frame(_path_name(Path(image)), _file_reader(Path(image)))
        elif copy:
            yield Frame(_number(index), _copy(_image_tensor(image, f"image {index}")))
        else:
            yield Frame(_number(index), _reader(image, f"image {index}"))


def _copy(image: Tensor) -> Callable[[], Tensor]:
    copied = image.clone()
    return lambda: copied


def _path_name(path: Path) -> str:
    """A path as a name: itself if it stays below the working folder, else the file's name."""
    return path.name if path.is_absolute() or ".." in path.parts else path.as_posix()


def _number(index: int) -> str:
    return f"{index:06d}.png"


def _file_reader(path: Path) -> Callable[[], Tensor]:
    return lambda: torch.from_numpy(read_image(path)).permute(2, 0, 1)


def _reader(image: Image.Image | NDArray[Any] | Tensor, what: str) -> Callable[[], Tensor]:
    return lambda: _image_tensor(image, what)


def _image_tensor(image: Image.Image | NDArray[Any] | Tensor, what: str) -> Tensor:
    """RGB (3, H, W) of an image in memory, uint8 or float32 in 0..1."""
    if isinstance(image, Image.Image):
        if image.mode.startswith(("I", "F")):
            raise ValueError(
                f"{what}: expected an image of 8 bits a channel, got mode {image.mode}; save it with 8 bits"
            )
        return torch.from_numpy(upright_rgb(image)).permute(2, 0, 1)
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"{what}: an array must be RGB of 8 bits, (H, W, 3), got {image.dtype} {image.shape}")
        # torch shares the memory of arrays, and warns of those that must not be written to, as PIL gives them.
        return torch.from_numpy(np.require(image, requirements=("C", "W"))).permute(2, 0, 1)
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
            raise ValueError(f"{what}: a tensor must be RGB, (3, H, W) or (N, 3, H, W), got {tuple(image.shape)}")
        if image.dtype == torch.uint8:
            return image.detach()
        if not image.is_floating_point() or not 0 <= float(image.min()) <= float(image.max()) <= 1:
            raise ValueError(
                f"{what}: a tensor must hold RGB in 0..1, not normalised, got {image.dtype} in "
                f"{float(image.min()):g}..{float(image.max()):g}; the model normalises by itself"
            )
        return image.detach().float()
    raise TypeError(f"{what}: cannot predict {type(image).__name__}: {_EXPECTED}")
