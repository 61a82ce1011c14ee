"""Everything that needs a GPU, in one command: its tests, the benchmarks in both precisions, and the study.

    python examples/benchmarks/gpu.py --output runs/gpu [--only tests step ...] [--limit SECONDS]
        [--camvid FOLDER --size medium --seeds 0 1 --runs source control daf ... --work runs/gpu-work]

It runs from a checkout, installed or not. Every part is a separate process, most informative first, and writes a log
beside its result as it runs. A part that succeeded has written its JSON file and is not run again: the same command
resumes where it was stopped, and a part that fails does not stop the others. The study comes last; it writes its JSON
after each of its runs and is always started again, since the folders in ``--work`` tell it which runs are done.
``results.json`` combines all of these files and is updated after every part. The script fails if any part failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from depthaware_uda.files import read_json, write_json  # noqa: E402  # from this checkout

ALL = "results.json"
STUDY = ["source", "control", "daf", "daf-isl", "daf-isl-ida", "advent-depth", "recipe", "daf-isl-isl", "supervised"]
"""The most informative runs of the study, in this order."""
BENCHMARKS = {
    "step-float32-batch1": "step --precision float32 --batch 1",
    "step-bfloat16-batch1": "step --precision bfloat16 --batch 1",
    "memory-bfloat16": "memory --precision bfloat16",
    "evaluate": "evaluate",
    "step-bfloat16-batch4": "step --precision bfloat16 --batch 4",
    "memory-float32": "memory --precision float32",
    "step-float32-batch4": "step --precision float32 --batch 4",
    "precision": "precision",
    "scale": "scale",
}
"""Arguments of `run.py` by part, the most informative first."""


def parts(args: argparse.Namespace) -> dict[str, list[str]]:
    """The command of every part, by name, most informative first; all but the tests get their output file."""
    output = args.output.resolve()
    shared = ["--device", args.device, *(["--smoke", "--repeat", "1"] if args.smoke else [])]
    # Warnings from other versions of installed packages are shown and do not fail the GPU tests.
    tests = ["-m", "pytest", "-m", "gpu", "-W", "default", "-v", "-rsx", str(ROOT / "tests" / "test_gpu.py")]
    commands = {"tests": tests}
    for name, what in BENCHMARKS.items():
        if name != "scale" or torch.cuda.device_count() > 1:
            commands[name] = [str(HERE / "run.py"), *what.split(), *shared, "--output", str(output / f"{name}.json")]
    if args.camvid is not None:
        study = [str(HERE / "study.py"), "--camvid", str(args.camvid.resolve()), "--workers", str(os.cpu_count() or 1)]
        study += ["--output", str(args.work.resolve()), "--runs", *args.runs, "--seeds", *map(str, args.seeds)]
        for size in args.size:
            name = f"study-{size}"
            commands[name] = [*study, "--size", size, "--results", str(output / f"{name}.json")]
    return commands


def main(arguments: Sequence[str] | None = None) -> list[str]:
    args = parse(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, command in parts(args).items():
        done = args.output / f"{name}.json"
        if args.only and not name.startswith(tuple(args.only)):
            continue
        if done.exists() and not name.startswith("study"):
            print(f"{name}: done before", flush=True)
            continue
        if not run_part(name, command, done, args.limit):
            failed.append(name)
        files = [file for file in sorted(args.output.glob("*.json")) if file.name != ALL]
        write_json(args.output / ALL, {file.stem: read_json(file) for file in files})
    return failed


def run_part(name: str, command: list[str], done: Path, limit: float | None) -> bool:
    """Run a part; returns whether it succeeded. If not, the end of its log is printed."""
    log = done.with_suffix(".log")
    print(f"{name}: running, see {log}", flush=True)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    with log.open("w", encoding="utf-8") as stream:
        try:
            code = subprocess.run(
                [sys.executable, *command],
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment,
                timeout=limit,
                check=False,
            ).returncode
            ended = "done" if code == 0 else f"failed with {code}"
        except subprocess.TimeoutExpired:
            code, ended = 1, f"stopped after {limit:.0f} s"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if code:
        print(*lines[-30:], sep="\n")
    elif name == "tests":
        write_json(done, {"what": name, "torch": torch.__version__, "said": lines[-1]})
    print(f"{name}: {ended}", flush=True)
    return code == 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of JSON files and logs")
    parser.add_argument("--only", nargs="+", help="names, or prefixes of names, of the parts to run")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="stop a part after this time; default: never")
    parser.add_argument("--camvid", type=Path, help="folder of CamVid; also runs the study")
    parser.add_argument("--size", nargs="+", default=["medium", "full"], help="sizes of the study, one part each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the study")
    parser.add_argument("--runs", nargs="+", default=STUDY, metavar="RUN", help="runs of the study, in this order")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/gpu-work"),
        help="folder of the study's runs and renders (1.4 GB at medium, 12 GB at full); default: runs/gpu-work",
    )
    parser.add_argument("--device", default="cuda", help="cpu, with --smoke, to test the script itself")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to test the script itself")
    args = parser.parse_args(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} sees no CUDA device: see nvidia-smi, and whether this torch has CUDA")
    return args


if __name__ == "__main__":
    if failed := main():
        raise SystemExit(f"failed: {', '.join(failed)}")
