"""What a folder or a file of weights says about the network that they belong to."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depthaware_uda.digests import SUMS_FILE
from depthaware_uda.files import parse_json, read_json
from depthaware_uda.hub.registry import list_pretrained
from depthaware_uda.models.pretrained import CONFIG_FILE, WEIGHTS_FILE
from depthaware_uda.tensors import read_metadata

__all__ = ["read_config"]

# Arguments that would make timm fetch or unpickle weights of its own.
_FETCHING = {"cache_dir", "checkpoint_path", "pretrained", "pretrained_backbone"}
_MAX_CONFIG_BYTES = 1 << 20


def read_config(path: Path) -> Mapping[str, Any]:
    """The arguments of `create_model` that belong to a folder of `save_pretrained`, or to a single file of it.

    Raises:
        FileNotFoundError: There is no configuration, or no weights beside it.
        ValueError: It is damaged, or asks for weights from elsewhere.
    """
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
    if (path / WEIGHTS_FILE).is_file():
        return "; weights of a network that create_model did not make are read with safetensors.torch.load_file"
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
