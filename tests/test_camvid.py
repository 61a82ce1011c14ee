import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision import tv_tensors

from depthaware_uda.data import CamVid
from depthaware_uda.data.images import read_depth_values, read_ids, read_image, upright_rgb
from depthaware_uda.depth import DepthEncoding
from depthaware_uda.labels import get_label_space

from .conftest import save


def test_samples_keep_the_contract(camvid_copy: Path) -> None:
    dataset = CamVid(camvid_copy, "train")
    assert len(dataset) == 3
    assert dataset.names == [f"train/images/{index:03d}.png" for index in range(3)]
    assert dataset.label_space is get_label_space("common7")

    sample = dataset[2]
    assert sorted(sample) == ["image", "label", "name"]
    assert sample["name"] == dataset.names[2]
    assert isinstance(sample["image"], tv_tensors.Image)
    assert isinstance(sample["label"], tv_tensors.Mask)
    assert (sample["image"].dtype, sample["image"].shape) == (torch.float32, (3, 4, 6))
    torch.testing.assert_close(sample["image"][:, 0, 0].as_subclass(torch.Tensor), torch.tensor([20, 20, 30]) / 255)
    # The first twelve pixels are the ids 0..11: sky, building, pole, road, pavement, tree, ..., void.
    assert sample["label"].dtype == torch.int64
    assert sample["label"].flatten()[:12].tolist() == [4, 1, 2, 0, 0, 3, 2, 1, 6, 5, 5, 255]


def test_without_a_labels_folder_there_are_no_labels(camvid_copy: Path) -> None:
    (camvid_copy / "train" / "labels").rename(camvid_copy / "elsewhere")
    assert sorted(CamVid(camvid_copy)[0]) == ["image", "name"]


def test_size_resizes_image_and_label(camvid_copy: Path) -> None:
    sample = CamVid(camvid_copy, "val", size=(2, 3))[0]
    assert sample["image"].shape == (3, 2, 3)
    # Of 4 x 6 pixels in reading order, those under the centres of 2 x 3 are rows 1, 3 and columns 1, 3, 5.
    ids = np.arange(24).reshape(4, 6)[1::2, 1::2] % 12
    expected = np.array([4, 1, 2, 0, 0, 3, 2, 1, 6, 5, 5, 255])[ids]
    assert sample["label"].tolist() == expected.tolist()


def test_transform_sees_the_sample(camvid_copy: Path) -> None:
    dataset = CamVid(camvid_copy, transform=lambda sample: {"name": sample["name"] + "!"})
    assert dataset[0] == {"name": "train/images/000.png!"}


def test_it_travels_to_other_processes(camvid_copy: Path) -> None:
    dataset = pickle.loads(pickle.dumps(CamVid(camvid_copy)))
    assert dataset[1]["name"] == "train/images/001.png"
    assert dataset.label_space == get_label_space("common7")


def test_a_missing_folder_shows_the_expected_tree_and_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "Train").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError) as raised:
        CamVid(tmp_path, "train")
    message = str(raised.value)
    assert "no such folder" in message
    assert "images/  *.jpg or *.png" in message
    assert f"{tmp_path} holds: Train/, notes.txt" in message


def test_a_missing_root_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        CamVid(tmp_path / "nowhere")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train" / "images").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"expected images .* found none"):
        CamVid(tmp_path)


def test_a_missing_label_is_named(camvid_copy: Path) -> None:
    (camvid_copy / "train" / "labels" / "001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels: 1 of 3 images have no partner.*001\.png"):
        CamVid(camvid_copy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, r"split must be one of \('train', 'val'\), got 'test'"),
        ({"labels": "cityscapes16"}, "no id map from 'camvid'"),
        ({"size": (0, 3)}, r"size must be \(height, width\) in whole pixels above 0, got \(0, 3\)"),
        ({"size": 32}, "got 32"),
        ({"size": (1.5, 2)}, r"got \(1.5, 2\)"),
    ],
)
def test_wrong_arguments(camvid_copy: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CamVid(camvid_copy, **arguments)


def test_a_label_of_another_size_is_named(camvid_copy: Path) -> None:
    save(camvid_copy / "train" / "labels" / "000.png", np.zeros((5, 6), np.uint8))
    with pytest.raises(ValueError, match=r"000\.png: expected 4 x 6 pixels as in .*, got 5 x 6; resize"):
        CamVid(camvid_copy)[0]


def test_a_truncated_image_is_named(camvid_copy: Path) -> None:
    path = camvid_copy / "train" / "images" / "000.png"
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    save(path, noise)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"000\.png: cannot be read as an image; is it cut short\?"):
        CamVid(camvid_copy)[0]


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>")
    for read in (read_image, read_ids, read_depth_values):
        with pytest.raises(ValueError, match=r"page\.png: cannot be read as an image"):
            read(tmp_path / "page.png")
        with pytest.raises(FileNotFoundError, match=r"gone\.png: no such file"):
            read(tmp_path / "gone.png")


@pytest.mark.parametrize(("read", "suffix"), [(read_image, "jpg"), (read_ids, "png"), (read_depth_values, "npy")])
def test_what_the_system_refuses_is_not_called_cut_short(tmp_path: Path, read: Callable, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").mkdir()
    with pytest.raises(ValueError, match=rf"a\.{suffix}: cannot be read \([A-Z][a-z ]+\)$"):
        read(tmp_path / f"a.{suffix}")


def test_exif_orientation_is_respected(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees to show it upright
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (6, 4, 3)
    image = tmp_path / "train" / "images" / "a.jpg"
    image.parent.mkdir(parents=True)
    (tmp_path / "a.jpg").rename(image)
    save(tmp_path / "train" / "labels" / "a.png", np.zeros((4, 6), np.uint8))  # drawn on the picture as stored
    with pytest.raises(
        ValueError, match=r"a\.png: expected 6 x 4 .*a\.jpg \(does its EXIF orientation turn.*got 4 x 6"
    ):
        CamVid(tmp_path)[0]


@pytest.mark.parametrize("orientation", range(1, 10))
def test_every_orientation_is_that_of_pillow(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for name in ("a.png", "a.tif"):
        Image.fromarray(pixels).save(tmp_path / name, exif=exif)
        with Image.open(tmp_path / name) as image:
            expected = np.array(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(read_image(tmp_path / name), expected)


def test_a_strange_tag_beside_the_orientation_is_no_damage(tmp_path: Path) -> None:
    # Orientation 6, and a width in letters, which EXIF writers refuse.
    tags = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + tags + struct.pack("<I", 0)
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (6, 4, 3)
    with Image.open(tmp_path / "a.jpg") as image:
        assert upright_rgb(image).shape == (6, 4, 3)


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 7, 8, 9])
    image.save(tmp_path / "a.png", transparency=bytes([255, 100]))
    assert read_image(tmp_path / "a.png").tolist() == [[[7, 8, 9]] * 2]


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    save(tmp_path / "grey.png", np.full((1, 1), 9, np.uint8))
    save(tmp_path / "clear.png", np.array([[[1, 2, 3, 0]]], np.uint8))
    assert read_image(tmp_path / "grey.png").tolist() == [[[9, 9, 9]]]
    assert read_image(tmp_path / "clear.png").tolist() == [[[1, 2, 3]]]


def test_an_image_of_16_bits_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.full((1, 1), 900, np.uint16))
    with pytest.raises(ValueError, match="8 bits a channel, got mode I;16"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ids_of_8_and_16_bits(tmp_path: Path, dtype: type) -> None:
    save(tmp_path / "a.png", np.array([[0, 7], [200, 255]], dtype))
    ids = read_ids(tmp_path / "a.png")
    assert ids.tolist() == [[0, 7], [200, 255]]
    assert ids.dtype == dtype


def test_ids_are_palette_indices_and_single_bits(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 2]], np.uint8)).convert("P")
    picture.putdata([0, 2])
    picture.putpalette([9, 9, 9, 8, 8, 8, 7, 7, 7])
    picture.save(tmp_path / "palette.png")
    assert read_ids(tmp_path / "palette.png").tolist() == [[0, 2]]
    save(tmp_path / "bits.png", np.array([[True, False]]))
    assert read_ids(tmp_path / "bits.png").tolist() == [[1, 0]]


@pytest.mark.parametrize(("bits", "row"), [(2, 0b00_01_10_11), (4, 0x0123)])
def test_ids_in_greys_of_few_bits_are_not_stretched(tmp_path: Path, bits: int, row: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_grey_png(bits, row.to_bytes(bits // 2, "big")))
    assert read_ids(path).tolist() == [[0, 1, 2, 3]]


def _grey_png(bits: int, row: bytes) -> bytes:
    """A grey PNG of 4 x 1 pixels with 2 or 4 bits a pixel, which Pillow reads but does not write."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
    data = zlib.compress(b"\0" + row)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_colour_labels_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(ValueError, match="one channel of class ids, got mode RGB; turn colours into ids"):
        read_ids(tmp_path / "a.png")


def test_ids_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.tiff", np.array([[70_000]], np.int32))
    with pytest.raises(ValueError, match=r"expected values in 0\.\.65535, got 70000\.\.70000"):
        read_ids(tmp_path / "a.tiff")


def test_depth_of_8_bits_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((1, 1), np.uint8))
    with pytest.raises(ValueError, match="expected integers of 16 bits for this depth encoding, got uint8"):
        DepthEncoding.centimetres().decode(read_depth_values(tmp_path / "a.png"))


def test_depth_of_32_bits_goes_beyond_16(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", np.array([[70_000, 0, -1]], np.int32))
    metres = DepthEncoding.millimetres().decode(read_depth_values(tmp_path / "a.tif"))
    np.testing.assert_array_equal(metres, np.array([[70, np.nan, np.nan]], np.float32))


def test_the_real_camvid_in_eleven_and_seven_classes(camvid_root: Path) -> None:
    eleven = CamVid(camvid_root, "val", labels="camvid11")
    seven = CamVid(camvid_root, "val", labels="common7")
    names, groups = eleven.label_space.classes, seven.label_space.classes
    fine, coarse = eleven[0]["label"], seven[0]["label"]
    pairs = {(names[a], groups[b]) for a, b in zip(*(x[x != 255].tolist() for x in (fine, coarse)), strict=True)}
    assert {("sky", "sky"), ("road", "flat"), ("pavement", "flat"), ("car", "vehicle")} <= pairs
    assert len(pairs) == len({name for name, _ in pairs})  # every fine class has one coarse class
    assert (fine == 255).equal(coarse == 255)


def test_the_real_camvid(camvid_root: Path) -> None:
    train, val = CamVid(camvid_root, "train"), CamVid(camvid_root, "val", size=(96, 160))
    assert (len(train), len(val)) == (367, 101)
    assert train.names[0] == "train/images/0001TP_006690.jpg"
    assert train[0]["image"].shape == (3, 360, 480)
    label = val[0]["label"]
    assert label.shape == (96, 160)
    assert set(label.unique().tolist()) <= {*range(7), 255}
