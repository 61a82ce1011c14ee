"""Files from outside: nothing in them is run, and none of them asks for more memory than it is worth."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthaware_uda.data.images import read_depth_values, read_image


def test_an_image_of_too_many_pixels_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"bomb\.png: too many pixels"):
        read_image(tmp_path / "bomb.png")


def test_a_format_that_starts_a_program_is_not_opened(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as an image"):
        read_image(tmp_path / "a.png")


def test_an_array_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    claim = {"descr": "<f4", "fortran_order": False, "shape": (1 << 22, 1 << 22)}
    np.lib.format.write_array_header_1_0(header, claim)
    (tmp_path / "bomb.npy").write_bytes(header.getvalue())
    with pytest.raises(ValueError, match=r"bomb\.npy: cannot be read as a NumPy array"):
        read_depth_values(tmp_path / "bomb.npy")


@pytest.mark.parametrize("content", ["pickle", "zip"])
def test_an_array_file_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        if content == "pickle":
            np.save(file, np.array([{}], object), allow_pickle=True)
        else:
            np.savez(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"a\.npy: cannot be read as a NumPy array"):
        read_depth_values(path)
