"""What a step does on a GPU, as far as it shows without one."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_steps_stay_on_their_device_and_never_wait_for_it() -> None:
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "tests.fake_gpu"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
