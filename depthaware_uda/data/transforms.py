"""Transforms of samples: resizing, cropping and the strong augmentation that bridges renders and photographs.

They are torchvision ``v2`` transforms and compose with all others. Image, label and depth move together: the image
is resampled bilinearly with antialiasing, labels and depth take the nearest pixel. What lies beyond the border of the
picture repeats the image's edge, is 255 in the label and NaN in the depth. Depth stays in metres under any zoom, as if
the street were seen through another lens. All randomness comes from torch's global generator.
"""

from __future__ import annotations

from torchvision.transforms import v2

from depthaware_uda.data.photometric import PhotometricNoise
from depthaware_uda.data.random_view import RandomView, Range

__all__ = ["PhotometricNoise", "RandomView", "flip_and_crop", "resize", "strong_augmentation"]


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
