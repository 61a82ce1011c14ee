"""The methods that users expect of a model with weights: `save_pretrained`, `from_pretrained`, `push_to_hub`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from depthaware_uda.digests import SUMS_FILE, write_sums
from depthaware_uda.files import atomic_path, write_json
from depthaware_uda.tensors import WEIGHTS_FILE, check_floating, write_tensors

if TYPE_CHECKING:
    from depthaware_uda.models.segmenter import DepthSegmenter

__all__ = ["CONFIG_FILE", "MODEL_FILES", "WEIGHTS_FILE", "PretrainedModel"]

CONFIG_FILE = "config.json"
"""Name of the file that says how to build the network."""
CARD_FILE = "README.md"
MODEL_FILES = (CONFIG_FILE, WEIGHTS_FILE)
"""Names of the files that `SHA256SUMS` beside them has the digests of."""


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    lower = dtype is not None and tensor.ndim > 1 and tensor.is_floating_point()
    return (tensor.to(dtype) if lower else tensor).contiguous()


class PretrainedModel(nn.Module):
    """A network that can be saved to a folder or the hub, and loaded from there."""

    config: dict[str, Any] | None = None
    """The arguments of `create_model`, for a network that it built."""

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None, card: str | None = None) -> None:
        """Write `config.json`, `model.safetensors` and `SHA256SUMS`; `load_pretrained(folder)` gives the model back.

        The weights file holds the configuration too, so that it loads alone. A kill in between leaves a folder that
        loads as the old network or as the new one.

        Args:
            folder: Folder to write into; what else lies there is kept.
            dtype: Store the weights of convolutions and linear layers in this type, such as ``torch.float16``. Biases
                and statistics, which are few, keep theirs: a variance can be out of the range of half precision.
            card: Text of a model card, written as `README.md`; `model_card` generates one.

        Raises:
            OSError: The disk is full, or the folder cannot be written to.
            ValueError: The network was composed by hand, so that no name can rebuild it; or `dtype` is not of floating
                point.
        """
        check_floating(dtype)
        if self.config is None:
            raise ValueError(
                "save_pretrained needs a model built by create_model; for one composed by hand "
                "save its state_dict() with safetensors"
            )
        tensors = {key: _stored(value, dtype) for key, value in self.state_dict().items()}
        folder = Path(folder)
        for former in (SUMS_FILE, CONFIG_FILE):  # until the new ones are there, the weights' own configuration counts
            (folder / former).unlink(missing_ok=True)
        with atomic_path(folder / WEIGHTS_FILE, durable=True) as partial:
            write_tensors(partial, tensors, metadata={"config": json.dumps(self.config)})
        write_json(folder / CONFIG_FILE, self.config)
        write_sums(folder, MODEL_FILES)
        if card is not None:
            with atomic_path(folder / CARD_FILE) as partial:
                partial.write_text(card, encoding="utf-8")

    @staticmethod
    def from_pretrained(
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> DepthSegmenter:
        """The same as `load_pretrained`."""
        from depthaware_uda.hub import load_pretrained  # the hub builds models: it is opened when called

        return load_pretrained(
            name_or_path,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            device=device,
            dtype=dtype,
        )

    def push_to_hub(
        self,
        repository: str,
        *,
        card: str | None = None,
        dtype: torch.dtype | None = None,
        private: bool | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        commit_message: str = "Upload model",
    ) -> str:
        """The same as `depthaware_uda.hub.push_to_hub`, of this model."""
        from depthaware_uda.hub import push_to_hub

        return push_to_hub(
            self,
            repository,
            card=card,
            dtype=dtype,
            private=private,
            revision=revision,
            token=token,
            commit_message=commit_message,
        )
