"""Draw a contact sheet of MiniCity: rows of scenes, each with image, label and depth (unknown depth is grey).

python examples/minicity_sheet.py --output minicity.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthaware_uda.data.minicity import Rendering, render
from depthaware_uda.labels import get_label_space
from depthaware_uda.viz import colorize_depth


def panel(rendering: Rendering) -> NDArray[np.uint8]:
    label = get_label_space("cityscapes16").colorize(rendering.label)
    return np.concatenate([rendering.image, label, colorize_depth(rendering.depth)], 1)


def sheet(indices: list[int], *, seed: int, size: tuple[int, int], gap: int = 4) -> NDArray[np.uint8]:
    """The scenes `indices` in two columns, synthetic and real."""
    rows = []
    for index in indices:
        pair = [panel(render(seed, index, style=style, size=size)) for style in ("synthetic", "real")]
        rows.append(np.concatenate([pair[0], np.full((size[0], 2 * gap, 3), 255, np.uint8), pair[1]], 1))
        rows.append(np.full((gap, rows[0].shape[1], 3), 255, np.uint8))
    return np.concatenate(rows[:-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--indices", type=int, nargs="+", default=list(range(6)), help="indices of the scenes, one per row"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, nargs=2, default=(144, 240), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--output", type=Path, default=Path("minicity.png"))
    arguments = parser.parse_args()
    image = Image.fromarray(sheet(arguments.indices, seed=arguments.seed, size=tuple(arguments.size)))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(256, dither=Image.Dither.NONE).save(arguments.output, optimize=True)  # a third of the bytes
    print(f"{arguments.output}: {image.width} x {image.height}, columns: synthetic | real, each image, label, depth")


if __name__ == "__main__":
    main()
