"""Conversions of depth: from the numbers in files to metres, and from metres to the inverse depth of networks.

The published method trains on inverse depth 65536 / (d + 1) of a depth d in centimetres, which is
655.36 / (metres + 0.01). The berHu loss compares inverse depth, and depth-aware maps are multiplied by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "DEPTH_ENCODINGS",
    "MAX_METRES",
    "DepthEncoding",
    "centimetres_to_metres",
    "get_depth_encoding",
    "metres_to_centimetres",
    "to_inverse_depth",
    "to_metres",
]

_Kind = Literal["distance", "disparity", "relative"]
_Numbers = Literal["integer", "float", "any"]
_NUMERATOR = 655.36
_OFFSET = 0.01
MAX_METRES = 655.35
"""The largest depth that a 16-bit file in centimetres can hold."""


def to_inverse_depth(metres: Tensor) -> Tensor:
    """Inverse depth 655.36 / (metres + 0.01) of a depth in metres; NaN (unknown) stays NaN. Any shape.

    Raises:
        ValueError: The depth has integers, as in files: they are centimetres or millimetres, and 0 means unknown.
    """
    if isinstance(metres, Tensor) and not metres.is_floating_point():
        raise ValueError(
            f"depth is {metres.dtype}, expected metres in floating point, NaN where unknown; DepthEncoding.decode or "
            "centimetres_to_metres converts the integers of a file"
        )
    return _NUMERATOR / (metres + _OFFSET)


def to_metres(inverse_depth: Tensor, *, max_metres: float = MAX_METRES) -> Tensor:
    """Depth in metres of an inverse depth, in 0..`max_metres`; NaN stays NaN. Any shape.

    Networks have no activation on their inverse depth, so it may be 0 or negative, which gives `max_metres`.
    """
    farthest = _NUMERATOR / (max_metres + _OFFSET)
    return (_NUMERATOR / inverse_depth.clamp(min=farthest) - _OFFSET).clamp(min=0)


def centimetres_to_metres(encoded: NDArray[np.integer]) -> NDArray[np.float32]:
    """Metres of a 16-bit depth image in centimetres; 0 is unknown and becomes NaN. Any shape."""
    return DEPTH_ENCODINGS["centimetres"].decode(np.asarray(encoded))


def metres_to_centimetres(metres: Tensor | NDArray[np.floating]) -> NDArray[np.uint16]:
    """The 16-bit centimetres of a depth in metres, as in PNG files: NaN becomes 0, values are clipped to 1..65535."""
    values: NDArray[np.floating] = (
        metres.detach().cpu().numpy() if isinstance(metres, torch.Tensor) else np.asarray(metres)
    )
    centimetres = np.clip(np.round(values * 100), 1, 65535)
    return np.where(np.isnan(values), 0, centimetres).astype(np.uint16)


@dataclass(frozen=True)
class DepthEncoding:
    """The meaning of the numbers in a depth file; made by a named constructor, or by a name in `DEPTH_ENCODINGS`.

    Args:
        kind: Whether the file holds distances, disparities of a stereo camera, or relative inverse depth.
        unit: Value of 1 in the file, in metres for distances, in pixels for disparities.
        offset: Subtracted from a disparity in the file before it is multiplied by `unit`.
        baseline: Distance of the stereo cameras, in metres; for disparities.
        focal_length: Horizontal focal length, in pixels; for disparities.
        median_metres: Median depth that every image is scaled to; for relative inverse depth.
        numbers: The numbers that a file must hold: 16-bit integers, floats, or either. A file of another kind has
            another encoding. Relative inverse depth may have 8 bits.

    Raises:
        ValueError: A number is not above 0 where it must be, or `kind` or `numbers` is not one of its choices.
    """

    kind: _Kind
    unit: float = 1.0
    offset: float = 0.0
    baseline: float = 1.0
    focal_length: float = 1.0
    median_metres: float = 10.0
    numbers: _Numbers = "any"

    def __post_init__(self) -> None:
        for name, choices in (("kind", get_args(_Kind)), ("numbers", get_args(_Numbers))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} of a depth encoding must be one of {choices}, got {getattr(self, name)!r}")
        if not math.isfinite(self.offset):
            raise ValueError(f"offset of a depth encoding must be a number, got {self.offset}")
        for name in ("unit", "baseline", "focal_length", "median_metres"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} of a depth encoding must be a number above 0, got {value}")

    @classmethod
    def centimetres(cls) -> DepthEncoding:
        """16-bit integers in centimetres, 0 = unknown, as in SYNTHIA."""
        return cls("distance", unit=0.01, numbers="integer")

    @classmethod
    def millimetres(cls) -> DepthEncoding:
        """16-bit integers in millimetres, 0 = unknown, as most depth cameras write them."""
        return cls("distance", unit=0.001, numbers="integer")

    @classmethod
    def metres(cls) -> DepthEncoding:
        """Floats in metres; NaN, infinity, 0 and negative values are unknown."""
        return cls("distance", numbers="float")

    @classmethod
    def scaled(cls, metres_per_unit: float) -> DepthEncoding:
        """Floats or 16-bit integers times `metres_per_unit`, such as 1 / 256 for KITTI; unknown as in `metres`."""
        return cls("distance", unit=metres_per_unit)

    @classmethod
    def disparity(
        cls, baseline: float, focal_length: float, *, pixels_per_unit: float = 1.0, offset: float = 0.0
    ) -> DepthEncoding:
        """Disparity of a stereo camera: depth = baseline x focal length / ((value - offset) x pixels per unit).

        Args:
            baseline: Distance of the two cameras, in metres.
            focal_length: Horizontal focal length, in pixels of the disparity image.
            pixels_per_unit: Pixels that 1 in the file stands for.
            offset: The value in the file that stands for a disparity of 0. Values of 0, and any that are not above
                `offset`, are unknown.
        """
        return cls("disparity", unit=pixels_per_unit, offset=offset, baseline=baseline, focal_length=focal_length)

    @classmethod
    def cityscapes(cls, baseline: float, focal_length: float) -> DepthEncoding:
        """The disparity of Cityscapes: (value - 1) / 256 pixels, in 16-bit integers, 0 = unknown."""
        return cls("disparity", unit=1 / 256, offset=1, baseline=baseline, focal_length=focal_length, numbers="integer")

    @classmethod
    def relative_inverse(cls, *, median_metres: float = 10.0) -> DepthEncoding:
        """Inverse depth of unknown scale, larger = nearer, as monocular depth networks predict it.

        Such a file has no metres. The values of each image are scaled so that half of its pixels are farther than
        `median_metres`; `to_inverse_depth` of the result is then proportional to the file's values. Use it to guide
        attention and alignment, where the scale does not matter; depth errors in metres are meaningless. 0 and negative
        values become the farthest depth (`MAX_METRES`); NaN is unknown.
        """
        return cls("relative", median_metres=median_metres)

    @property
    def is_metric(self) -> bool:
        """Whether decoded depth is in metres, rather than known only up to a factor."""
        return self.kind != "relative"

    def decode(self, values: NDArray[np.integer | np.floating]) -> NDArray[np.float32]:
        """Metres of the numbers in a file, NaN where unknown. Any shape; relative inverse depth: one image at a time.

        Raises:
            ValueError: The file holds integers but the encoding expects floats, or the reverse, or distances or
                disparities have 8 bits.
        """
        self.check_numbers(values)
        metres = np.array(values, np.float32)
        if self.kind == "relative":
            return self._relative_to_metres(metres)
        # In place, as photographs have millions of pixels. 0 is always "no measurement", even for a negative offset.
        known = metres > max(self.offset, 0.0)
        if np.issubdtype(values.dtype, np.floating):
            known &= metres < np.inf
        if not known.all():
            metres[~known] = np.nan
        if self.kind == "disparity":
            metres -= np.float32(self.offset)
            return np.divide(np.float32(self.baseline * self.focal_length / self.unit), metres, out=metres)
        # Dividing by 100 rounds better than multiplying by 0.01, which binary fractions do not hold.
        metres /= np.float32(1 / self.unit)
        return metres

    def check_numbers(self, values: NDArray[np.integer | np.floating]) -> None:
        """Raise a ValueError if the numbers are not of the kind that the encoding expects."""
        found = "float" if np.issubdtype(values.dtype, np.floating) else "integer"
        if self.numbers not in ("any", found) or (found == "integer" and values.itemsize < 2 and self.is_metric):
            wanted = {"integer": "integers of 16 bits", "float": "floats", "any": "integers of 16 bits, or floats"}
            raise ValueError(
                f"expected {wanted[self.numbers]} for this depth encoding, got {values.dtype}; name the encoding of "
                f"the files, one of {sorted(DEPTH_ENCODINGS)} or a DepthEncoding"
            )

    def _relative_to_metres(self, relative: NDArray[np.float32]) -> NDArray[np.float32]:
        positive = relative[np.isfinite(relative) & (relative > 0)]
        if not positive.size:
            return np.where(np.isnan(relative), np.float32(np.nan), np.float32(MAX_METRES))
        middle = _NUMERATOR / (self.median_metres + _OFFSET)
        inverse = torch.from_numpy(relative * np.float32(middle / float(np.median(positive))))
        metres: NDArray[np.float32] = to_metres(inverse).numpy()
        return metres


DEPTH_ENCODINGS = {
    "centimetres": DepthEncoding.centimetres(),
    "metres": DepthEncoding.metres(),
    "millimetres": DepthEncoding.millimetres(),
    "relative_inverse": DepthEncoding.relative_inverse(),
}
"""The depth encodings that need no parameters. A disparity needs its camera: `DepthEncoding.disparity`."""


def get_depth_encoding(encoding: str | DepthEncoding) -> DepthEncoding:
    """The depth encoding of a name in `DEPTH_ENCODINGS`; a `DepthEncoding` is returned as it is.

    Raises:
        ValueError: The name is unknown; the message lists the known ones.
    """
    if isinstance(encoding, DepthEncoding):
        return encoding
    if encoding not in DEPTH_ENCODINGS:
        raise ValueError(
            f"unknown depth encoding {encoding!r}; known: {sorted(DEPTH_ENCODINGS)}, or pass a DepthEncoding, "
            "such as DepthEncoding.disparity(baseline, focal_length)"
        )
    return DEPTH_ENCODINGS[encoding]
