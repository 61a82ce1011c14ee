"""Passes of a network over images: at several scales, mirrored, in tiles; their average as one output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from depthaware_uda.inference import output_of
from depthaware_uda.models.input_size import (
    InputSize,
    check_input_size,
    input_size,
    is_size,
    resize_input,
    scaled,
    stride_of,
)
from depthaware_uda.models.resize import logits_of, resize_output, size_of
from depthaware_uda.precision import Precision, check_precision
from depthaware_uda.prediction.tiles import blend_window, pixels_that_fit, tile_within, tiles
from depthaware_uda.types import SegDepthOutput

__all__ = ["Passes", "TileSize"]

TileSize = Literal["auto"] | tuple[int, int] | None
"""``"auto"`` cuts what the device cannot hold, (H, W) always cuts into tiles of that size, None never cuts."""


@dataclass(frozen=True)
class Passes:
    """How a network looks at images.

    Args:
        size: The size that images are resized to first: the shorter side, or (height, width); None keeps their own.
        tile: See `TileSize`.
        scales: Factors on that size; the probabilities of all passes are averaged.
        flip: Average with the mirrored image, at every scale.
        precision: Of the network's forward pass.
    """

    size: int | tuple[int, int] | None = None
    tile: TileSize = "auto"
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_input_size(self.size)
        check_precision(self.precision)
        if self.tile is not None and self.tile != "auto" and not is_size(self.tile):
            raise ValueError(f"tile must be 'auto', (height, width) in pixels or None, got {self.tile!r}")
        if not self.scales or not all(math.isfinite(scale) and scale > 0 for scale in self.scales):
            raise ValueError(f"scales must be one or more factors above 0, got {self.scales}")

    @classmethod
    def of_model(
        cls,
        model: nn.Module,
        size: InputSize,
        tile: TileSize,
        scales: Sequence[float],
        flip: bool,
        precision: Precision,
    ) -> Passes:
        """Passes at the size that was asked for, or that the model was trained at."""
        if not isinstance(scales, Iterable):
            raise TypeError(f"scales must be a list of factors, such as (1.0,), got {scales!r}")
        return cls(input_size(model, size), tile, tuple(scales), flip, precision)

    def record(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        size = list(self.size) if isinstance(self.size, tuple) else self.size
        tile = list(self.tile) if isinstance(self.tile, tuple) else self.tile
        return {"size": size, "tile": tile, "scales": list(self.scales), "flip": self.flip, "precision": self.precision}

    def __call__(self, model: nn.Module, image: Tensor) -> SegDepthOutput:
        """Logits and inverse depth of images, at whatever size is at hand; call it inside `evaluating`.

        One pass gives the network's own output. Of several, the logits are logarithms of the mean probabilities, at
        the working size.

        Shape:
            RGB in 0..1 (N, 3, H, W) -> logits (N, C, h, w), inverse depth (N, 1, h', w') or None.
        """
        stride = stride_of(model)
        image = resize_input(image, self.size, stride)
        tile = self.tile
        if tile == "auto":
            pixels = pixels_that_fit(image.device, image.dtype) / (len(image) * max(*self.scales, 1.0) ** 2)
            tile = tile_within(size_of(image), int(pixels))
        if tile is None:
            return self._average(model, image, stride)
        return self._blend(model, image, tile, stride)

    def _average(self, model: nn.Module, image: Tensor, stride: int) -> SegDepthOutput:
        """One output of all scales and mirrored passes."""
        if self.scales == (1.0,) and not self.flip:
            return output_of(model, image, self.precision)
        # An enlarged street looks nearer than it is, so depth is taken at the scale nearest to 1.
        depth_scale = min(self.scales, key=lambda scale: abs(math.log(scale)))
        probability, inverse_depth = torch.zeros(()), []
        for scale in self.scales:
            smaller = resize_input(image, scaled(size_of(image), scale), stride)
            for output in self._mirrored(model, smaller):
                output = resize_output(output, size_of(image))
                probability = probability.to(output.logits) + output.logits.softmax(1)
                if scale == depth_scale and output.inverse_depth is not None:
                    inverse_depth.append(output.inverse_depth)
        passes = len(self.scales) * (1 + self.flip)
        return SegDepthOutput(
            logits_of(probability / passes), torch.stack(inverse_depth).mean(0) if inverse_depth else None
        )

    def _mirrored(self, model: nn.Module, image: Tensor) -> Iterator[SegDepthOutput]:
        """The output of an image, and that of the mirrored one turned back, if that is asked for."""
        yield output_of(model, image, self.precision)
        if self.flip:
            logits, inverse_depth = output_of(model, image.flip(-1), self.precision)
            yield SegDepthOutput(logits.flip(-1), None if inverse_depth is None else inverse_depth.flip(-1))

    def _blend(self, model: nn.Module, image: Tensor, tile: tuple[int, int], stride: int) -> SegDepthOutput:
        """One output of overlapping tiles, weighted towards the middle of each."""
        size = size_of(image)
        probability = depth = weight = image.new_zeros(())
        for part in tiles(size, (max(tile[0], stride), max(tile[1], stride))):
            rows, columns = part.window
            crop = image[:, :, rows, columns]
            output = resize_output(self._average(model, crop, stride), size_of(crop))
            window = blend_window(part.height, part.width).to(output.logits)
            if weight.ndim == 0:
                probability = output.logits.new_zeros(*output.logits.shape[:2], *size)
                depth, weight = probability.new_zeros(len(image), 1, *size), probability.new_zeros(size)
            probability[:, :, rows, columns] += window * output.logits.softmax(1)
            weight[rows, columns] += window
            if output.inverse_depth is not None:
                depth[:, :, rows, columns] += window * output.inverse_depth
        has_depth = output.inverse_depth is not None
        return SegDepthOutput(logits_of(probability.div_(weight)), depth / weight if has_depth else None)
