"""Miniatures written to disk are read back as the scenes from which they were rendered."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depthaware_uda.data import Cityscapes, MapillaryVistas, MiniCity, Synthia, write_miniature
from depthaware_uda.data.images import read_first_channel, read_ids

SIZE = (32, 64)


def assert_same_depth(ours: torch.Tensor, truth: torch.Tensor, *, relative: float) -> None:
    error = ((ours - truth).abs() / truth).nan_to_num()
    assert float(error.max()) < relative


def test_synthia(tmp_path: Path) -> None:
    root = write_miniature(tmp_path / "s", "synthia", 2, size=SIZE, seed=3)
    written, rendered = Synthia(root), MiniCity(2, size=SIZE, seed=3)
    assert (written.layout, written.names) == ("downloaded", ["RGB/0000000.png", "RGB/0000001.png"])
    for ours, truth in zip((written[0], written[1]), (rendered[0], rendered[1]), strict=True):
        assert ours["image"].equal(truth["image"])
        assert ours["label"].equal(truth["label"])
        sky = truth["depth"].isnan()
        np.testing.assert_allclose(ours["depth"][sky], 655.35, rtol=1e-6)
        torch.testing.assert_close(ours["depth"][~sky], truth["depth"][~sky], atol=0.0051, rtol=0)
    # The second channel holds instances beyond 8 bits: a reader that drops bytes would not find these labels.
    path = root / "GT" / "LABELS" / "0000000.png"
    assert np.array(Image.open(path)).max() < 23
    assert read_first_channel(path).max() > 5


def test_cityscapes(tmp_path: Path) -> None:
    root = write_miniature(tmp_path, "cityscapes", 5, size=SIZE)
    train, val = Cityscapes(root, "train"), Cityscapes(root, "val", depth=True)
    assert (len(train), len(val)) == (5, 1)
    truth = MiniCity(1, style="real", size=SIZE, seed=1)[0]
    assert val[0]["image"].equal(truth["image"])
    assert val[0]["label"].equal(truth["label"])
    assert val[0]["depth"].isnan().equal(truth["depth"].isnan())
    # Disparity is stored in steps of 1 / 256 pixel, which are coarse far away.
    near = truth["depth"] < 50
    assert near.any()
    assert_same_depth(val[0]["depth"][near], truth["depth"][near], relative=0.02)


def test_mapillary(tmp_path: Path) -> None:
    root = write_miniature(tmp_path, "mapillary", 2, size=SIZE)
    train = MapillaryVistas(root, "training")
    assert [tuple(train[index]["label"].shape) for index in range(2)] == [(32, 64), (32, 48)]
    val, truth = MapillaryVistas(root, "val"), MiniCity(1, style="real", size=SIZE, seed=1, labels="common7")
    assert val[0]["label"].equal(truth[0]["label"])
    assert float((val[0]["image"] - truth[0]["image"]).abs().mean()) < 0.02  # JPEG is slightly lossy
    assert read_ids(root / "validation" / "v1.2" / "labels" / "minicity-0000.png").max() <= 65


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"layout must be one of \('synthia', 'cityscapes', 'mapillary'\), got 'kitti'"
    ):
        write_miniature(tmp_path, "kitti")
    with pytest.raises(ValueError, match="count must be 1 or more, got 0"):
        write_miniature(tmp_path, "synthia", 0)
    with pytest.raises(ValueError, match=r"count must be 1 or more, got 1\.5"):
        write_miniature(tmp_path, "synthia", 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"seed must be an integer of at least 0 and below 2 \*\* 31, got -1"):
        write_miniature(tmp_path, "synthia", seed=-1)
    with pytest.raises(ValueError, match=r"size must be \(height, width\)"):
        write_miniature(tmp_path, "synthia", size=(0, 5))
