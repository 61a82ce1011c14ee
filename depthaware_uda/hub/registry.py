"""Weights that have a name: one frozen record each, read from the JSON files in the package's `weights` folder."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from depthaware_uda.files import read_json
from depthaware_uda.models.pretrained import WEIGHTS_FILE

__all__ = ["NAMESPACE", "NAMESPACE_VARIABLE", "PretrainedRecord", "get_record", "list_pretrained"]

NAMESPACE = "depthaware-uda"
"""Owner of the repositories on the hub that registered names stand for."""
NAMESPACE_VARIABLE = "DEPTHAWARE_UDA_NAMESPACE"
"""Environment variable that names another owner, for weights published by yourself or on a mirror."""

WEIGHTS_FOLDER = Path(__file__).resolve().parents[1] / "weights"
RECORD_FILE = "record.json"


@dataclass(frozen=True)
class PretrainedRecord:
    """What is known about weights of a name: enough to rebuild, verify and cite them."""

    name: str
    """What `load_pretrained` takes."""
    architecture: str
    """Name of the network, as `create_model` takes it."""
    label_space: str
    """Name of the label space of its classes."""
    protocol: str
    """How they were trained: data, classes, stages."""
    miou: float
    """Expected mean IoU, a fraction in 0..1."""
    miou_source: str
    """Who measured it, on what."""
    parameters: int
    """Number of the network's parameters."""
    citation: str
    """What to cite when they are used."""
    license: str | None = None
    """None while nothing is published."""
    file_size: int | None = None
    """Bytes of `model.safetensors`; None while nothing is published."""
    sha256: str | None = None
    """Of `model.safetensors`, in hexadecimal; None while nothing is published."""
    published: bool = False
    """Whether these weights can be had: inside the package, or from the hub."""

    @property
    def folder(self) -> Path:
        """Where the record lies, and the weights too if they are part of the package."""
        return WEIGHTS_FOLDER / self.name

    @property
    def packaged(self) -> bool:
        """Whether the weights are part of the package and load without a network."""
        return (self.folder / WEIGHTS_FILE).is_file()

    @property
    def repository(self) -> str:
        """Repository id on the hub, ``OWNER/name``; it exists only where `published` says so."""
        return f"{os.environ.get(NAMESPACE_VARIABLE) or NAMESPACE}/{self.name}"


def _read_record(file: Path) -> PretrainedRecord:
    values = read_json(file)
    unknown = sorted(set(values) - {field.name for field in fields(PretrainedRecord)})
    if unknown or values.get("name") != file.parent.name:
        raise ValueError(f"{file}: not a record of {file.parent.name!r}; unknown fields: {unknown}")
    return PretrainedRecord(**values)


@cache
def _records() -> dict[str, PretrainedRecord]:
    records = [_read_record(file) for file in sorted(WEIGHTS_FOLDER.glob(f"*/{RECORD_FILE}"))]
    return {record.name: record for record in records}


def list_pretrained(pattern: str = "*") -> list[PretrainedRecord]:
    """Records of the registered weights whose name fits a shell-style pattern such as ``"daf-ida-*"``, by name."""
    return [record for name, record in _records().items() if fnmatchcase(name, pattern)]


def get_record(name: str) -> PretrainedRecord:
    """The record of a registered name; ValueError suggests near names."""
    if name not in _records():
        near = difflib.get_close_matches(name, _records(), n=3) or list(_records())
        raise ValueError(f"no weights are registered as {name!r}; did you mean one of {near}?")
    return _records()[name]
