"""Transforms of samples: resizing, cropping and the strong augmentation that bridges renders and photographs.

They are torchvision ``v2`` transforms and compose with all others. Image, label and depth move together: the image
is resampled bilinearly with antialiasing, labels and depth take the nearest pixel. What lies beyond the border of the
picture repeats the image's edge, is 255 in the label and NaN in the depth. All randomness comes from torch's global
generator.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from depthaware_uda.data.geometry import check_size
from depthaware_uda.labels import IGNORE_INDEX

__all__ = ["PhotometricNoise", "RandomView", "flip_and_crop", "resize", "strong_augmentation"]

Range = tuple[float, float]

_LUMA = (0.299, 0.587, 0.114)
# RGB to YIQ, the space in which a hue shift is a rotation, and back.
_TO_YIQ = torch.tensor([_LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], dtype=torch.float64)
_FROM_YIQ = torch.linalg.inv(_TO_YIQ)


def resize(size: tuple[int, int]) -> v2.Transform:
    """Resize whole samples to (height, width), without keeping their aspect."""
    return RandomView(size, zoom=None, stretch=True)


def flip_and_crop(size: tuple[int, int]) -> v2.Transform:
    """Flip half of the samples and crop a window of (height, width) at random, without resampling.

    A picture smaller than the window is filled up at its sides.
    """
    return RandomView(size, zoom=None, flip=0.5)


def strong_augmentation(
    size: tuple[int, int],
    *,
    zoom: Range = (0.8, 1.7),
    aspect: Range = (3 / 4, 4 / 3),
    flip: float = 0.5,
    brightness: float = 0.25,
    contrast: float = 0.35,
    saturation: float = 0.6,
    hue: float = 0.05,
    tint: float = 0.15,
    gamma: float = 0.35,
    grayscale: float = 0.05,
    blur: float = 1.2,
    noise: float = 0.04,
) -> v2.Transform:
    """Random zoom, crop, flip, colours, blur and noise, by which a network stops relying on the look of its source.

    Args:
        size: (height, width) that comes out.
        zoom: Smallest and largest magnification; at 1 the largest window of the aspect of `size` that fits in the
            picture is shown, below 1 the picture is filled up at its sides, at 1.7 about a third of its area is seen.
        aspect: Smallest and largest factor by which width grows over height.
        flip: Probability of a horizontal flip.
        brightness: Largest factor of the exposure, as a natural logarithm.
        contrast: Largest factor of the contrast, as a natural logarithm.
        saturation: Largest change of the saturation, a factor in 1 - `saturation` .. 1 + `saturation`.
        hue: Largest hue shift, in turns of the colour circle.
        tint: Largest factor of each colour channel (white balance), as a natural logarithm.
        gamma: Largest exponent of the tone curve, as a natural logarithm.
        grayscale: Probability of losing all colour.
        blur: Largest standard deviation of the Gaussian blur that half of the images get, in pixels.
        noise: Largest standard deviation of the sensor noise, in units of the image.

    Raises:
        ValueError: A range is not ascending and above 0, a probability is not in 0..1, or a strength is negative.
    """
    return v2.Compose(
        [
            RandomView(size, zoom=zoom, aspect=aspect, flip=flip),
            PhotometricNoise(
                brightness=brightness,
                contrast=contrast,
                saturation=saturation,
                hue=hue,
                tint=tint,
                gamma=gamma,
                grayscale=grayscale,
                blur=blur,
                noise=noise,
            ),
        ]
    )


def _uniform(count: int) -> list[float]:
    """Draw numbers in 0..1 from torch's global generator."""
    values: list[float] = torch.rand(count, dtype=torch.float64).tolist()
    return values


class RandomView(v2.Transform):
    """A window of a sample, cut at random, perhaps flipped, and resized: all geometry in one resampling.

    Args:
        size: (height, width) that comes out.
        zoom: Range of magnifications, drawn evenly in the logarithm; None cuts windows of `size` itself.
        aspect: Range of the factor by which the window's width grows over its height; used with `zoom`.
        flip: Probability of a horizontal flip.
        stretch: Show the whole sample instead of a window; goes with ``zoom=None``.

    Raises:
        ValueError: An argument is out of its range.
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
        for name, limits in (("zoom", zoom or (1.0, 1.0)), ("aspect", aspect)):
            if not 0 < limits[0] <= limits[1]:
                raise ValueError(f"{name} must be an ascending range above 0, got {limits}")
        _check_probability("flip", flip)
        if (checked := check_size(size)) is None:
            raise ValueError("size must be (height, width) in pixels, got None")
        self.size, self.zoom, self.aspect, self.flip, self.stretch = checked, zoom, aspect, flip, stretch

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw one window, in whole pixels, for all tensors of a sample."""
        sizes = {tuple(tensor.shape[-2:]) for tensor in flat_inputs}
        if len(sizes) > 1:
            raise ValueError(f"image, label and depth of a sample must have one size, got {sorted(sizes)}")
        if not sizes:
            return {}
        height, width = sizes.pop()
        zoom, aspect, flip, top, left = _uniform(5)
        window = self._window(height, width, zoom, aspect)
        rows = _steps(window[0], height, top)
        columns = _steps(window[1], width, left)
        return {"rows": rows, "columns": columns.flip(0) if flip < self.flip else columns}

    def _window(self, height: int, width: int, zoom: float, aspect: float) -> tuple[int, int]:
        """Height and width of the window in pixels of the sample."""
        if self.stretch:
            return height, width
        if self.zoom is None:
            return self.size
        factor = min(height / self.size[0], width / self.size[1]) / _between(self.zoom, zoom)
        stretch = math.sqrt(_between(self.aspect, aspect))
        rows, columns = self.size[0] * factor / stretch, self.size[1] * factor * stretch
        return max(1, round(rows)), max(1, round(columns))

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Show the drawn window of one tensor (..., H, W), at `size`."""
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


class PhotometricNoise(v2.Transform):
    """Random tone curve, colours, blur and sensor noise of a float image, clipped to 0..1.

    Exposure, contrast, saturation, hue and white balance are all linear in RGB, so they are one 3 x 3 matrix. The
    arguments are those of `strong_augmentation`; by default nothing changes.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An image is not of floating point (raised when called).
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(
        self,
        *,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        tint: float = 0.0,
        gamma: float = 0.0,
        grayscale: float = 0.0,
        blur: float = 0.0,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        strengths |= {"tint": tint, "gamma": gamma, "blur": blur, "noise": noise}
        for name, strength in strengths.items():
            if not (math.isfinite(strength) and strength >= 0):
                raise ValueError(f"{name} must be 0 or more, got {strength}")
        _check_probability("grayscale", grayscale)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.tint, self.gamma, self.grayscale, self.blur, self.noise = tint, gamma, grayscale, blur, noise

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw one look for all images of a sample."""
        drawn = _uniform(12)
        brightness, contrast, saturation, hue, gamma, red, green, blue = (2 * value - 1 for value in drawn[:8])
        grayscale, blurred, blur, noise = drawn[8:]

        kept = 0.0 if grayscale < self.grayscale else max(0.0, 1 + self.saturation * saturation)
        angle = 2 * math.pi * self.hue * hue
        cosine, sine = kept * math.cos(angle), kept * math.sin(angle)
        turn = torch.tensor([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]], dtype=torch.float64)
        gains = [math.exp(self.tint * value + self.brightness * brightness) for value in (red, green, blue)]
        return {
            "gamma": math.exp(self.gamma * gamma),
            "matrix": torch.tensor(gains, dtype=torch.float64)[:, None] * (_FROM_YIQ @ turn @ _TO_YIQ),
            "contrast": math.exp(self.contrast * contrast),
            "blur": self.blur * blur if blurred < 0.5 else 0.0,
            "noise": self.noise * noise,
        }

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Give the drawn look to one image (3, H, W) in 0..1."""
        if not inpt.is_floating_point():
            raise TypeError(f"expected an image of floating point in 0..1, got {inpt.dtype}")
        image = inpt.as_subclass(Tensor)
        pixels = image.flatten(1)
        if params["gamma"] != 1:
            pixels = pixels.pow(params["gamma"])
        # Contrast spreads the colours around their mean: c (M x - m) + m, where m is the mean of M x.
        matrix = params["matrix"].to(image)
        mean = matrix @ pixels.mean(1, keepdim=True)
        contrast = params["contrast"]
        pixels = torch.addmm((1 - contrast) * mean, contrast * matrix, pixels)
        image = pixels.view_as(image)
        if params["blur"] > 0.1:
            image = _gaussian_blur(image, params["blur"])
        if params["noise"] > 0:
            image = torch.randn_like(image).mul_(params["noise"]).add_(image)
        return tv_tensors.wrap(image.clamp(0, 1), like=inpt)  # type: ignore[no-any-return]


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a probability in 0..1, got {value}")


def _between(limits: Range, position: float) -> float:
    """Number at a position 0..1 of a range, evenly in the logarithm."""
    return float(limits[0] * (limits[1] / limits[0]) ** position)


def _steps(window: int, length: int, position: float) -> Tensor:
    """Pixel coordinates of a window along an axis: inside it if the window is the shorter one, else around it."""
    slack = length - window
    start = min(slack, 0) + int(position * (abs(slack) + 1))
    return torch.arange(start, start + window)


def _look_up(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels (..., len(rows), len(columns)) at the given coordinates; beyond the border those at the border."""
    height, width = values.shape[-2:]
    return values.index_select(-2, rows.clamp(0, height - 1)).index_select(-1, columns.clamp(0, width - 1))


def _nearest(steps: Tensor, count: int) -> Tensor:
    """The `count` coordinates nearest to evenly spaced pixel centres."""
    return steps[((torch.arange(count) + 0.5) * (len(steps) / count)).long().clamp(max=len(steps) - 1)]


def _gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur (C, H, W) with a Gaussian cut at three standard deviations; edges are repeated."""
    radius = max(1, math.ceil(3 * sigma))
    kernel = torch.exp(
        -(torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device) ** 2) / (2 * sigma**2)
    )
    kernel = kernel / kernel.sum()
    padded = F.pad(image[:, None], (radius,) * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return blurred[:, 0]
