"""SYNTHIA-RAND-CITYSCAPES in miniature, in the exact formats of the download."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthaware_uda.data import Synthia
from depthaware_uda.data.images import read_first_channel
from depthaware_uda.data.synthia_packages import package_of_folder
from depthaware_uda.labels import LabelSpace, get_label_space

from .conftest import save
from .png16 import write_png16

# All 23 ids of SYNTHIA and void once more: 4 x 6 pixels.
IDS = np.array([*range(23), 0], np.uint16).reshape(4, 6)
# Instance ids beyond 8 bits, so that a lost low byte would show.
INSTANCES = 256 * IDS + 77
# 0 is unknown, the sky is at the far end.
CENTIMETRES = np.array([0, 1, 250, 2550, 10_000, 65_535] * 4, np.uint16).reshape(4, 6)
NAMES = ("0000000", "0000001", "with space ä")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index, name in enumerate(NAMES):
        save(tmp_path / "RGB" / f"{name}.png", np.full((4, 6, 3), (10 * index, 20, 30), np.uint8))
        write_png16(tmp_path / "GT" / "LABELS" / f"{name}.png", np.stack([IDS, INSTANCES, 0 * IDS], -1))
        save(tmp_path / "Depth" / "Depth" / f"{name}.png", CENTIMETRES)
    return tmp_path


def test_it_reads_the_download_as_it_is(root: Path) -> None:
    dataset = Synthia(root, labels="cityscapes16")
    assert dataset.layout == "downloaded"
    assert dataset.names == ["RGB/0000000.png", "RGB/0000001.png", "RGB/with space ä.png"]
    sample = dataset[1]
    assert (255 * sample["image"][:, 0, 0]).tolist() == [10, 20, 30]
    # Ids in order: void sky building road sidewalk fence | vegetation pole car sign pedestrian bicycle |
    # motorcycle parking road-work light terrain rider | truck bus train wall lane-marking void.
    assert sample["label"].tolist() == [
        [255, 9, 2, 0, 1, 4],
        [8, 5, 12, 7, 10, 15],
        [14, 255, 255, 6, 255, 11],
        [255, 13, 255, 3, 255, 255],
    ]
    depth = sample["depth"][0, 0]
    assert depth[0].isnan()
    np.testing.assert_allclose(depth[1:], [0.01, 2.5, 25.5, 100, 655.35], rtol=1e-6)


def test_photographs_are_resized_as_by_pillow(root: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    save(root / "RGB" / f"{NAMES[0]}.png", pixels)
    for size in ((2, 4), (9, 5)):
        expected = np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC), np.int16)
        found = (255 * Synthia(root, size=size)[0]["image"].permute(1, 2, 0)).round().numpy()
        assert np.abs(found - expected).max() <= 1


def test_seven_and_nineteen_classes(root: Path) -> None:
    seven = Synthia(root, labels="common7")[0]["label"].flatten().tolist()
    assert seven == [255, 4, 1, 0, 0, 1, 3, 2, 6, 2, 5, 6, *[255] * 3, 2, *[255] * 6, 0, 255]
    nineteen = Synthia(root, labels="cityscapes19")[0]["label"].flatten().tolist()
    names = get_label_space("cityscapes19").classes
    assert (names[nineteen[16]], names[nineteen[18]], names[nineteen[20]]) == ("terrain", "truck", "train")


def test_parsed_labels_give_the_same(root: Path) -> None:
    downloaded = Synthia(root)[2]
    (root / "GT").rename(root / "elsewhere")
    (root / "Depth" / "Depth").rename(root / "flat")
    (root / "Depth").rmdir()
    (root / "flat").rename(root / "Depth")
    for name in NAMES:
        save(root / "parsed_LABELS" / f"{name}.png", IDS.astype(np.uint8))
    parsed = Synthia(root)
    assert parsed.layout == "parsed"
    assert parsed[2]["label"].tolist() == downloaded["label"].tolist()
    np.testing.assert_array_equal(parsed[2]["depth"], downloaded["depth"])


def test_the_folder_of_the_archive_may_be_in_between(root: Path) -> None:
    (root / "data").mkdir()
    for name in ("RGB", "GT", "Depth"):
        (root / "data" / "RAND_CITYSCAPES").mkdir(exist_ok=True)
        (root / name).rename(root / "data" / "RAND_CITYSCAPES" / name)
    dataset = Synthia(root / "data")
    assert dataset.names[0] == "RAND_CITYSCAPES/RGB/0000000.png"
    assert dataset[0]["label"][0, 1] == 9


def test_depth_of_three_equal_channels(root: Path) -> None:
    path = root / "Depth" / "Depth" / "0000000.png"
    write_png16(path, np.stack([CENTIMETRES] * 3, -1))
    np.testing.assert_allclose(Synthia(root)[0]["depth"][0, 1, 1:], [0.01, 2.5, 25.5, 100, 655.35], rtol=1e-6)
    write_png16(path, np.stack([CENTIMETRES, CENTIMETRES, CENTIMETRES + 1], -1))
    with pytest.raises(
        ValueError, match=r"0000000\.png: expected a depth image .* three equal ones, got a colour image"
    ):
        Synthia(root)[0]


def test_size_and_pickling(root: Path) -> None:
    sample = pickle.loads(pickle.dumps(Synthia(root, size=(2, 3))))[0]
    # Under the centres of 2 x 3 pixels are rows 1, 3 and columns 1, 3, 5 of the file.
    assert sample["label"].tolist() == [[5, 7, 15], [13, 3, 255]]
    assert sample["image"].shape == (3, 2, 3)
    full = Synthia(root, size=(2, 3), full_size_labels=True)[0]
    assert (full["image"].shape, full["label"].shape, full["depth"].shape) == ((3, 2, 3), (4, 6), (1, 4, 6))


def test_a_split_of_one_in_twenty(tmp_path: Path) -> None:
    for index in range(22):
        for folder in ("RGB", "GT/LABELS"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / f"{index:07d}.png").touch()
    val = Synthia(tmp_path, "val", depth=False).names
    assert val == ["RGB/0000000.png", "RGB/0000020.png"]
    train = Synthia(tmp_path, "train", depth=False).names
    assert len(train) == 20
    assert not set(train) & set(val)


def test_classes_of_your_own(root: Path) -> None:
    roads = LabelSpace("roads", ("other", "road"), ((0, 0, 0), (128, 64, 128)))
    table = {**dict.fromkeys(range(23), 0), 3: 1, 22: 1, 0: 255}
    label = Synthia(root, labels=roads, label_map=table)[0]["label"].flatten().tolist()
    assert label == [255, 0, 0, 1, *[0] * 18, 1, 255]


def test_a_foreign_id_names_the_file_and_can_be_ignored(root: Path) -> None:
    strange = np.where(IDS == 22, 300, IDS)
    write_png16(root / "GT" / "LABELS" / "0000001.png", np.stack([strange] * 3, -1))
    with pytest.raises(ValueError, match=r"LABELS.0000001\.png: label ids \[300\] are not in the id map"):
        Synthia(root)[1]
    label = Synthia(root, labels="common7", unknown="ignore")[1]["label"]
    assert label[3].tolist()[4:] == [255, 255]
    with pytest.raises(ValueError, match=r"unknown must be one of \('error', 'ignore'\), got 'drop'"):
        Synthia(root, unknown="drop")


def test_labels_that_lost_their_low_byte_are_refused(root: Path) -> None:
    save(root / "GT" / "LABELS" / "0000000.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"expected an RGB PNG of 16 bits .* \(RGB\).* use the original"):
        Synthia(root)[0]


def test_all_16_bits_come_through(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 16, (17, 23, 3)).astype(np.uint16)
    path = write_png16(tmp_path / "a.png", values)
    assert read_first_channel(path).tolist() == values[..., 0].tolist()


@pytest.mark.parametrize("folder", ["GT/LABELS", "RGB", "Depth/Depth"])
def test_a_truncated_png_is_named(root: Path, folder: str) -> None:
    path = root / folder / "0000000.png"
    noise = np.random.default_rng(0).integers(0, 1 << 16, (4, 600, 3)).astype(np.uint16)
    for name in ("RGB", "GT/LABELS"):
        write_png16(root / name / "0000000.png", 0 * noise)
    write_png16(path, noise[..., 0] if folder == "Depth/Depth" else noise)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"0000000\.png: cannot be read as an image; is it cut short\?"):
        Synthia(root)[0]


def test_a_damaged_png_is_an_error_and_not_the_end_of_the_process(root: Path) -> None:
    path = root / "GT" / "LABELS" / "0000000.png"
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"0000000\.png: cannot be read as an image"):
        Synthia(root)[0]


def test_a_label_of_another_size_is_named(root: Path) -> None:
    write_png16(root / "GT" / "LABELS" / "0000000.png", np.zeros((5, 6, 3), np.uint16))
    with pytest.raises(ValueError, match=r"LABELS.0000000\.png: expected 4 x 6 pixels as in .*, got 5 x 6"):
        Synthia(root)[0]


def test_missing_depth_is_named(root: Path) -> None:
    (root / "Depth" / "Depth" / "0000001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"depth: 1 of 3 images have no partner in .*\['0000001\.png'\]"):
        Synthia(root)
    assert "depth" not in Synthia(root, depth=False)[1]


def test_a_missing_folder_shows_the_tree(root: Path) -> None:
    (root / "Depth" / "Depth").rename(root / "Tiefe")
    (root / "Depth").rmdir()
    with pytest.raises(FileNotFoundError) as raised:
        Synthia(root)
    message = str(raised.value)
    assert "Depth: no such folder" in message
    assert "Depth/Depth/  *.png, 16 bits, centimetres (or directly in Depth/)" in message
    assert "may be absent with depth=False" in message
    assert f"{root} holds: GT/, RGB/, Tiefe/" in message


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "RGB").mkdir()
    with pytest.raises(ValueError, match=r"RGB: expected images \(\.png\), found none"):
        Synthia(tmp_path)


@pytest.mark.parametrize(
    ("folder", "package"), [("GTTXT", "frames of 2016"), ("RGB/Stereo_Left", "SYNTHIA-SEQS"), ("RGBLeft", "SYNTHIA-SF")]
)
def test_another_package_of_synthia_is_recognised(root: Path, folder: str, package: str) -> None:
    assert package_of_folder(root) is None
    (root / folder).mkdir(parents=True)
    with pytest.raises(ValueError, match=rf"this is .*{package}.*; download SYNTHIA-RAND-CITYSCAPES"):
        Synthia(root)


def test_wrong_arguments(root: Path) -> None:
    with pytest.raises(ValueError, match=r"split must be one of \('all', 'train', 'val'\), got 'test'"):
        Synthia(root, "test")
    with pytest.raises(ValueError, match=r"no id map from 'synthia' to label space 'camvid11'"):
        Synthia(root, labels="camvid11")
