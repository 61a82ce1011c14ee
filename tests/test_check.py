"""The report of a data set: every injected fault is found and named, with a remedy."""

import json
import shutil
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from depthaware_uda.data import (
    Augmented,
    CamVid,
    Cityscapes,
    DatasetReport,
    DepthMask,
    LabelMask,
    SegmentationFolder,
    Selected,
    Synthia,
    check_dataset,
    write_miniature,
)
from depthaware_uda.data.check import Finding
from depthaware_uda.labels import get_label_space
from depthaware_uda.paint import colorize_depth
from depthaware_uda.types import Sample

from .conftest import ListDataset, save


def check(dataset: object, workers: int = 0) -> DatasetReport:
    return check_dataset(dataset, num_workers=workers, progress=False)  # type: ignore[arg-type]


def finding(report: DatasetReport, kind: str) -> Finding:
    (found,) = [finding for finding in report.findings if finding.kind == kind]
    assert len(found.remedy) > 20
    assert found.remedy in report.table()
    return found


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    """Eight images of 6 x 8 with labels 0..6 and depth 1..48 m."""
    for index in range(8):
        rng = np.random.default_rng(index)
        save(tmp_path / "images" / f"{index}.png", rng.integers(0, 256, (6, 8, 3), np.uint8))
        save(tmp_path / "labels" / f"{index}.png", (np.arange(48, dtype=np.uint8) % 7).reshape(6, 8))
        save(tmp_path / "depth" / f"{index}.png", (100 * np.arange(1, 49, dtype=np.uint16)).reshape(6, 8))
    return tmp_path


def folder(root: Path, **options: object) -> SegmentationFolder:
    return SegmentationFolder(root / "images", root / "labels", root / "depth", label_space="common7", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sound_data_set(streets: Path, workers: int) -> None:
    report = check(folder(streets), workers)
    assert report.ok
    assert report.findings == ()
    assert (report.samples, report.readable, report.sizes) == (8, 8, {(6, 8): 8})
    # 48 pixels of 7 classes in turn: the first six come 7 times, the last 6 times.
    assert [one.pixels for one in report.classes] == [56] * 6 + [48]
    assert report.classes[0].share == pytest.approx(7 / 48)
    assert report.classes[0].images == 8
    assert report.ignored == 0
    assert report.depth is not None
    assert (report.depth.nearest, report.depth.farthest, report.depth.known) == (1, 48, 1)
    assert report.depth.median == 24
    lines = report.table().splitlines()
    assert lines[0] == "SegmentationFolder: 8 samples, 8 of them readable"
    assert lines[3].split() == ["flat", "14.583", "8"]
    assert lines[-2:] == [
        "depth: 1.00 to 48.00 m, median 24.00 m, known at 100.0 % of the pixels",
        "nothing to mend was found",
    ]


def test_broken_files_are_named_and_do_not_stop_the_others(streets: Path) -> None:
    dataset = folder(streets)
    whole = (streets / "images" / "1.png").read_bytes()
    (streets / "images" / "1.png").write_bytes(whole[: len(whole) // 2])
    save(streets / "labels" / "2.png", np.zeros((5, 8), np.uint8))
    save(streets / "labels" / "3.png", np.full((6, 8), 77, np.uint8))
    (streets / "depth" / "4.png").unlink()
    report = check(dataset)
    assert not report.ok
    assert report.readable == 4
    broken = finding(report, "unreadable")
    assert (broken.severity, broken.count, broken.names) == ("error", 2, ("1.png", "2.png"))
    assert "1.png: cannot be read as an image" in broken.message
    unmapped = finding(report, "unmapped ids")
    assert unmapped.names == ("3.png",)
    assert "label ids [77] are not in the id map" in unmapped.message
    assert finding(report, "missing file").names == ("4.png",)
    table = report.table()
    assert "ERROR unmapped ids" in table
    assert "in 1 of the samples: 3.png" in table


def test_a_folder_that_has_gone_is_told_by_its_files(streets: Path) -> None:
    dataset = folder(streets)
    shutil.rmtree(streets / "depth")
    missing = finding(check(dataset), "missing file")
    assert (missing.count, missing.names[0]) == (8, "0.png")
    shutil.rmtree(streets / "images")
    assert finding(check(dataset), "missing file").count == 8


def test_labels_without_a_class_and_classes_without_a_label(streets: Path) -> None:
    save(streets / "labels" / "5.png", np.full((6, 8), 255, np.uint8))
    ids = {**{index: min(index, 2) for index in range(7)}, 255: 255}
    report = check(folder(streets, label_map=ids))
    assert report.ok
    assert finding(report, "all ignored").names == ("5.png",)
    absent = finding(report, "classes without a label")
    assert absent.message == "no label shows nature, sky, human, vehicle"
    assert report.ignored == 1 / 8
    assert report.classes[0].images == 7
    mostly = check(folder(streets, label_map={**dict.fromkeys(range(7), 255), 0: 0, 255: 255}))
    assert not [found for found in mostly.findings if found.kind == "mostly ignored"]  # one label image is all ignored
    (streets / "labels" / "5.png").write_bytes((streets / "labels" / "4.png").read_bytes())
    mostly = check(folder(streets, label_map={**dict.fromkeys(range(7), 255), 0: 0}))
    assert finding(mostly, "mostly ignored").message == "85 % of all pixels are ignored"


def test_depth_of_another_unit(streets: Path) -> None:
    for path in (streets / "depth").iterdir():
        save(path, np.full((6, 8), 60_000, np.uint16))
    found = finding(check(folder(streets)), "depth of another unit")
    assert found.message == "the foreground is 600 m away, the median depth is 600 m: not a street's"


@pytest.mark.parametrize(("written", "read"), [(100, "millimetres"), (1000, "centimetres")])
def test_depth_of_a_neighbouring_unit(streets: Path, written: int, read: str) -> None:
    metres = np.linspace(3, 30, 48).reshape(6, 8)
    for path in (streets / "depth").iterdir():
        save(path, (metres * written).astype(np.uint16))
    assert finding(check(folder(streets, depth_encoding=read)), "depth of another unit")
    right = "centimetres" if written == 100 else "millimetres"
    assert check(folder(streets, depth_encoding=right)).findings == ()


def test_relative_depth_has_no_unit_to_doubt(streets: Path) -> None:
    for path in (streets / "depth").iterdir():
        save(path, np.full((6, 8), 65535, np.uint16))
    dataset = folder(streets, depth_encoding="relative_inverse")
    report = check(Selected(dataset, dataset.names))
    assert report.depth is not None
    assert not [found for found in report.findings if "depth" in found.kind]


def test_depth_that_is_nowhere_known(streets: Path) -> None:
    save(streets / "depth" / "6.png", np.zeros((6, 8), np.uint16))
    report = check(folder(streets))
    assert finding(report, "no depth known").names == ("6.png",)
    assert report.depth is not None
    assert report.depth.known == 7 / 8
    for path in (streets / "depth").iterdir():
        save(path, np.zeros((6, 8), np.uint16))
    assert "depth: known nowhere" in check(folder(streets)).table()


def test_images_that_come_twice_are_of_one_colour_or_of_several_sizes(streets: Path) -> None:
    shutil.copy(streets / "images" / "0.png", streets / "images" / "3.png")
    save(streets / "images" / "4.png", np.full((6, 8, 3), (9, 0, 200), np.uint8))
    for name, pixels in (("images", np.eye(7, 9)), ("labels", np.zeros((7, 9))), ("depth", np.ones((7, 9)))):
        kind = np.uint16 if name == "depth" else np.uint8
        values = np.repeat((pixels * 200)[..., None], 3, -1) if name == "images" else pixels
        save(streets / name / "5.png", values.astype(kind))
    report = check(folder(streets))
    twice = finding(report, "same image twice")
    assert (twice.names, twice.message) == (("3.png",), "the first of them shows what 0.png shows")
    assert finding(report, "one colour").names == ("4.png",)
    assert finding(report, "several sizes").message == "2 sizes, from (6, 8) to (7, 9) (height, width)"
    assert report.sizes == {(6, 8): 7, (7, 9): 1}


def test_partners_without_an_image(streets: Path, tmp_path: Path) -> None:
    (streets / "images" / "7.png").unlink()
    alone = finding(check(folder(streets)), "partners without an image")
    assert alone.names == (str(streets / "depth" / "7.png"), str(streets / "labels" / "7.png"))
    shutil.copy(streets / "labels" / "1.png", streets / "labels" / "10.png")  # its name begins like 1.png
    alone = finding(check(folder(streets)), "partners without an image")
    assert alone.names[1:] == (str(streets / "labels" / "10.png"), str(streets / "labels" / "7.png"))
    (streets / "labels" / "._1.png").write_bytes(b"what macOS keeps beside every file of a foreign disk")
    assert finding(check(folder(streets)), "partners without an image") == alone


def test_images_that_were_left_out_are_on_the_disk(streets: Path, tmp_path: Path) -> None:
    assert check(Selected(folder(streets), ["2.png", "5.png"])).findings == ()
    write_miniature(tmp_path, "synthia", 21, size=(16, 16))
    for split, count in (("train", 19), ("val", 2)):
        report = check(Synthia(tmp_path, split))  # type: ignore[arg-type]
        assert report.samples == count
        assert {found.kind for found in report.findings} <= {"resized SYNTHIA", "classes without a label"}


def test_colours_and_instances_beside_the_labels_of_cityscapes_are_no_strangers(tmp_path: Path) -> None:
    write_miniature(tmp_path, "cityscapes", 2)
    label = next((tmp_path / "gtFine" / "train").rglob("*_labelIds.png"))
    for kind in ("color", "instanceIds", "labelTrainIds"):
        shutil.copy(label, label.with_name(label.name.replace("labelIds", kind)))
    assert check(Cityscapes(tmp_path, "train")).ok
    assert "partners" not in check(Cityscapes(tmp_path, "train")).table()
    shutil.copy(label, label.with_name("minicity_000077_000019_gtFine_labelIds.png"))
    assert finding(check(Cityscapes(tmp_path, "train")), "partners without an image").count == 1


def synthia(root: Path, size: tuple[int, int], name: str = "0000000.png") -> Synthia:
    """A SYNTHIA of one image with the given name and (height, width)."""
    save(root / "RGB" / name, np.zeros((*size, 3), np.uint8))  # fast to write at any size
    save(root / "parsed_LABELS" / name, np.ones(size, np.uint8))
    return Synthia(root, depth=False)


def test_the_right_package_of_synthia(tmp_path: Path) -> None:
    dataset = synthia(tmp_path, (760, 1280))
    report = check(dataset)
    assert report.ok
    assert finding(report, "part of SYNTHIA").message == "1 images, SYNTHIA-RAND-CITYSCAPES has 9,400"
    dataset.split = "val"
    assert "has 470" in finding(check(dataset), "part of SYNTHIA").message


@pytest.mark.parametrize(
    ("size", "name", "package"),
    [
        ((720, 960), "0.png", "SYNTHIA-RAND, the 13,407 random frames"),
        ((1080, 1920), "0.png", "SYNTHIA-SF"),
        ((480, 640), "0.png", "SYNTHIA-AL"),
        ((8, 8), "ap_000_01-11-2015_19-20-57_000000_0_Rand_0.png", "SYNTHIA-RAND, the 13,407 random frames"),
        ((8, 8), "Omni_F/000000.png", "SYNTHIA-SEQS"),
    ],
)
def test_the_wrong_package_of_synthia_is_named(tmp_path: Path, size: tuple[int, int], name: str, package: str) -> None:
    wrong = finding(check(synthia(tmp_path, size, name)), "wrong SYNTHIA package")
    assert wrong.severity == "error"
    assert package in wrong.message
    assert "download SYNTHIA-RAND-CITYSCAPES" in wrong.remedy


def test_the_package_of_synthia_is_told_although_its_first_image_is_damaged(tmp_path: Path) -> None:
    synthia(tmp_path, (720, 960), "1.png")
    dataset = synthia(tmp_path, (720, 960), "0.png")
    (tmp_path / "RGB" / "0.png").write_bytes(b"no image")
    report = check(dataset)
    assert finding(report, "unreadable").names == ("RGB/0.png",)
    assert "frames of 2016" in finding(report, "wrong SYNTHIA package").message
    (tmp_path / "RGB" / "1.png").write_bytes(b"no image")
    assert [found.kind for found in check(dataset).findings] == ["unreadable"]


def test_samples_that_break_the_contract() -> None:
    good = Sample(
        image=tv_tensors.Image(torch.rand(3, 4, 4)),
        label=LabelMask(torch.zeros(4, 4, dtype=torch.int64)),
        depth=DepthMask(torch.ones(1, 4, 4)),
        name="good",
    )
    cases = {
        "image holds values in": {"image": torch.rand(3, 4, 4) * 255},
        r"image is torch.uint8 (3, 4, 4), expected float32": {"image": torch.ones(3, 4, 4, dtype=torch.uint8)},
        "label is torch.int32 (4, 4), expected int64": {"label": torch.zeros(4, 4, dtype=torch.int32)},
        "label holds 9..9, expected 0..6 or 255": {"label": torch.full((4, 4), 9)},
        "depth holds -1 m, expected more than 0, or NaN where": {"depth": -torch.ones(1, 4, 4)},
        "depth holds 0 m, expected more than 0, or NaN where": {"depth": torch.zeros(1, 4, 4)},
        "depth is torch.float32 (4, 4), expected float32 (1, H, W)": {"depth": torch.ones(4, 4)},
        "name is a PurePosixPath, expected a str": {"name": PurePosixPath("bad")},
    }
    for message, wrong in cases.items():
        dataset = ListDataset([good, Sample(**{**good, "name": "bad", **wrong})])  # type: ignore[typeddict-item]
        dataset.label_space = get_label_space("common7")  # type: ignore[attr-defined]
        breach = finding(check(dataset), "broken contract")
        assert message in breach.message
        assert breach.names == ("bad",)
    some = ListDataset([good, Sample(image=good["image"] / 2, name="less")])
    assert finding(check(some), "some without label").names == ("less",)
    assert finding(check(some), "some without depth").names == ("less",)
    assert finding(check(ListDataset([good, good])), "duplicated names").names == ("good",)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((torch.rand(3, 4, 4), torch.zeros(4, 4)), "the sample is a tuple, expected a dict"),
        (None, "the sample is a NoneType"),
        ({"image": np.zeros((3, 4, 4), np.float32)}, "image is a ndarray, expected a tensor"),
        ({"image": torch.rand(3, 4, 4), "label": [[0]]}, "label is a list, expected a tensor"),
        ({"image": torch.rand(3, 0, 4)}, "image has the shape (3, 0, 4), expected one with height and width"),
        ({"image": torch.rand(4)}, "image has the shape (4,)"),
        ({"image": torch.rand(3, 4, 4), "label": torch.zeros(4, 4)}, "label is torch.float32 (4, 4), expected int64"),
        (
            {"image": torch.rand(3, 4, 4).bfloat16()},
            "its tensors cannot be read: Got unsupported ScalarType BFloat16",
        ),
    ],
)
def test_samples_of_which_nothing_can_be_told_do_not_stop_the_others(wrong: object, message: str) -> None:
    report = check(ListDataset([wrong, Sample(image=torch.rand(3, 4, 4), label=torch.zeros(4, 4).long())]))  # type: ignore[list-item]
    assert message in finding(report, "broken contract").message
    assert 1 in report.whole


def test_names_that_do_not_fit_are_told() -> None:
    def scene(name: str) -> Sample:
        return Sample(image=torch.rand(3, 4, 4), name=name)

    listed = ListDataset([scene("a"), scene("b")])
    listed.names = ["a", "c"]  # type: ignore[attr-defined]
    breach = finding(check(listed), "broken contract")
    assert breach.message == "the sample is called 'b', but 'c' in the data set's names"
    listed.names = ["a"]  # type: ignore[attr-defined]
    assert finding(check(listed), "names that do not fit").message == "the data set has 2 samples but 1 names"
    twice = Augmented(ListDataset([scene("a"), scene("a")]), dict)  # type: ignore[arg-type]
    assert finding(check(twice), "duplicated names").names == ("a",)


def test_one_bad_sample_does_not_stop_the_others_in_a_wrapper_whose_names_have_to_be_read() -> None:
    class Damaged(ListDataset):
        def __getitem__(self, index: int) -> Sample:
            if index == 1:
                raise ValueError("cut short")
            return super().__getitem__(index)

    report = check(Augmented(Damaged([Sample(image=torch.rand(3, 4, 4))] * 3), dict))  # type: ignore[arg-type]
    assert finding(report, "unreadable").names == ("sample 1",)


@pytest.mark.parametrize("files", [["a", "b"], [Path("a"), Path("b")], [("a",), ("b",)]])
def test_files_of_another_kind_are_no_obstacle(files: list) -> None:
    dataset = ListDataset([Sample(image=torch.rand(3, 4, 4), name=name) for name in "ab"])
    dataset.files = files  # type: ignore[attr-defined]
    assert check(dataset).findings == ()


def test_samples_that_break_the_contract_are_drawn_too(tmp_path: Path) -> None:
    grey, red = torch.full((1, 4, 4), 0.5), torch.zeros(3, 4, 4, dtype=torch.uint8)
    red[0] = 200
    samples = [
        {"image": grey, "label": torch.ones(1, 4, 4).long(), "depth": torch.full((1, 1, 4, 4), 5.0)},
        {"image": red, "label": torch.ones(4, 4).int(), "depth": torch.full((4, 4), 5.0)},
    ]
    dataset = ListDataset(samples)  # type: ignore[arg-type]
    dataset.label_space = space = get_label_space("common7")  # type: ignore[attr-defined]
    check(dataset).draw(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as page:
        pixels = np.asarray(page)
    for top, image in ((46, [128] * 3), (46 + 386, [200, 0, 0])):  # rows of 360 pixels, plus a line and a gap
        shown = [pixels[top + 180, left + 180].tolist() for left in (6, 372, 738)]
        assert shown == [image, list(space.palette[1]), colorize_depth(torch.full((1, 1), 5.0))[0, 0].tolist()]


def test_infinite_depth_is_json_all_the_same(tmp_path: Path) -> None:
    sky = Sample(image=torch.rand(3, 4, 4), depth=torch.full((1, 4, 4), torch.inf))
    sky["depth"][0, 0] = 3
    check(ListDataset([sky])).save(tmp_path / "report.json")
    depth = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)["depth"]
    assert depth == {"known": 1.0, "nearest": 3.0, "median": None, "farthest": None}


def test_labels_of_another_size_are_told(streets: Path) -> None:
    report = check(folder(streets, size=(3, 4), full_size_labels=True))
    found = finding(report, "labels of another size")
    assert (found.severity, found.count) == ("note", 8)
    assert found.message == "(height, width) of {'image': (3, 4), 'label': (6, 8), 'depth': (6, 8)}"


def test_the_report_as_json_and_as_a_page(streets: Path, tmp_path: Path) -> None:
    (streets / "images" / "1.png").write_bytes(b"no image")
    report = check(folder(streets))
    report.save(tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["ok"] is False
    assert saved["sizes"] == [{"height": 6, "width": 8, "samples": 7}]
    assert saved["findings"][0]["names"] == ["1.png"]
    assert saved["depth"]["farthest"] == 48

    report.draw(tmp_path / "page.png", count=3)
    with Image.open(tmp_path / "page.png") as page:
        pixels = np.asarray(page)
    # Three columns of 360 with gaps, below two lines of 20 and a gap; 6 x 8 pixels are drawn at 270 x 360.
    assert pixels.shape[1] == 6 + 3 * 366
    image, label, depth = (pixels[46 : 46 + 270, left : left + 360][22::45, 22::45] for left in (6, 372, 738))
    sample = folder(streets)[0]
    centres = sample["image"].mul(255).round().byte().permute(1, 2, 0)
    assert np.abs(image.astype(int) - centres.numpy()).max() < 40  # bilinear
    assert label.tolist() == get_label_space("common7").colorize(sample["label"].numpy()).tolist()
    assert depth.tolist() == colorize_depth(sample["depth"]).tolist()
    report.draw(tmp_path / "all.png", count=50)
    with Image.open(tmp_path / "all.png") as page:
        assert page.height > 2 * len(pixels)


def test_what_cannot_be_checked_or_drawn(streets: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty data set"):
        check(ListDataset([]))
    with pytest.raises(ValueError, match="num_workers must be a whole number of at least 0"):
        check(folder(streets), -1)
    report = check(ListDataset([Sample(name="a")]))
    assert finding(report, "broken contract").message == "the sample has no image"
    with pytest.raises(ValueError, match="nothing to draw"):
        report.draw(tmp_path / "page.png")
    with pytest.raises(ValueError, match="count must be above 0"):
        check(folder(streets)).draw(tmp_path / "page.png", count=0)


def test_camvid_as_it_lies_on_disk(camvid_root: Path, tmp_path: Path) -> None:
    dataset = CamVid(camvid_root, "val")
    report = check(Selected(dataset, dataset.names[::10]))
    assert report.ok
    assert report.sizes == {(360, 480): 11}
    report.draw(tmp_path / "page.png")
