"""Put trained weights into the package, so that ``load_pretrained(NAME)`` finds them without a network.

    python examples/package_weights.py runs/mine/model --camvid FOLDER --protocol "MiniCity -> CamVid, DAF, 600 steps"

They are written in half precision to ``depthaware_uda/weights/NAME``, measured in that form, and described by a record,
a card, and a score that a test measures again on every machine. For maintainers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from publish_weights import argument_parser, measured

from depthaware_uda import evaluate, load_pretrained
from depthaware_uda.data import MiniCity
from depthaware_uda.files import write_json
from depthaware_uda.hub import model_card, weights_record
from depthaware_uda.hub.registry import RECORD_FILE, WEIGHTS_FOLDER
from depthaware_uda.models.pretrained import WEIGHTS_FILE

MAX_BYTES = 12_000_000
# What the test measures again, on rendered images, which need no data.
CHECK: dict[str, Any] = {"images": 8, "size": [96, 160], "seed": 100}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--name", default="daf-ida-minicity", help="default: daf-ida-minicity")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="default: the folder inside the package")
    shown = "shorter side that predict resizes images to; default: that of the weights, or of --size"
    parser.add_argument("--shown-at", type=int, metavar="PIXELS", help=shown)
    taken_off = "class weights of the training, whose effect is subtracted from the scores"
    parser.add_argument("--class-weights", type=float, nargs="+", metavar="WEIGHT", help=taken_off)
    parser.add_argument("--notes", type=Path, help="Markdown that ends the card: known failures, pictures")
    args = parser.parse_args(arguments)
    model, folder = load_pretrained(args.folder), args.weights / args.name
    if model.config is not None:
        model.image_size = args.shown_at or model.image_size or min(args.size)
        model.config["image_size"] = model.image_size
    if args.class_weights is not None:
        model.classifier.adjust_logits(args.class_weights)
    with TemporaryDirectory() as rehearsal:  # so that a file that is too large never gets into the package
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
    card = model_card(stored, args.name, repository=args.name, **facts)
    if args.notes is not None:
        card += f"\n## Notes\n\n{args.notes.read_text(encoding='utf-8').strip()}\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(f"{folder}: {record.file_size} bytes, mIoU {100 * record.miou:.1f}, {record.miou_source}")


if __name__ == "__main__":
    main()
