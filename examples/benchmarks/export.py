"""Which families of backbones can be exported as ONNX and as `torch.export` programs, at any size or a fixed one.

Every family of `families.py`, small and without weights, is exported with the heads of the library. An export
counts if its outputs equal those of the network at several image and batch sizes.

    python examples/benchmarks/export.py --output export.json
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from families import FAMILIES

from depthaware_uda import create_model
from depthaware_uda.export import export_onnx, export_program
from depthaware_uda.files import read_json, write_json

SIZE = (64, 96)
WAYS = ("onnx", "program")


def export(model: torch.nn.Module, way: str, folder: Path, *, dynamic: bool) -> None:
    """Export in one format, and compare the outputs with those of the network."""
    if way == "onnx":
        export_onnx(model, folder / "model.onnx", SIZE, dynamic_size=dynamic)  # compares the outputs itself
        return
    export_program(model, SIZE, folder / "model.pt2", dynamic_size=dynamic)
    program = torch.export.load(folder / "model.pt2").module()
    for shape in ((1, 3, *SIZE), (3, 3, *SIZE), *([(1, 3, 96, 64), (2, 3, 97, 161)] if dynamic else [])):
        image = torch.rand(shape)
        with torch.no_grad():
            for found, expected in zip(program(image), model.eval()(image), strict=True):
                torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def outcome(model: torch.nn.Module, way: str) -> dict[str, str]:
    """The sizes at which a network can be exported ("any", "fixed" or "none"), and the errors at the others."""
    found: dict[str, str] = {}
    for sizes in ("any", "fixed"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                export(model, way, Path(folder), dynamic=sizes == "any")
            except (ValueError, AssertionError) as error:
                found[f"{sizes} size"] = str(error).replace(folder, "").strip("/").splitlines()[0][:200]
            else:
                return {"sizes": sizes, **found}
    return {"sizes": "none", **found}


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, dict[str, str]]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES), metavar="FAMILY")
    parser.add_argument("--output", type=Path, help="JSON file for the outcomes; families already in it are skipped")
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # from the exporters, about themselves
    torch.set_num_threads(1)
    known = args.output is not None and args.output.is_file()
    found: dict[str, dict[str, dict[str, str]]] = read_json(args.output)["families"] if known else {}
    for family in args.families:
        if family in found:
            continue
        name, options, _ = FAMILIES[family]
        model = create_model(f"timm/{name}", 7, dilations=(1, 2), backbone_arguments=options, seed=0)
        found[family] = {way: outcome(model, way) for way in WAYS}
        print(f"{family:24} {found[family]}", flush=True)
        if args.output is not None:
            write_json(args.output, {"torch": torch.__version__, "size": SIZE, "families": found})
    print(table(found))
    return found


def table(found: dict[str, dict[str, dict[str, str]]]) -> str:
    """The outcomes as Markdown."""
    lines = ["| family | ONNX | torch.export |", "|---|---|---|"]
    lines += [f"| {family} | {' | '.join(ways[way]['sizes'] for way in WAYS)} |" for family, ways in found.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
