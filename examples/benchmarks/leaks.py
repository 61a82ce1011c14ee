"""Memory and open files over thousands of steps, with workers that are restarted every hundred steps.

Self-learning (ISL) of a tiny network on MiniCity: pseudo-labels, their readers and the worker processes are renewed
again and again; checkpoints are written and validations run. After a tenth of the steps, nothing may grow any more.

    python examples/benchmarks/leaks.py --steps 2000 --output leaks.json
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from depthaware_uda import ISLConfig, ISLTrainer, create_model
from depthaware_uda.data import InMemory, MiniCity, Unlabelled
from depthaware_uda.files import write_json
from depthaware_uda.trainers import Callback, Trainer


def resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watch(Callback):
    """Records memory, open files and live tensors at every log record."""

    def __init__(self) -> None:
        self.notes: list[dict[str, float]] = []

    def on_log(self, trainer: Trainer[Any], step: int, values: Mapping[str, float]) -> None:
        """Record the state of the process."""
        gc.collect()
        tensors = sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())  # runs no code of the objects
        files = len(list(Path("/proc/self/fd").iterdir()))
        self.notes.append({"step": step, "mib": round(resident(), 1), "files": files, "tensors": tensors})
        print(self.notes[-1], flush=True)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--refresh-every", type=int, default=100, help="steps between two restarts of the workers")
    parser.add_argument("--output", type=Path, help="JSON file to write the notes to")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    target, val = (
        InMemory(MiniCity(count, size=(32, 32), labels="common7", style="real", seed=count), progress=False)
        for count in (3, 1)
    )
    model = create_model(
        "timm/resnet10t",
        7,
        label_space="common7",
        depth_head=None,
        dilations=(1,),
        backbone_arguments={"channels": (8, 8, 16, 16), "stem_width": 8},
        seed=0,
    )
    config = ISLConfig(
        max_steps=args.steps,
        schedule_steps=None,
        refresh_every=args.refresh_every,
        threshold=0.2,
        num_workers=1,
        log_every=args.refresh_every,
        validate_every=args.refresh_every,
        checkpoint_every=args.refresh_every,
    )
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        trainer = ISLTrainer(
            model, Unlabelled(target), config, folder, val=val, device="cpu", progress=False, callbacks=[watch]
        )
        trainer.fit()
    settled = [note for note in watch.notes if note["step"] > args.steps / 10]
    growth = {key: settled[-1][key] - settled[0][key] for key in ("mib", "files", "tensors")}
    print(f"from step {settled[0]['step']:.0f} to {settled[-1]['step']:.0f}: {growth}")
    record = {"machine": platform.machine(), "torch": torch.__version__, "growth": growth, "notes": watch.notes}
    if args.output is not None:
        write_json(args.output, record)
    return record


if __name__ == "__main__":
    main()
