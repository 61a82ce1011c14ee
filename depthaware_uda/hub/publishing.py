"""Putting a model onto a hub, by huggingface_hub: configuration, weights and a model card in one commit."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from depthaware_uda.files import sha256
from depthaware_uda.hub.model_card import CITATION, Scores, model_card
from depthaware_uda.hub.registry import PretrainedRecord
from depthaware_uda.hub.transport import FAILURES, cause
from depthaware_uda.labels import get_label_space
from depthaware_uda.models.pretrained import WEIGHTS_FILE, PretrainedModel

__all__ = ["push_to_hub", "weights_record"]


def push_to_hub(
    model: PretrainedModel,
    repository: str,
    *,
    card: str | None = None,
    dtype: torch.dtype | None = None,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    commit_message: str = "Upload model",
) -> str:
    """Upload a model; ``load_pretrained(repository)`` gives it back.

    Args:
        model: A network that `create_model` built or `load_pretrained` gave.
        repository: ``"owner/name"``; created if it does not exist.
        card: Text of the model card; by default one without scores (`model_card` makes one with).
        dtype: Type in which large weights are stored, as for `save_pretrained`.
        private: Whether a new repository is private; None leaves it to the owner's settings.
        revision: Branch to commit to, made if it does not exist; None is the main one.
        token: Access token that may write; by default the one that you are logged in with.
        commit_message: What the commit says.

    Returns:
        The commit's address.

    Raises:
        PermissionError: The token (or its absence) does not let you write there.
        ConnectionError: The hub answered with another error, or could not be reached.
        ValueError: The name is not a repository id, or the network was not built by `create_model`.
    """
    text = model_card(model, repository.split("/")[-1], repository=repository) if card is None else card
    hub = HfApi(token=token)
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder, dtype=dtype, card=text)
        try:
            hub.create_repo(repository, private=private, exist_ok=True)
            if revision is not None:
                hub.create_branch(repository, branch=revision, exist_ok=True)
            commit = hub.upload_folder(
                repo_id=repository, folder_path=Path(folder), revision=revision, commit_message=commit_message
            )
        except HFValidationError as error:
            raise ValueError(f"{repository!r} is not a repository id: {error}") from error
        except HfHubHTTPError as error:
            message = (
                f"{repository!r} at {hub.endpoint}: the upload was refused with status {error.response.status_code}"
            )
            if error.response.status_code in (401, 403):
                raise PermissionError(f"{message}; pass a token= that may write there, or log in") from error
            raise ConnectionError(f"{message}: {error}") from error
        except LocalTokenNotFoundError as error:
            raise PermissionError(f"{repository!r} at {hub.endpoint}: {error}") from error
        except FAILURES as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of this machine, such as a full disk
            raise ConnectionError(f"{repository!r} at {hub.endpoint}: could not be reached: {cause(error)}") from error
        except RuntimeError as error:  # of the transfer of the weights
            raise ConnectionError(f"{repository!r} at {hub.endpoint}: {error} ({error.__cause__})") from error
    return str(commit.commit_url)


def weights_record(
    model: PretrainedModel,
    folder: str | Path,
    *,
    scores: Scores,
    measured_on: str,
    protocol: str,
    license: str | None = None,
    citation: str = CITATION,
) -> PretrainedRecord:
    """The record of weights as they lie in a folder of `save_pretrained`; the folder's name is theirs.

    Args:
        model: The network.
        folder: Where its weights were saved.
        scores: What was measured with them.
        measured_on: On which images.
        protocol: How they were trained: data, classes, stages.
        license: Of the weights.
        citation: What to cite when they are used.

    Raises:
        ValueError: The network was not built by `create_model`, or its classes have no names.
    """
    if model.config is None or model.config["label_space"] is None:
        raise ValueError("a record needs a model built by create_model with a label_space, whose names rebuild it")
    file = Path(folder) / WEIGHTS_FILE
    return PretrainedRecord(
        name=file.parent.name,
        architecture=model.config["name"],
        label_space=get_label_space(model.config["label_space"]).name,
        protocol=protocol,
        miou=round(scores.miou, 4),
        miou_source=f"measured on {measured_on}",
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        citation=citation,
        license=license,
        file_size=file.stat().st_size,
        sha256=sha256(file),
        published=True,
    )
