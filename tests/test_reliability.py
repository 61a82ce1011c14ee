"""A run survives faults: damaged and half-written checkpoints, a full disk, signals, a second process."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from depthaware_uda.labels import LabelSpace
from depthaware_uda.tensors import write_tensors
from depthaware_uda.trainers import TrainingInterrupted, read_log
from depthaware_uda.trainers.run import checkpoint
from depthaware_uda.trainers.run.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from depthaware_uda.trainers.run.run_folder import locked
from depthaware_uda.types import Batch
from tests.test_examples import load
from tests.test_resume import build, losses
from tests.tiny import Scenes, assert_same_weights, weights

TENSORS = {"module-model": {"weight": torch.arange(6.0)}, "optimizer-model": {"0.exp_avg": torch.ones(3)}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two checkpoints."""
    for step in (3, 6):
        save_checkpoint(tmp_path, step, TENSORS, {"step": step})
    return tmp_path


def flip_a_bit(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << (position % 8)
    path.write_bytes(bytes(content))


FILES = ("module-model.safetensors", "optimizer-model.safetensors", "state.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("position", [0, 9, 40, 2**20 + 3])
def test_a_flipped_bit_is_found_and_the_checkpoint_before_is_used(root: Path, name: str, position: int) -> None:
    flip_a_bit(root / "step-00000006" / name, position)
    with pytest.warns(UserWarning, match=f"step-00000006 is damaged: {name} changed after it was written"):
        folder = latest_checkpoint(root)
    assert folder == root / "step-00000003"
    tensors, state = load_checkpoint(folder)
    assert state == {"step": 3}
    assert torch.equal(tensors["module-model"]["weight"], TENSORS["module-model"]["weight"])


def test_every_flipped_bit_of_a_manifest_is_found_or_harmless(root: Path) -> None:
    manifest = root / "step-00000006" / "manifest.json"
    content = manifest.read_bytes()
    found = harmless = 0
    for position in range(0, len(content), 7):
        flip_a_bit(manifest, position)
        try:
            folder = latest_checkpoint(root)
        except UserWarning:
            found += 1
        else:  # in whitespace, or in the step, which the folder name gives too
            assert folder == root / "step-00000006"
            harmless += 1
        manifest.write_bytes(content)
    assert found > 5 * harmless


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_torn_and_missing_files_are_found(root: Path, name: str) -> None:
    file = root / "step-00000006" / name
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="step-00000006 is damaged"):
        assert latest_checkpoint(root) == root / "step-00000003"
    file.unlink()
    with pytest.warns(UserWarning, match="step-00000006 is damaged"):
        assert latest_checkpoint(root) == root / "step-00000003"


def test_with_no_checkpoint_left_a_run_does_not_begin_anew_by_itself(root: Path) -> None:
    for step in (3, 6):
        (root / f"step-0000000{step}" / "state.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no checkpoint can be used.*00000006.*00000003.*to start anew"):
        latest_checkpoint(root)
    assert sorted(path.name for path in root.iterdir()) == ["step-00000003", "step-00000006"]


def test_a_full_disk_leaves_every_checkpoint_as_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, tensors: dict[str, Tensor]) -> None:
        path.write_bytes(b"as much as fits")
        raise OSError(28, "No space left on device")

    before = {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
    monkeypatch.setattr(checkpoint, "write_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(root, 9, TENSORS, {"step": 9}, keep=1)
    assert {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()} == before


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """As in a terminal: shells start background jobs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_and_writes_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    settings = {"checkpoint_every": 0, "log_every": 2}
    whole = build("daf", tmp_path / "whole", **settings)
    whole.fit()

    stopped = build("daf", tmp_path / "run", **settings)
    step = stopped.step

    def interrupted(**batches: Batch) -> dict[str, Tensor]:
        if stopped.step_count == 2:
            os.kill(os.getpid(), number)
        return step(**batches)

    stopped.step = interrupted  # type: ignore[method-assign]
    with pytest.raises(
        TrainingInterrupted, match=rf"DAF stopped by {number.name} after step 3 of 6; resume with .*run"
    ):
        stopped.fit()
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert latest_checkpoint(tmp_path / "run" / "checkpoints") == tmp_path / "run" / "checkpoints" / "step-00000003"

    resumed = build("daf", tmp_path / "run", **settings)
    resumed.fit()
    assert_same_weights(weights(resumed.model), weights(whole.model))
    assert losses(read_log(tmp_path / "run")) == losses(read_log(tmp_path / "whole"))  # also means over the cut


@pytest.mark.usefixtures("_interruptible")
def test_a_second_interrupt_does_not_wait_for_the_step(tmp_path: Path) -> None:
    trainer = build("daf", tmp_path / "run")

    def impatient(**_: Batch) -> dict[str, Tensor]:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError

    trainer.step = impatient  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()


def test_a_folder_is_of_one_process_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(RuntimeError, match=r"another process trains in .*run; wait"):
        build("daf", tmp_path / "run").fit()
    shutil.rmtree(tmp_path / "run")
    build("daf", tmp_path / "run").fit()


def harness(*arguments: str) -> str:
    """Run `examples/benchmarks/crash.py` in a separate process, since it forks."""
    script = Path(__file__).parents[1] / "examples" / "benchmarks" / "crash.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parents[2])}
    done = subprocess.run(
        [sys.executable, script, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_three_stages_killed_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    printed = harness("--kills", "2", "--kills-a-round", "2", "--steps", "4", "--seed", "1")
    assert "ended identically, bit by bit" in printed
    assert "'kills': 2" in printed.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_thirty_kills(tmp_path: Path) -> None:
    assert "'kills': 30" in harness("--kills", "30", "--seed", "7").splitlines()[-1]


@pytest.mark.slow
def test_damage_is_detected_or_harmless() -> None:
    total = load("benchmarks/faults").main(["--places", "30"])["total"]
    assert set(total) <= {"detected", "harmless"}
    assert total["detected"] > 150


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads /proc")
def test_memory_and_open_files_stay_flat() -> None:
    growth = load("benchmarks/leaks").main(["--steps", "400", "--refresh-every", "20"])["growth"]
    assert growth["files"] <= 2
    assert growth["tensors"] <= 5
    assert growth["mib"] < 20


def test_what_safetensors_says_of_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(IsADirectoryError, match=r"a\.safetensors: could not be written"):
        write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(2)})


def test_a_kill_while_a_folder_is_claimed_does_not_block_it(tmp_path: Path) -> None:
    """Found by examples/benchmarks/crash.py: the half-written run.json was mistaken for another file."""
    (tmp_path / "run").mkdir()
    litter = tmp_path / "run" / ".run-0a1b2c3d.partial.json"
    litter.write_bytes(b"half")
    build("daf", tmp_path / "run", max_steps=1, validate_every=0).fit()
    assert not litter.exists()


def test_other_classes_of_the_same_number_are_caught_before_the_first_step() -> None:
    space = LabelSpace("mine", tuple("abcdefg"), ((1, 2, 3),) * 7)
    with pytest.raises(ValueError, match=r"target has the classes \['a', .* made for \['flat', .*not the same"):
        build("daf", None, target=Scenes(2, space=space))


@pytest.mark.usefixtures("_interruptible")
def test_a_signal_at_the_last_step_is_passed_on_when_the_run_is_done(tmp_path: Path) -> None:
    trainer = build("daf", tmp_path / "run")
    step = trainer.step

    def interrupted(**batches: Batch) -> dict[str, Tensor]:
        if trainer.step_count == trainer.config.max_steps - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(**batches)

    trainer.step = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert build("daf", tmp_path / "run").fit().steps == trainer.config.max_steps
