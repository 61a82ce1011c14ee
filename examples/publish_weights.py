"""Give trained weights a name: put them into the package, or onto a hub, and write down what they are.

    python examples/publish_weights.py package runs/mine/model --camvid FOLDER --protocol "MiniCity -> CamVid, ..."
    python examples/publish_weights.py push runs/mine/model OWNER/NAME --camvid FOLDER --protocol "..."

``package`` writes them in half precision to ``depthaware_uda/weights/NAME``, measures what was written and renews its
record, so that ``load_pretrained(NAME)`` finds it without a network. ``push`` uploads them with a model card; with
``--record NAME`` the registered name is told that its weights exist, and which.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from depthaware_uda import evaluate, load_pretrained
from depthaware_uda.data import CamVid, MiniCity
from depthaware_uda.files import write_json
from depthaware_uda.hub import get_record, model_card, push_to_hub, weights_record
from depthaware_uda.hub.registry import RECORD_FILE, WEIGHTS_FOLDER
from depthaware_uda.models import DepthSegmenter
from depthaware_uda.models.pretrained import WEIGHTS_FILE
from depthaware_uda.types import SampleDataset

MAX_BYTES = 12_000_000
# What a test measures again on every machine: rendered images, which need no data.
CHECK: dict[str, Any] = {"images": 8, "size": [96, 160], "seed": 100}


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    model = load_pretrained(args.folder)
    (package if args.command == "package" else push)(args, model)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    inside = commands.add_parser("package", help="put weights into the package")
    inside.add_argument("--name", default="daf-ida-minicity", help="default: daf-ida-minicity")
    inside.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="default: that of the package")
    inside.add_argument("--notes", type=Path, help="Markdown that ends the card: known failures, pictures")
    upload = commands.add_parser("push", help="upload weights to a hub")
    upload.add_argument("--private", action="store_true")
    upload.add_argument("--record", metavar="NAME", help="registered name whose record is renewed")
    for command in (inside, upload):
        command.add_argument("folder", type=Path, help="written by save_pretrained")
        command.add_argument("--protocol", required=True, help="how they were trained: data, stages, steps, seed")
        command.add_argument("--license", default="apache-2.0", help="of the weights; default: apache-2.0")
        command.add_argument("--camvid", type=Path, metavar="FOLDER", help="measure on CamVid's validation photographs")
        command.add_argument("--size", type=int, nargs=2, default=(120, 160), metavar=("H", "W"), help="of photographs")
    upload.add_argument("repository", help="OWNER/NAME")
    return parser.parse_args(arguments)


def package(args: argparse.Namespace, model: DepthSegmenter) -> None:
    """Write weights, record and what a test checks into the folder of the name."""
    folder: Path = args.weights / args.name
    if model.image_size is None and model.config is not None:
        model.config["image_size"] = model.image_size = min(args.size)  # what `predict` shows photographs at
    with TemporaryDirectory() as rehearsal:  # a file that is too large never gets into the package
        model.save_pretrained(rehearsal, dtype=torch.float16)
        if (size := (Path(rehearsal) / WEIGHTS_FILE).stat().st_size) > MAX_BYTES:
            raise SystemExit(f"{size} bytes are more than the {MAX_BYTES} that a packaged file may have")
    model.save_pretrained(folder, dtype=torch.float16)
    stored = load_pretrained(folder)
    facts = measured(args, stored)
    record = weights_record(stored, folder, **facts)
    write_json(folder / RECORD_FILE, asdict(record))
    scenes = MiniCity(CHECK["images"], style="real", size=tuple(CHECK["size"]), seed=CHECK["seed"], labels="common7")
    write_json(folder / "check.json", {**CHECK, "miou": evaluate(stored, scenes).miou})
    card = model_card(stored, args.name, **facts).replace("OWNER/NAME", args.name)
    if args.notes is not None:
        card += f"\n## Notes\n\n{args.notes.read_text(encoding='utf-8').strip()}\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(f"{folder}: {record.file_size} bytes, mIoU {100 * record.miou:.1f}, {record.miou_source}")


def push(args: argparse.Namespace, model: DepthSegmenter) -> None:
    """Upload, with a card that has the scores; tell the record."""
    facts = measured(args, model)
    card = model_card(model, args.repository.split("/")[-1], **facts)
    print(push_to_hub(model, args.repository, card=card, private=args.private or None))
    if args.record is not None:
        known = get_record(args.record)
        with TemporaryDirectory() as folder:  # the same bytes as those uploaded
            model.save_pretrained(folder)
            new = weights_record(model, folder, **facts)
        write_json(known.folder / RECORD_FILE, asdict(replace(new, name=known.name)))


def measured(args: argparse.Namespace, model: DepthSegmenter) -> dict[str, Any]:
    """What record and card say, with scores on CamVid if its folder is given, else on rendered images."""
    size = tuple(args.size)
    val: SampleDataset = MiniCity(100, style="real", size=size, seed=2, labels="common7")
    images = "100 images of MiniCity (style real, seed 2)"
    if args.camvid is not None:
        val = CamVid(args.camvid, "val", labels="common7", size=size)
        images = f"CamVid's {len(val)} validation photographs"
    facts = {"measured_on": f"{images} at {size[1]} x {size[0]}", "scores": evaluate(model, val)}
    return {**facts, "protocol": args.protocol, "license": args.license}


if __name__ == "__main__":
    main()
