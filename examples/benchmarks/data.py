"""Samples per second of one worker: the plain reader, the cached one, and Pillow decoding and resizing each time.

Generates files of the original sizes (SYNTHIA 1280 x 760 with depth, Cityscapes 2048 x 1024), reads them in one
process and prints one table; ``--output FILE`` also writes it as JSON. The Pillow reader does what the published code
does for every sample of every epoch: decode, bicubic resize of the image, nearest of label and depth, an id-by-id map.
The readers take turns, and the median over the turns is reported. Times are processor times, which other load on the
machine affects little: a worker with its own core reads as many samples per second.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from depthaware_uda.data import SegmentationFolder, cached
from depthaware_uda.files import write_json
from depthaware_uda.labels import id_map


class Case(NamedTuple):
    """Files of one data set, and the training size of the published protocol."""

    name: str
    file_size: tuple[int, int]
    size: tuple[int, int]
    ids: str
    depth: bool


CASES = (
    Case("SYNTHIA 1280 x 760 as it is", (760, 1280), (760, 1280), "synthia", True),
    Case("SYNTHIA 1280 x 760 to 640 x 320", (760, 1280), (320, 640), "synthia", True),
    Case("Cityscapes 2048 x 1024 to 1024 x 512", (1024, 2048), (512, 1024), "cityscapes", False),
    Case("Cityscapes 2048 x 1024 to 640 x 320", (1024, 2048), (320, 640), "cityscapes", False),
)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12, help="generated samples of each data set")
    parser.add_argument("--turns", type=int, default=15, help="passes of each reader over all samples")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all sizes, for a quick test")
    parser.add_argument("--output", type=Path, help="JSON file to write the table to")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)  # as in a worker of a data loader

    rows = []
    print(f"{'samples a second of one worker':<40}{'Pillow':>9}{'plain':>9}{'cached':>9}   plain/Pillow  cached/Pillow")
    with tempfile.TemporaryDirectory() as folder:
        for case in (scaled(case, args.scale) for case in CASES):
            rows.append(row := measure(case, Path(folder), args.images, args.turns))
            ratios = f"{row['plain'] / row['pillow']:>14.2f}{row['cached'] / row['pillow']:>15.1f}"
            print(
                f"{row['name']:<40}{row['pillow']:>9.1f}{row['plain']:>9.1f}{row['cached']:>9.1f}{ratios}", flush=True
            )
    if args.output is not None:
        machine = {"machine": platform.machine(), "processors": os.cpu_count(), "torch": torch.__version__}
        write_json(args.output, {**machine, "rows": rows})
    return rows


def scaled(case: Case, factor: float) -> Case:
    file_size, size = (tuple(round(length * factor) for length in pair) for pair in (case.file_size, case.size))
    return case._replace(file_size=file_size, size=size)


def measure(case: Case, folder: Path, images: int, turns: int) -> dict[str, Any]:
    """Rates of the three readers over the same files."""
    root = folder / case.ids
    if not root.exists():
        generate(case, root, images)
    table = id_map(case.ids, "cityscapes16")
    depth = root / "depth" if case.depth else None
    plain = SegmentationFolder(
        root / "images", root / "labels", depth, label_space="cityscapes16", label_map=table, size=case.size
    )
    fast = cached(plain, folder / "cache", progress=False)

    def pillow(index: int) -> dict[str, torch.Tensor]:
        return pillow_sample(root, f"{index:06d}.png", table, case)

    readers = {"pillow": pillow, "plain": plain.__getitem__, "cached": fast.__getitem__}
    about = {"name": case.name, "file_size": case.file_size, "size": case.size, "images": images, "turns": turns}
    return {**about, **rates(readers, images, turns)}


def rates(readers: Mapping[str, Callable[[int], Any]], count: int, turns: int) -> dict[str, float]:
    """Samples per second of each reader; a first turn, which is not counted, fills the system's file cache."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(turns + 1):
        for name, read in readers.items():
            began = time.process_time()
            for index in range(count):
                read(index)
            times[name].append((time.process_time() - began) / count)
    return {name: 1 / statistics.median(measured[1:]) for name, measured in times.items()}


def pillow_sample(root: Path, name: str, table: Any, case: Case) -> dict[str, torch.Tensor]:
    """One sample as the published code reads it."""
    width_height = case.size[::-1]
    image = Image.open(root / "images" / name).convert("RGB").resize(width_height, Image.Resampling.BICUBIC)
    ids = np.asarray(Image.open(root / "labels" / name).resize(width_height, Image.Resampling.NEAREST))
    label = np.full(ids.shape, 255, np.float32)
    for raw, index in table.items():
        label[ids == raw] = index
    pixels = np.asarray(image, np.float32)[:, :, ::-1] - np.array([104.0, 116.7, 122.7], np.float32)
    sample = {"image": torch.from_numpy(pixels.transpose(2, 0, 1).copy()), "label": torch.from_numpy(label).long()}
    if case.depth:
        metres = Image.open(root / "depth" / name).resize(width_height, Image.Resampling.NEAREST)
        sample["depth"] = torch.from_numpy(65536.0 / (np.asarray(metres, np.float32) + 1))
    return sample


def generate(case: Case, root: Path, count: int) -> None:
    """Write images that compress like photographs (soft shapes with grain), and labels and depth of a few regions."""
    height, width = case.file_size
    known = np.array(sorted(id_map(case.ids, "cityscapes16")), np.uint8)
    for index in range(count):
        rng = np.random.default_rng(index)
        image = soft(rng, (height, width), 3) + rng.normal(0, 4, (height, width, 3))
        regions = soft(rng, (height, width), 1)[..., 0]
        label = known[np.clip(regions / 256 * len(known), 0, len(known) - 1).astype(int)]
        save(root / "images" / f"{index:06d}.png", np.clip(image, 0, 255).astype(np.uint8))
        save(root / "labels" / f"{index:06d}.png", label)
        if case.depth:
            save(
                root / "depth" / f"{index:06d}.png",
                (soft(rng, (height, width), 1)[..., 0] * 250 + 100).astype(np.uint16),
            )


def soft(rng: np.random.Generator, size: tuple[int, int], channels: int) -> NDArray[np.float32]:
    """Smooth random shapes (H, W, channels), 0..255."""
    coarse = rng.integers(0, 256, (size[0] // 40 + 1, size[1] // 40 + 1, channels), np.uint8)
    planes = [
        Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC) for plane in coarse.transpose(2, 0, 1)
    ]
    return np.stack([np.asarray(plane, np.float32) for plane in planes], axis=-1)


def save(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    main()
