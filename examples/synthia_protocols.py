"""Shared by the two SYNTHIA scripts: their arguments, the network, and the miniature data of `--smoke`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streets import TINY, miniature
from torch import nn

from depthaware_uda import (
    AdaptationProtocol,
    DAFConfig,
    EvaluationResult,
    IDAConfig,
    ISLConfig,
    create_model,
    get_protocol,
    load_pretrained,
    run_protocol,
)
from depthaware_uda.distributed import is_writer, world_size
from depthaware_uda.hub import load_backbone

STAGES = {"daf": "DAF", "isl": "DAF + ISL", "ida": "DAF + ISL + IDA"}
Results = dict[str, EvaluationResult]


def run(text: str, target: str, protocols: Sequence[str], arguments: Sequence[str] | None) -> Results:
    """Run a whole protocol with the arguments of the command line."""
    args = parse(text, target, protocols, arguments)
    protocol, roots = get_protocol(args.protocol), {"synthia": args.synthia, target: getattr(args, target)}
    if args.smoke:
        protocol, roots = miniature(protocol, args.output / "data")
        args.steps, args.workers = 2, 0
    steps: dict[str, Any] = {} if args.steps is None else {"max_steps": args.steps, "schedule_steps": args.steps}
    settings = {name: getattr(args, name) for name in ("seed", "batch_size", "validate_every", "precision")}
    settings |= {"num_workers": args.workers, **steps}
    how = {name: getattr(args, name) for name in ("keep", "cache", "device")} | {"num_workers": args.workers}
    results = run_protocol(
        network(args, protocol),
        protocol,
        args.output,
        roots,
        daf=DAFConfig.reference(**settings),
        isl=ISLConfig.reference(**settings),
        ida=IDAConfig.reference(**settings),
        **how,
    )
    if is_writer():
        for name, result in results.items():
            print(f"{STAGES[name]}: mIoU {100 * result.miou:.1f}")
        print(results["ida"].table())
    return results


def parse(text: str, target: str, protocols: Sequence[str], arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synthia", type=Path, help="folder of SYNTHIA-RAND-CITYSCAPES")
    parser.add_argument(f"--{target}", type=Path, help=f"folder of {target}")
    parser.add_argument("--protocol", choices=protocols, default=protocols[0])
    parser.add_argument("--output", type=Path, help="default: runs/PROTOCOL-SEED; run again to resume there")
    parser.add_argument("--weights", type=Path, help="start: .pth file of a backbone, or folder of save_pretrained")
    parser.add_argument("--model", default="deeplabv2_resnet101", help="or timm/NAME, which starts from timm's weights")
    parser.add_argument("--cache", type=Path, help="folder for decoded images, which are read many times faster")
    parser.add_argument("--keep", choices=("last", "best"), default="last", help="weights that a stage passes on")
    parser.add_argument("--steps", type=int, help="steps of every stage, instead of the published ones")
    parser.add_argument("--precision", default="auto", help="of training, such as float32, the authors'")
    parser.add_argument("--batch-size", type=int, default=world_size(), help="over all processes; default: 1 each")
    parser.add_argument("--validate-every", type=int, default=2000, help="steps between two validations")
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1), help="readers of each domain")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="default: CUDA if available")
    parser.add_argument("--smoke", action="store_true", help="all stages on generated miniature data, as a test")
    args = parser.parse_args(arguments)
    if not args.smoke and (args.synthia is None or getattr(args, target) is None):
        parser.error(f"--synthia and --{target} (folders of the data sets) are required without --smoke")
    args.output = args.output or Path("runs") / f"{'smoke-' if args.smoke else ''}{args.protocol}-{args.seed}"
    return args


def network(args: argparse.Namespace, protocol: AdaptationProtocol) -> nn.Module:
    """The network of the command line, with its initial weights; for `--smoke` a tiny one."""
    if args.weights is not None and args.weights.suffix not in (".pth", ".pt"):
        return load_pretrained(args.weights)
    common: dict[str, Any] = {"num_classes": len(protocol.classes), "label_space": protocol.classes, "seed": args.seed}
    if args.smoke:
        return create_model("timm/resnet10t", **TINY, **common)
    published = args.model == "deeplabv2_resnet101"  # the authors' code resizes depth via 228 x 304
    own = {"depth_size": (228, 304)} if published else {"pretrained_backbone": args.weights is None}
    model = create_model(args.model, **own, **common)
    if args.weights is not None:
        load_backbone(model, args.weights)
    elif published and is_writer():
        print("starting from random weights: the published results start from ImageNet's, given by --weights")
    return model
