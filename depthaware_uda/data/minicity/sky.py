"""Sun, sky and camera settings of a scene, and the colour of the sky."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .camera import Sensor
from .noise import cloud_noise, lookup
from .style import Style

__all__ = ["Light", "random_light", "random_sensor", "sky_colour"]

Float = NDArray[np.float32]


class Light(NamedTuple):
    """The light of a scene, linear RGB.

    Attributes:
        to_sun: Unit vector.
        sun: Colour of the direct light; 0 under an overcast sky.
        ambient: Colour of the light from the sky.
        zenith: Colour of the sky above.
        horizon: Colour of the sky at the horizon, and of haze.
        cloud: Share of the sky that clouds cover, 0..1.
        haze: Extinction in 1 / metre.
        cloud_shift: Position in the noise that the clouds are taken from.
        wet: Whether the road is wet, so that it reflects what is above it.
    """

    to_sun: tuple[float, float, float]
    sun: tuple[float, float, float]
    ambient: tuple[float, float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    cloud: float
    haze: float
    cloud_shift: tuple[float, float]
    wet: bool


def random_light(rng: np.random.Generator, style: Style) -> Light:
    """Light of a random time of day and weather."""
    sunny = rng.random() < style.sunny
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(*style.sun_height)
    to_sun = (
        float(np.cos(elevation) * np.sin(azimuth)),
        float(np.sin(elevation)),
        float(np.cos(elevation) * np.cos(azimuth)),
    )
    warmth = rng.uniform(0, 0.25) * (1.2 - elevation)
    strength = rng.uniform(*style.sun_strength) if sunny else 0.0
    sun = (strength * (1 + warmth), strength, strength * (1 - warmth))
    level = rng.uniform(*style.shade) if sunny else rng.uniform(0.6, 1.1)
    ambient = (level * (0.94 if sunny else 1.0), level * 0.98, level * (1.08 if sunny else 1.02))
    if sunny:
        blue = rng.uniform(0.2, 0.75)
        bright = rng.uniform(0.5, 1.0)
        zenith = (bright * (0.55 - 0.35 * blue), bright * (0.7 - 0.25 * blue), bright)
        pale = rng.uniform(0.7, 1.15)
        horizon = (pale * 0.85, pale * 0.93, pale)
        cloud = rng.uniform(0, 0.7)
    else:
        grey = rng.uniform(0.4, 1.2)
        zenith = (grey * 0.92, grey * 0.96, grey)
        pale = grey * rng.uniform(0.95, 1.3)
        horizon = (pale, pale, pale)
        cloud = rng.uniform(0.4, 1.0)
    # Styles without bright skies or rain draw no numbers for them, so that their scenes stay the same.
    glow = rng.uniform(*style.sky_brightness) if style.sky_brightness[0] < style.sky_brightness[1] else 1.0
    zenith = (zenith[0] * glow, zenith[1] * glow, zenith[2] * glow)
    horizon = (horizon[0] * glow, horizon[1] * glow, horizon[2] * glow)
    wet = style.wet > 0 and rng.random() < style.wet
    haze = rng.uniform(*style.haze)
    shift = (rng.uniform(0, 512), rng.uniform(0, 512))
    return Light(to_sun, sun, ambient, zenith, horizon, cloud, haze, shift, wet)


def random_sensor(rng: np.random.Generator, style: Style) -> Sensor:
    """A random camera: nearly ideal in the synthetic style, a small video camera in the real one."""
    exposure = float(np.exp(rng.normal(-0.1, 0.32)))
    if rng.random() < style.underexposed:
        exposure *= rng.uniform(0.3, 0.7)
    if style.number == 0:
        return Sensor(exposure=exposure, contrast=rng.uniform(0, 0.3), saturation=rng.uniform(0.75, 1.1))
    balance = (1 + rng.normal(0, 0.05), 1.0, 1 + rng.normal(0, 0.07))
    return Sensor(
        exposure=exposure,
        white_balance=(float(balance[0]), balance[1], float(balance[2])),
        gamma=rng.uniform(0.4, 0.52),
        contrast=rng.uniform(0.1, 0.7),
        saturation=rng.uniform(0.65, 1.0),
        metering=rng.uniform(0.2, 0.5),
        glare=rng.uniform(0.02, 0.12),
        blur=rng.uniform(0.001, 0.0035),
        vignette=rng.uniform(0.1, 0.5),
        noise=rng.uniform(0.008, 0.035),
        jpeg=int(rng.integers(45, 90)),
    )


def sky_colour(light: Light, directions: Float) -> Float:
    """Colour of the sky along directions (N, 3), with clouds on a plane high above."""
    rise = directions[:, 1] / np.sqrt((directions * directions).sum(1))
    blend = np.clip(rise * 2.2, 0, 1)[:, None] ** np.float32(0.7)
    colour = np.array(light.horizon, np.float32) * (1 - blend) + np.array(light.zenith, np.float32) * blend
    if light.cloud > 0.02:
        ahead = np.maximum(np.abs(directions[:, 2]), np.float32(0.2))
        flat = 60 / (np.maximum(directions[:, 1], 0) / ahead + 0.12)
        side = directions[:, 0] / ahead * flat
        shift_x, shift_y = light.cloud_shift
        x, y = (side + shift_x).astype(np.float32), (2 * flat + shift_y).astype(np.float32)
        noise = lookup(cloud_noise(1.6), x, y)
        cover = np.clip((noise - (0.85 - 0.7 * light.cloud)) * 3.5, 0, 1)[:, None]
        bright = np.mean(light.horizon) * (0.75 + 0.45 * noise)[:, None]
        colour = colour * (1 - 0.8 * cover) + bright * (0.8 * cover)
    result: Float = colour.astype(np.float32)
    return result
