"""The command line, as a user types it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import depthaware_uda
from depthaware_uda import EvaluationResult, data, evaluate, hub, load_pretrained, predict
from depthaware_uda.cli import DEFAULT_MODEL, main
from depthaware_uda.data import SegmentationFolder
from depthaware_uda.labels import save_label_map

from .conftest import save
from .tiny import tiny_model

RNG = np.random.default_rng(0)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    tiny_model().save_pretrained(tmp_path / "weights")
    return str(tmp_path / "weights")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index in range(2):
        save(tmp_path / "photos" / f"{index}.png", RNG.integers(0, 256, (40, 48, 3), np.uint8))
        save(tmp_path / "labels" / f"{index}.png", RNG.integers(0, 7, (40, 48), np.uint8))
    return tmp_path / "photos"


def test_one_photo(weights: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["predict", str(photos / "0.png"), "-o", str(out), "--model", weights, "--flip", "--size", "32"]) == 0
    printed = capsys.readouterr().out.splitlines()
    expected = predict(load_pretrained(weights), photos / "0.png", flip=True, size=32)
    name, share = next(iter(expected.shares().items()))
    assert printed[0].startswith(f"{name} {100 * share:.0f} %")
    files = ("labels/0.png", "overlays/0.jpg", "depth/0.png", "depth_pictures/0.png")
    assert printed[1:] == [str(out / file) for file in files]
    with Image.open(out / "labels" / "0.png") as label:
        np.testing.assert_array_equal(np.array(label), expected.label)


def test_a_folder_of_photos(weights: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["predict", str(photos), "-o", str(out), "--model", weights, "--tile", "32", "32", "--files", "labels"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"2 images in {out}\n"
    assert sorted(path.name for path in (out / "labels").iterdir()) == ["0.png", "1.png"]
    assert json.loads((out / "predictions.json").read_text())["tile"] == [32, 32]
    assert main([*command, "--scales", "0.5", "1"]) == 2
    assert "holds other predictions" in capsys.readouterr().err
    assert main([*command, "--scales", "0.5", "1", "--overwrite"]) == 0


@pytest.mark.parametrize(("words", "size"), [(["none"], None), (["auto"], None), (["20", "30"], [20, 30])])
def test_sizes(weights: str, photos: Path, tmp_path: Path, words: list[str], size: Any) -> None:
    command = ["predict", str(photos), "-o", str(tmp_path / "out"), "--model", weights, "--files", "labels"]
    assert main([*command, "--size", *words]) == 0
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["size"] == size


def test_a_size_that_is_none_is_named(weights: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(photos), "--model", weights, "--size", "big"]) == 2
    assert capsys.readouterr().err == "error: --size must be auto, none or numbers of pixels, got big\n"


def test_evaluation(weights: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "result.json"
    labels = str(tmp_path / "labels")
    assert main(["evaluate", str(photos), "--labels", labels, "--model", weights, "-o", str(result)]) == 0
    samples = SegmentationFolder(photos, labels, label_space="common7")
    expected = evaluate(load_pretrained(weights), samples)
    assert EvaluationResult.load(result) == expected
    assert expected.table() in capsys.readouterr().out


def test_evaluation_shows_the_network_the_size_that_it_was_trained_at(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model(image_size=16).save_pretrained(tmp_path / "small")
    command = ["evaluate", str(photos), "--labels", str(tmp_path / "labels"), "--model", str(tmp_path / "small")]
    result = tmp_path / "result.json"
    assert main([*command, "-o", str(result)]) == 0
    found = EvaluationResult.load(result)
    assert (found.image_size, found.label_size) == ((16, 19), (40, 48))
    assert "the network saw images of 16 x 19" in capsys.readouterr().out
    assert main([*command, "-o", str(result), "--size", "24", "32"]) == 0
    assert EvaluationResult.load(result).image_size == (24, 32)


def test_evaluation_of_a_data_set_by_name(weights: str, camvid_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", str(camvid_copy), "--dataset", "camvid", "--split", "val", "--size", "16", "24"]
    assert main([*command, "--model", weights]) == 0
    assert "pixel accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "gta"], "--dataset must be folders or one of ['camvid', 'cityscapes', "),
        (["--dataset", "inmemory"], "--dataset must be folders or one of ['camvid', 'cityscapes', "),
        (["--dataset", "camvid", "--labels", "common7"], "its classes are chosen with --classes"),
        (
            ["--dataset", "camvid", "--depth", "depth"],
            "--labels, --depth and --depth-encoding are for images of your own; CamVid finds its files",
        ),
        (["--labels", "labels", "--split", "val"], "--split chooses a split of a data set named by --dataset"),
        (["--labels", "labels"], "--classes is missing: the label space of the label images"),
    ],
)
def test_options_of_another_kind_of_data_are_not_passed_over(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["check", "somewhere", *options]) == 2
    assert message in capsys.readouterr().err


def test_unknown_ids_may_be_ignored_and_depth_may_be_in_millimetres(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_label_map(photos.parent / "map.json", {0: 3}, "common7")
    for index in range(2):
        save(photos.parent / "depth" / f"{index}.png", np.full((40, 48), 9000, np.uint16))
    command = ["check", str(photos), "--labels", str(photos.parent / "labels"), "--depth", str(photos.parent / "depth")]
    command += ["--label-map", str(photos.parent / "map.json")]
    assert main(command) == 1
    assert "unmapped ids" in capsys.readouterr().out
    assert main([*command, "--unknown", "ignore", "--depth-encoding", "millimetres"]) == 0
    assert "9.00 to 9.00 m" in capsys.readouterr().out


def test_photographs_alone_are_checked_without_classes(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(photos)]) == 0
    assert "nothing to mend was found" in capsys.readouterr().out


def test_ids_in_label_images_are_told_by_a_label_map(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_label_map(photos.parent / "map.json", dict.fromkeys(range(7), 3), "common7")
    labels = str(photos.parent / "labels")
    assert main(["check", str(photos), "--labels", labels, "--label-map", str(photos.parent / "map.json")]) == 0
    assert re.search(r"nature +100\.0", capsys.readouterr().out)


def test_several_files_are_predicted_as_a_shell_lists_them(
    photos: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos.parent)
    command = ["predict", f"{photos.name}/0.png", f"{photos.name}/1.png", "-o", "seen", "--model", weights]
    assert main(command) == 0
    assert {path.name for path in Path("seen/labels", photos.name).iterdir()} == {"0.png", "1.png"}
    assert main([*command[:2], "missing.png", *command[3:]]) == 2
    assert "missing.png: no such file; several inputs must all be files" in capsys.readouterr().err
    assert main([*command[:2], ".", *command[3:]]) == 2


def test_check(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    class Report:
        ok = True

        def table(self) -> str:
            return "all is well"

        def save(self, path: str) -> None:
            seen.append(path)

        draw = save

    def check_dataset(dataset: SegmentationFolder, *, num_workers: int) -> Report:
        seen.append((dataset.names, num_workers))
        return Report()

    monkeypatch.setattr(data, "check_dataset", check_dataset, raising=False)
    command = ["check", str(photos), "--labels", str(tmp_path / "labels"), "--workers", "2"]
    assert main([*command, "--classes", "common7", "-o", "a.json", "--picture", "b.png"]) == 0
    assert capsys.readouterr().out == "all is well\n"
    monkeypatch.setattr(Report, "ok", False)
    assert main([*command, "--classes", "common7"]) == 1
    assert seen == [(["0.png", "1.png"], 2), "a.json", "b.png", (["0.png", "1.png"], 2)]


def test_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shared = {"label_space": "common7", "miou": 0.467}
    records = [
        SimpleNamespace(name="a", packaged=True, published=True, **shared),
        SimpleNamespace(name="long", packaged=False, published=False, **shared),
    ]
    monkeypatch.setattr(hub, "list_pretrained", lambda pattern: records if pattern == "*" else [], raising=False)
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a     common7        mIoU 46.7  in the package",
        "long  common7        mIoU 46.7  not published yet; mIoU of the paper",
    ]
    assert main(["list", "x*"]) == 0
    assert capsys.readouterr() == ("", "no name matches 'x*'\n")


def test_errors_are_a_line_and_not_a_traceback(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "nowhere.jpg", "--model", weights]) == 2
    assert capsys.readouterr().err.startswith("error: nowhere.jpg: no such file or folder")


def test_errors_of_the_disk_and_of_devices_are_a_line_too(
    weights: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(photos / "0.png")
    assert main(["predict", photo, "--model", weights, "-o", photo]) == 2
    assert capsys.readouterr().err.startswith("error: [Errno")
    assert main(["predict", photo, "--model", weights, "--device", "abacus"]) == 2
    assert capsys.readouterr().err.startswith("error: device 'abacus' cannot be used here: ")
    assert main(["predict", photo, "--model", weights, "--batch-size", "0"]) == 2
    assert "batch_size must be a whole number of at least 1" in capsys.readouterr().err


def test_photographs_that_cannot_be_read_can_be_left_out(
    weights: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "00.jpg").write_bytes(b"no photograph")
    command = ["predict", str(photos), "-o", str(tmp_path / "out"), "--model", weights, "--files", "labels"]
    assert main(command) == 2
    assert "00.jpg: cannot be read as an image: it is not one of BMP, JPEG" in capsys.readouterr().err
    for _ in (1, 2):  # also when the others already exist
        assert main([*command, "--skip-unreadable"]) == 1
        captured = capsys.readouterr()
        assert "2 images in" in captured.out
        assert "warning: left out: " in captured.err
        assert "00.jpg: cannot be read as an image" in captured.err
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 2


def test_scores_that_are_nan_are_warned_of(
    weights: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_pretrained(weights)
    torch.nn.init.constant_(next(model.classifier.parameters()), torch.nan)
    monkeypatch.setattr(hub, "load_pretrained", lambda *_, **__: model)
    assert main(["predict", str(photos), "-o", str(tmp_path / "out"), "--files", "labels"]) == 0
    assert "warning: the network's scores are NaN in 0.png, and count as class 0" in capsys.readouterr().err


def test_an_interrupted_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(pattern: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hub, "list_pretrained", interrupt)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    monkeypatch.setattr(hub, "load_pretrained", lambda *_, **__: interrupt(""))
    assert main(["predict", "photos"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command continues with what is missing\n"


def test_the_versions_that_a_report_of_a_problem_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"depthaware_uda {depthaware_uda.__version__}, torch {torch.__version__}\n"


def test_the_module_runs() -> None:
    command = [sys.executable, "-m", "depthaware_uda", "--help"]
    root = Path(__file__).resolve().parents[1]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout
    assert {"predict", "evaluate", "check", "list"} <= set(printed.split())


def test_the_packaged_weights_see_photographs_at_their_size(photos: Path, tmp_path: Path) -> None:
    assert main(["predict", str(photos / "0.png"), "-o", str(tmp_path / "out")]) == 0
    expected = predict(load_pretrained(DEFAULT_MODEL), photos / "0.png", size=360)
    with Image.open(tmp_path / "out" / "labels" / "0.png") as label:
        np.testing.assert_array_equal(np.array(label), expected.label)
