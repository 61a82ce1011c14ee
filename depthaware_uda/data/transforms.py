"""Transforms of samples: resizing, cropping and the strong augmentation that bridges renders and photographs.

They are torchvision ``v2`` transforms and compose with all others. Image, label and depth are transformed together: the
image bilinearly with antialiasing, labels and depth by the nearest pixel. Beyond the border, the image repeats its
edge, the label is 255 and the depth NaN. Depth stays in metres under any zoom, as if the street were seen through
another lens. All randomness comes from torch's global generator.
"""

from __future__ import annotations

from torchvision.transforms import v2

from depthaware_uda.data.photometric import PhotometricNoise
from depthaware_uda.data.random_view import RandomView, Range

__all__ = ["PhotometricNoise", "RandomView", "flip_and_crop", "resize", "strong_augmentation"]


def resize(size: tuple[int, int]) -> v2.Transform:
    """Resize whole samples to (height, width), without keeping their aspect ratio."""
    return RandomView(size, zoom=None, stretch=True)


def flip_and_crop(size: tuple[int, int]) -> v2.Transform:
    """Flip half of the samples and crop a random window of (height, width), without resampling.

    An image smaller than the window is padded at its sides.
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
    """Random zoom, crop, flip, colours, blur and noise, so that a network does not rely on the look of its source.

    Args:
        size: (height, width) of the output.
        zoom: Smallest and largest magnification. 1 shows the largest window of the aspect ratio of `size` that fits in
            the image, less than 1 pads the image at its sides, and 1.7 shows about a third of its area.
        aspect: Smallest and largest factor on the window's ratio of width to height.
        flip: Probability of a horizontal flip.
        brightness: Natural logarithm of the largest factor on the exposure.
        contrast: Natural logarithm of the largest factor on the contrast.
        saturation: Largest change of the saturation, a factor in 1 - `saturation` .. 1 + `saturation`.
        hue: Largest hue shift, in turns of the colour circle.
        tint: Natural logarithm of the largest factor on each colour channel (white balance).
        gamma: Natural logarithm of the largest exponent of the tone curve.
        grayscale: Probability of losing all colour.
        blur: Largest standard deviation of the Gaussian blur that half of the images get, in pixels.
        noise: Largest standard deviation of the sensor noise, for images in 0..1.

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
