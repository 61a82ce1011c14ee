"""The benchmarks run, at tiny sizes, and write down what they say they measure."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
