"""From a name, a folder, a file or a repository to a model in eval mode."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthaware_uda.digests import check_sums
from depthaware_uda.files import sha256
from depthaware_uda.hub.configuration import read_config
from depthaware_uda.hub.registry import NAMESPACE_VARIABLE, PretrainedRecord, list_pretrained
from depthaware_uda.hub.transport import WAYS_ON, download
from depthaware_uda.models.factory import create_model
from depthaware_uda.models.pretrained import CONFIG_FILE, MODEL_FILES, WEIGHTS_FILE
from depthaware_uda.models.segmenter import DepthSegmenter
from depthaware_uda.tensors import check_floating, read_tensors

__all__ = ["build_model", "load_pretrained"]

_REPOSITORY_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def load_pretrained(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> DepthSegmenter:
    """Load a trained model, in eval mode, with its normalisation and its label space.

    Args:
        name_or_path: A folder that `save_pretrained` wrote; a single `.safetensors` file of it; a registered name
            (`list_pretrained`); or the id of a repository on the hub, ``"owner/name"``. What is on disk comes first.
        revision: Branch, tag or commit of a repository on the hub; what is on this machine has none.
        cache_dir: Where downloads are kept; by default the cache of huggingface_hub.
        local_files_only: Take nothing from the network.
        token: Access token of the hub; by default the one that you are logged in with, False for none.
        device: Device of the model.
        dtype: Type of the floating-point weights, float32 if None, also where the file has half precision.

    Raises:
        FileNotFoundError: There is no such folder, file, name, repository or revision; or the weights of a name are not
            published; or nothing is cached and the network is switched off.
        PermissionError: The repository is private or gated, and the token does not open it.
        ConnectionError: The hub could not be reached.
        ValueError: The files have another SHA-256 than the record of a registered name, or `SHA256SUMS` beside them,
            says (nothing is deleted), or they do not describe a model of this library; or there is no such device,
            `dtype` is not of floating point, or a `revision` is asked for of what is not on the hub.
    """
    _check_device(device)
    check_floating(dtype)
    path = _locate(name_or_path, revision, cache_dir, local_files_only, token)
    config, weights = read_config(path), path if path.is_file() else path / WEIGHTS_FILE
    if path.is_dir():
        check_sums(path, MODEL_FILES)
    try:
        model = build_model(config, read_tensors(weights, device=device, dtype=dtype or torch.float32))
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"{path}: configuration and weights do not fit this library: {error}\nIf parts of the network were "
            f"replaced after create_model, make it so again and let its load_state_dict take the tensors of {weights}"
        ) from error
    return model.to(device).eval()


def _check_device(device: str | torch.device) -> None:
    try:
        torch.empty(0, device=device)
    except Exception as error:  # every kind of device has errors of its own
        what = str(error).splitlines()[0]
        raise ValueError(f"device {str(device)!r} cannot be used here: {what}") from error


def _locate(
    name_or_path: str | Path,
    revision: str | None,
    cache_dir: str | Path | None,
    local_files_only: bool,
    token: str | bool | None,
) -> Path:
    """The folder or file that is meant, downloaded if need be."""
    path, record = _local(name_or_path)
    if path is not None and revision is not None:
        raise ValueError(
            f"revision={revision!r} is a version of a repository on the hub, but {str(name_or_path)!r} is {path}; "
            "leave revision out"
        )
    if path is None and record is not None and not record.published and NAMESPACE_VARIABLE not in os.environ:
        raise FileNotFoundError(
            f"{record.name!r} is a registered name ({record.protocol}), but its weights are not published yet: nothing "
            f"was looked up. {WAYS_ON} To load what you published yourself, set {NAMESPACE_VARIABLE}"
        )
    if path is None:
        repository = str(name_or_path) if record is None else record.repository
        path = download(
            repository, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
    if record is not None:
        _verify(record, path)
    return path


def _local(name_or_path: str | Path) -> tuple[Path | None, PretrainedRecord | None]:
    """Its path on this machine, None if it has to be downloaded; and its record, if it is a registered name."""
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or path.is_file() or (path / CONFIG_FILE).is_file():
        return path, None
    record = next((record for record in list_pretrained() if record.name == name_or_path), None)
    if record is not None:
        return (record.folder if record.packaged else None), record
    may_be_repository = not path.exists() and _REPOSITORY_ID.fullmatch(name_or_path)
    return (None if may_be_repository else path), None


def _verify(record: PretrainedRecord, folder: Path) -> None:
    """Compare the weights with the record's SHA-256, if it has one."""
    file = folder / WEIGHTS_FILE
    if record.sha256 is not None and (found := sha256(file)) != record.sha256:
        raise ValueError(
            f"{file}: the SHA-256 of {record.name!r} should be {record.sha256}, but is {found}. Nothing was deleted. "
            "If the download was damaged, delete this file and load again; another version of the weights, if you want "
            f"it, loads by its repository: load_pretrained({record.repository!r}, revision=...)"
        )


def build_model(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> DepthSegmenter:
    """A network of `create_model` around tensors that are taken over, not copied; nothing is initialised for it.

    Raises:
        TypeError: The configuration has arguments that `create_model` does not know.
        ValueError: The configuration's arguments do not fit each other.
        RuntimeError: Tensors are missing, too many, or of another shape.
    """
    try:
        with torch.device("meta"):
            model = create_model(**config)
    except (ValueError, NotImplementedError):
        # Wrong arguments, or a network that computes while it is built, which needs memory: the difference shows here.
        model = create_model(**config)
    model.load_state_dict(tensors, assign=True)
    if any(tensor.is_meta for tensor in chain(model.parameters(), model.buffers())):
        # Tables that the network computes and does not save, such as relative positions.
        model = create_model(**config)
        model.load_state_dict(tensors, assign=True)
    return model
