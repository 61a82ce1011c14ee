"""Shared by the smoke modes of the examples: a few rendered streets as files, and a tiny network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from depthaware_uda import AdaptationProtocol
from depthaware_uda.data import MiniCity, write_miniature
from depthaware_uda.depth import metres_to_centimetres
from depthaware_uda.distributed import barrier, is_writer

TINY: dict[str, Any] = {"backbone_arguments": {"channels": (8, 16, 24, 32), "stem_width": 8}, "dilations": (1, 2)}
"""Arguments of `create_model` that make ``timm/resnet10t`` tiny."""


def write_streets(
    folder: Path, style: Literal["synthetic", "real"], *, count: int = 3, size: tuple[int, int] = (48, 64)
) -> Path:
    """Write MiniCity scenes as your own files might be stored: PNG, class indices, 16-bit centimetres."""
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
    barrier()  # the other processes wait for the files
    return folder


def miniature(protocol: AdaptationProtocol, folder: Path) -> tuple[AdaptationProtocol, dict[str, Path]]:
    """The protocol with small images, and miniature data sets in the formats of the real ones."""
    roots = {name: folder / name for name in protocol.roots}
    for name, root in roots.items():
        if is_writer() and not root.exists():
            write_miniature(root, name, 4, size=(96, 160))
    barrier()
    return replace(protocol, source_size=(48, 80), target_size=(48, 64)), roots
