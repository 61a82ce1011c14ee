"""The library against its baseline: a training step, evaluation, target sets, memory, data, several processes.

    python examples/benchmarks/run.py {step,evaluate,data,memory,scale,precision} [--output FILE] [--smoke]

Both ways take turns in one run, and ratios are those of their medians. On a CPU the clock is the processor time of the
process, which other load on the machine affects little; on a GPU it is the time until the device is done. A matrix
product and a copy run in between and measure the speed of the device. ``--smoke`` is a quick test at small sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import baseline
import torch
from measure import WAYS, Clock, Step, peak_memory, release, samples, step_flops
from torch import nn

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    EntropyRanker,
    SegDepthOutput,
    create_model,
    evaluate,
    write_pseudo_labels,
)
from depthaware_uda.data import InMemory, MiniCity
from depthaware_uda.files import write_json
from depthaware_uda.trainers import estimate_memory
from depthaware_uda.types import Sample

HERE = Path(__file__).parent
NETWORKS = {"resnet101": "deeplabv2_resnet101", "small": "timm/resnet18"}
QUICKSTART_NETWORK = {
    "backbone_arguments": {"channels": (32, 64, 96, 128), "stem_width": 16},
    "dilations": (1, 2, 4, 8),
}
CPU_SIZE, GPU_SIZES = (320, 640), ((760, 1280), (512, 1024))


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(BENCHMARKS))
    parser.add_argument("--network", choices=tuple(NETWORKS), default="resnet101")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="of the library; default: float32, on CUDA both"
    )
    parser.add_argument("--batch", type=int, default=1, help="images of each domain")
    kinds = ("none", "norms", "all")
    parser.add_argument("--checkpointing", choices=kinds, nargs="+", default=["none"], help="of the step, one row each")
    parser.add_argument("--repeat", type=int, default=5, help="number of turns of each way")
    parser.add_argument("--threads", type=int, help="number of CPU threads")
    parser.add_argument("--smoke", action="store_true", help="a tiny network at small sizes")
    parser.add_argument("--output", type=Path, help="JSON file to write the result to")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    rows = BENCHMARKS[args.what](args)
    device = torch.cuda.get_device_name() if args.device == "cuda" else platform.machine()
    network = "quickstart" if args.what == "precision" else args.network
    record = {"what": args.what, "network": network, "device": device, "threads": torch.get_num_threads()}
    record |= {"torch": torch.__version__, "python": platform.python_version(), "smoke": args.smoke, "rows": rows}
    for row in rows:
        shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()}
        print(*(f"{key} {value}" for key, value in shown.items()), sep="  ")
    if args.output is not None:
        write_json(args.output, record)
    return record


def network(args: argparse.Namespace) -> nn.Module:
    if args.smoke:
        options = {"backbone_arguments": {"channels": (8, 16, 24, 32), "stem_width": 8}, "dilations": (1, 2)}
        return create_model("timm/resnet10t", 16, seed=0, **options).to(args.device)
    return create_model(NETWORKS[args.network], 16, label_space="cityscapes16", seed=0).to(args.device)


def sizes(args: argparse.Namespace) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sizes of source and target images: EP1's on a GPU, the low-resolution protocol's on a CPU."""
    if args.smoke:
        return (64, 96), (64, 96)
    return GPU_SIZES if args.device == "cuda" else (CPU_SIZE, CPU_SIZE)


def precisions(args: argparse.Namespace) -> tuple[str, ...]:
    return (args.precision,) if args.precision else ("float32", "bfloat16") if args.device == "cuda" else ("float32",)


# What is measured -----------------------------------------------------------------------------------------------------


def step(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The DAF step: seconds, ratio to the baseline, fraction of the rate of the measured matrix product."""
    rows = []
    for precision in precisions(args):
        clock = Clock(args.device, "float32" if args.device == "cpu" else precision)
        ways: dict[str, Step] = {}
        # The fraction is given only for steps in the precision of the measured product.
        precise = {"ours": precision, "baseline": "float32"}
        for checkpointing in args.checkpointing:
            config = DAFConfig.reference(precision=precision, batch_size=args.batch, checkpointing=checkpointing)
            ways[checkpointing] = WAYS["ours"](network, args, config, sizes(args))
        ways["baseline"] = WAYS["baseline"](network, args, config, sizes(args))
        seconds = clock.turns(ways, args.repeat)
        flops, peak = step_flops(ways[args.checkpointing[0]]), clock.peaks()["matmul_tflops"] * 1e12
        for checkpointing in args.checkpointing:
            turns = {"ours": seconds[checkpointing], "baseline": seconds["baseline"]}
            row = {"precision": precision, "checkpointing": checkpointing, "batch": args.batch, **medians(turns)}
            row |= {"tera_operations": flops / 1e12, **clock.peaks(), "turns": turns}
            row |= {
                f"{name}_of_peak": flops / median(times) / peak
                for name, times in turns.items()
                if precise[name] == clock.precision
            }
            rows.append(row)
    return rows


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    found = {f"{name}_seconds": median(times) for name, times in seconds.items()}
    return {**found, "speed": median(seconds["baseline"]) / median(seconds["ours"])}


class Prepared(nn.Module):
    """Returns a prepared output, so that everything but the network's forward pass is measured."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output, self.weight = output, nn.Parameter(output.logits.new_zeros(()))

    def forward(self, image: torch.Tensor) -> Any:
        """The same output for every image."""
        return self.output


def evaluation(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Evaluation, and ranking with pseudo-labels: without the forward pass, and on a GPU also with it."""
    image_size, label_size = ((64, 128), (128, 256)) if args.smoke else ((512, 1024), (1024, 2048))
    clock, rows = Clock(args.device, "float32"), []
    prepared = Prepared(street_scores(image_size, args.device))
    races = [("but for the forward pass", prepared, prepared, 2, {})]
    if args.device == "cuda" or args.smoke:
        ours, theirs = network(args).eval(), network(args).eval()
        if args.device == "cuda":
            ours.to(memory_format=torch.channels_last)
        races.append(("in all", ours, theirs, 4, {"precision": args.precision or "auto", "batch_size": 4}))
    for share, ours, theirs, count, options in races:
        labelled = samples(count, image_size, label_size)
        for sample in labelled:
            del sample["depth"]  # the baseline measures no depth errors
        with TemporaryDirectory() as folder:
            for name, ways in evaluation_ways(ours, theirs, labelled, options, Path(folder), args.device).items():
                seconds = clock.turns(ways, args.repeat)
                per_image = {way: [value / count for value in times] for way, times in seconds.items()}
                row = {"race": f"{name}, {share}", "image": image_size, "label": label_size, **options}
                rows.append({**row, **medians(per_image), **clock.peaks()})
    return rows


def street_scores(image_size: tuple[int, int], device: str) -> SegDepthOutput:
    """Scores like those of a trained network (regions of one class, with noise at borders), and depth, at stride 8."""
    generator = torch.Generator().manual_seed(0)
    shape = image_size[0] // 8, image_size[1] // 8
    coarse = 3 * torch.randn(1, 16, shape[0] // 12 + 2, shape[1] // 12 + 2, generator=generator)
    logits = nn.functional.interpolate(coarse, size=shape, mode="bicubic")
    return SegDepthOutput(logits.to(device), (20 + 10 * torch.rand(1, 1, *shape, generator=generator)).to(device))


def evaluation_ways(
    ours: nn.Module, theirs: nn.Module, labelled: list[Sample], options: dict[str, Any], folder: Path, device: str
) -> dict[str, dict[str, Callable[[], Any]]]:
    """Evaluation, and ranking with labelling, each by the library and by the baseline."""
    images = [Sample(image=sample["image"], name=sample["name"]) for sample in labelled]
    on_device = [{k: v.to(device) for k, v in s.items() if isinstance(v, torch.Tensor)} for s in labelled]

    def rank_and_label() -> None:
        EntropyRanker(ours, **options).rank(images)
        write_pseudo_labels(ours, images, folder / "ours", threshold=0.9, **options)

    def baseline_rank_and_label() -> None:
        baseline.rank_target(theirs, on_device)
        baseline.label_target(theirs, on_device, folder, 0.9)

    return {
        "evaluate": {
            "ours": lambda: evaluate(ours, labelled, **options),
            "baseline": lambda: baseline.evaluate(theirs, on_device, 16),
        },
        "rank and label": {"ours": rank_and_label, "baseline": baseline_rank_and_label},
    }


def memory(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Peak memory of a step, predicted and measured, and that of the baseline."""
    rows = []
    for precision in precisions(args):
        for checkpointing in ("none", "all") if args.smoke or args.network != "resnet101" else ("none", "norms", "all"):
            config = DAFConfig.reference(precision=precision, batch_size=args.batch, checkpointing=checkpointing)
            predicted = estimate_memory(network(args), config, sizes(args)[0])
            # On a CPU the profiler sees only what a step allocates; weights and momenta exist before.
            static = 0 if args.device == "cuda" else predicted.weights + predicted.optimizer
            found = {}
            for name, way in WAYS.items():
                release(args.device)  # a GPU counts all its memory, so one way at a time
                found[name] = static + peak_memory(way(network, args, config, sizes(args)), args.device)
            row = {"precision": precision, "checkpointing": checkpointing, "predicted_gib": predicted.peak / 2**30}
            row |= {f"{name}_gib": peak / 2**30 for name, peak in found.items()}
            row |= {"of_baseline": found["ours"] / found["baseline"], "predicted": predicted.peak / found["ours"]}
            rows.append(row)
    return rows


def precision(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Losses of the same steps in float32 and in bfloat16 side by side, as means over ten steps, and the final mIoU.

    The quickstart's network on MiniCity at 96 x 160, from the same weights, on the same images in the same order.
    """
    steps, images, size = (4, 2, (64, 96)) if args.smoke else (200, 200, (96, 160))
    source, target, val = (
        # Rendered by all cores: 500 images take one of them minutes, for which a GPU would wait.
        InMemory(
            MiniCity(count, style=style, seed=seed, size=size, labels="common7"),
            num_workers=0 if args.smoke else os.cpu_count() or 1,
            progress=False,
        )
        for count, style, seed in ((images, "synthetic", 0), (images, "real", 1), (images // 2, "real", 2))
    )
    shared: dict[str, Any] = {"max_steps": steps, "batch_size": 2, "optimizer": "adamw", "learning_rate": 2e-3}
    shared |= {"head_lr_multiplier": 1.0, "warmup_steps": steps // 10, "adversarial_weight": 0.05, "depth_weight": 5e-3}
    rows: dict[int, dict[str, Any]] = {}
    for name in ("float32", "bfloat16"):
        model = create_model("timm/resnet10t", 7, label_space="common7", seed=0, **QUICKSTART_NETWORK)
        config = DAFConfig(precision=name, log_every=max(1, steps // 20), **shared)  # type: ignore[arg-type]
        trainer = DAFTrainer(model, source, target, config, val=val, device=args.device, progress=False)
        for record in trainer.fit().history:
            row = rows.setdefault(record["step"], {"step": record["step"]})
            row |= {f"{key} {name}": record[key] for key in ("segmentation", "depth", "val/miou") if key in record}
    return list(rows.values())


def data(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Samples per second of one worker, measured by `data.py`."""
    from data import main as data_main

    return data_main(["--images", "2", "--turns", "1", "--scale", "0.1"] if args.smoke else [])


def scale(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Images per second of one process and of two on the same machine; the batch grows with their number."""
    rows = []
    for count in (1, 2):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
        command += [str(HERE / "scale_worker.py"), "--repeat", str(args.repeat), "--network", args.network]
        result = subprocess.run(
            command + ["--smoke"] * args.smoke, capture_output=True, text=True, check=False, timeout=1800
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr}")
        rows.append(json.loads(result.stdout.strip().splitlines()[-1]))
    for row in rows:
        row["speed"] = row["images_per_second"] / rows[0]["images_per_second"]
    return rows


BENCHMARKS = {
    "step": step,
    "evaluate": evaluation,
    "data": data,
    "memory": memory,
    "scale": scale,
    "precision": precision,
}

if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:.0f} s in all")
