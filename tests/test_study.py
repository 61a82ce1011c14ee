"""The study: its arithmetic checked by hand, and every kind of run on tiny pictures."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from depthaware_uda import load_pretrained
from depthaware_uda.data import class_weights
from depthaware_uda.labels import get_label_space
from depthaware_uda.trainers.run.streams import augmented
from tests.test_examples import EXAMPLES, camvid_tree, load
from tests.tiny import tiny_model


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with the modules beside it importable, as when it is run."""
    monkeypatch.syspath_prepend(EXAMPLES / "benchmarks")
    import study  # type: ignore[import-not-found]

    yield study  # type: ignore[misc]
    for name in [name for name in sys.modules if name.split("_")[0] == "study"]:
        del sys.modules[name]


def measured(miou: float, steps: int, checkpoints: list[tuple[int, float, float]]) -> dict[str, Any]:
    points = [
        {"step": s, "miou": m, "agreement": a, "certainty": 0.5, "train": {"miou": m / 2}} for s, m, a in checkpoints
    ]
    result = {"miou": miou, "iou": {"flat": miou, "sky": miou}}
    scores: dict[str, Any] = dict.fromkeys(("final", "raw", "adabn", "adabn_train"), result)
    scores["train"] = {"miou": miou / 2, "iou": {"flat": miou / 2, "sky": miou / 2}}
    return {"steps": steps, "seconds": 1.0, **scores, "checkpoints": points}


def test_gains_are_over_the_control_of_as_many_steps_and_paired_by_seed(study: ModuleType, tmp_path: Path) -> None:
    runs = {
        "source": measured(0.40, 10, [(10, 0.40, 0.5)]),
        "control": measured(0.46, 12, [(4, 0.41, 0.5), (8, 0.43, 0.5), (12, 0.46, 0.5)]),
        "daf": measured(0.44, 4, [(2, 0.45, 0.3), (4, 0.44, 0.2)]),
        "daf-isl": measured(0.49, 4, [(2, 0.50, 0.3), (4, 0.49, 0.9)]),
    }
    for seed, shift in ((0, 0.0), (1, 0.1)):
        for name, scores in runs.items():
            folder = tmp_path / "small" / f"seed{seed}" / name
            folder.mkdir(parents=True)
            final = {**scores["final"], "miou": scores["final"]["miou"] + (shift if name == "daf" else 0)}
            (folder / "scores.json").write_text(json.dumps({**scores, "final": final}))
    results = study.collect(tmp_path, "small", [0, 1], "cpu")
    table = sys.modules["study_table"]
    assert table.gains(results, "daf") == pytest.approx({"0": 3.0, "1": 13.0})  # over 41, the control at 4 steps
    assert table.gains(results, "daf-isl") == pytest.approx({"0": 6.0, "1": 6.0})  # over 43, at 8
    assert table.gains(results, "daf-isl", over="daf") == pytest.approx({"0": 5.0, "1": -5.0})
    chosen = results["runs"]["daf"]["seeds"]["0"]["label_free"]
    assert chosen == {"step": 2, "miou": 0.45, "regret": 0.0}
    assert results["runs"]["daf-isl"]["seeds"]["0"]["label_free"]["regret"] == pytest.approx(0.01)
    scores, classes, train = study.tables(results).split("\n\n")
    assert "| DAF | 49.0 ± 7.1 | 44.0, 54.0 | 44.0 ± 0.0 | +8.0 (+3.0, +13.0) | 45.0 (0.0) |" in scores.splitlines()
    assert "| DAF | 44.0 | 44.0 |" in classes.splitlines()
    # Over the control's 20.5 at 4 steps; in the second seed, only the score on val is shifted.
    wanted = "| DAF | 22.0 ± 0.0 | 22.0, 22.0 | +1.5 (+1.5, +1.5) | +8.0 (+3.0, +13.0) | 22.0 | 22.0 |"
    assert wanted in train.splitlines()
    assert train.splitlines()[4].startswith(
        "| the same + AdaBN | 46.0 ± 0.0 | 46.0, 46.0 | +23.0 (+23.0, +23.0) | +0.0"
    )


def test_the_page_has_the_tables_of_its_json(study: ModuleType) -> None:
    docs = EXAMPLES.parent / "docs"
    small, larger = ((docs / name).read_text(encoding="utf-8") for name in ("study.md", "study_larger.md"))
    tables = study.tables(json.loads((docs / "results" / "study-small.json").read_text())).split("\n\n")
    assert len(tables) == 4
    assert [table for table in tables if table not in small] == []
    others = {"small-again": small, "pretrained": larger, "pretrained-advent": larger}
    for name, page in others.items():
        results = json.loads((docs / "results" / f"study-{name}.json").read_text())
        scores, _, train = study.tables(results).split("\n\n")
        assert scores in page
        assert train in page


@pytest.mark.parametrize(
    "name", ["larger-seed0", "larger-seed2", "windows-seed0", "taught-seed0", "fine-seed0", "taught-ida-seed0"]
)
def test_the_page_has_the_tables_of_the_larger_sizes(study: ModuleType, name: str) -> None:
    import study_larger  # type: ignore[import-not-found]

    docs = EXAMPLES.parent / "docs"
    results = json.loads((docs / "results" / f"study-{name}.json").read_text())
    assert study_larger.table(results) in (docs / "study_larger.md").read_text(encoding="utf-8")


def test_curves_of_no_run_are_not_drawn(study: ModuleType, tmp_path: Path) -> None:
    study.draw_curves(study.collect(tmp_path, "small", [0], "cpu"), study.CURVES, tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


def test_a_gpu_is_given_runs_and_sizes_that_there_are(study: ModuleType, tmp_path: Path) -> None:
    gpu = load("benchmarks/gpu")
    options = ["--camvid", "camvid", "--output", str(tmp_path), "--device", "cpu"]
    parts = gpu.parts(gpu.parse(options))
    assert list(parts)[-2:] == ["study-medium", "study-full"]
    asked = {name: study.parse(command[1:]) for name, command in parts.items() if name.startswith("study")}
    assert {name: (one.size, one.seeds, one.runs) for name, one in asked.items()} == {
        f"study-{size}": (size, [0, 1, 2], gpu.STUDY) for size in ("medium", "full")
    }
    assert asked["study-full"].output == Path("runs/gpu-work").resolve()  # renders are large
    chosen = ["--size", "small", "--seeds", "1", "--runs", "source", "daf", "--work", str(tmp_path / "work")]
    *_, command = gpu.parts(gpu.parse([*options, *chosen])).values()
    one = study.parse(command[1:])
    assert (one.size, one.seeds, one.runs) == ("small", [1], ["source", "daf"])
    assert (one.output, one.results) == (tmp_path / "work", tmp_path / "study-small.json")


def test_results_are_written_after_every_run(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(study_of_seed: Any, name: str) -> None:
        if name == "control":
            raise KeyboardInterrupt
        folder = study_of_seed.folder / name
        folder.mkdir(parents=True)
        (folder / "scores.json").write_text(json.dumps(measured(0.4, 4, [(4, 0.4, 0.5)])))

    monkeypatch.setattr(study, "train", train)
    command = ["--camvid", "camvid", "--output", str(tmp_path / "work"), "--results", str(tmp_path / "all.json")]
    with pytest.raises(KeyboardInterrupt):
        study.main([*command, "--runs", "source", "control", "--seeds", "3"])
    assert list(json.loads((tmp_path / "all.json").read_text())["runs"]) == ["source"]


def test_a_run_is_compared_with_the_control_that_began_with_its_network(study: ModuleType) -> None:
    control_of = sys.modules["study_table"].control_of
    assert [control_of(run) for run in ("recipe", "intrada", "minent")] == ["control", "control-plain", "control-plain"]
    assert control_of("dada") == "control"  # there is none with its own network


def test_rank_correlation_is_that_of_scipy(study: ModuleType) -> None:
    from scipy.stats import spearmanr

    first, second = torch.rand(2, 30, generator=torch.Generator().manual_seed(0))
    expected = spearmanr(first.numpy(), second.numpy()).statistic
    assert sys.modules["study_diagnostics"].spearman(first, second) == pytest.approx(expected)


def of_stamp_size(name: str, size: tuple[int, int], *, window: tuple[int, int] | None = None) -> None:
    scales = sys.modules["study_setup"].SCALES
    network = {**scales[name].network, "backbone_arguments": {"channels": (8, 16, 24, 32), "stem_width": 8}}
    stamp = {"size": size, "window": window, "renders": 4, "network": network, "first_steps": 4, "stage_steps": 2}
    batches = {"validate_every": 1, "first_batch": 2, "batch": 2, "precision": "float32"}
    scales[name] = dataclasses.replace(scales[name], **stamp, **batches)


def of_one_stamp(tmp_path: Path) -> Any:
    """The data and settings of a study with tiny pictures."""
    of_stamp_size("small", (48, 64))
    Study = sys.modules["study_setup"].Study  # noqa: N806
    return Study("small", tmp_path / "camvid", tmp_path / "runs", 0, device="cpu", workers=0)


def test_networks_are_where_the_study_computes(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import study_larger  # type: ignore[import-not-found]

    stamp, methods, loaded = of_one_stamp(tmp_path), sys.modules["study_methods"], []

    def load_pretrained(folder: Path, *, device: str) -> Any:
        loaded.append(device)
        return tiny_model()

    def method(*_: Any, **__: Any) -> Callable[..., None]:
        return lambda *_: None

    stamp.device = "meta"  # a device other than the CPU that exists everywhere
    assert {weight.device.type for weight in study.network(stamp, "daf", trained=False).parameters()} == {"meta"}
    for module in (methods, study_larger):
        monkeypatch.setattr(module, "load_pretrained", load_pretrained)
        monkeypatch.setattr(module, "ensemble_labels", lambda networks, *_: list(networks))
        monkeypatch.setattr(module, "isl", method)
    (stamp.folder / "daf" / "model").mkdir(parents=True)
    methods.isl_of_all(stamp, tiny_model(), tmp_path)
    study_larger.taught(method, [tmp_path], 3)(stamp, tiny_model(), tmp_path)
    study_larger.at_size(tmp_path, stamp)
    assert loaded == ["meta"] * 3


def test_renders_are_read_for_class_weights_once(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = of_one_stamp(tmp_path)
    assert stamp.weights == class_weights(stamp.source, 7)
    monkeypatch.setattr(sys.modules["study_setup"], "class_weights", None)
    assert of_one_stamp(tmp_path).weights == stamp.weights


def test_the_sky_of_renders_may_be_as_far_as_that_of_synthia(study: ModuleType, tmp_path: Path) -> None:
    stamp = of_one_stamp(tmp_path)
    sky = stamp.source[0]["label"] == get_label_space("common7").index("sky")
    assert sky.any()
    assert stamp.source[0]["depth"][0][sky].isnan().all()
    far = sys.modules["study_setup"].FarSky(stamp.source)
    assert len(far) == 4
    assert (far[0]["depth"][0][sky] == 655.35).all()
    assert torch.equal(far[0]["depth"][0][~sky], stamp.source[0]["depth"][0][~sky])


def test_snapshots_are_kept_of_networks_that_are_channels_last_as_on_a_gpu(study: ModuleType, tmp_path: Path) -> None:
    camvid_tree(tmp_path / "camvid", 4)
    stamp = of_one_stamp(tmp_path)
    model = stamp.model().to(memory_format=torch.channels_last)
    trainer = study.RUNS["source"].start(stamp, model, tmp_path / "run")
    study.fitted(stamp, trainer, tmp_path / "run")
    saved = load_file(tmp_path / "run" / "snapshots" / "000004.safetensors")
    assert all(torch.equal(saved[key], value) for key, value in trainer.predictor().state_dict().items())


@pytest.mark.slow
def test_every_run_of_the_study_trains_and_is_not_trained_twice(
    study: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camvid_tree(tmp_path / "camvid", 4)
    of_stamp_size("small", (48, 64))
    command = ["--camvid", str(tmp_path / "camvid"), "--output", str(tmp_path / "runs"), "--seeds", "0"]
    study.main([*command, "--workers", "0", "--export", str(tmp_path / "best")])
    assert load_pretrained(tmp_path / "best").image_size == 48
    printed = capsys.readouterr().out
    written = tmp_path / "runs" / "study-small.json"
    results = json.loads(written.read_text())
    assert list(results["runs"]) == list(study.RUNS)
    assert all(f"seed 0 {name}: mIoU" in printed for name in study.RUNS)
    assert set(results["diagnoses"]["seed0/daf"]["ranking"]) == {"depth_aware", "depth_aware_squared", "entropy"}
    study.main([*command, "--workers", "0"])
    assert "seed 0 source: mIoU" not in capsys.readouterr().out
    assert json.loads(written.read_text())["runs"] == results["runs"]


def test_adaptation_goes_on_at_a_larger_size(study: ModuleType, tmp_path: Path) -> None:
    import study_larger  # type: ignore[import-not-found]

    camvid_tree(tmp_path / "camvid", 4)
    of_stamp_size("larger", (64, 96))
    tiny_model(image_size=48).save_pretrained(tmp_path / "start")
    command = ["--camvid", str(tmp_path / "camvid"), "--start", str(tmp_path / "start"), "--output", str(tmp_path)]
    study_larger.main([*command, "--runs", "control", "--workers", "0"])
    study_larger.main([*command, "--runs", "isl", "ida", "--export", str(tmp_path / "best"), "--workers", "0"])
    runs = json.loads((tmp_path / "study-larger-seed2.json").read_text())["runs"]
    assert {name: run["steps"] for name, run in runs.items()} == {"start": 0, "control": 2, "isl": 2, "isl/ida": 2}
    assert {run["train"]["images"] for run in runs.values()} == {4}
    assert len({run["train"]["miou"] for run in runs.values()}) > 1
    study_larger.main([*command, "--runs", "recipe", "finish", "--seed", "0", "--workers", "0"])
    runs = json.loads((tmp_path / "study-larger-seed0.json").read_text())["runs"]
    assert {name: run["steps"] for name, run in runs.items()} == {"start": 0, "recipe": 4, "recipe/finish": 6}
    chosen = load_pretrained(tmp_path / "best")
    assert chosen.image_size == 64
    steps = [load_file(file) for file in (tmp_path / "larger" / "seed2" / "isl").rglob("snapshots/*.safetensors")]
    assert any(all(torch.equal(weights[key], value) for key, value in chosen.state_dict().items()) for weights in steps)
    of_stamp_size("windows", (64, 96), window=(48, 64))
    names = ["finish", "taught", "taught-ida", "self-taught"]
    teachers = ["--teachers", str(tmp_path / "start"), str(tmp_path / "best")]
    options = ["--apart", "--stages", "2", "--far-sky", "--workers", "0", *teachers]
    study_larger.main([*command, "--size", "windows", "--runs", *names, *options])
    runs = json.loads((tmp_path / "study-windows-seed2.json").read_text())["runs"]
    expected = {"start": 0, "finish": 6, "taught": 4, "taught-ida": 4, "self-taught": 4}
    assert {name: run["steps"] for name, run in runs.items()} == expected
    folder = tmp_path / "windows" / "seed2"
    assert load_pretrained(folder / "finish" / "model").image_size == 64
    assert not list(folder.rglob("pseudo_labels/*"))  # no pseudo-labels of their own
    records = [json.loads((folder / f"{name}-labels" / "pseudo_labels.json").read_text()) for name in names[1:]]
    assert records[0]["names"] == records[1]["names"] == records[2]["names"]
    assert records[0]["sha256"] == records[1]["sha256"] != records[2]["sha256"]


def test_windows_show_photographs_larger_than_they_are_whole(study: ModuleType, tmp_path: Path) -> None:
    setup = sys.modules["study_setup"]
    seen = setup.Study("windows", tmp_path, tmp_path, 0, device="cpu", workers=0)
    photograph = {"image": torch.rand(3, 360, 480)}
    assert {augmented(photograph, how)["image"].shape for how in (seen.view, seen.augment)} == {(3, 240, 320)}
    assert seen.view.zoom == (1.3, pytest.approx(1.95))  # 240 pixels are 0.87 to 1.3 of as many of 360
