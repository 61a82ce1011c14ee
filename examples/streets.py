"""Rendered streets as files, for the smoke mode of examples: ``images``, ``labels`` and ``depth`` of a few scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from PIL import Image

from depthaware_uda.data import MiniCity
from depthaware_uda.depth import metres_to_centimetres
from depthaware_uda.distributed import barrier, is_writer


def write_streets(
    folder: Path, style: Literal["synthetic", "real"], *, count: int = 3, size: tuple[int, int] = (48, 64)
) -> Path:
    """Write scenes of MiniCity as your own files would lie there: PNG, class indices, centimetres in 16 bits."""
    streets = MiniCity(count, style=style, size=size, labels="common7", seed=7)
    for index, street in enumerate(streets[i] for i in range(count if is_writer() else 0)):
        files = {
            "images": (street["image"] * 255).byte().permute(1, 2, 0).numpy(),
            "labels": street["label"].byte().numpy(),
            "depth": metres_to_centimetres(street["depth"][0]),
        }
        for kind, pixels in files.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{index}.png")
    barrier()  # of several processes, the others wait for the files
    return folder
