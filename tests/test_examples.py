"""The example scripts, run as by a user, but at small sizes."""

import ast
import csv
import functools
import hashlib
import importlib.util
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from depthaware_uda import TargetSplit, evaluate, get_protocol, load_pretrained
from depthaware_uda.data import CamVid, SegmentationFolder, write_miniature
from depthaware_uda.data.minicity import dataset as minicity
from depthaware_uda.labels import get_label_space
from tests import lightning_stub
from tests.reference_recipe import network_shapes
from tests.test_goldens import filled
from tests.tiny import tiny_model

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SMALL = ["--steps", "0.02", "--images", "0.02", "--size", "48", "64", "--batch-size", "2", "--device", "cpu"]
STAGES = ["source", "control", "adabn", "daf", "isl", "ida"]


@pytest.fixture(scope="module", autouse=True)
def rendered_once() -> Iterator[None]:
    """Render each of the few streets that the examples share only once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minicity, "render", functools.cache(minicity.render))
        patch.syspath_prepend(EXAMPLES)
        yield


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def camvid_tree(root: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for folder in ("images", "labels"):
            (root / split / folder).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (72, 96, 3), np.uint8)).save(root / split / "images" / f"{index}.jpg")
            Image.fromarray(rng.integers(0, 12, (72, 96), np.uint8)).save(root / split / "labels" / f"{index}.png")


def test_the_quickstart_runs_all_stages_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quickstart = load("quickstart")
    results = quickstart.main([*SMALL, "--output", str(tmp_path / "run")])
    assert list(results) == STAGES
    printed = capsys.readouterr().out
    assert f"DAF + ISL + IDA {100 * results['ida'].miou:>7.1f}" in printed
    for picture in ("panel.png", "miou.png", "losses.png"):
        with Image.open(tmp_path / "run" / picture) as image:
            assert min(image.size) > 100
    record = json.loads((tmp_path / "run" / "results.json").read_text())
    assert record["results"]["ida"]["miou"] == results["ida"].miou
    table = load("quickstart_table").table([record]).splitlines()
    names = ("source only", "control, as many steps as all stages", "control + AdaBN", "DAF", "DAF + ISL")
    assert [line.split(" | ")[0] for line in table[2:]] == [f"| {name}" for name in (*names, "DAF + ISL + IDA")]
    assert f"| {100 * results['ida'].miou:.1f} ± 0.0 |" in table[-1]
    split = TargetSplit.load(tmp_path / "run" / "split")
    assert len(split.easy) == int(0.66 * 6)
    assert len(split.easy) + len(split.hard) == 6
    assert load_pretrained(tmp_path / "run" / "model").label_space == get_label_space("common7")

    again = quickstart.main([*SMALL, "--output", str(tmp_path / "run")])
    assert {name: result.confusion for name, result in again.items()} == {
        name: result.confusion for name, result in results.items()
    }


def test_the_quickstart_takes_photographs_as_target(tmp_path: Path) -> None:
    camvid_tree(tmp_path / "camvid", 5)
    arguments = ["--target", "camvid", "--target-root", str(tmp_path / "camvid"), "--output", str(tmp_path / "run")]
    results = load("quickstart").main([*SMALL, *arguments])
    assert list(results) == STAGES
    assert results["ida"].images == 5
    assert results["ida"].depth is None


def test_the_quickstart_asks_for_the_photographs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load("quickstart").main(["--target", "camvid"])
    assert "needs --target-root" in capsys.readouterr().err


# Examples of single topics, each in its smoke mode --------------------------------------------------------------------


def test_own_folders_become_an_adapted_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run"
    result = load("own_folders").main(["--smoke", "--output", str(output)])
    assert result.images == 3
    printed = capsys.readouterr().out
    assert "nothing to mend was found" in printed
    assert f"{100 * result.miou:.1f}" in printed
    assert {"panels/step-00000001.png"} <= set(re.findall(r"panels/[\w.-]+", (output / "isl/index.html").read_text()))
    model = load_pretrained(output / "model")
    assert model.image_size == 48
    images, labels = (tmp_path / "data" / "real" / kind for kind in ("images", "labels"))
    assert evaluate(model, SegmentationFolder(images, labels, label_space="common7")).images == 3


def test_own_folders_with_errors_are_listed_and_not_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example, streets = load("own_folders"), load("streets")
    renders, real = (streets.write_streets(tmp_path / style, style) for style in ("synthetic", "real"))
    (renders / "depth" / "1.png").write_bytes(b"no depth")
    Image.fromarray(np.full((48, 64), 99, np.uint8)).save(real / "labels" / "2.png")
    folders = ["--renders", str(renders), "--photos", str(real / "images"), "--checked", str(real)]
    with pytest.raises(SystemExit) as stopped:
        example.main([*folders, "--size", "48", "64", "--output", str(tmp_path / "run")])
    first, *errors = str(stopped.value).splitlines()
    assert first.startswith("nothing was trained; fix these errors")
    assert [error.strip().split(": ")[:2] for error in errors] == [
        ["renders", "unreadable"],
        ["checked", "unmapped ids"],
    ]
    assert "depth/1.png" in errors[0]
    assert "photos: SegmentationFolder: 3 samples, 3 of them readable" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()  # after the fix, it starts with the check again


def test_an_own_backbone_is_trained_and_saved(tmp_path: Path) -> None:
    example = load("own_backbone")
    result = example.main(["--smoke", "--output", str(tmp_path)])
    assert result.images == 3
    saved = load_file(tmp_path / "model" / "model.safetensors")
    model = example.compose(example.Pyramid(), get_label_space("common7"))
    model.load_state_dict(saved)
    assert model(torch.rand(1, 3, 64, 64)).logits.shape == (1, 7, 4, 4)


def test_the_pieces_work_in_a_plain_loop(capsys: pytest.CaptureFixture[str]) -> None:
    example = load("plain_loop")
    result = example.main(["--smoke"])
    printed = capsys.readouterr().out
    assert re.search(r"step 2: segmentation \d\.\d{3}, depth \d+\.\d\d, adversarial \d\.\d{3}", printed)
    assert "1 easy and 2 hard images" in printed
    assert result.images == 3


@pytest.mark.filterwarnings("ignore")  # Lightning's own warnings
def test_the_pieces_work_in_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning", reason="needs PyTorch Lightning")
    monkeypatch.chdir(tmp_path)
    assert load("lightning_module").main(["--smoke"]).images == 3


def test_the_step_for_lightning_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", lightning_stub)
    example = load("lightning_module")
    assert example.main(["--smoke"]).images == 3


def test_without_lightning_the_example_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(SystemExit, match="this example needs PyTorch Lightning: pip install lightning"):
        load("lightning_module")


def test_a_folder_is_predicted_and_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    names = load("predict_folder").main(["--smoke", "-o", str(output)])
    assert names == ["0.png", "1.png", "2.png"]
    with (output / "table.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["photograph", "entropy", "median depth in metres", *get_label_space("common7").classes]
    assert sorted(row[0] for row in rows) == names
    for row in rows:
        assert sum(map(float, row[3:])) == pytest.approx(1, abs=1e-3)
        assert 1 < float(row[2]) < 656
    assert [float(row[1]) for row in rows] == sorted((float(row[1]) for row in rows), reverse=True)
    with Image.open(output / "least_certain.png") as drawn:
        assert min(drawn.size) > 100
    assert "3 photographs" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_says_what_it_shows_and_is_in_the_index(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    assert len(ast.get_docstring(ast.parse(text)) or "") > 60
    assert f"`{path.name}`" in (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")


def test_the_published_protocols_start_from_the_file_of_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("synthia_protocols")
    filled: list[tuple[dict[str, object], Path]] = []
    monkeypatch.setattr(example, "create_model", lambda name, **options: {"name": name, **options})
    monkeypatch.setattr(example, "load_backbone", lambda model, path: filled.append((model, path)))
    args = example.parse("", "cityscapes", ("ep1",), ["--synthia", "s", "--cityscapes", "c", "--weights", "a.pth"])
    example.network(args, get_protocol("ep1"))
    ((model, path),) = filled
    assert path == Path("a.pth")
    assert (model["name"], model["num_classes"], model["depth_size"]) == ("deeplabv2_resnet101", 16, (228, 304))
    args.model = "timm/resnet50"
    example.network(args, get_protocol("ep1"))
    assert filled[1][0]["pretrained_backbone"] is False


def test_a_network_without_depth_is_no_network_for_the_table(tmp_path: Path) -> None:
    tiny_model(depth_head=None).save_pretrained(tmp_path / "flat")
    with pytest.raises(SystemExit, match="needs a network with named classes and with depth"):
        load("predict_folder").main([str(tmp_path), "--model", str(tmp_path / "flat")])


def test_a_converted_checkpoint_does_not_take_the_place_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint").touch()
    with pytest.raises(SystemExit):
        load("convert_and_evaluate").main([str(tmp_path / "checkpoint"), "--cityscapes", str(tmp_path)])
    assert "is a file; use --output to name the folder" in capsys.readouterr().err


def test_the_sheet_of_minicity_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "sheet.png"
    monkeypatch.setattr(
        "sys.argv", ["minicity_sheet.py", "--indices", "0", "--size", "32", "48", "--output", str(output)]
    )
    load("minicity_sheet").main()
    with Image.open(output) as sheet:
        assert sheet.height >= 32
        assert sheet.width >= 6 * 48


def test_weights_are_packaged_with_a_record_that_is_true(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    package = load("package_weights")
    package.CHECK.update(images=1, size=[32, 48])
    camvid_tree(tmp_path / "camvid", 2)
    package.main(
        [
            *(str(tmp_path / "model"), "--name", "mine", "--weights", str(tmp_path / "weights")),
            *("--protocol", "not trained at all", "--camvid", str(tmp_path / "camvid"), "--size", "32", "48"),
            *("--shown-at", "40", "--class-weights", *"1111112"),
        ]
    )
    folder = tmp_path / "weights" / "mine"
    record = json.loads((folder / "record.json").read_text())
    assert record["file_size"] == (folder / "model.safetensors").stat().st_size
    assert record["sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert record["miou_source"] == "measured on CamVid's 2 validation photographs at 48 x 32"
    assert record["protocol"] == "not trained at all"
    stored = load_pretrained(folder)
    assert stored.image_size == 40
    shift = stored.classifier.branches[0].bias - tiny_model().classifier.branches[0].bias
    torch.testing.assert_close(shift, torch.tensor([0.0] * 6 + [-math.log(2)]), atol=1e-3, rtol=0)
    val = CamVid(tmp_path / "camvid", "val", labels="common7", size=(32, 48))
    assert record["miou"] == pytest.approx(evaluate(stored, val).miou, abs=1e-4)
    assert 0 <= json.loads((folder / "check.json").read_text())["miou"] < 1
    assert f"{record['file_size']} bytes" in capsys.readouterr().out


def test_what_is_too_large_is_not_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    package = load("package_weights")
    monkeypatch.setattr(package, "MAX_BYTES", 1000)
    with pytest.raises(SystemExit, match="are more than the 1000"):
        package.main([str(tmp_path / "model"), "--weights", str(tmp_path / "weights"), "--protocol", ""])
    assert not (tmp_path / "weights").exists()


@pytest.mark.slow
def test_loading_needs_little_more_memory_than_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    result = load("benchmarks/hub").main(["--repeat", "1", "--output", str(tmp_path / "result.json")])
    assert result["load_pretrained"]["peak"] < 1.5 < result["plain"]["peak"]
    assert json.loads((tmp_path / "result.json").read_text()) == result


@pytest.mark.slow
def test_a_checkpoint_is_converted_and_evaluated_in_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_miniature(tmp_path / "cityscapes", "cityscapes", size=(64, 128))
    torch.save(filled(network_shapes()), tmp_path / "model_ida.pth")
    arguments = [str(tmp_path / "model_ida.pth"), "--cityscapes", str(tmp_path / "cityscapes"), "--device", "cpu"]
    result = load("convert_and_evaluate").main(arguments)
    assert result.images == 1
    assert list(result.subsets) == ["13"]
    assert f"{100 * result.miou:.1f}" in capsys.readouterr().out
    assert load_pretrained(tmp_path / "model_ida").label_space == get_label_space("cityscapes16")


@pytest.mark.slow
def test_the_figures_of_the_concepts_are_drawn(tmp_path: Path) -> None:
    load("concept_figures").main(["--output", str(tmp_path), "--images", "4"])
    drawn = {path.name for path in tmp_path.glob("*.png")}
    text = (EXAMPLES.parent / "docs/concepts.md").read_text(encoding="utf-8")
    assert drawn == set(re.findall(r"\(images/(concepts_\w+\.png)\)", text))
    for name in drawn:
        assert (tmp_path / name).stat().st_size < 300_000
