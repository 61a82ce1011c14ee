"""The pinhole camera, and what a real camera does to light: lens, exposure, sensor, compression."""

from __future__ import annotations

import io
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Camera", "Sensor", "develop"]

Float = NDArray[np.float32]


class Camera(NamedTuple):
    """Pose and focal length of a pinhole camera at (x, height, 0), looking along +z.

    Attributes:
        x: Metres to the right of the street's axis.
        height: Metres above the road.
        yaw: Radians to the right.
        pitch: Radians upwards.
        focal: Focal length as a fraction of the image height, so that every image size shows the same scene.
    """

    x: float
    height: float
    yaw: float
    pitch: float
    focal: float

    def rotation(self) -> Float:
        """Camera axes (right, up, forward) as the columns of a matrix, shape (3, 3)."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        yaw = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float64)
        cos, sin = math.cos(self.pitch), math.sin(self.pitch)
        pitch = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]], np.float64)
        return (yaw @ pitch).astype(np.float32)

    def ray_matrix(self, height: int, width: int, scale: int = 1) -> NDArray[np.float64]:
        """Matrix A such that A @ (column, row, 1) is the world direction, of depth 1, through a sample.

        Samples form a grid `scale` times as fine as the pixels; every `scale`-th one, starting at
        index `scale - 1`, lies on a pixel's centre.
        """
        step = 1 / (scale * self.focal * height)
        first_column = (0.5 - (scale - 1) / scale) - width / 2
        first_row = (0.5 - (scale - 1) / scale) - height / 2
        unit = 1 / (self.focal * height)
        to_camera = np.array([[step, 0, first_column * unit], [0, -step, -first_row * unit], [0, 0, 1]])
        matrix: NDArray[np.float64] = self.rotation().astype(np.float64) @ to_camera
        return matrix


class Sensor(NamedTuple):
    """How a camera turns light into an image.

    Attributes:
        exposure: Factor on the linear light.
        white_balance: Factors on red, green and blue.
        gamma: Exponent of the tone curve (0.45 is neutral).
        contrast: Strength of an S-shaped tone curve, 0 for none.
        saturation: 1 is neutral.
        metering: Mean to which a whole frame, sky included, is exposed before `exposure` applies; 0 for none.
        glare: Share of the light that the lens scatters around bright parts.
        blur: Standard deviation of the lens blur, in fractions of the image height.
        vignette: Loss of light in the corners, 0..1.
        noise: Read and shot noise, standard deviation in 0..1 of mid grey.
        jpeg: Quality of the JPEG compression; 0 for none.
    """

    exposure: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 0.45
    contrast: float = 0.0
    saturation: float = 1.0
    metering: float = 0.0
    glare: float = 0.0
    blur: float = 0.0
    vignette: float = 0.0
    noise: float = 0.0
    jpeg: int = 0


def _blur(image: Float, sigma: float) -> Float:
    """Gaussian blur of an (H, W, 3) image; edges are repeated."""
    radius = max(1, math.ceil(2.5 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    taps /= taps.sum()
    for axis in (0, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (radius, radius)
        padded = np.pad(image, pad, mode="edge")
        length = image.shape[axis]
        windows = (padded[i : i + length] if axis == 0 else padded[:, i : i + length] for i in range(2 * radius + 1))
        total = np.zeros_like(image)
        for tap, window in zip(taps, windows, strict=True):
            total += tap * window
        image = total
    return image


def _glow(image: Float) -> Float:
    """The light that a lens scatters: the image blurred over a tenth of its height."""
    height, width = image.shape[:2]
    scattered = []
    for channel in range(3):
        plane = Image.fromarray(np.minimum(image[..., channel], 4))
        small = plane.resize((max(2, width * 10 // height), 10), Image.Resampling.BOX)
        scattered.append(np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.float32))
    return np.stack(scattered, 2)


def develop(light: Float, sensor: Sensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turns linear light (H, W, 3) into an 8-bit image as the sensor would."""
    height, width = light.shape[:2]
    exposure = sensor.exposure
    if sensor.metering:
        exposure *= sensor.metering / max(float(np.minimum(light, 4).mean()), 1e-6)
    image = light * (np.float32(exposure) * np.array(sensor.white_balance, np.float32))
    if sensor.glare:
        image += np.float32(sensor.glare) * (_glow(image) - image)
    if sensor.blur * height > 0.15:
        image = _blur(image, sensor.blur * height)
    if sensor.vignette:
        rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
        image *= (1 - sensor.vignette * 0.5 * (rows**2 + columns**2))[..., None]
    if sensor.saturation != 1:
        grey = image @ np.array([0.3, 0.59, 0.11], np.float32)
        image = np.maximum(grey[..., None] + np.float32(sensor.saturation) * (image - grey[..., None]), 0)
    image = np.clip(image, 0, 1, out=image)
    np.power(image, np.float32(sensor.gamma), out=image)
    if sensor.contrast:
        image += np.float32(sensor.contrast) * (image * image * (3 - 2 * image) - image)
    if sensor.noise:
        # Shot noise grows with the light, but the tone curve stretches dark values: afterwards it is nearly even.
        image += np.float32(sensor.noise) * rng.standard_normal(image.shape, dtype=np.float32) * (1.15 - 0.6 * image)
    result: NDArray[np.uint8] = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    if sensor.jpeg:
        buffer = io.BytesIO()
        Image.fromarray(result).save(buffer, "JPEG", quality=sensor.jpeg)
        result = np.array(Image.open(buffer).convert("RGB"))
    return result
