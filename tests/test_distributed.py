"""Two processes give the results of one: gradients, runs, ranking, pseudo-labels, metrics. If one dies, all stop."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch import Tensor

from depthaware_uda import DAFConfig, distributed
from depthaware_uda.pseudo_labels import PseudoLabels
from depthaware_uda.trainers import read_log
from depthaware_uda.trainers.run.checkpoint import latest_checkpoint, load_checkpoint
from depthaware_uda.trainers.run.loop import batches_of
from depthaware_uda.trainers.run.saving import resume
from tests.processes import build, found, free_port, worker
from tests.test_resume import cut_off
from tests.tiny import assert_same_weights, tiny_model, weights
from tests.trainers import daf

ROOT = Path(__file__).resolve().parents[1]
RUNS = ("daf", "isl", "ida")


class Found:
    """Results of one process (`alone`), and of each of two (`pair`), on the same data."""

    def __init__(self, folder: Path) -> None:
        for name in ("one", "two"):
            (folder / name).mkdir()
            cut_off(build("daf", folder / name / "cut off"), 2)  # in one process, however many resume it
        self.folder = folder
        self.alone = found(folder / "one")
        mp.spawn(worker, (folder / "two", free_port()), nprocs=2)
        self.pair = [torch.load(folder / "two" / f"found-{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return Found(tmp_path_factory.mktemp("processes"))


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=tolerance, atol=tolerance, msg=lambda m, k=key: f"{k}: {m}")


GRADIENTS = ["daf gradients", "daf gradients, accumulated", "isl gradients", "ida gradients", "teacher gradients"]


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_those_of_one_process_on_the_whole_batch(runs: Found, name: str) -> None:
    expected = runs.alone[name]
    assert max(float(value.abs().max()) for value in expected.values()) > 0.1
    for ours in runs.pair:
        assert_close(ours[name], expected, 1e-5)
    assert_same_weights(runs.pair[0][name], runs.pair[1][name])


@pytest.mark.parametrize("stage", RUNS)
def test_runs_end_where_one_process_ends(runs: Found, stage: str) -> None:
    assert_close(runs.pair[0][f"{stage} weights"], runs.alone[f"{stage} weights"], 1e-4)
    for ours, theirs in zip(
        runs.pair[0][f"{stage} run"]["history"], runs.alone[f"{stage} run"]["history"], strict=True
    ):
        assert ours["step"] == theirs["step"]
        losses = [{key: log[key] for key in ("segmentation", "val/miou") if key in log} for log in (ours, theirs)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("name", [*(f"{stage} weights" for stage in RUNS), "moving weights", "mixing weights"])
def test_processes_hold_the_same_bits_after_training(runs: Found, name: str) -> None:
    assert_same_weights(runs.pair[0][name], runs.pair[1][name])


@pytest.mark.parametrize("name", ["ranking 1", "ranking 2", "evaluation 1", "evaluation 2", "one image"])
def test_ranking_and_metrics_are_exactly_those_of_one_process(runs: Found, name: str) -> None:
    assert [ours[name] for ours in runs.pair] == [runs.alone[name]] * 2


@pytest.mark.parametrize("batch_size", [1, 2])
def test_pseudo_labels_are_exactly_those_of_one_process(runs: Found, batch_size: int) -> None:
    record, labels = runs.alone[f"labels {batch_size}"]
    assert 0.2 < record["coverage"] < 1
    for ours in runs.pair:
        assert ours[f"labels {batch_size}"][0] == record
        assert all(map(torch.equal, ours[f"labels {batch_size}"][1], labels))
    one, two = (PseudoLabels(runs.folder / name / f"labels-{batch_size}") for name in ("one", "two"))
    assert [two.path(name).read_bytes() for name in two.names] == [one.path(name).read_bytes() for name in one.names]


def test_statistics_are_those_of_one_process_but_for_rounding(runs: Found) -> None:
    assert_close(runs.pair[0]["statistics"], runs.alone["statistics"], 1e-6)
    assert_same_weights(runs.pair[0]["statistics"], runs.pair[1]["statistics"])


def test_a_run_goes_on_with_another_number_of_processes(runs: Found) -> None:
    assert_close(runs.pair[1]["resumed weights"], runs.alone["resumed weights"], 1e-4)
    assert [record["step"] for record in read_log(runs.folder / "two" / "cut off")] == [1, 2, 3, 3]


def test_rank_0_writes_what_one_process_writes(runs: Found) -> None:
    def files(name: str) -> set[str]:
        root = runs.folder / name / "isl"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.parent.name != "tensorboard"}

    assert files("two") == files("one")
    assert len(list((runs.folder / "two" / "isl" / "tensorboard").glob("*"))) <= 1


def test_what_processes_cannot_share_is_refused(runs: Found) -> None:
    for ours in runs.pair:
        messages = ours["refused"]
        assert "batch_size 3 is that of all processes together" in messages["batch size"]
        assert "so at least 6" in messages["batch size"]
        assert "sync_batch_norm needs GPUs" in messages["synchronised"]
        assert "processes [1] do not see the run.json" in messages["output folder"]


def test_a_bad_step_names_and_keeps_the_samples_of_all_processes(runs: Found) -> None:
    trainer = build("daf", None)
    batch = next(batches_of(trainer, trainer.datasets(), 1))
    for ours in runs.pair:
        assert ours["diverged"].keys() == batch.keys()
        assert all(sorted(names) == sorted(batch[domain]["name"]) for domain, names in ours["diverged"].items())
    kept = [runs.folder / "two" / "diverged" / "bad_steps" / "step-00000002" / f"rank-{rank}" for rank in range(2)]
    images = torch.cat([load_file(folder / "source.safetensors")["image"] for folder in kept])
    whole = batch["source"]["image"]
    assert sorted(images.mean((1, 2, 3)).tolist()) == sorted(whole.mean((1, 2, 3)).tolist())


def test_a_network_that_is_synchronised_must_be_trained_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage converts the network in place, so the settings of the next stage must agree."""
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(tiny_model())
    daf(model)
    monkeypatch.setattr("depthaware_uda.trainers.step.sharing.world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"the model has SyncBatchNorm.* set sync_batch_norm=True here too"):
        daf(model, DAFConfig(batch_size=2))


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with distributed.initialize():
        assert (distributed.rank(), distributed.world_size(), distributed.is_writer()) == (0, 1, True)
        distributed.barrier()
        assert distributed.gather("a") == distributed.gather_by_index({3: "a"}) == ["a"]
        assert distributed.gather_by_index({5: "b", 2: "a"}) == ["a", "b"]
        assert distributed.from_writer(3) == 3
    assert not distributed.is_distributed()


def test_an_environment_that_is_not_torchruns_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match=r"RANK is set but not WORLD_SIZE, .*start with torchrun"):
        distributed.initialize()


def test_processes_that_nobody_connected_do_not_train_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    monkeypatch.setenv("WORLD_SIZE", "1")
    distributed.check_connected()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match=r"torchrun started 2 processes.*distributed.initialize\(\)"):
        daf(tiny_model()).fit()


DYING = """
import os, signal, sys
from pathlib import Path
from depthaware_uda import DAFConfig, distributed
from tests.processes import build

with distributed.initialize():
    trainer = build("daf", Path(sys.argv[2]), max_steps=50)
    step = trainer.step
    def fatal(**batches):
        if trainer.step_count == 3 and distributed.rank() == 1:
            if sys.argv[1] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError("the disk of rank 1 is gone")
        return step(**batches)
    trainer.step = fatal
    trainer.fit()
"""


@pytest.mark.parametrize(("how", "message"), [("raise", "OSError: the disk of rank 1 is gone"), ("kill", "SIGKILL")])
def test_a_process_that_dies_stops_the_run_and_the_checkpoint_is_whole(tmp_path: Path, how: str, message: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(DYING)
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    result = subprocess.run(
        [*command, str(script), how, str(tmp_path / "run")],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode != 0
    assert message in result.stderr
    folder = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert folder is not None
    tensors, state = load_checkpoint(folder)
    assert state["step"] == 3
    resumed = build("daf", tmp_path / "run", max_steps=50)
    resume(resumed, tmp_path / "run")
    assert resumed.step_count == 3
    assert_same_weights(weights(resumed.model), tensors["module-model"])
