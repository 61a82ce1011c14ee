"""Shared by the tests: a fixed seed, small data sets on disk, and the real CamVid if available."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from depthaware_uda.types import Sample

CAMVID = Path(__file__).resolve().parents[2] / "shared" / "camvid"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    if not CAMVID.is_dir():
        pytest.skip("needs the CamVid data set in ../shared/camvid")
    return CAMVID


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def camvid_copy(tmp_path: Path) -> Path:
    """A CamVid of three training and one validation image, 4 x 6 pixels; image i has the colour (10 i, 20, 30)."""
    for split, count in (("train", 3), ("val", 1)):
        for index in range(count):
            image = np.full((4, 6, 3), (10 * index, 20, 30), np.uint8)
            label = np.arange(24, dtype=np.uint8).reshape(4, 6) % 12
            save(tmp_path / split / "images" / f"{index:03d}.png", image)
            save(tmp_path / split / "labels" / f"{index:03d}.png", label)
    return tmp_path


def make_sample(name: str = "a.png", height: int = 8, width: int = 12, *, full: bool = True) -> Sample:
    """A sample whose image, label and depth all encode the pixel: red = column, green = row, label = row % 7."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([columns, rows, torch.zeros_like(rows)]) / 255
    sample = Sample(image=tv_tensors.Image(image), name=name)
    if full:
        sample["label"] = tv_tensors.Mask(rows % 7)
        sample["depth"] = tv_tensors.Mask((1.0 + columns)[None])
    return sample


class ListDataset:
    """Samples in a list: a minimal data set."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]
