"""Atomic files: written beside the target, then renamed into place, so that readers never see a partial file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "atomic_folder",
    "atomic_path",
    "expecting",
    "flush",
    "is_partial",
    "parse_json",
    "read_json",
    "read_text",
    "remove_partial",
    "safe_join",
    "sha256",
    "write_json",
]

_MAX_TEXT_BYTES = 64 << 20
_PARTIAL = re.compile(r"\..*-([0-9a-f]{8}|removed)\.partial(\..*)?")


def _beside(path: Path) -> Path:
    stem = path.stem[:50]  # the name may already be near the system's limit of 255 bytes
    return path.with_name(f".{stem}-{secrets.token_hex(4)}.partial{path.suffix}")


def is_partial(path: Path) -> bool:
    """Whether a file or folder is a temporary one, being written or left by a killed process."""
    return _PARTIAL.fullmatch(path.name) is not None


def remove_partial(root: str | Path) -> None:
    """Remove temporary files of killed processes below `root`; call it only if no other process writes there."""
    for path in Path(root).rglob(".*.partial*"):
        if is_partial(path):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix; on success it replaces `path`, on error it is removed.

    Missing parent folders are created. A `durable` file is flushed to the disk before it is renamed, so that even a
    power cut leaves the old file or the new one; otherwise that only holds if the process is killed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(target)
    try:
        yield partial
        if durable:
            flush(partial)
        partial.replace(target)
        if durable:
            flush(target.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it becomes `path` (replacing it), on error it is removed."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(target)
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            retired = _beside(target)
            target.replace(retired)
            partial.replace(target)
            shutil.rmtree(retired)
        else:
            partial.replace(target)
    finally:
        if partial.exists():
            shutil.rmtree(partial)


def flush(path: str | Path) -> None:
    """Flush a file, or the entries of a folder, to the disk, so that it survives a power cut."""
    if os.name == "nt" and Path(path).is_dir():
        return  # Windows cannot flush folders
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str | Path, value: Any, *, durable: bool = True) -> None:
    """Write a value as indented JSON, atomically (see `atomic_path`)."""
    with atomic_path(path, durable=durable) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a ValueError names the file if it is not JSON, nested too deeply, or larger than 64 MiB."""
    return parse_json(read_text(path), path)


def parse_json(text: str, path: str | Path) -> Any:
    """Parse JSON text that was read from a file; a ValueError names the file if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from None


def read_text(path: str | Path) -> str:
    """Read a text file; a ValueError names the file if it is not UTF-8, or larger than 64 MiB."""
    path = Path(path)
    if (size := path.stat().st_size) > _MAX_TEXT_BYTES:
        raise ValueError(f"{path}: {size} bytes of text, more than the limit of {_MAX_TEXT_BYTES}")
    try:
        return path.read_text(encoding="utf-8-sig")  # skips the byte order mark of Windows editors
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error})") from None


@contextmanager
def expecting(what: str, path: str | Path) -> Iterator[None]:
    """A context for parsing a file's content: any error of a damaged record becomes a ValueError that names the file.

    Args:
        what: What the file should be, such as "a ranking".
        path: The file that was read.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not {what}, or damaged ({type(error).__name__}: {error})") from None


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal; the file is read in chunks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def safe_join(root: str | Path, name: str) -> Path:
    """Path of a sample name below `root`; ValueError if it leads elsewhere (absolute, drive, ``..``, NUL, a link)."""
    parts = name.split("/")
    drive = any(part[1:2] == ":" for part in parts)
    if not name or "\0" in name or "\\" in name or drive or any(part in ("", ".", "..") for part in parts):
        raise ValueError(
            f"sample name {name!r} is not a relative path with forward slashes below its root; rename its file"
        )
    path = Path(root).joinpath(*parts)
    if not path.resolve().is_relative_to(Path(root).resolve()):
        raise ValueError(f"sample name {name!r} leads out of {root} through a symbolic link; remove the link")
    return path
