"""Kill and restart the three stages again and again, and compare the final files with those of an undisturbed run.

The pipeline (DAF, ISL, ranking, IDA on MiniCity, a tiny network) runs in child processes. They are killed by SIGKILL or
SIGTERM at random moments, or kill themselves at a chosen file operation, with a write half done; now and then a bit of
the newest checkpoint is flipped while nothing runs. The same call restarts the pipeline until it completes. Then every
weight, optimiser state, pseudo-label, score and log record must equal that of the undisturbed run.

    python examples/benchmarks/crash.py --kills 200 --output crash.json

Children are forked from a process that has loaded everything, so hundreds of starts take only minutes (Linux, macOS).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    EntropyRanker,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    Ranking,
    create_model,
)
from depthaware_uda.data import InMemory, MiniCity, Unlabelled
from depthaware_uda.files import is_partial, write_json
from depthaware_uda.models import pretrained
from depthaware_uda.trainers.run import checkpoint
from depthaware_uda.types import Sample

SIZE = (32, 48)
DONE = "done.json"
SHARED: dict[str, Any] = {
    "batch_size": 2,
    "learning_rate": 0.005,
    "log_every": 3,
    "validate_every": 4,
    "checkpoint_every": 2,
    "batch_norm": "target",
    "ema_decay": 0.9,
}
ALIGNED: dict[str, Any] = {"discriminator_channels": 4, "adversarial_weight": 0.05, "depth_scale": 0.02}

Data = dict[str, InMemory]


def data() -> Data:
    """A few streets of MiniCity, rendered once."""
    made = {
        "source": MiniCity(4, size=SIZE, labels="common7"),
        "target": MiniCity(4, size=SIZE, labels="common7", style="real", seed=1),
        "val": MiniCity(1, size=SIZE, labels="common7", style="real", seed=2),
    }
    return {name: InMemory(streets, progress=False) for name, streets in made.items()}


def brighten(sample: Sample) -> Sample:
    """An augmentation that draws random numbers."""
    return Sample(**{**sample, "image": sample["image"] * (0.5 + torch.rand(()))})


def pipeline(folder: Path, streets: Data, steps: int, workers: int) -> None:
    """All stages; each resumes where it was interrupted."""
    model = create_model(
        "timm/resnet10t",
        7,
        label_space="common7",
        depth_head="dada",
        dilations=(1, 2),
        backbone_arguments={"channels": (8, 8, 16, 16), "stem_width": 8},
        seed=0,
    )
    source, target = streets["source"], Unlabelled(streets["target"])
    options: dict[str, Any] = {"val": streets["val"], "augment": brighten, "device": "cpu", "progress": False}
    shared = {**SHARED, "max_steps": steps, "num_workers": workers}
    DAFTrainer(model, source, target, DAFConfig(**shared, **ALIGNED), folder / "daf", **options).fit()
    isl = ISLConfig(**shared, schedule_steps=None, refresh_every=3, threshold=0.2, proportion=0.5)
    ISLTrainer(model, target, isl, folder / "isl", source=source, **options).fit()
    if (folder / "ranking.json").is_file():
        ranking = Ranking.load(folder / "ranking.json")
    else:
        ranking = EntropyRanker(model).rank(target)
        ranking.save(folder / "ranking.json")
    ida = IDAConfig(**shared, **ALIGNED, schedule_steps=None)
    IDATrainer(model, target, ranking.split(), ida, folder / "ida", **options).fit()
    write_json(folder / DONE, {})


def remains(folder: Path, steps: int) -> dict[str, str]:
    """Hashes of the files that a run wrote, without times, worker counts, TensorBoard files, locks and manifests."""
    left = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or "tensorboard" in name or path.name == ".lock" or path.name == "manifest.json":
            continue
        if path.parent == folder and is_partial(path):
            continue  # half written by a killed process in the root folder, which no trainer cleans up
        if "checkpoints/" in name and f"step-{steps:08d}" not in name:
            continue  # which earlier checkpoints are kept depends on where the run was resumed
        content = path.read_bytes()
        if path.name == "log.jsonl":
            content = re.sub(rb'"seconds_per_step": [^,}]*', b"", content)
        if path.name == "run.json":
            content = re.sub(rb'"num_workers": \d+', b"", content)
        left[name] = hashlib.sha256(content).hexdigest()
    return left


# Children -------------------------------------------------------------------------------------------------------------


def die_in_operation(number: int | None) -> list[int]:
    """Make this process kill itself at its n-th file operation from now, a write half done; the list counts them."""
    counted = [0]

    def fatal(function: Callable[..., Any], spoil: Callable[..., None] | None = None) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            counted[0] += 1
            if counted[0] == number:
                if spoil is not None:
                    function(*arguments, **options)
                    spoil(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return wrapped

    def halve(path: Path) -> None:
        os.truncate(path, path.stat().st_size // 2)

    os.fsync = fatal(os.fsync)
    os.replace = fatal(os.replace)
    shutil.rmtree = fatal(shutil.rmtree)  # type: ignore[assignment]
    Path.write_text = fatal(Path.write_text, lambda path, *_: halve(path))  # type: ignore[method-assign]
    for module in (checkpoint, pretrained):
        module.write_tensors = fatal(module.write_tensors, lambda path, *_: halve(path))
    return counted


def start(folder: Path, streets: Data, steps: int, *, workers: int = 0, operation: int | None = None) -> int:
    """Run the pipeline in a forked child; returns its id. Exit status: 0 done, 3 stopped on request, 4 error."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 4
    try:
        with (folder.parent / "errors.txt").open("a") as errors:
            os.dup2(errors.fileno(), 2)
        operations = die_in_operation(operation)
        pipeline(folder, streets, steps, workers)
        (folder.parent / "operations.txt").write_text(str(operations[0]))
        status = 0
    except SystemExit:
        status = 3
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def flip_a_bit(folder: Path, generator: random.Random) -> bool:
    """Damage the newest checkpoint of the current stage, if there is another one to resume from."""
    stages = [folder / stage / "checkpoints" for stage in ("daf", "isl", "ida")]
    current = next((stage for stage in reversed(stages) if stage.is_dir()), None)
    found = [] if current is None else sorted(current.glob("step-*"))
    if len(found) < 2:
        return False
    file = generator.choice(sorted(found[-1].iterdir()))
    content = bytearray(file.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    file.write_bytes(content)
    return True


def wait(child: int, seconds: float) -> None:
    """Wait until a child has ended or used this much processor time (elapsed time on systems other than Linux)."""
    began = time.monotonic()
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if sys.platform == "linux":
            used = time.clock_gettime((~child << 3) | 2)  # the result of clock_getcpuclockid
        else:
            used = time.monotonic() - began
        if used >= seconds:
            return
        time.sleep(0.005)


def disturbed(
    folder: Path, streets: Data, steps: int, seconds: float, operations: int, most: int, seed: int
) -> Counter[str]:
    """One complete run with up to `most` kills; returns counts of the disturbances.

    Args:
        folder: Folder of the run.
        streets: The data.
        steps: Steps of each stage.
        seconds: Processor time of an undisturbed run.
        operations: Number of file operations of an undisturbed run.
        most: Kills after which the run is no longer disturbed.
        seed: Decides when and how the run is killed.
    """
    generator, done = random.Random(seed), Counter[str]()
    while True:
        kind = generator.choice(("SIGKILL", "SIGTERM", "operation")) if done["kills"] < most else "none"
        workers = int(generator.random() < 0.15)
        operation = generator.randint(1, operations // 2) if kind == "operation" else None
        child = start(folder, streets, steps, workers=workers, operation=operation)
        if kind in ("SIGKILL", "SIGTERM"):
            wait(child, generator.uniform(0, 0.7 * seconds))
            os.kill(child, signal.Signals[kind])  # safe for a child that has ended too: it has not been waited for yet
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 4:
            raise RuntimeError(f"a run that was started again failed:\n{(folder.parent / 'errors.txt').read_text()}")
        if code == 0:
            return done
        done["kills"] += 1
        done["SIGTERM, after a checkpoint" if code == 3 else kind] += 1
        if generator.random() < 0.1 and flip_a_bit(folder, generator):
            done["bits flipped"] += 1


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="number of kills after which to stop")
    parser.add_argument("--kills-a-round", type=int, default=25, help="maximum kills in one run of the pipeline")
    parser.add_argument("--steps", type=int, default=6, help="steps of each stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file to write the counts to")
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # forks with threads of other libraries; checkpoints damaged on purpose
    torch.set_num_threads(1)
    streets, total, rounds = data(), Counter[str](), []
    with tempfile.TemporaryDirectory() as root:
        whole = Path(root, "whole")
        _, status, usage = os.wait4(start(whole, streets, args.steps), 0)
        seconds = usage.ru_utime + usage.ru_stime
        if status:
            raise RuntimeError(f"the undisturbed run failed:\n{Path(root, 'errors.txt').read_text()}")
        expected = remains(whole, args.steps)
        operations = int(Path(root, "operations.txt").read_text())
        print(f"undisturbed: {seconds:.1f} s of a processor, {operations} file operations, {len(expected)} files")
        while total["kills"] < args.kills:
            run = Path(root, "run")
            most = min(args.kills_a_round, args.kills - total["kills"])
            done = disturbed(run, streets, args.steps, seconds, operations, most, args.seed + len(rounds))
            found = remains(run, args.steps)
            different = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
            rounds.append({**done, "different": different})
            total += done
            verdict = "identical" if not different else f"DIFFERENT: {different[:5]}"
            print(f"round {len(rounds)}: {dict(done)}, {verdict}", flush=True)
            shutil.rmtree(run)
    different_rounds = sum(bool(done["different"]) for done in rounds)
    print(f"{len(rounds)} rounds, {dict(total)}, {len(rounds) - different_rounds} ended identically, bit by bit")
    record = {
        "machine": platform.machine(),
        "torch": torch.__version__,
        "steps_a_stage": args.steps,
        "files_compared": len(expected),
        "rounds": len(rounds),
        "rounds_different": different_rounds,
        **total,
        "by_round": rounds,
    }
    if args.output is not None:
        write_json(args.output, record)
    return record


if __name__ == "__main__":
    sys.exit(bool(main()["rounds_different"]))
