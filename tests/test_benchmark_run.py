"""The benchmarks run at tiny sizes and record what they claim to measure."""

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from depthaware_uda import DAFTrainer
from tests.test_examples import load

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "examples/benchmarks/run.py"


def benchmark(what: str, folder: Path) -> list[dict[str, Any]]:
    output = folder / f"{what}.json"
    command = [
        sys.executable,
        str(SCRIPT),
        what,
        "--smoke",
        "--device",
        "cpu",
        "--repeat",
        "1",
        "--output",
        str(output),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    record = json.loads(output.read_text(encoding="utf-8"))
    assert record["what"] == what
    assert record["smoke"] is True
    rows: list[dict[str, Any]] = record["rows"]
    return rows


def test_the_step_is_timed_against_the_baseline(tmp_path: Path) -> None:
    (row,) = benchmark("step", tmp_path)
    assert row["speed"] == pytest.approx(row["baseline_seconds"] / row["ours_seconds"])
    assert 0 < row["ours_of_peak"] < 2
    assert row["matmul_tflops"] > 0


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, with the modules beside it importable, as when it is run."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import run  # type: ignore[import-not-found]

    yield run
    for name in ("run", "measure", "baseline", "scale_worker"):
        sys.modules.pop(name, None)


def smoke(precision: str = "float32") -> argparse.Namespace:
    settings = {"device": "cpu", "smoke": True, "repeat": 1, "batch": 1, "checkpointing": ["none"]}
    return argparse.Namespace(precision=precision, **settings)


def test_memory_is_measured_of_one_way_at_a_time(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[list[str]] = []

    def peak_memory(step: Any, device: str) -> int:
        kinds = (DAFTrainer, run.baseline.BaselineDAF)
        alive.append([type(one).__name__ for one in gc.get_objects() if type(one) in kinds])
        return 1

    gc.collect()
    monkeypatch.setattr(run, "peak_memory", peak_memory)
    predicted = argparse.Namespace(weights=1, optimizer=1, peak=3)
    monkeypatch.setattr(run, "estimate_memory", lambda *_: predicted)
    run.memory(smoke())
    assert alive == [["DAFTrainer"], ["BaselineDAF"]] * 2


def test_the_baseline_may_choose_among_the_kernels_of_cudnn_too(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = []
    monkeypatch.setattr(run.baseline.BaselineDAF, "step", lambda *_: chosen.append(torch.backends.cudnn.benchmark))
    before = torch.backends.cudnn.benchmark
    config = run.DAFConfig.reference()
    run.WAYS["baseline"](run.network, smoke(), config, ((64, 96), (64, 96)))()
    assert chosen == [True]
    assert torch.backends.cudnn.benchmark is before


def test_products_in_float32_are_tf32_on_a_gpu_as_convolutions_are(run: ModuleType) -> None:
    seen = []

    class Matrix:
        shape = (8, 8)

        def __matmul__(self, other: Any) -> None:
            seen.append(torch.get_float32_matmul_precision())

    clock, before = run.Clock("cpu", "float32"), torch.get_float32_matmul_precision()
    clock.matrix = Matrix()
    for clock.tf32 in (False, True):
        clock.turns({}, 0)
    assert seen == ["highest", "high"]
    assert torch.get_float32_matmul_precision() == before
    assert clock.peaks()["matmul_precision"] == "TF32"


def test_shares_of_the_product_are_told_of_steps_in_its_precision(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = run.step(smoke())
    assert {"ours_of_peak", "baseline_of_peak"} <= set(row)
    clock = run.Clock
    monkeypatch.setattr(run, "Clock", lambda device, _: clock(device, "bfloat16"))
    (row,) = run.step(smoke("bfloat16"))
    assert "ours_of_peak" in row
    assert "baseline_of_peak" not in row


def test_a_process_is_timed_until_its_device_and_the_others_are_done(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import scale_worker  # type: ignore[import-not-found]

    awaited = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: awaited.append("device"))
    monkeypatch.setattr(scale_worker, "barrier", lambda: awaited.append("processes"))
    scale_worker.when_all_are_done()
    assert awaited == ["device", "processes"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["evaluate", "data", "memory", "scale", "precision"])
def test_every_other_benchmark(what: str, tmp_path: Path) -> None:
    rows = benchmark(what, tmp_path)
    keys = {
        "evaluate": {"race", "speed"},
        "data": {"pillow", "plain", "cached"},
        "memory": {"predicted_gib", "ours_gib", "baseline_gib", "of_baseline"},
        "scale": {"processes", "images_per_second", "speed"},
        "precision": {"step"},
    }
    assert rows
    assert all(keys[what] <= set(row) for row in rows)


def test_a_part_runs_from_a_checkout_and_its_log_grows_as_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = load("benchmarks/gpu")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    told = "import os; print(os.environ['PYTHONPATH'], os.environ['PYTHONUNBUFFERED'])"
    assert gpu.run_part("part", ["-c", told], tmp_path / "part.json", None)
    path, unbuffered = (tmp_path / "part.log").read_text().split()
    assert path.split(os.pathsep) == [str(ROOT), "elsewhere"]
    assert unbuffered == "1"
    assert not gpu.run_part("part", ["-c", "raise SystemExit('what was wrong')"], tmp_path / "part.json", None)
    assert "what was wrong\npart: failed with 1" in capsys.readouterr().out
    assert not gpu.run_part("part", ["-c", "import time; time.sleep(60)"], tmp_path / "part.json", 0.0)
    assert "part: stopped after 0 s" in capsys.readouterr().out


def test_results_of_all_parts_are_in_one_file_also_if_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, merged = load("benchmarks/gpu"), []

    def run_part(name: str, command: list[str], done: Path, limit: float | None) -> bool:
        merged.append(json.loads((tmp_path / "results.json").read_text()) if merged else {})
        if name != "step-float32-batch1":
            done.write_text(json.dumps(name))
        return name != "step-float32-batch1"

    monkeypatch.setattr(gpu, "run_part", run_part)
    command = ["--output", str(tmp_path), "--device", "cpu", "--only"]
    assert gpu.main([*command, "tests", "step"]) == ["step-float32-batch1"]
    assert merged[:3] == [{}, {"tests": "tests"}, {"tests": "tests"}]
    assert list(merged[3]) == ["step-bfloat16-batch1", "tests"]
    assert len(merged) == 5


@pytest.mark.slow
def test_parts_that_are_done_are_not_run_again(tmp_path: Path) -> None:
    script = ROOT / "examples/benchmarks/gpu.py"
    command = [sys.executable, str(script), "--output", str(tmp_path), "--device", "cpu", "--smoke", "--only"]
    for said in ("step-float32-batch1: done", "step-float32-batch1: done before"):
        options = ["step-float32-batch1", "tests"]
        result = subprocess.run([*command, *options], capture_output=True, text=True, timeout=600, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        assert said in result.stdout
    assert json.loads((tmp_path / "step-float32-batch1.json").read_text(encoding="utf-8"))["rows"]
    assert "skipped" in (tmp_path / "tests.log").read_text(encoding="utf-8")
    merged = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(merged) == ["step-float32-batch1", "tests"]
    assert "skipped" in merged["tests"]["said"]
