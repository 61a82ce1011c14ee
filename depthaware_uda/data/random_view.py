"""The geometric part of an augmentation in one resampling: zoom, aspect ratio, crop and flip."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from depthaware_uda.data.geometry import check_size
from depthaware_uda.data.masks import check_typed
from depthaware_uda.data.randomness import check_probability, uniform
from depthaware_uda.labels import IGNORE_INDEX

__all__ = ["RandomView"]

Range = tuple[float, float]


class RandomView(v2.Transform):
    """A random crop of a sample, randomly flipped, and resized: all geometry in one resampling.

    Args:
        size: (height, width) of the output.
        zoom: Range of magnifications, drawn log-uniformly; None crops windows of `size` without resizing.
        aspect: Range of the factor on the window's ratio of width to height; used with `zoom`.
        flip: Probability of a horizontal flip.
        stretch: Show the whole sample instead of a window; requires ``zoom=None``.

    Raises:
        ValueError: An argument is out of range, `zoom` and `stretch` are both given, or image, label and depth of a
            sample differ in size.
        TypeError: A sample has plain tensors, which torchvision leaves unchanged; see `as_tv_tensors`.
    """

    _transformed_types = (tv_tensors.Image, tv_tensors.Mask)

    def __init__(
        self,
        size: tuple[int, int],
        *,
        zoom: Range | None,
        aspect: Range = (1.0, 1.0),
        flip: float = 0.0,
        stretch: bool = False,
    ) -> None:
        super().__init__()
        for name, limits in (("zoom", (1.0, 1.0) if zoom is None else zoom), ("aspect", aspect)):
            pair = isinstance(limits, (tuple, list)) and len(limits) == 2
            if not (pair and 0 < limits[0] <= limits[1] < math.inf):
                raise ValueError(f"{name} must be an ascending range above 0, got {limits}")
        if stretch and zoom is not None:
            raise ValueError(f"stretch shows the whole sample: zoom must be None, got {zoom}")
        check_probability("flip", flip)
        if (checked := check_size(size)) is None:
            raise ValueError("size must be (height, width) in pixels, got None")
        self.size, self.zoom, self.aspect, self.flip, self.stretch = checked, zoom, aspect, flip, stretch

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse plain tensors that look like pixels: they would not be transformed."""
        check_typed(flat_inputs, self._transformed_types, along=True)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw one window, in whole pixels, for all tensors of a sample."""
        sizes = {tuple(tensor.shape[-2:]) for tensor in flat_inputs}
        if len(sizes) > 1:
            raise ValueError(
                f"image, label and depth of a sample must have one size, got {sorted(sizes)}; full_size_labels is for "
                "evaluation, without transforms"
            )
        if not sizes:
            return {}
        height, width = sizes.pop()
        zoom, aspect, flip, top, left = uniform(5)
        window = self._window(height, width, zoom, aspect)
        rows = _steps(window[0], height, top)
        columns = _steps(window[1], width, left)
        return {"rows": rows, "columns": columns.flip(0) if flip < self.flip else columns}

    def _window(self, height: int, width: int, zoom: float, aspect: float) -> tuple[int, int]:
        """(height, width) of the window in pixels of the sample."""
        if self.stretch:
            return height, width
        if self.zoom is None:
            return self.size
        factor = min(height / self.size[0], width / self.size[1]) / _between(self.zoom, zoom)
        stretch = math.sqrt(_between(self.aspect, aspect))
        rows, columns = self.size[0] * factor / stretch, self.size[1] * factor * stretch
        return max(1, round(rows)), max(1, round(columns))

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Crop one tensor (..., H, W) to the drawn window and resize it to `size`."""
        height, width = inpt.shape[-2:]
        rows, columns = params["rows"], params["columns"]
        plain = inpt.as_subclass(Tensor)
        if isinstance(inpt, tv_tensors.Image):
            window = _look_up(plain, rows, columns)
            if window.shape[-2:] != self.size:
                leading = window.shape[:-3]
                window = F.interpolate(
                    window.reshape(-1, *window.shape[-3:]), self.size, mode="bilinear", antialias=True
                ).reshape(*leading, -1, *self.size)
            return tv_tensors.wrap(window, like=inpt)  # type: ignore[no-any-return]
        rows, columns = _nearest(rows, self.size[0]), _nearest(columns, self.size[1])
        outside = ((rows < 0) | (rows >= height))[:, None] | ((columns < 0) | (columns >= width))
        shown = _look_up(plain, rows, columns)
        fill = math.nan if plain.is_floating_point() else IGNORE_INDEX
        return tv_tensors.wrap(shown.masked_fill(outside, fill), like=inpt)  # type: ignore[no-any-return]


def _between(limits: Range, position: float) -> float:
    """The value at a position in 0..1 of a range, on a logarithmic scale."""
    return float(limits[0] * (limits[1] / limits[0]) ** position)


def _steps(window: int, length: int, position: float) -> Tensor:
    """Pixel coordinates of a window along an axis; a window longer than the axis extends beyond it."""
    slack = length - window
    start = min(slack, 0) + int(position * (abs(slack) + 1))
    return torch.arange(start, start + window)


def _look_up(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels (..., len(rows), len(columns)) at the given coordinates; beyond the border, the edge is repeated."""
    height, width = values.shape[-2:]
    return values.index_select(-2, rows.clamp(0, height - 1)).index_select(-1, columns.clamp(0, width - 1))


def _nearest(steps: Tensor, count: int) -> Tensor:
    """The `count` coordinates nearest to evenly spaced pixel centres."""
    return steps[((torch.arange(count) + 0.5) * (len(steps) / count)).long().clamp(max=len(steps) - 1)]
