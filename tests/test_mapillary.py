"""Mapillary Vistas in miniature, in the exact format of its archive: JPEG of many sizes, palette PNG labels."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthaware_uda.data import MapillaryVistas, collate

# The 66 ids of version 1.2: 6 x 11 pixels.
IDS = np.arange(66, dtype=np.uint8).reshape(6, 11)


def write(folder: Path, name: str, ids: np.ndarray, labels: str = "v1.2/labels") -> None:
    """One photograph in grey 200, and its label as in the archive, with a palette."""
    for path in (folder / "images", folder / labels):
        path.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*ids.shape, 3), 200, np.uint8)).save(folder / "images" / f"{name}.jpg", quality=95)
    label = Image.fromarray(ids).convert("P")
    label.putdata(ids.flatten().tolist())
    label.putpalette([*range(256)] * 3)
    label.save(folder / labels / f"{name}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "training", "wide", IDS)
    write(tmp_path / "training", "tall", IDS.T)
    write(tmp_path / "validation", "Süd 1", np.full((3, 8), 13, np.uint8))
    return tmp_path


def test_the_66_ids_become_seven_classes(root: Path) -> None:
    dataset = MapillaryVistas(root, "training")
    assert dataset.names == ["training/images/tall.jpg", "training/images/wide.jpg"]
    expected = [
        *[255, 255, 1, 1, 1, 1, 1, *[0] * 9, 1, 1, 1, 5, 5, 5, 5, 0, 0, 255, 255, 4, 255, 0, 3],
        *[255] * 12,
        *[2] * 8,
        *[255, *[6] * 11, 255, 255, 255],
    ]
    assert dataset[1]["label"].flatten().tolist() == expected
    assert dataset[0]["label"].T.flatten().tolist() == expected
    assert dataset[0]["image"].shape == (3, 11, 6)


@pytest.mark.parametrize(("split", "folder"), [("train", "training"), ("val", "validation"), ("test", "testing")])
def test_splits_have_two_names(root: Path, split: str, folder: str) -> None:
    write(root / "testing", "a", IDS)
    assert MapillaryVistas(root, split).names == MapillaryVistas(root, folder).names
    assert ("label" in MapillaryVistas(root, split)[0]) == (split != "test")


def test_labels_may_lie_in_the_split(tmp_path: Path) -> None:
    write(tmp_path / "validation", "a", IDS, labels="labels")
    assert MapillaryVistas(tmp_path, "validation")[0]["label"][0, 2] == 1


def test_everything_may_lie_in_a_folder_of_the_version(tmp_path: Path) -> None:
    write(tmp_path / "v1.2" / "validation", "a", IDS, labels="labels")
    dataset = MapillaryVistas(tmp_path, "validation")
    assert dataset.names == ["v1.2/validation/images/a.jpg"]
    assert dataset[0]["label"][0, 2] == 1


def test_photographs_of_all_sizes_are_padded_to_one(root: Path) -> None:
    write(root / "training", "fits", np.full((4, 6), 27, np.uint8))
    dataset = pickle.loads(pickle.dumps(MapillaryVistas(root, "training", labels="common7", size=(4, 6))))
    assert dataset.geometry.interpolation == "bicubic"  # its effect: test_synthia
    batch = collate([dataset[index] for index in range(3)])
    assert batch["image"].shape == (3, 3, 4, 6)
    fits, tall, wide = batch["image"][:, 0] * 255
    np.testing.assert_allclose(fits, 200, atol=2)
    # 11 x 6 pixels shrink to 4 x 2 (6 x 4 / 11 = 2.2), 6 x 11 to 3 x 6 (6 x 6 / 11 = 3.3).
    np.testing.assert_allclose(tall[:, :2], 200, atol=2)
    assert tall[:, 2:].unique().tolist() == [0]
    np.testing.assert_allclose(wide[:3], 200, atol=2)
    assert wide[3:].unique().tolist() == [0]
    fits, tall, wide = batch["label"]
    assert fits.unique().tolist() == [4]
    # Rows under the centres of 4 pixels in 11: 1, 4, 6, 9; columns of 2 in 6: 1, 4. The id is row + 11 x column.
    assert tall[:, 2:].unique().tolist() == [255]
    assert tall[:, :2].tolist() == [[dataset.label_map[row + 11 * column] for column in (1, 4)] for row in (1, 4, 6, 9)]
    assert wide[3:].unique().tolist() == [255]


def test_labels_of_evaluation_are_padded_at_their_own_resolution(root: Path) -> None:
    dataset = MapillaryVistas(root, "validation", size=(3, 4), full_size_labels=True)
    sample = dataset[0]
    assert sample["image"].shape == (3, 3, 4)
    # 3 x 8 pixels filled up to the aspect 3 : 4 are 6 x 8; the image takes up 1 of 3 rows (3 x 4 / 8 = 1.5).
    assert sample["label"].shape == (6, 8)
    assert sample["label"][:3].unique().tolist() == [0]
    assert sample["label"][3:].unique().tolist() == [255]
    tall = MapillaryVistas(root, "training", size=(3, 4), full_size_labels=True)[0]
    # 11 x 6 becomes 11 x 14 (11 x 4 / 3 = 14.7).
    assert tall["label"].shape == (11, 14)
    assert tall["label"][:, 6:].unique().tolist() == [255]


def test_without_padding_photographs_are_stretched(root: Path) -> None:
    sample = MapillaryVistas(root, "validation", size=(4, 4), pad=False)[0]
    np.testing.assert_allclose(sample["image"] * 255, 200, atol=2)
    assert sample["label"].tolist() == [[0] * 4] * 4


def test_training_photographs_of_a_target_need_no_labels(root: Path) -> None:
    for split in ("training", "validation"):
        (root / split / "v1.2").rename(root / split / "v2.0")
    assert sorted(MapillaryVistas(root, "training")[0]) == ["image", "name"]
    with pytest.raises(FileNotFoundError) as raised:
        MapillaryVistas(root, "validation")
    assert "v1.2/labels/  *.png, one channel of ids" in str(raised.value)
    assert "holds: images/, v2.0/" in str(raised.value)


def test_other_versions_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"version must be '1\.2', got '2\.0': version 2\.0 .* the labels of 1\.2 in"):
        MapillaryVistas(root, version="2.0")


def test_a_foreign_id_is_named(root: Path) -> None:
    write(root / "validation", "new", np.full((2, 2), 123, np.uint8))
    with pytest.raises(ValueError, match=r"new\.png: label ids \[123\] are not in the id map"):
        MapillaryVistas(root, "validation")[1]


def test_a_truncated_jpeg_is_named(root: Path) -> None:
    path = root / "validation" / "images" / "Süd 1.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"Süd 1\.jpg: cannot be read as an image; is it cut short\?"):
        MapillaryVistas(root, "validation")[0]


def test_a_missing_folder_and_a_missing_label(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"testing.images: no such folder") as raised:
        MapillaryVistas(root, "testing")
    assert "holds: training/, validation/" in str(raised.value)
    (root / "training" / "v1.2" / "labels" / "tall.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels: 1 of 2 images have no partner .*\['tall\.png'\]"):
        MapillaryVistas(root, "training")


def test_two_photographs_of_one_name_are_named(root: Path) -> None:
    (root / "training" / "images" / "tall.png").touch()
    with pytest.raises(ValueError, match=r"images: tall\.jpg and tall\.png in .* differ only in their suffix"):
        MapillaryVistas(root, "training")
