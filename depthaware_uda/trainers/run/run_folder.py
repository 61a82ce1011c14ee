"""Whose run an output folder holds: the first trainer claims it, and only the same run may go on in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from depthaware_uda.distributed import barrier, from_writer, gather, is_writer
from depthaware_uda.files import expecting, is_partial, read_json, write_json

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["check_shared_folder", "claim_run_folder", "digest", "locked", "scratch_folder"]

RUN_FILE = "run.json"
BEGAN_WITH = "began_with"
"""Key of a digest of the weights that a run began with."""
LOCK_FILE = ".lock"

_HELD: set[int] = set()  # descriptors of the locks that this process holds

# What may change between a run and its resumption: none of it changes a weight.
_FREE_SETTINGS = frozenset(
    {"num_workers", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "checkpointing"}
    | {"max_skipped_steps", "save_bad_batches", "on_error", "max_unreadable"}
)
_IF_KNOWN = ("samples", "first_sample", "augmentation", "optimizer")
"""Compared by name, where both are known: older versions did not write them, and some samples change when read."""


def digest(value: Any) -> str:
    """A short hash of a JSON-ready value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def claim_run_folder(folder: Path, run: dict[str, Any], *, defaults: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Write the description of a run to `run.json` of a new folder, or check that the folder holds the same run.

    Args:
        folder: The output folder, which need not exist.
        run: JSON-ready description, with the settings under "config".
        defaults: Values of settings that the folder does not know, because an older version wrote it.

    Warns:
        UserWarning: It began with other weights, and goes on with its own.

    Raises:
        ValueError: The folder holds another run, or files that no run wrote; nothing was changed.
    """
    run = json.loads(json.dumps(run))
    file = folder / RUN_FILE
    if not file.is_file():
        if folder.exists() and any(path.name != LOCK_FILE and not is_partial(path) for path in folder.iterdir()):
            raise ValueError(f"{folder} holds files but no {RUN_FILE}: choose an empty or a new output_dir")
        write_json(file, run)
        return
    found = read_json(file)
    with expecting("the description of a run", file):
        differences = _differences(
            {**found, "config": {**json.loads(json.dumps(dict(defaults))), **found["config"]}}, run
        )
        began = found.get(BEGAN_WITH)
    if differences:
        raise ValueError(
            f"{folder} holds another run, nothing was overwritten. It differs in: {', '.join(differences)}. "
            "Choose another output_dir, or remove it to start anew"
        )
    if None not in (began, begins := run.get(BEGAN_WITH)) and began != begins:
        warnings.warn(
            f"{folder} began with other weights than the model has now, and goes on with its own: these are not used. "
            "To train these, choose another output_dir",
            stacklevel=3,
        )


def _differences(found: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """In words, where two descriptions differ."""
    apart = (BEGAN_WITH, "config", "data", *_IF_KNOWN)
    differences = [key for key in run if key not in apart and run[key] != found.get(key)]
    data, had = run.get("data", {}), found.get("data", {})
    differences += [f"names of {domain}" for domain in {**had, **data} if data.get(domain) != had.get(domain)]
    for key in _IF_KNOWN:
        for name, value in run.get(key, {}).items():
            was = found.get(key, {}).get(name)
            if None not in (was, value) and was != value:
                differences.append(f"{key.replace('_', ' ')} of {name} (was {was}, is {value})")
    for key, value in run["config"].items():
        if key not in _FREE_SETTINGS and value != (was := found["config"].get(key)):
            differences.append(f"{key} (was {was}, is {value})")
    return differences


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Keep other processes from running in an output folder; None locks nothing.

    The system holds the lock and drops it when the process ends, however it ends.

    Raises:
        RuntimeError: Another process runs in the folder.
    """
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    try:
        try:
            _lock(descriptor)
        except OSError:
            raise RuntimeError(
                f"another process trains in {folder}; wait for it to end, or choose another output_dir"
            ) from None
        _HELD.add(descriptor)
        yield
    finally:
        _HELD.discard(descriptor)
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _release_in_child() -> None:
    """A forked worker shares the lock and may outlive a killed trainer: it lets go of it at once."""
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


def check_shared_folder(folder: Path) -> None:
    """Wait for rank 0 to claim a folder, and check that every process sees it.

    Raises:
        ValueError: One does not.
    """
    barrier()
    if blind := [rank for rank, sees in enumerate(gather((folder / RUN_FILE).is_file())) if not sees]:
        raise ValueError(
            f"processes {blind} do not see the {RUN_FILE} that rank 0 wrote into {folder}: give an absolute output_dir "
            "on storage that all machines share"
        )


def scratch_folder(owner: object) -> Path:
    """A temporary folder, the same in all processes, that goes with its owner in rank 0.

    Quietly: `TemporaryDirectory` would warn that nobody closed it.
    """
    if not is_writer():
        return from_writer(Path())
    folder = from_writer(Path(tempfile.mkdtemp()))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder
