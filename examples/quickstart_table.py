"""Mean and spread of several quickstart runs, as a Markdown table.

python examples/quickstart_table.py runs/quickstart-minicity-*/results.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from quickstart_setup import STAGES

from depthaware_uda.files import read_json

ROWS = {**STAGES, "control": "control, as many steps as all stages"}


def table(records: list[dict[str, Any]]) -> str:
    """A line a stage: mIoU as mean ± standard deviation, its value in each run, and the mean IoU of each class."""
    seeds = [record["seed"] for record in records]
    classes = list(records[0]["results"]["ida"]["iou"])
    lines = [
        f"| | mIoU | seeds {', '.join(map(str, seeds))} | {' | '.join(classes)} |",
        "|---" * (3 + len(classes)) + "|",
    ]
    for stage, name in ROWS.items():
        results = [record["results"][stage] for record in records]
        miou = 100 * np.array([result["miou"] for result in results])
        spread = miou.std(ddof=1) if len(miou) > 1 else 0.0
        each = ", ".join(f"{value:.1f}" for value in miou)
        iou = [f"{100 * np.mean([result['iou'][label] for result in results]):.1f}" for label in classes]
        lines.append(f"| {name} | {miou.mean():.1f} ± {spread:.1f} | {each} | {' | '.join(iou)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="results.json of each run")
    records = sorted((read_json(path) for path in parser.parse_args().results), key=lambda record: record["seed"])
    settings = {key: records[0][key] for key in ("target", "size", "augmentation", "batch_size", "steps")}
    for record in records:
        if differing := [key for key, value in settings.items() if record[key] != value]:
            parser.error(f"seed {record['seed']} was run with another {differing[0]}; compare runs with equal settings")
    print(", ".join(f"{key} {value}" for key, value in settings.items()), end="\n\n")
    print(table(records))


if __name__ == "__main__":
    main()
