"""The result of a prediction, and its files."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthaware_uda.depth import metres_to_centimetres
from depthaware_uda.files import atomic_path, safe_join
from depthaware_uda.labels import LabelSpace
from depthaware_uda.paint import colorize_depth, overlay

__all__ = ["DEFAULT_FILES", "FileKind", "Prediction", "prediction_path"]

FileKind = Literal["labels", "overlays", "depth", "depth_pictures", "confidence", "entropy"]
"""The folders that predictions are written to: 8-bit class indices, classes over the image, 16-bit centimetres, depth
in colours, and confidence and entropy as 8-bit greys (255 is 1)."""

DEFAULT_FILES: tuple[FileKind, ...] = ("labels", "overlays", "depth")
"""The files that are written by default."""
_SUFFIX = {"overlays": ".jpg"}


def prediction_path(folder: str | Path, kind: FileKind, name: str) -> Path:
    """Path of one kind of file for an image name: ``FOLDER/labels/town/1.png`` for ``town/1.jpg``."""
    return safe_join(Path(folder) / kind, name).with_suffix(_SUFFIX.get(kind, ".png"))


def check_files(files: Sequence[str]) -> None:
    """Raise a ValueError if a kind of file is unknown, or there is none."""
    if not files or (set(files) - set(get_args(FileKind))):
        raise ValueError(f"files must be one or more of {get_args(FileKind)}, got {tuple(files)}")


@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's prediction for one image, at the size of the image."""

    name: str
    """Path below the input folder, file name, or number."""
    label: NDArray[np.uint8] = field(repr=False)
    """Class index, (H, W)."""
    confidence: NDArray[np.float32] = field(repr=False)
    """Probability of that class in 0..1, (H, W)."""
    entropy: NDArray[np.float32] = field(repr=False)
    """Entropy of the class probabilities divided by its maximum, in 0..1, (H, W)."""
    depth: NDArray[np.float32] | None = field(repr=False)
    """Metres, (H, W); None if the model has no depth."""
    image: NDArray[np.uint8] = field(repr=False)
    """The image, RGB, (H, W, 3)."""
    label_space: LabelSpace = field(repr=False)
    """Names and colours of the classes; numbers and made-up colours if the model has no label space."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.label.shape[0], self.label.shape[1]

    def shares(self) -> dict[str, float]:
        """Share of the image by class name, the largest first; absent classes are left out."""
        counts = np.bincount(self.label.ravel(), minlength=len(self.label_space)) / self.label.size
        order = np.argsort(-counts, kind="stable")
        return {self.label_space.classes[index]: float(counts[index]) for index in order if counts[index] > 0}

    def overlay(self, opacity: float = 0.5) -> NDArray[np.uint8]:
        """The image with the colours of the classes laid over it, (H, W, 3)."""
        return overlay(self.image, self.label, self.label_space, opacity=opacity)

    def save(self, folder: str | Path, files: Sequence[FileKind] = DEFAULT_FILES) -> list[Path]:
        """Write one file of each kind, into one folder per kind (see `FileKind`); returns their paths.

        Depth is left out if the model has none. With images in ``photos``, ``SegmentationFolder("photos",
        "FOLDER/labels", "FOLDER/depth", ...)`` reads them back.

        Raises:
            ValueError: A kind is unknown, or the name leads out of the folder.
        """
        check_files(files)
        painters: dict[FileKind, Callable[[], NDArray[np.uint8] | NDArray[np.uint16]]] = {
            "labels": lambda: self.label,
            "overlays": self.overlay,
            "confidence": lambda: _grey(self.confidence, undefined=0.0),
            "entropy": lambda: _grey(self.entropy, undefined=1.0),
        }
        if (depth := self.depth) is not None:
            painters["depth"] = lambda: metres_to_centimetres(depth)
            painters["depth_pictures"] = lambda: colorize_depth(depth)
        paths = []
        for kind in files:
            if kind in painters:
                path = prediction_path(folder, kind, self.name)
                _write(path, painters[kind]())
                paths.append(path)
        return paths

    def _repr_png_(self) -> bytes:
        """The overlay, for notebooks."""
        buffer = io.BytesIO()
        Image.fromarray(self.overlay()).save(buffer, "PNG")
        return buffer.getvalue()


def _grey(values: NDArray[np.float32], *, undefined: float) -> NDArray[np.uint8]:
    return np.round(255 * np.nan_to_num(values, nan=undefined)).astype(np.uint8)


def _write(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    with atomic_path(path) as partial:
        if path.suffix == ".jpg":
            Image.fromarray(pixels).save(partial, quality=92)
        else:
            Image.fromarray(pixels).save(partial, compress_level=3)  # several times as fast as the default
