"""The photometric part of an augmentation: all colour changes in one matrix, then blur and noise."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from depthaware_uda.data.masks import check_typed
from depthaware_uda.data.randomness import check_probability, uniform

__all__ = ["PhotometricNoise"]

_LUMA = (0.299, 0.587, 0.114)
# RGB to YIQ, the space in which a hue shift is a rotation, and back.
_TO_YIQ = torch.tensor([_LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], dtype=torch.float64)
_FROM_YIQ = torch.linalg.inv(_TO_YIQ)


class PhotometricNoise(v2.Transform):
    """Random tone curve, colours, blur and sensor noise of a float image, clipped to 0..1.

    Exposure, contrast, saturation, hue and white balance are linear in RGB, so one 3 x 3 matrix applies them all. The
    arguments are those of `strong_augmentation`; the defaults change nothing.

    Raises:
        ValueError: An argument is out of its range, or an image is not (3, H, W) (raised when called).
        TypeError: An image is not floating point, or is a plain tensor; see `as_tv_tensors` (raised when called).
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
        check_probability("grayscale", grayscale)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.tint, self.gamma, self.grayscale, self.blur, self.noise = tint, gamma, grayscale, blur, noise

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse plain tensors in place of an image: they would stay unchanged."""
        check_typed(flat_inputs, (tv_tensors.Image, tv_tensors.Mask), along=False)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw one set of parameters for all images of a sample."""
        drawn = uniform(12)
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
        """Apply the drawn parameters to one image (3, H, W) in 0..1."""
        if not inpt.is_floating_point():
            raise TypeError(f"expected a floating-point image in 0..1, got {inpt.dtype}")
        if inpt.ndim != 3 or len(inpt) != 3:
            raise ValueError(f"expected one RGB image (3, H, W), got {tuple(inpt.shape)}")
        image = inpt.as_subclass(Tensor)
        pixels = image.flatten(1)
        if params["gamma"] != 1:
            # Bicubic resizing overshoots, and a power of a negative value is NaN, which the mean would spread.
            pixels = pixels.clamp(min=0).pow_(params["gamma"])
        # Contrast spreads the colours around their mean: c (M x - m) + m, where m is the mean of M x.
        matrix = params["matrix"].to(image, non_blocking=True)  # without waiting for a GPU
        mean = matrix @ pixels.mean(1, keepdim=True)
        contrast = params["contrast"]
        pixels = torch.addmm((1 - contrast) * mean, contrast * matrix, pixels)
        image = pixels.view_as(image)
        if params["blur"] > 0.1:
            image = _gaussian_blur(image, params["blur"])
        if params["noise"] > 0:
            image = torch.randn_like(image).mul_(params["noise"]).add_(image)
        return tv_tensors.wrap(image.clamp(0, 1), like=inpt)  # type: ignore[no-any-return]


def _gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur (C, H, W) with a Gaussian truncated at three standard deviations; edges are repeated."""
    radius = max(1, math.ceil(3 * sigma))
    kernel = torch.exp(
        -(torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device) ** 2) / (2 * sigma**2)
    )
    kernel = kernel / kernel.sum()
    padded = F.pad(image[:, None], (radius,) * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return blurred[:, 0]
