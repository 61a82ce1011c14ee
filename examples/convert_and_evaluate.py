"""Convert a published checkpoint to a folder with safetensors, and print its EP1 table: Cityscapes, 16 classes.

    python examples/convert_and_evaluate.py CHECKPOINT --cityscapes ROOT [--output FOLDER]

The checkpoint is one of the authors' (DAF or IDA), of DADA, AdvEnt or IntraDA; no code in it is run. Afterwards
``load_pretrained(FOLDER)`` loads the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from depthaware_uda import EvaluationResult, convert_checkpoint, evaluate
from depthaware_uda.distributed import initialize, is_writer


def main(arguments: Sequence[str] | None = None) -> EvaluationResult:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--cityscapes", type=Path, required=True, metavar="ROOT", help="holds leftImg8bit and gtFine")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: beside the checkpoint, without suffix")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(arguments)

    output = args.output or args.checkpoint.with_suffix("")
    if output.is_file():
        parser.error(f"{output} is a file; use --output to name the folder for the network")
    model = convert_checkpoint(args.checkpoint)
    if is_writer():
        model.save_pretrained(output)
        print(f"{output}: written, load_pretrained reads it")

    result = evaluate(model.to(args.device), protocol="ep1", roots={"cityscapes": args.cityscapes}, progress=True)
    if is_writer():
        print(result.table())
    return result


if __name__ == "__main__":
    with initialize():
        main()
