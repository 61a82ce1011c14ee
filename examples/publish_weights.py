"""Upload trained weights to a hub, with a model card that says what was measured.

    python examples/publish_weights.py runs/mine/model OWNER/NAME --protocol "MiniCity -> CamVid, DAF, 600 steps"

``--camvid FOLDER`` measures on CamVid's validation photographs instead of on rendered images. ``--record NAME`` updates
the record of a registered name to these weights. `package_weights.py` puts weights into the package instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from depthaware_uda import evaluate, load_pretrained
from depthaware_uda.data import CamVid, MiniCity
from depthaware_uda.files import write_json
from depthaware_uda.hub import get_record, model_card, push_to_hub, weights_record
from depthaware_uda.hub.registry import RECORD_FILE
from depthaware_uda.models import DepthSegmenter
from depthaware_uda.types import SampleDataset


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__ or "")
    parser.add_argument("repository", help="OWNER/NAME")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--record", metavar="NAME", help="registered name whose record is updated")
    args = parser.parse_args(arguments)
    known = None if args.record is None else get_record(args.record)  # a typo shows before anything is uploaded
    model = load_pretrained(args.folder)
    facts = measured(args, model)
    card = model_card(model, args.repository.split("/")[-1], repository=args.repository, **facts)
    print(push_to_hub(model, args.repository, card=card, private=args.private or None))
    if known is not None:
        with TemporaryDirectory() as folder:  # the same bytes as those uploaded
            model.save_pretrained(folder)
            new = weights_record(model, folder, **facts)
        write_json(known.folder / RECORD_FILE, asdict(replace(new, name=known.name)))


def argument_parser(description: str) -> argparse.ArgumentParser:
    """The arguments for what is published and what it is measured on."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="written by save_pretrained")
    parser.add_argument("--protocol", required=True, help="how they were trained: data, stages, steps, seed")
    parser.add_argument("--license", default="apache-2.0", help="of the weights; default: apache-2.0")
    parser.add_argument("--camvid", type=Path, metavar="FOLDER", help="measure on CamVid's validation photographs")
    parser.add_argument("--size", type=int, nargs=2, default=(120, 160), metavar=("H", "W"), help="of photographs")
    return parser


def measured(args: argparse.Namespace, model: DepthSegmenter) -> dict[str, Any]:
    """The content of record and card, with scores on CamVid if its folder is given, else on rendered images."""
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
