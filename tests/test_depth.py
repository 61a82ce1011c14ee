import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from depthaware_uda.depth import (
    MAX_METRES,
    centimetres_to_metres,
    metres_to_centimetres,
    to_inverse_depth,
    to_metres,
)


def test_inverse_depth_by_hand() -> None:
    # 655.36 / (metres + 0.01): 65536 at the camera, 655.36 / 0.02 at one centimetre, 1 at 655.35 m.
    metres = torch.tensor([0.0, 0.01, 655.35, torch.nan], dtype=torch.float64)
    inverse = to_inverse_depth(metres)
    torch.testing.assert_close(inverse[:3], torch.tensor([65536.0, 32768.0, 1.0], dtype=torch.float64))
    assert inverse[3].isnan()


def test_inverse_depth_is_the_published_one_of_centimetres() -> None:
    centimetres = np.array([1, 250, 10_000, 65_535], np.uint16)
    ours = to_inverse_depth(torch.from_numpy(centimetres_to_metres(centimetres)))
    torch.testing.assert_close(ours, torch.from_numpy(65536 / (centimetres.astype(np.float32) + 1)))


@given(st.floats(0, MAX_METRES))
def test_metres_come_back(metres: float) -> None:
    value = torch.tensor(metres, dtype=torch.float64)
    torch.testing.assert_close(to_metres(to_inverse_depth(value)), value, atol=1e-9, rtol=1e-9)


def test_zero_and_negative_inverse_depth_are_far() -> None:
    metres = to_metres(torch.tensor([0.0, -5.0, torch.nan]), max_metres=80)
    torch.testing.assert_close(metres[:2], torch.tensor([80.0, 80.0]))
    assert metres[2].isnan()


def test_centimetres_round_trip() -> None:
    encoded = np.array([[0, 1], [1234, 65535]], np.uint16)
    metres = centimetres_to_metres(encoded)
    np.testing.assert_allclose(metres, [[np.nan, 0.01], [12.34, 655.35]], rtol=1e-6)
    assert metres.dtype == np.float32
    assert metres_to_centimetres(metres).tolist() == encoded.tolist()


def test_written_centimetres_clip_what_the_file_cannot_hold() -> None:
    encoded = metres_to_centimetres(torch.tensor([0.0, 1e4, torch.inf, torch.nan]))
    # The nearest known depth is 1, since 0 means unknown.
    assert encoded.tolist() == [1, 65535, 65535, 0]
    assert encoded.dtype == np.uint16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    value = torch.ones(2, dtype=dtype)
    assert to_inverse_depth(value).dtype == to_metres(value).dtype == dtype
