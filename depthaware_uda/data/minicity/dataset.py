"""The MiniCity data set: streets rendered on demand."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors

from depthaware_uda.data.geometry import is_integer
from depthaware_uda.data.masks import DepthMask, LabelMask
from depthaware_uda.labels import IGNORE_INDEX, LabelSpace, choose_label_map, id_names, remap
from depthaware_uda.types import Sample

from .render import render
from .style import StyleName

__all__ = ["MiniCity"]

_SMALLEST = 16


class MiniCity(Dataset[Sample]):
    """Street scenes with exact labels and depth, rendered on the fly: nothing is stored or downloaded.

    There are two styles. ``"synthetic"`` is clean and game-like, to train on. ``"real"`` stands in for photographs:
    other streets, materials and objects, low sun and rain, and a camera with automatic exposure, glare, haze, blur,
    noise and compression.
    The same arguments always give the same samples; data sets of different seeds share no scene.

    Args:
        length: Number of samples.
        style: ``"synthetic"`` or ``"real"``.
        size: (height, width) in pixels; every size shows the same scenes.
        seed: Selects the scenes; use different seeds for different splits.
        labels: Label space: ``"cityscapes16"``, ``"cityscapes19"``, ``"common7"``, or, with `label_map`, any other.
        depth: Whether samples have depth.
        label_map: Maps classes of ``cityscapes16`` to class indices or names of `labels` (255 to ignore); a mapping or
            a file.
        transform: Called with every sample; torchvision's v2 transforms treat image, label and depth alike.

    Shape:
        image (3, H, W) float32 in 0..1; label (H, W) int64; depth (1, H, W) float32 metres, NaN in the sky.

    Raises:
        ValueError: An argument is invalid; the message names it.
        IndexError: An index is out of range.
    """

    def __init__(
        self,
        length: int = 1000,
        *,
        style: Literal["synthetic", "real"] = "synthetic",
        size: tuple[int, int] = (96, 160),
        seed: int = 0,
        labels: str | LabelSpace = "cityscapes16",
        depth: bool = True,
        label_map: Mapping[int, int | str] | str | Path | None = None,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        if not is_integer(length) or length < 1:
            raise ValueError(f"length must be an integer of at least 1, got {length!r}")
        if style not in get_args(StyleName):
            raise ValueError(f"style must be one of {list(get_args(StyleName))}, got {style!r}")
        if not (
            isinstance(size, (tuple, list)) and len(size) == 2 and all(is_integer(n) and n >= _SMALLEST for n in size)
        ):
            raise ValueError(f"size must be (height, width), two integers of at least {_SMALLEST}, got {size!r}")
        # Beyond 32 bits, NumPy would split a seed into two numbers, and scenes of other seeds would repeat.
        if not (is_integer(seed) and 0 <= seed < 1 << 32):
            raise ValueError(f"seed must be an integer of at least 0 and below 2 ** 32, got {seed!r}")
        self._length = int(length)
        self._style: StyleName = style
        self._size = (int(size[0]), int(size[1]))
        self._seed = int(seed)
        self.label_map, self.label_space = choose_label_map(labels, label_map, dataset="minicity")
        if missing := [
            name for index, name in id_names("minicity").items() if index not in (IGNORE_INDEX, *self.label_map)
        ]:
            raise ValueError(f"label_map: expected every class of MiniCity, {missing} are missing; 255 ignores a class")
        self._depth = depth
        self._transform = transform

    @cached_property
    def names(self) -> list[str]:
        """Names of all samples, in order."""
        return [self._name(index) for index in range(self._length)]

    def _name(self, index: int) -> str:
        return f"minicity/{self._style}/{self._seed}/{index:06d}"

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """Render a sample; a negative index counts from the end."""
        number = operator.index(index) + (self._length if index < 0 else 0)
        if not 0 <= number < self._length:
            raise IndexError(f"index {index} is out of range for MiniCity of length {self._length}")
        rendering = render(self._seed, number, style=self._style, size=self._size)
        name = self._name(number)
        pixels = torch.from_numpy(rendering.image).permute(2, 0, 1).contiguous()
        label = torch.from_numpy(remap(rendering.label, self.label_map, name=name))
        sample = Sample(image=tv_tensors.Image(pixels.float().div_(255)), label=LabelMask(label), name=name)
        if self._depth:
            sample["depth"] = DepthMask(torch.from_numpy(rendering.depth)[None])
        return sample if self._transform is None else self._transform(sample)
