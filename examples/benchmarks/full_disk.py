"""A disk that is really full: the three stages run on a small in-memory file system, which grows each time they stop.

DAF, ISL, ranking and IDA of `crash.py` run on a tmpfs of a few kilobytes. Whenever the disk is full, they must stop
with an `OSError` and leave every earlier checkpoint unchanged; then the disk grows a little, and the same call restarts
them. At the end, all files must be bit-identical to those of a run on a large disk.

    sudo python examples/benchmarks/full_disk.py --rounds 5 --output full_disk.json

Needs Linux, and root, to mount file systems.
"""

from __future__ import annotations

import argparse
import errno
import random
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from crash import Data, data, pipeline, remains

from depthaware_uda.files import is_partial, sha256, write_json


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a file system of one page at a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def grow(folder: Path, kilobytes: int) -> None:
    """Change the size of a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", folder], check=True)


def checkpoints(folder: Path) -> dict[Path, str]:
    """Digests of all files of finished checkpoints."""
    files = [path for path in folder.rglob("checkpoints/*/*") if not is_partial(path.parent)]
    return {path: sha256(path) for path in files}


def squeezed(folder: Path, streets: Data, steps: int, seed: int) -> dict[str, int]:
    """One complete run on a disk that is full again and again; returns how often it was full."""
    generator, full, kilobytes = random.Random(seed), 0, 4
    while True:
        before = checkpoints(folder)
        try:
            pipeline(folder, streets, steps, workers=0)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            full += 1
            left = checkpoints(folder)
            # The oldest may have been removed for newer ones.
            if any(left.get(path, digest) != digest for path, digest in before.items()):
                raise RuntimeError("a checkpoint changed while the disk was full") from error
            kilobytes += generator.randrange(4, 64, 4)
            grow(folder.parent, kilobytes)
        else:
            return {"full": full, "kilobytes at last": kilobytes}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="steps of each stage")
    parser.add_argument("--output", type=Path, help="JSON file to write the counts to")
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    streets, rounds = data(), []
    with tempfile.TemporaryDirectory() as root:
        pipeline(Path(root, "whole"), streets, args.steps, workers=0)
        expected = remains(Path(root, "whole"), args.steps)
        for number in range(args.rounds):
            disk = Path(root, f"disk-{number}")
            disk.mkdir()
            with small_disk(disk):
                counts = squeezed(disk / "run", streets, args.steps, number)
                found = remains(disk / "run", args.steps)
            different = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
            rounds.append({**counts, "different": different})
            print(f"round {number + 1}: {rounds[-1]}", flush=True)
    record = {"torch": torch.__version__, "files_compared": len(expected), "by_round": rounds}
    if args.output is not None:
        write_json(args.output, record)
    return record


if __name__ == "__main__":
    sys.exit(any(done["different"] for done in main()["by_round"]))
