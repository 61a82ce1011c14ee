"""What a step does on a GPU, as far as it can be tested without one."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from depthaware_uda.precision import autocast
from depthaware_uda.trainers.run.streams import seeded


@pytest.mark.slow
def test_steps_stay_on_their_device_and_never_wait_for_it() -> None:
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "tests.fake_gpu"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Gpus:
    """Two GPUs; only the second supports bfloat16, and the first is the current one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current = 0
        self.seeds: list[list[int]] = [[], []]
        monkeypatch.setattr("torch.cuda.device", self.chosen)
        monkeypatch.setattr("torch.cuda.manual_seed", lambda seed: self.seeds[self.current].append(seed))
        monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: device)
        monkeypatch.setattr("torch.cuda.set_rng_state", lambda state, device: None)
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: self.current == 1)
        monkeypatch.setattr("torch.autocast", lambda kind, dtype, enabled: dtype)

    @contextmanager
    def chosen(self, device: torch.device) -> Iterator[None]:
        before, self.current = self.current, device.index
        yield
        self.current = before


def test_a_gpu_that_is_not_the_current_one_has_its_own_seed_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Gpus(monkeypatch)
    for step in range(2):
        with seeded(0, step, device=torch.device("cuda:1")):
            pass
    assert not gpus.seeds[0]
    assert len({*gpus.seeds[1]}) == 2
    assert [autocast(torch.device("cuda", index), "auto") for index in range(2)] == [None, torch.bfloat16]
