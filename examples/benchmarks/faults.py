"""Count flipped bits, truncated files and full disks: each must be detected or change nothing.

Every file of a checkpoint and of a saved model is damaged at many places: a bit is flipped, or the end is cut off. A
checkpoint is written to a disk that fills up at each of its file operations in turn. Detected: an error, or a warning
and the previous checkpoint is used. Harmless: what is read is what was written. Anything else is a failure.

    python examples/benchmarks/faults.py --places 200 --output faults.json
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from depthaware_uda import create_model, load_pretrained
from depthaware_uda.files import write_json
from depthaware_uda.trainers.run import checkpoint
from depthaware_uda.trainers.run.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint

TENSORS = {"module-model": {"weight": torch.arange(300.0)}, "optimizer-model": {"0.exp_avg": torch.ones(300)}}


def spoilt(content: bytes, generator: random.Random) -> bytes:
    """The content with one bit flipped, or with its end cut off."""
    changed, at = bytearray(content), generator.randrange(len(content))
    if generator.random() < 0.2:
        return bytes(changed[:at])
    changed[at] ^= 1 << generator.randrange(8)
    return bytes(changed)


def damage(file: Path, places: int, generator: random.Random, read: Callable[[], str]) -> Counter[str]:
    """Damage a file at this many places, one at a time, and count the results of `read`."""
    content, counts = file.read_bytes(), Counter[str]()
    for _ in range(places):
        file.write_bytes(spoilt(content, generator))
        counts[read()] += 1
    file.write_bytes(content)
    assert read() == "harmless"  # undamaged again
    return counts


def read_checkpoints(root: Path) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folder = latest_checkpoint(root)
    assert folder is not None
    tensors, state = load_checkpoint(folder)
    sound = all(torch.equal(value, tensors[g][key]) for g, group in TENSORS.items() for key, value in group.items())
    if caught:
        return "detected" if sound and state == {"step": 3} else "FAILED"
    return "harmless" if sound and state == {"step": 6} else "FAILED"


def read_model(folder: Path, expected: dict[str, torch.Tensor]) -> str:
    try:
        found = load_pretrained(folder).state_dict()
    except ValueError:
        return "detected"
    return "harmless" if all(torch.equal(found[key], value) for key, value in expected.items()) else "FAILED"


@contextmanager
def full_from(number: int) -> Iterator[list[int]]:
    """A disk that is full from the n-th operation on; the list counts the operations."""
    counted = [0]

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            counted[0] += 1
            if counted[0] >= number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*arguments, **options)

        return call

    with (
        mock.patch.object(checkpoint, "write_tensors", wrapped(checkpoint.write_tensors)),
        mock.patch.object(Path, "write_text", wrapped(Path.write_text)),
        mock.patch.object(os, "fsync", wrapped(os.fsync)),
        mock.patch.object(Path, "mkdir", wrapped(Path.mkdir)),
    ):
        yield counted


def full_disks(root: Path) -> Counter[str]:
    """Write a checkpoint to a disk that is full from the first, second, ... operation on, and count the results."""
    counts = Counter[str]()
    number = 1
    while True:
        before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        try:
            with full_from(number):
                save_checkpoint(root, 9, TENSORS, {"step": 9}, keep=2)
        except OSError:
            after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
            kept = all(after.get(path) == content for path, content in before.items())
            counts["detected" if kept else "FAILED"] += 1
            number += 1
        else:
            return counts


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, default=200, help="number of damaged places in each file")
    parser.add_argument("--output", type=Path, help="JSON file to write the counts to")
    args = parser.parse_args(arguments)
    generator, counted = random.Random(0), dict[str, Counter[str]]()
    with tempfile.TemporaryDirectory() as folder:
        root, saved = Path(folder, "checkpoints"), Path(folder, "model")
        for step in (3, 6):
            save_checkpoint(root, step, TENSORS, {"step": step})
        for file in sorted((root / "step-00000006").iterdir()):
            counted[f"checkpoint/{file.name}"] = damage(file, args.places, generator, lambda: read_checkpoints(root))
        small = {"channels": (8, 8, 16, 16), "stem_width": 8}
        model = create_model("timm/resnet10t", 7, depth_head=None, dilations=(1,), backbone_arguments=small, seed=0)
        model.save_pretrained(saved)
        expected = model.state_dict()
        for file in sorted(saved.iterdir()):
            counted[f"model/{file.name}"] = damage(file, args.places, generator, lambda: read_model(saved, expected))
        counted["disk full while a checkpoint is written"] = full_disks(root)
    for name, counts in counted.items():
        print(f"{name:<45} {dict(counts)}")
    total = sum(counted.values(), Counter[str]())
    print(f"in all: {dict(total)}")
    record = {"total": dict(total), "by_file": {name: dict(counts) for name, counts in counted.items()}}
    if args.output is not None:
        write_json(args.output, record)
    return record


if __name__ == "__main__":
    sys.exit("FAILED" in main()["total"])
