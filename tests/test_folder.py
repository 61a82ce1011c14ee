import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depthaware_uda.data import FileDataset, Geometry, SampleFiles, SegmentationFolder, Synthia
from depthaware_uda.data.images import read_depth_values
from depthaware_uda.depth import DepthEncoding
from depthaware_uda.labels import LabelSpace, choose_label_map, save_label_map

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
    for size in ([2, 3], np.array([2, 3])):  # as read from JSON settings, and as computed by NumPy
        assert SegmentationFolder(root / "images", label_space=SPACE, size=size).geometry.size == (2, 3)
    for wrong in ((True, 3), (2.0, 3), (2,), 2):
        with pytest.raises(ValueError, match=r"size must be \(height, width\) in whole pixels above 0"):
            SegmentationFolder(root / "images", label_space=SPACE, size=wrong)


def test_transform_and_pickling(root: Path) -> None:
    dataset = SegmentationFolder(root / "images", label_space="common7", transform=dict)
    assert pickle.loads(pickle.dumps(dataset))[0]["name"] == "b.jpg"


def test_an_id_that_is_no_class_names_the_file(root: Path) -> None:
    save(root / "labels" / "b.png", np.array([[0, 1, 2]], np.uint8))
    with pytest.raises(ValueError, match=r"b\.png: label ids \[2\] are not in the id map"):
        SegmentationFolder(root / "images", root / "labels", label_space=SPACE)[0]


def test_a_missing_partner_is_named(root: Path) -> None:
    (root / "labels" / "town" / "a.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"labels: 1 of 2 images have no partner in .*\['town/a\.png'\]"
    ) as raised:
        SegmentationFolder(root / "images", root / "labels", label_space=SPACE)
    assert "Add the files, or remove the images" in str(raised.value)


def test_files_without_an_image_are_left_alone(root: Path) -> None:
    save(root / "labels" / "extra.png", np.zeros((1, 3), np.uint8))
    save(root / "images" / ".hidden.png", np.zeros((1, 3, 3), np.uint8))
    assert len(SegmentationFolder(root / "images", root / "labels", label_space=SPACE)) == 2


def test_two_files_of_one_stem_are_named(root: Path) -> None:
    save(root / "images" / "b.png", np.zeros((1, 3, 3), np.uint8))
    with pytest.raises(ValueError, match=r"images: b\.jpg and b\.png in .* differ only in their suffix"):
        SegmentationFolder(root / "images", label_space=SPACE)


def test_a_missing_folder_shows_what_was_expected(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"masks: no such folder") as raised:
        SegmentationFolder(root / "images", root / "masks", label_space=SPACE)
    assert "*.png (also in subfolders)" in str(raised.value)
    assert "holds: depth/, images/, labels/" in str(raised.value)


def test_labels_beside_their_images_are_to_be_moved_not_removed(root: Path) -> None:
    (root / "labels" / "b.png").rename(root / "images" / "b.png")
    with pytest.raises(ValueError, match=r"remove one, or move labels and depth to folders of their own"):
        SegmentationFolder(root / "images", root / "images", label_space=SPACE)


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "RAND_CITYSCAPES.rar").touch()
    with pytest.raises(
        FileNotFoundError, match=r"RAND_CITYSCAPES\.rar is a file, not a folder; if it is an archive, unpack it"
    ):
        Synthia(tmp_path / "RAND_CITYSCAPES.rar")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected images \(\.jpg, .*\.webp\), found none"):
        SegmentationFolder(tmp_path, label_space=SPACE)


@pytest.mark.parametrize("label_map", [{0: 2}, {-1: 0}, {70_000: 0}])
def test_a_wrong_label_map(root: Path, label_map: dict[int, int]) -> None:
    with pytest.raises(ValueError, match=r"label_map: expected ids 0\.\.65535 to class indices 0\.\.1 of 'two' or 255"):
        SegmentationFolder(root / "images", label_space=SPACE, label_map=label_map)


def test_a_label_map_from_a_file_brings_its_classes(root: Path) -> None:
    save_label_map(root / "map.json", {0: 1, 1: 0, 255: 255}, SPACE)
    dataset = SegmentationFolder(root / "images", root / "labels", label_map=root / "map.json")
    assert dataset.label_space == SPACE
    assert dataset[0]["label"].tolist() == [[1, 0, 255]]


def test_a_foreign_id_can_be_ignored(root: Path) -> None:
    save(root / "labels" / "b.png", np.array([[0, 1, 2]], np.uint8))
    dataset = SegmentationFolder(root / "images", root / "labels", label_space=SPACE, unknown="ignore")
    assert dataset[0]["label"].tolist() == [[0, 1, 255]]


def test_unicode_and_spaces_in_names(root: Path) -> None:
    for folder, pixels in (("images", np.zeros((1, 3, 3), np.uint8)), ("labels", np.array([[1, 1, 0]], np.uint8))):
        save(root / folder / "Straße 7" / "日本 1.v2.png", pixels)
    dataset = SegmentationFolder(root / "images", root / "labels", label_space=SPACE)
    assert dataset.names == ["Straße 7/日本 1.v2.png", "b.jpg", "town/a.jpg"]
    assert dataset[0]["label"].tolist() == [[1, 1, 0]]


def test_accents_may_be_spelled_in_two_ways(root: Path) -> None:
    one, two = "Caf\u00e9", "Cafe\u0301"  # they look the same; macOS writes the second
    for image, label in ((one, two), (two, one)):
        folder = root / f"from {len(image)}"
        save(folder / "images" / f"{image}.jpg", np.zeros((1, 3, 3), np.uint8))
        save(folder / "labels" / f"{label}.png", np.array([[1, 1, 0]], np.uint8))
        dataset = SegmentationFolder(folder / "images", folder / "labels", label_space=SPACE)
        assert dataset.names == [f"{image}.jpg"]
        assert dataset[0]["label"].tolist() == [[1, 1, 0]]
    # If both exist, each has its own label.
    save(folder / "images" / f"{one}.jpg", np.zeros((1, 3, 3), np.uint8))
    save(folder / "labels" / f"{two}.png", np.array([[0, 0, 0]], np.uint8))
    dataset = SegmentationFolder(folder / "images", folder / "labels", label_space=SPACE)
    assert {dataset[i]["name"]: int(dataset[i]["label"].sum()) for i in (0, 1)} == {f"{one}.jpg": 2, f"{two}.jpg": 0}


def test_linked_folders_are_followed(root: Path) -> None:
    (root / "images" / "linked").symlink_to(root / "images" / "town", target_is_directory=True)
    names = ["b.jpg", "linked/a.jpg", "town/a.jpg"]
    assert SegmentationFolder(root / "images", label_space=SPACE).names == names
    # Links back, also through another folder, would list every image forty times.
    (root / "images" / "town" / "back").symlink_to(root / "images", target_is_directory=True)
    (root / "images" / "out").symlink_to(root / "other", target_is_directory=True)
    (root / "other").mkdir()
    (root / "other" / "home").symlink_to(root / "images", target_is_directory=True)
    assert SegmentationFolder(root / "images", label_space=SPACE).names == names


def test_a_folder_that_may_not_be_read_is_no_empty_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refused(path: Path | str) -> object:  # as the system does for users other than root
        if str(path).endswith("town"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(PermissionError, match=r"Permission denied.*town"):
        SegmentationFolder(root / "images", label_space=SPACE)


def test_a_file_dataset_says_what_it_takes(root: Path) -> None:
    labels, files = choose_label_map(SPACE, None), [SampleFiles("b", root / "images" / "b.jpg")]
    assert FileDataset(files, labels=labels, geometry=Geometry((2, 6)))[0]["image"].shape == (3, 2, 6)
    with pytest.raises(TypeError, match=r"labels must be a LabelMap, got 'common7'; choose_label_map"):
        FileDataset(files, labels="common7")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"geometry must be a Geometry, got \(2, 6\); Geometry\("):
        FileDataset(files, labels=labels, geometry=(2, 6))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"interpolation must be one of \('bilinear', 'bicubic'\), got 'nearest'"):
        Geometry((2, 6), interpolation="nearest")  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".tiff"])
def test_depth_in_metres(root: Path, suffix: str) -> None:
    metres = np.array([[np.nan, 1.25, 80]], np.float32)
    for name in ("b", "town/a"):
        path = (root / "depth" / name).with_suffix(suffix)
        np.save(path, metres) if suffix == ".npy" else Image.fromarray(metres).save(path)
        (root / "depth" / f"{name}.png").unlink()
    dataset = SegmentationFolder(root / "images", depth=root / "depth", label_space=SPACE, depth_encoding="metres")
    np.testing.assert_array_equal(dataset[0]["depth"][0], metres)
    wrong = SegmentationFolder(root / "images", depth=root / "depth", label_space=SPACE)
    with pytest.raises(ValueError, match=rf"b\{suffix}: expected integers of 16 bits .* got float32"):
        wrong[0]


def test_depth_in_millimetres_and_disparity(root: Path) -> None:
    def depth(encoding: str | DepthEncoding) -> list[float]:
        dataset = SegmentationFolder(root / "images", depth=root / "depth", label_space=SPACE, depth_encoding=encoding)
        return dataset[0]["depth"].flatten()[1:].tolist()

    assert depth("millimetres") == pytest.approx([0.1, 0.25])
    assert depth(DepthEncoding.disparity(0.5, 1000, pixels_per_unit=0.1)) == pytest.approx([50, 20])
    # Relative: 2.5 times as near; the median of 100 and 250 is set to 10 metres.
    near, far = sorted(depth("relative_inverse"))
    assert (far + 0.01) / (near + 0.01) == pytest.approx(2.5)


def test_padding_fills_up_with_what_is_unknown(root: Path) -> None:
    dataset = SegmentationFolder(
        root / "images", root / "labels", root / "depth", label_space=SPACE, size=(2, 3), pad=True
    )
    sample = dataset[0]
    assert sample["label"].tolist() == [[0, 1, 255], [255] * 3]
    np.testing.assert_allclose(sample["depth"][0], [[np.nan, 1, 2.5], [np.nan] * 3])
    assert sample["image"][:, 1].unique().tolist() == [0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 3, 2), np.float32), r"expected an array of numbers \(H, W\), got float32 of shape \(2, 3, 2\)"),
        (np.array([["a", "b"]]), "expected an array of numbers"),
        (np.array([[None]], object), "cannot be read as a NumPy array of numbers"),
    ],
)
def test_arrays_that_are_no_depth(tmp_path: Path, content: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(ValueError, match=rf"a\.npy: .*{message}"):
        read_depth_values(tmp_path / "a.npy")


def test_a_truncated_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((1, 4, 5), np.float32))
    assert read_depth_values(path).shape == (4, 5)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"a\.npy: cannot be read as a NumPy array of numbers; is it cut short\?"):
        read_depth_values(path)
