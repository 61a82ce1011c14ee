import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from depthaware_uda.depth import (
    MAX_METRES,
    DepthEncoding,
    centimetres_to_metres,
    get_depth_encoding,
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
    assert to_metres(torch.zeros(1)).item() == pytest.approx(65535 / 100)  # the farthest depth in a file
    assert to_metres(torch.tensor(1e6)) == 0  # 655.36 / 1e6 - 0.01 is below 0


def test_centimetres_round_trip() -> None:
    encoded = np.array([[0, 1], [1234, 65535]], np.uint16)
    metres = centimetres_to_metres(encoded)
    np.testing.assert_allclose(metres, [[np.nan, 0.01], [12.34, 655.35]], rtol=1e-6)
    assert metres.dtype == np.float32
    assert metres_to_centimetres(metres).tolist() == encoded.tolist()


def test_every_number_of_centimetres_becomes_the_nearest_float_of_its_metres() -> None:
    encoded = np.arange(1, 65_536)
    np.testing.assert_array_equal(centimetres_to_metres(encoded.astype(np.uint16)), (encoded / 100).astype(np.float32))


def test_decoding_leaves_the_numbers_of_a_file_as_they_are() -> None:
    for encoding in (DepthEncoding.scaled(0.5), DepthEncoding.disparity(0.5, 800), DepthEncoding.relative_inverse()):
        values = np.array([[4.0, -1.0, 2.0]], np.float32)
        encoding.decode(values)
        assert values.tolist() == [[4, -1, 2]]


def test_written_centimetres_clip_what_the_file_cannot_hold() -> None:
    encoded = metres_to_centimetres(torch.tensor([0.0, 1e4, torch.inf, torch.nan]))
    # The nearest known depth is 1, since 0 means unknown.
    assert encoded.tolist() == [1, 65535, 65535, 0]
    assert encoded.dtype == np.uint16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    value = torch.ones(2, dtype=dtype)
    assert to_inverse_depth(value).dtype == to_metres(value).dtype == dtype


def decode(encoding: str | DepthEncoding, values: list[float], dtype: type = np.uint16) -> np.ndarray:
    metres = get_depth_encoding(encoding).decode(np.array([values], dtype))
    assert metres.dtype == np.float32
    return metres[0]


def test_encodings_of_distances_by_hand() -> None:
    np.testing.assert_allclose(decode("centimetres", [0, 1, 250, 65_535]), [np.nan, 0.01, 2.5, 655.35], rtol=1e-7)
    np.testing.assert_allclose(decode("millimetres", [0, 1, 2500]), [np.nan, 0.001, 2.5], rtol=1e-7)
    floats = [2.5, 0, -1, np.nan, np.inf]
    np.testing.assert_array_equal(decode("metres", floats, np.float32), [2.5, np.nan, np.nan, np.nan, np.nan])
    # KITTI: 256 steps per metre.
    np.testing.assert_array_equal(decode(DepthEncoding.scaled(1 / 256), [0, 128, 25_600]), [np.nan, 0.5, 100])


def test_disparity_by_hand() -> None:
    # 0.5 m x 800 pixels = 400 metres at one pixel.
    floats = decode(DepthEncoding.disparity(0.5, 800), [0, 1, 8, -1, np.nan], np.float32)
    np.testing.assert_array_equal(floats, [np.nan, 400, 50, np.nan, np.nan])
    # Cityscapes: (p - 1) / 256 pixels; no measurement at 0, and no depth at a disparity of zero.
    cityscapes = decode(DepthEncoding.cityscapes(0.5, 800), [0, 1, 257, 2049])
    np.testing.assert_array_equal(cityscapes, [np.nan, np.nan, 400, 50])
    same = DepthEncoding.disparity(0.5, 800, pixels_per_unit=1 / 256, offset=1)
    np.testing.assert_array_equal(decode(same, [0, 1, 257, 2049]), cityscapes)
    # 0 is no measurement either where the disparity in the file begins below it.
    shifted = decode(DepthEncoding.disparity(0.5, 800, offset=-2), [0, 2, 6])
    np.testing.assert_array_equal(shifted, [np.nan, 100, 50])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("scale", [1, 3])
def test_relative_inverse_keeps_its_proportions_at_any_scale(dtype: type, scale: int) -> None:
    relative = np.array([[1, 2, 4, 8, 80]], dtype) * dtype(scale)
    encoding = DepthEncoding.relative_inverse(median_metres=20)
    metres = encoding.decode(relative)
    assert metres[0, 2] == pytest.approx(20)  # 4 is the median
    inverse = to_inverse_depth(torch.from_numpy(metres)).numpy()
    np.testing.assert_allclose(inverse / inverse[0, 0], relative / relative[0, 0], rtol=1e-4)
    assert not encoding.is_metric
    assert DepthEncoding.centimetres().is_metric


def test_relative_inverse_of_zero_is_far_and_nan_unknown() -> None:
    metres = decode("relative_inverse", [0, -1, np.nan, 5, 5], np.float32)
    np.testing.assert_allclose(metres, [MAX_METRES, MAX_METRES, np.nan, 10, 10], rtol=1e-6)
    np.testing.assert_allclose(decode("relative_inverse", [0, np.nan], np.float32), [MAX_METRES, np.nan])


@pytest.mark.parametrize(
    ("encoding", "dtype", "message"),
    [
        ("centimetres", np.float32, "expected integers of 16 bits .* got float32"),
        ("centimetres", np.uint8, "expected integers of 16 bits .* got uint8"),
        ("metres", np.uint16, "expected floats .* got uint16; name the encoding of the files, one of"),
        (DepthEncoding.cityscapes(1, 1), np.float32, "expected integers of 16 bits .* got float32"),
        (DepthEncoding.disparity(1, 1), np.uint8, "integers of 16 bits, or floats .* got uint8"),
    ],
)
def test_files_of_another_encoding_are_refused(encoding: str, dtype: type, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(encoding, [1], dtype)


def test_wrong_encodings() -> None:
    with pytest.raises(ValueError, match=r"unknown depth encoding 'feet'; known: \['centimetres', 'metres',"):
        get_depth_encoding("feet")
    with pytest.raises(ValueError, match=r"baseline of a depth encoding must be a number above 0, got -0\.2"):
        DepthEncoding.disparity(-0.2, 100)
    with pytest.raises(ValueError, match="unit of a depth encoding must be a number above 0, got 0"):
        DepthEncoding.scaled(0)
    with pytest.raises(ValueError, match=r"median_metres .* got nan"):
        DepthEncoding.relative_inverse(median_metres=float("nan"))
    with pytest.raises(ValueError, match="offset of a depth encoding must be a number, got nan"):
        DepthEncoding.disparity(0.2, 100, offset=float("nan"))
    with pytest.raises(ValueError, match=r"kind of a depth encoding must be one of \('distance',.*got 'disparities'"):
        DepthEncoding("disparities", baseline=0.2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"numbers of a depth encoding must be one of \('integer',.*got 'uint16'"):
        DepthEncoding("distance", numbers="uint16")  # type: ignore[arg-type]


def test_the_integers_of_a_file_are_no_metres() -> None:
    with pytest.raises(ValueError, match=r"depth is torch.uint16, expected metres in floating point"):
        to_inverse_depth(torch.tensor([300], dtype=torch.uint16))
