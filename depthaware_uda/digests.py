"""SHA-256 digests of written files, checked when they are read: they detect damage, but not forgery."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from depthaware_uda.files import atomic_path, read_json, read_text, sha256, write_json

__all__ = ["SUMS_FILE", "check_sums", "read_sealed", "write_sealed", "write_sums"]

SUMS_FILE = "SHA256SUMS"
"""Name of the file with the digests of the files beside it, in the format of ``sha256sum``."""
_SEAL = "checksum"


def write_sums(folder: Path, names: Sequence[str], sums_file: str = SUMS_FILE) -> None:
    """Write the digests of files in a folder to a file there, by default `SHA256SUMS`."""
    with atomic_path(folder / sums_file, durable=True) as partial:
        partial.write_text("".join(f"{sha256(folder / name)}  {name}\n" for name in names))


def check_sums(folder: Path, names: Sequence[str], sums_file: str = SUMS_FILE) -> None:
    """Compare files with the digests that `write_sums` wrote beside them, if there are any.

    Raises:
        ValueError: A file is not the one that was written; the message names it.
    """
    sums = folder / sums_file
    if not sums.is_file():
        return
    written = set(read_text(sums).splitlines())
    for name in names:
        if f"{sha256(folder / name)}  {name}" not in written:
            raise ValueError(
                f"{folder / name}: not the file that was saved, its SHA-256 in {sums_file} differs: it is damaged, or "
                f"was changed since. Save it again; or, if you changed the file yourself, remove {sums}"
            )


def write_sealed(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, atomically, with a checksum of its content."""
    write_json(path, {**record, _SEAL: _digest(record)})


def read_sealed(path: str | Path) -> Any:
    """Read what `write_sealed` wrote, without its checksum; a record without one is not checked.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not JSON, or not what was written.
    """
    record = read_json(path)
    if isinstance(record, dict) and _SEAL in record:
        seal = record.pop(_SEAL)
        if seal != _digest(record):
            raise ValueError(
                f"{path}: not as it was written, its checksum differs: it is damaged, or was changed since. If you "
                f'changed it yourself, remove "{_SEAL}" from it'
            )
    return record


def _digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of the values, independent of white space and of the order of the keys."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
