"""Time and memory of loading the published network, 46 M parameters: `load_pretrained` against the plain way.

The plain way builds and initialises the network, reads all tensors, and copies them. Each way runs in fresh processes;
its memory is the peak resident size of the process minus that after the imports, relative to the file size (Linux).

    python examples/benchmarks/hub.py [--output result.json] [--threads 1] [--repeat 3]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LIMIT = 1.5
WAYS = ("plain", "load_pretrained")
PAGE = resource.getpagesize()


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3, help="processes per way; the median time is reported")
    parser.add_argument("--child", choices=("write", *WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.child:
        print(json.dumps(measure(args.child, args.folder)))
        return {}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        child("write", folder, args.threads)
        size = (folder / "model.safetensors").stat().st_size
        result: dict[str, Any] = {"file_size": size, "threads": args.threads}
        # The ways take turns, so that other load slows both equally.
        turns = [{way: child(way, folder, args.threads) for way in WAYS} for _ in range(args.repeat)]
        for way in WAYS:
            result[way] = {
                "seconds": statistics.median(turn[way]["seconds"] for turn in turns),
                "peak": max(turn[way]["peak_bytes"] for turn in turns) / size,
            }
            print(f"{way:<16} {result[way]['seconds']:6.2f} s   peak {result[way]['peak']:.2f} x the file")
    print(f"file: {size / 1e6:.1f} MB; limit: {LIMIT} x the file")
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def child(way: str, folder: Path, threads: int) -> dict[str, float]:
    """Run this script in a separate process, which imports nothing heavy before it measures."""
    command = [sys.executable, __file__, "--child", way, "--folder", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(run.stdout)
    return measured


def measure(way: str, folder: Path) -> dict[str, float]:
    from safetensors.torch import load_file

    from depthaware_uda import create_model, load_pretrained

    if way == "write":
        create_model("deeplabv2_resnet101", 16, seed=0).save_pretrained(folder)
        return {}
    imported = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    start = time.perf_counter()
    if way == "load_pretrained":
        model = load_pretrained(folder)
    else:
        model = create_model("deeplabv2_resnet101", 16)
        model.load_state_dict(load_file(folder / "model.safetensors"))
        model.eval()
    seconds = time.perf_counter() - start
    total = sum(float(tensor.sum()) for tensor in model.state_dict().values())  # reads every tensor
    assert total == total
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "peak_bytes": peak - imported}


if __name__ == "__main__":
    main()
