"""Damaged and hostile files for every reader of external files: each is read, or refused with an error.

With atheris (``pip install atheris``; coverage-guided, libFuzzer) every reader runs in its own process, so that even a
crash of a decoder is a finding; without it, seeds are mutated at random, which finds less. ``--seconds`` is the time
for each reader, ``--only`` chooses readers, ``--output FILE`` writes input counts and findings as JSON. Earlier
findings are kept as tests (`tests/test_fuzzing.py`).
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__" and "--child" in sys.argv:
    import atheris

    with atheris.instrument_imports(include=["depthaware_uda", "PIL", "json", "tomllib"]):  # before other imports
        for module in ("PIL.PngImagePlugin", "PIL.TiffImagePlugin", "PIL.JpegImagePlugin", "depthaware_uda.pipeline"):
            importlib.import_module(module)

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from depthaware_uda.data.cityscapes import Cityscapes
from depthaware_uda.data.file_dataset import SampleFiles
from depthaware_uda.data.images import read_depth_values, read_first_channel, read_ids, read_image
from depthaware_uda.files import safe_join, write_json
from depthaware_uda.hub.loading import load_pretrained
from depthaware_uda.hub.reading import read_checkpoint
from depthaware_uda.labels import get_label_space, load_label_map
from depthaware_uda.pseudo_labels import PseudoLabels
from depthaware_uda.ranking import Ranking, TargetSplit
from depthaware_uda.results import EvaluationResult
from depthaware_uda.tensors import read_metadata, read_tensors
from depthaware_uda.trainers import read_log
from depthaware_uda.trainers.run.checkpoint import latest_checkpoint
from depthaware_uda.trainers.run.run_folder import claim_run_folder

REFUSED = (ValueError, FileNotFoundError)
"""Exceptions that a reader may raise."""


class Reader(NamedTuple):
    """A reader of one kind of file, and valid files to start from."""

    file: str
    """Name of the file, in its own folder."""
    read: Callable[[Path], object]
    seeds: list[bytes]
    mend: Callable[[bytes], bytes] = bytes
    """Corrects the checksums, so that damage gets past them."""


# Seeds ----------------------------------------------------------------------------------------------------------------


def picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 11, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def png16(channels: int) -> bytes:
    rows = np.random.default_rng(0).integers(0, 255, (5, 1 + 14 * channels), np.uint8)
    rows[:, 0] = range(5)  # one row for each of PNG's filters
    header = struct.pack(">IIBBBBB", 7, 5, 16, 0 if channels == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    body = (struct.pack(">I", len(part)) + kind + part + bytes(4) for kind, part in chunks)
    return with_checksums(b"\x89PNG\r\n\x1a\n" + b"".join(body))


def with_checksums(data: bytes) -> bytes:
    """A PNG with the right checksum on every chunk, whatever its content."""
    mended, at = bytearray(data), 8
    while at + 12 <= len(mended):
        (size,) = struct.unpack_from(">I", mended, at)
        if at + 12 + size > len(mended):
            break
        struct.pack_into(">I", mended, at + 8 + size, zlib.crc32(mended[at + 4 : at + 8 + size]))
        at += 12 + size
    return bytes(mended)


def array(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def checkpoint(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def text(value: object) -> bytes:
    return json.dumps(value).encode()


# Readers --------------------------------------------------------------------------------------------------------------


def in_folder(read: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: read(path.parent)


def camera(path: Path) -> object:
    data = Cityscapes.__new__(Cityscapes)
    return data.depth_encoding_of(SampleFiles("a", path, camera=path))


def names(path: Path) -> object:
    return [safe_join(path.parent, name) for name in path.read_text("utf-8", "replace").split("\n")]


def newest(path: Path) -> object:
    """The checkpoint with this manifest; it is the only one, so rejecting it raises a ValueError."""
    return latest_checkpoint(path.parents[1])


def pretrained(path: Path) -> object:
    return load_pretrained(path)


def readers() -> dict[str, Reader]:
    """All readers, by name."""
    images = [picture("PNG"), picture("PNG", "P"), picture("PNG", "L"), picture("PNG", "1"), png16(1), png16(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    others = [picture("JPEG", exif=exif), picture("BMP"), picture("TIFF"), picture("WEBP"), picture("PPM")]
    tiffs = [picture("TIFF", compression="tiff_lzw"), picture("TIFF", "F"), picture("TIFF", "I;16")]
    space = get_label_space("common7")
    result = EvaluationResult.from_confusion(torch.eye(7, dtype=torch.int64), space.classes).to_dict()
    run = {"trainer": "DAFTrainer", "config": {"seed": 0, "betas": [0.9, 0.99]}, "data": {}}
    tensors = {"a.weight": torch.ones(2, 3), "b": torch.zeros(2, dtype=torch.int64)}
    config = {"name": "timm/resnet10t", "num_classes": 7, "label_space": "common7", "backbone_arguments": {}}
    weights = [save(tensors), save(tensors, {"config": json.dumps(config)})]
    label_map = {"label_space": space.to_dict(), "ids": {"0": "ignore", "7": "flat"}}
    pickled = [
        checkpoint({"model_state_dict": tensors}),
        checkpoint(tensors, _use_new_zipfile_serialization=False),
        checkpoint({"module.a": np.float64(0.5), "state_dict": tensors}),
    ]
    return {
        "image": Reader("a.png", read_image, images + others, with_checksums),
        "image as it is": Reader("a.jpg", read_image, others + tiffs),
        "label": Reader("a.png", read_ids, images, with_checksums),
        "label of SYNTHIA": Reader("a.png", read_first_channel, images, with_checksums),
        "depth": Reader("a.png", read_depth_values, [*images, *tiffs], with_checksums),
        "depth array": Reader("a.npy", read_depth_values, [array(np.ones((3, 4), t)) for t in ("f4", "u2", "f8")]),
        "names": Reader("names.txt", names, [b"town/a.png\n../a\n/etc\nC:/a\nb\\c"]),
        "split": Reader("easy.txt", in_folder(TargetSplit.load), [b"a\nb\n", "ä\n".encode()]),
        "ranking": Reader("a.json", Ranking.load, [text({"fraction": 0.5, "names": ["a", "b"], "scores": [1, 2.5]})]),
        "evaluation": Reader("a.json", EvaluationResult.load, [text(result)]),
        "label map": Reader("a.json", load_label_map, [text(label_map), text({**label_map, "label_space": "common7"})]),
        "label map in TOML": Reader("a.toml", load_label_map, [b'label_space = "common7"\n[ids]\n0 = "ignore"\n']),
        "pseudo-labels": Reader("pseudo_labels.json", in_folder(PseudoLabels), [text({"names": ["a"]})]),
        "camera": Reader("a.json", camera, [text({"extrinsic": {"baseline": 0.2}, "intrinsic": {"fx": 2262.5}})]),
        "log": Reader("log.jsonl", in_folder(read_log), [text({"step": 1, "depth": 0.5}) + b"\n"]),
        "run": Reader("run.json", in_folder(partial(claim_run_folder, run=run)), [text(run)]),
        "manifest": Reader("c/step-1/manifest.json", newest, [text({"step": 1, "sha256": {"state.json": "0"}})]),
        "safetensors": Reader("a.safetensors", lambda path: (read_metadata(path), read_tensors(path)), weights),
        "model": Reader("a.safetensors", pretrained, weights),
        "model configuration": Reader("config.json", in_folder(pretrained), [text(config)]),
        "checkpoint of PyTorch": Reader("a.pth", read_checkpoint, pickled),
    }


def attempt(reader: Reader, folder: Path, data: bytes) -> str:
    """Write a file and read it; returns "read" or "refused", and raises every other error."""
    path = folder / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(reader.mend(data))
    if reader.file == "easy.txt":
        (folder / "hard.txt").write_text("other\n")
    if reader.file == "config.json":
        (folder / "model.safetensors").write_bytes(save({"a": torch.ones(1)}))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except REFUSED as error:
        if str(error) == "":
            raise AssertionError("refused without a word") from error
        return "refused"
    return "read"


# Two engines ----------------------------------------------------------------------------------------------------------


def mutated(data: bytes, generator: random.Random) -> bytes:
    """The data with some bytes changed, removed, repeated or cut off."""
    changed = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        at, length = generator.randrange(len(changed) + 1), generator.choice((1, 1, 2, 4, 16))
        piece = changed[at : at + length]
        choice = generator.randrange(5)
        if choice == 0:
            changed[at : at + length] = generator.randbytes(len(piece))
        elif choice == 1:
            changed[at : at + length] = b""
        elif choice == 2:
            changed[at:at] = piece * generator.randint(1, 40)
        elif choice == 3:
            changed[at : at + 4] = generator.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"null"))
        else:
            del changed[at:]
    return bytes(changed)


def mutate(name: str, seconds: float = 60.0, *, inputs: int = sys.maxsize, seed: int = 0) -> dict[str, Any]:
    """Try mutations of the seeds in this process, up to a time and a number."""
    reader, generator = readers()[name], random.Random(seed)
    tried, until = {"read": 0, "refused": 0}, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < until and sum(tried.values()) < inputs:
            data = mutated(generator.choice(reader.seeds), generator)
            try:
                tried[attempt(reader, Path(folder), data)] += 1
            except Exception as error:
                return {"inputs": sum(tried.values()), "finding": repr(error), "data": data.hex()}
    return {"inputs": sum(tried.values()), "refused": tried["refused"]}


def guided(name: str, seconds: float) -> dict[str, Any]:
    """Try coverage-guided inputs for this time, in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--child", name, "--seconds", str(seconds)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
        executed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        covered = re.findall(r"cov: (\d+)", done.stderr)
        outcome: dict[str, Any] = {"inputs": int(executed[1]) if executed else 0}
        outcome["coverage"] = int(covered[-1]) if covered else 0
        if done.returncode:
            kept = [path.read_bytes().hex() for path in Path(folder).iterdir() if path.is_file()]
            outcome |= {"finding": done.stderr[-3000:], "data": kept[:1]}
        return outcome


def child(name: str, seconds: float) -> None:
    """Fuzz one reader, in its own process; does not return."""
    reader = readers()[name]
    seeds, work = Path("seeds"), Path("work")
    seeds.mkdir()
    work.mkdir()
    for number, seed in enumerate(reader.seeds):
        (seeds / str(number)).write_bytes(seed)
    limits = ["-max_len=4096", "-timeout=30", "-rss_limit_mb=4000", "-print_final_stats=1", "-seed=1"]
    limits.append(f"-max_total_time={max(1, round(seconds))}")
    atheris.Setup([sys.argv[0], *limits, str(seeds)], lambda data: attempt(reader, work, data) and None)
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="time for each reader")
    parser.add_argument("--only", nargs="*", choices=list(readers()), help="readers to try")
    parser.add_argument("--output", type=Path, help="JSON file to write the counts to")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.child:
        child(args.child, args.seconds)
    engine = mutate if importlib.util.find_spec("atheris") is None else guided
    if engine is mutate:
        print("atheris is not installed: seeds are mutated at random (pip install atheris for coverage-guided inputs)")
    found: dict[str, Any] = {}
    for name in args.only or readers():
        found[name] = engine(name, args.seconds)
        print(f"{name:<24}{found[name]['inputs']:>9,} inputs  {found[name].get('finding', 'no finding')}", flush=True)
    total = sum(outcome["inputs"] for outcome in found.values())
    findings = [name for name, outcome in found.items() if "finding" in outcome]
    print(f"{total:,} inputs, findings in {len(findings)} readers: {findings}")
    record = {"engine": engine.__name__, "seconds": args.seconds, "inputs": total, "readers": found}
    if args.output is not None:
        write_json(args.output, record)
    return record


if __name__ == "__main__":
    main()
