"""From a name, a folder, a file or a repository to a model in eval mode."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthaware_uda.digests import SUMS_FILE, check_sums
from depthaware_uda.files import parse_json, read_json, sha256
from depthaware_uda.hub.registry import NAMESPACE_VARIABLE, PretrainedRecord, list_pretrained
from depthaware_uda.hub.transport import WAYS_ON, download
from depthaware_uda.models.factory import create_model
from depthaware_uda.models.pretrained import CONFIG_FILE, MODEL_FILES, WEIGHTS_FILE
from depthaware_uda.models.segmenter import DepthSegmenter
from depthaware_uda.tensors import check_floating, read_metadata, read_tensors

__all__ = ["build_model", "load_pretrained"]

_REPOSITORY_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FETCHING = {"cache_dir", "checkpoint_path", "pretrained", "pretrained_backbone"}
_MAX_CONFIG_BYTES = 1 << 20


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
        revision: Branch, tag or commit of a repository.
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
            says (nothing is deleted), or they do not describe a model of this library; or there is no such device, or
            `dtype` is not of floating point.
    """
    _check_device(device)
    check_floating(dtype)
    path = _locate(name_or_path, revision, cache_dir, local_files_only, token)
    config, weights = _config(path), path if path.is_file() else path / WEIGHTS_FILE
    if path.is_dir():
        check_sums(path, MODEL_FILES)
    try:
        model = build_model(config, read_tensors(weights, device=device, dtype=dtype or torch.float32))
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: configuration and weights do not fit this library: {error}") from error
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
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or path.is_file() or (path / CONFIG_FILE).is_file():
        return path
    record = next((record for record in list_pretrained() if record.name == name_or_path), None)
    if record is None and (path.exists() or not _REPOSITORY_ID.fullmatch(name_or_path)):
        return path
    if record is None:
        repository = name_or_path
    elif record.packaged:
        _verify(record, record.folder)
        return record.folder
    elif not record.published and NAMESPACE_VARIABLE not in os.environ:
        raise FileNotFoundError(
            f"{record.name!r} is a registered name ({record.protocol}), but its weights are not published yet: nothing "
            f"was looked up. {WAYS_ON} To load what you published yourself, set {NAMESPACE_VARIABLE}"
        )
    else:
        repository = record.repository
    folder = download(
        repository, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
    )
    if record is not None:
        _verify(record, folder)
    return folder


def _verify(record: PretrainedRecord, folder: Path) -> None:
    """Compare the weights with the record's SHA-256, if it has one."""
    file = folder / WEIGHTS_FILE
    if record.sha256 is not None and (found := sha256(file)) != record.sha256:
        raise ValueError(
            f"{file}: the SHA-256 of {record.name!r} should be {record.sha256}, but is {found}. Nothing was deleted. "
            "If the download was damaged, delete this file and load again; another version of the weights, if you want "
            f"it, loads by its repository: load_pretrained({record.repository!r}, revision=...)"
        )


def _config(path: Path) -> Mapping[str, Any]:
    """The arguments of `create_model` that belong to a folder or to a single file."""
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ValueError(
                f"{path}: expected a folder or a .safetensors file; convert_checkpoint reads other checkpoints"
            )
        if (own := _own_config(path)) is not None:
            return own
        path = path.parent
        wanted = f"{CONFIG_FILE} beside a weights file that does not hold its own configuration"
    else:
        wanted = f"a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, as save_pretrained writes it{_hint(path)}"
        if (path / CONFIG_FILE).is_file() and not (path / WEIGHTS_FILE).is_file():
            raise FileNotFoundError(f"{path / WEIGHTS_FILE} is missing: expected {wanted}")
    file = path / CONFIG_FILE
    if not file.is_file():
        # Saving was cut off: the digests come last. Otherwise somebody took the file away.
        cut_off = (path / WEIGHTS_FILE).is_file() and not (path / SUMS_FILE).is_file()
        if cut_off and (own := _own_config(path / WEIGHTS_FILE)) is not None:
            return own
        raise FileNotFoundError(f"{file} is missing: expected {wanted}")
    if file.stat().st_size > _MAX_CONFIG_BYTES:
        raise ValueError(f"{file}: larger than {_MAX_CONFIG_BYTES} bytes, not the configuration of a model")
    return _checked(read_json(file), file)


def _own_config(weights: Path) -> Mapping[str, Any] | None:
    """The arguments of `create_model` that a weights file holds, if it does."""
    text = read_metadata(weights).get("config")
    return None if text is None else _checked(parse_json(text, weights), weights)


def _hint(path: Path) -> str:
    """What may have been meant: the weights in the folder of a run, or a registered name with a slip."""
    if inside := [str(path / name) for name in ("model", "best") if (path / name / CONFIG_FILE).is_file()]:
        return f"; this one is the folder of a run, whose weights are in {' and '.join(inside)}"
    near = difflib.get_close_matches(path.name, [record.name for record in list_pretrained()], n=3)
    return f" (registered names like it: {near})" if near and path.name == str(path) else ""


def _checked(config: Any, file: Path) -> Mapping[str, Any]:
    """Refuse a configuration that would make timm fetch or unpickle weights of its own."""
    arguments = config.get("backbone_arguments") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(arguments or {}, dict):
        raise ValueError(f"{file}: configuration and weights do not fit this library: not a table of arguments")
    if asked := sorted({*config, *(arguments or {})} & _FETCHING):
        raise ValueError(f"{file}: refused, its configuration asks for weights from elsewhere: {asked}")
    return config


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
