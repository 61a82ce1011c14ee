"""Everything that only a GPU tells, in one command: its tests, the benchmarks in both precisions, and the study.

    python examples/benchmarks/gpu.py --output runs/gpu [--only tests step ...] [--camvid FOLDER]

Every part is a process of its own with a log beside its result. A part that ended well has written its JSON file and is
not run again: the same command goes on where it was stopped, and one part that fails keeps none of the others from
running. It ends with an error if any part failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from depthaware_uda.files import write_json

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STUDY = ["source", "control", "daf", "daf-isl", "daf-isl-ida", "advent-depth", "recipe", "daf-isl-isl", "supervised"]
"""Runs of the study that say most, in this order."""


def parts(args: argparse.Namespace) -> dict[str, list[str]]:
    """The command of every part, by name; those of `run.py` are told where to write by `run_part`."""
    run = [str(HERE / "run.py")]
    shared = ["--device", args.device, *(["--smoke", "--repeat", "1"] if args.smoke else [])]
    commands = {"tests": ["-m", "pytest", "-m", "gpu", "-n0", "-q", "-rs", str(ROOT / "tests" / "test_gpu.py")]}
    for precision in ("float32", "bfloat16"):
        for batch in (1, 4):
            name = f"step-{precision}-batch{batch}"
            commands[name] = [*run, "step", "--precision", precision, "--batch", str(batch), *shared]
        commands[f"memory-{precision}"] = [*run, "memory", "--precision", precision, *shared]
    for what in ("evaluate", "precision", *(["scale"] if torch.cuda.device_count() > 1 else [])):
        commands[what] = [*run, what, *shared]
    if args.camvid is not None:
        study = [str(HERE / "study.py"), "--camvid", str(args.camvid.resolve()), "--workers", str(os.cpu_count() or 1)]
        study += ["--output", str(args.output.resolve() / "study-runs"), "--runs", *STUDY]
        commands |= {f"study-{size}": [*study, "--size", size] for size in ("medium", "full")}
    return commands


def main(arguments: Sequence[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of JSON files and logs")
    parser.add_argument("--only", nargs="+", help="names, or beginnings of names, of the parts to run")
    parser.add_argument("--camvid", type=Path, help="folder of CamVid: the study is run, too")
    parser.add_argument("--device", default="cuda", help="cpu to try the script itself, with --smoke")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to try the script itself")
    args = parser.parse_args(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} sees no CUDA device: see nvidia-smi, and whether this torch has CUDA")
    args.output.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, command in parts(args).items():
        done = args.output / f"{name}.json"
        if args.only and not name.startswith(tuple(args.only)):
            continue
        if done.exists():
            print(f"{name}: done before")
            continue
        if not run_part(name, command, done):
            failed.append(name)
    return failed


def run_part(name: str, command: list[str], done: Path) -> bool:
    """Run a part; whether it ended well. Its JSON appears when it did."""
    log = done.with_suffix(".log")
    print(f"{name}: running, see {log}", flush=True)
    own = ["--output", str(done.resolve())] if command[0].endswith("run.py") else []
    with log.open("w", encoding="utf-8") as stream:
        code = subprocess.run(
            [sys.executable, *command, *own], stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT, check=False
        ).returncode
    if code == 0 and not own:
        write_json(done, {"what": name, "torch": torch.__version__})
    print(f"{name}: {'done' if code == 0 else f'failed with {code}: see the log'}", flush=True)
    return code == 0


if __name__ == "__main__":
    if failed := main():
        raise SystemExit(f"failed: {', '.join(failed)}")
