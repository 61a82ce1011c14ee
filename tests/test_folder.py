import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from depthaware_uda.data import SegmentationFolder
from depthaware_uda.labels import LabelSpace

from .conftest import save

SPACE = LabelSpace("two", ("left", "right"), ((1, 2, 3), (4, 5, 6)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images flat and nested, with labels (0, 1, 255) and depth (unknown, 1 m, 2.5 m) in a row of three pixels."""
    for name in ("b", "town/a"):
        save(tmp_path / "images" / f"{name}.jpg", np.full((1, 3, 3), 128, np.uint8))
        save(tmp_path / "labels" / f"{name}.png", np.array([[0, 1, 255]], np.uint8))
        save(tmp_path / "depth" / f"{name}.png", np.array([[0, 100, 250]], np.uint16))
    return tmp_path


def test_samples_keep_the_contract(root: Path) -> None:
    dataset = SegmentationFolder(root / "images", root / "labels", root / "depth", label_space=SPACE)
    assert dataset.names == ["b.jpg", "town/a.jpg"]
    assert dataset.label_space is SPACE
    assert len(dataset) == 2
    sample = dataset[1]
    assert sample["name"] == "town/a.jpg"
    assert sample["label"].tolist() == [[0, 1, 255]]
    assert sample["depth"].shape == (1, 1, 3)
    assert sample["depth"].dtype == torch.float32
    assert sample["depth"].isnan().flatten().tolist() == [True, False, False]
    assert sample["depth"].flatten()[1:].tolist() == [1.0, 2.5]


def test_unknown_keys_are_absent(root: Path) -> None:
    assert sorted(SegmentationFolder(root / "images", label_space=SPACE)[0]) == ["image", "name"]
    depth_only = SegmentationFolder(root / "images", depth=root / "depth", label_space=SPACE)
    assert sorted(depth_only[0]) == ["depth", "image", "name"]


def test_label_map_and_size(root: Path) -> None:
    dataset = SegmentationFolder(
        root / "images", root / "labels", label_space=SPACE, label_map={0: 255, 1: 0, 255: 255}, size=(2, 3)
    )
    assert dataset[0]["label"].tolist() == [[255, 0, 255]] * 2
    assert dataset[0]["image"].shape == (3, 2, 3)


def test_transform_and_pickling(root: Path) -> None:
    dataset = SegmentationFolder(root / "images", label_space="common7", transform=dict)
    assert pickle.loads(pickle.dumps(dataset))[0]["name"] == "b.jpg"


def test_an_id_that_is_no_class_names_the_file(root: Path) -> None:
    save(root / "labels" / "b.png", np.array([[0, 1, 2]], np.uint8))
    with pytest.raises(ValueError, match=r"b\.png: label ids \[2\] are not in the id map"):
        SegmentationFolder(root / "images", root / "labels", label_space=SPACE)[0]


def test_a_missing_partner_is_named(root: Path) -> None:
    (root / "labels" / "town" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels: 1 of 2 images have no partner in .*\['town/a\.png'\]"):
        SegmentationFolder(root / "images", root / "labels", label_space=SPACE)


def test_files_without_an_image_are_left_alone(root: Path) -> None:
    save(root / "labels" / "extra.png", np.zeros((1, 3), np.uint8))
    save(root / "images" / ".hidden.png", np.zeros((1, 3, 3), np.uint8))
    assert len(SegmentationFolder(root / "images", root / "labels", label_space=SPACE)) == 2


def test_two_files_of_one_stem_are_named(root: Path) -> None:
    save(root / "images" / "b.png", np.zeros((1, 3, 3), np.uint8))
    with pytest.raises(ValueError, match=r"images: b\.jpg and b\.png in .* differ by their suffix alone"):
        SegmentationFolder(root / "images", label_space=SPACE)


def test_a_missing_folder_shows_what_was_expected(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"masks: no such folder") as raised:
        SegmentationFolder(root / "images", root / "masks", label_space=SPACE)
    assert "*.png (also in subfolders)" in str(raised.value)
    assert "holds: depth/, images/, labels/" in str(raised.value)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected images \(\.jpg, \.jpeg, \.png\), found none"):
        SegmentationFolder(tmp_path, label_space=SPACE)


@pytest.mark.parametrize("label_map", [{0: 2}, {-1: 0}, {70_000: 0}])
def test_a_wrong_label_map(root: Path, label_map: dict[int, int]) -> None:
    with pytest.raises(ValueError, match=r"label_map: expected ids 0\.\.65535 to class indices 0\.\.1 of 'two' or 255"):
        SegmentationFolder(root / "images", label_space=SPACE, label_map=label_map)
