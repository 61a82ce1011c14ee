"""Cityscapes in miniature, in the exact formats of its archives."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from depthaware_uda.data import Cityscapes
from depthaware_uda.labels import get_label_space

from .conftest import save

# The 34 label ids, license plates (-1 in 8 bits), and the road: 4 x 9 pixels.
IDS = np.array([*range(34), 255, 7], np.uint8).reshape(4, 9)
DISPARITY = np.array([0, 1, 257, 2561, 65_535, 2, 0, 0, 513] * 4, np.uint16).reshape(4, 9)
STEM = "{city}/{city}_000000_{number:06d}"
IMAGES = (("train", "aachen", 0), ("train", "aachen", 1), ("train", "bochum", 0), ("val", "lindau", 19))


def camera(baseline: float = 0.2, fx: float = 2000.0) -> str:
    return json.dumps({"extrinsic": {"baseline": baseline, "x": 1.7}, "intrinsic": {"fx": fx, "fy": 1.0}})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, city, number in IMAGES:
        stem = f"{split}/{STEM.format(city=city, number=number)}"
        save(tmp_path / "leftImg8bit" / f"{stem}_leftImg8bit.png", np.full((4, 9, 3), number, np.uint8))
        save(tmp_path / "gtFine" / f"{stem}_gtFine_labelIds.png", IDS)
        # The archive also holds these, which must not be mistaken for ids.
        save(tmp_path / "gtFine" / f"{stem}_gtFine_color.png", np.zeros((4, 9, 4), np.uint8))
        save(tmp_path / "gtFine" / f"{stem}_gtFine_instanceIds.png", np.full((4, 9), 26_001, np.uint16))
        save(tmp_path / "disparity" / f"{stem}_disparity.png", DISPARITY)
        path = tmp_path / "camera" / f"{stem}_camera.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(camera(baseline=0.2 + 0.1 * number))
    return tmp_path


def test_it_reads_the_archives_as_they_are(root: Path) -> None:
    dataset = Cityscapes(root, "train", labels="cityscapes16")
    assert dataset.names == [
        "leftImg8bit/train/aachen/aachen_000000_000000_leftImg8bit.png",
        "leftImg8bit/train/aachen/aachen_000000_000001_leftImg8bit.png",
        "leftImg8bit/train/bochum/bochum_000000_000000_leftImg8bit.png",
    ]
    sample = dataset[1]
    assert sorted(sample) == ["image", "label", "name"]
    assert (255 * sample["image"]).unique().tolist() == [1]
    assert sample["label"].tolist() == [
        [255, 255, 255, 255, 255, 255, 255, 0, 1],
        [255, 255, 2, 3, 4, 255, 255, 255, 5],
        [255, 6, 7, 8, 255, 9, 10, 11, 12],
        [255, 13, 255, 255, 255, 14, 15, 255, 0],
    ]


def test_seven_and_nineteen_classes(root: Path) -> None:
    seven = Cityscapes(root, "val", labels="common7")[0]["label"].flatten().tolist()
    assert seven == [*[255] * 7, 0, 0, 255, 255, 1, 1, 1, *[255] * 3, 2, 255, 2, 2, 3, 3, 4, 5, 5, *[6] * 8, 255, 0]
    nineteen = Cityscapes(root, "val", labels="cityscapes19")[0]["label"].flatten().tolist()
    assert [label for label in nineteen if label != 255] == [*range(19), 0]
    assert get_label_space("cityscapes19").classes[nineteen[27]] == "truck"


def test_depth_by_hand(root: Path) -> None:
    depth = Cityscapes(root, "train", depth=True)[0]["depth"]
    assert depth.shape == (1, 4, 9)
    # 0.2 m x 2000 pixels = 400; disparities (1 - 1) / 256 = 0, 1, 10, 65534 / 256, 1 / 256, and 2 pixels.
    expected = [np.nan, np.nan, 400, 40, 400 * 256 / 65_534, 102_400, np.nan, np.nan, 200]
    np.testing.assert_allclose(depth[0, 0], expected, rtol=1e-5)
    # Every image has its own camera, here 0.3 m.
    assert Cityscapes(root, "train", depth=True)[1]["depth"][0, 0, 3] == pytest.approx(60)


def test_each_archive_in_a_folder_of_its_own(root: Path) -> None:
    for kind in ("leftImg8bit", "gtFine", "disparity", "camera"):
        (root / f"{kind}_trainvaltest").mkdir()
        (root / kind).rename(root / f"{kind}_trainvaltest" / kind)
    dataset = Cityscapes(root, "val", depth=True)
    assert dataset.names == ["leftImg8bit_trainvaltest/leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png"]
    assert dataset[0]["label"][0, 7] == 0
    # 2.1 m x 2000 pixels / 10 pixels.
    assert dataset[0]["depth"][0, 0, 3] == pytest.approx(420)


def test_training_images_of_a_target_need_no_labels(root: Path) -> None:
    (root / "gtFine" / "train").rename(root / "gtFine" / "elsewhere")  # the labels for evaluation stay
    assert sorted(Cityscapes(root, "train")[0]) == ["image", "name"]
    assert "label" in Cityscapes(root, "val")[0]
    (root / "gtFine").rename(root / "elsewhere")
    assert sorted(Cityscapes(root, "train")[0]) == ["image", "name"]
    with pytest.raises(FileNotFoundError, match=r"gtFine.val: no such folder"):
        Cityscapes(root, "val")


def test_size_padding_and_pickling(root: Path) -> None:
    dataset = pickle.loads(pickle.dumps(Cityscapes(root, "val", depth=True, size=(2, 3))))
    assert dataset.geometry.interpolation == "bicubic"  # its effect: test_synthia
    # Under the centres of 2 x 3 pixels are rows 1, 3 and columns 1, 4, 7 of the file.
    assert dataset[0]["label"].tolist() == [[255, 4, 255], [13, 255, 255]]
    assert dataset[0]["depth"].shape == (1, 2, 3)
    full = Cityscapes(root, "val", depth=True, size=(2, 3), full_size_labels=True)[0]
    assert (full["image"].shape, full["label"].shape, full["depth"].shape) == ((3, 2, 3), (4, 9), (1, 4, 9))


def test_a_missing_folder_shows_the_tree(root: Path) -> None:
    (root / "leftImg8bit").rename(root / "leftImg8bit_trainvaltest.zip")
    with pytest.raises(FileNotFoundError) as raised:
        Cityscapes(root, "train")
    message = str(raised.value)
    assert "train: no such folder" in message
    assert "gtFine/       SPLIT/CITY/*_gtFine_labelIds.png" in message
    assert "holds: camera/, disparity/, gtFine/, leftImg8bit_trainvaltest.zip/" in message


@pytest.mark.parametrize(
    ("kind", "file"),
    [("gtFine", "gtFine_labelIds.png"), ("disparity", "disparity.png"), ("camera", "camera.json")],
)
def test_a_missing_partner_is_named(root: Path, kind: str, file: str) -> None:
    (root / kind / "train" / "bochum" / f"bochum_000000_000000_{file}").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{kind}: 1 of 3 .*\['bochum/bochum_000000_000000_{file}'\]"):
        Cityscapes(root, "train", depth=True)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit" / "train" / "aachen").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"train: expected images \(_leftImg8bit\.png\), found none"):
        Cityscapes(tmp_path, "train")


@pytest.mark.parametrize("text", ["[]", '{"extrinsic": {}}', camera(fx=-1.0)])
def test_a_strange_camera_is_named(root: Path, text: str) -> None:
    path = root / "camera" / "val" / "lindau" / "lindau_000000_000019_camera.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"_camera\.json: expected a camera with extrinsic baseline \(metres\)"):
        Cityscapes(root, "val", depth=True)[0]
    path.write_text("{")
    with pytest.raises(ValueError, match=r"_camera\.json: not a JSON file"):
        Cityscapes(root, "val", depth=True)[0]


def test_wrong_arguments(root: Path) -> None:
    with pytest.raises(ValueError, match=r"split must be one of \('train', 'val', 'test'\), got 'validation'"):
        Cityscapes(root, "validation")
