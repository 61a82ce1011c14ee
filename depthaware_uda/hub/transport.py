"""Fetching a model's two files from a hub, by huggingface_hub, and saying in plain words why it did not work."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from depthaware_uda.files import sha256
from depthaware_uda.models.pretrained import CONFIG_FILE, WEIGHTS_FILE

__all__ = ["FAILURES", "WAYS_ON", "cause", "download"]

WAYS_ON = (
    f"Two ways on: load_pretrained of a local folder with {CONFIG_FILE} and {WEIGHTS_FILE}, "
    "or convert_checkpoint on a checkpoint of the authors."
)
"""Advice that ends every error about weights that cannot be fetched."""
# The HTTP library's errors are found by the base class of huggingface_hub's own: it has changed that library before.
FAILURES: tuple[type[Exception], ...] = (
    OSError,
    *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)),
)
"""What is raised when a connection cannot be made, or breaks again and again; and errors of this machine's disk."""


def download(
    repository: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """Fetch `config.json` and `model.safetensors` of one commit of a repository, unless they are in the cache.

    Returns:
        The folder of the cache that holds both.

    Raises:
        FileNotFoundError: The repository, the revision or a file in it does not exist; or nothing is cached and the
            network is switched off.
        PermissionError: The repository is private or gated, and the token (or its absence) does not open it.
        ConnectionError: The hub could not be reached, answered with an error, or broke off.
        ValueError: The name is not a repository id, or a file is not the one that the hub has.
    """

    def fetch(file: str, at: str | None) -> Path:
        return Path(
            hf_hub_download(
                repository, file, revision=at, cache_dir=cache_dir, local_files_only=local_files_only, token=token
            )
        )

    try:
        config = fetch(CONFIG_FILE, revision)
        # The folder is named after the commit: both files are of one.
        files = (config, fetch(WEIGHTS_FILE, config.parent.name))
    except HFValidationError as error:
        raise ValueError(f"{repository!r} is not a repository id: {error}") from error
    except FAILURES as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of this machine: a full disk, a cache folder that cannot be written
        raise _explained(error, repository, revision, local_files_only=local_files_only) from error
    for file in files:
        _check(file)
    return config.parent


def _check(file: Path) -> None:
    """Compare a file of the cache with the hash by which the hub knows it: the name of what the file links to.

    A large file has its SHA-256 there, a small one git's SHA-1 of it (huggingface_hub, `hf_hub_download`), on mirrors
    sometimes a plain one. A cache without links, as on some Windows machines, does not keep these names.
    """
    blob = file.resolve()
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        found = {sha256(blob)}
    elif re.fullmatch("[0-9a-f]{40}", blob.name):
        content = blob.read_bytes()
        texts = (b"blob %d\0%s" % (len(content), content), content)
        found = {hashlib.sha1(text, usedforsecurity=False).hexdigest() for text in texts}
    else:
        return
    if blob.name not in found:
        raise ValueError(
            f"{file}: damaged in the cache or on the way, its hash is not the one that the hub has. Nothing was "
            f"deleted: delete {blob} and load again"
        )


def _explained(error: Exception, repository: str, revision: str | None, *, local_files_only: bool) -> OSError:
    """The same error as a built-in one whose message says what happened, what was tried, and what to do."""
    at = f"{constants.ENDPOINT}, revision {revision or constants.DEFAULT_REVISION!r}"
    tried = f"{repository!r} is no folder here; as a repository at {at}"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, LocalEntryNotFoundError):
        if local_files_only or constants.is_offline_mode():
            switch = "local_files_only=True" if local_files_only else "HF_HUB_OFFLINE"
            return FileNotFoundError(f"{tried}: not in the cache, and {switch} forbids the network. {WAYS_ON}")
        return ConnectionError(f"{tried}: could not be reached, and is not in the cache: {cause(error)}. {WAYS_ON}")
    if isinstance(error, GatedRepoError) or status == 403:
        return PermissionError(
            f"{tried}: access denied; accept its terms on the hub, or pass another token=. {WAYS_ON}"
        )
    if isinstance(error, RevisionNotFoundError):
        return FileNotFoundError(f"{tried}: the repository exists, but has no such revision. {WAYS_ON}")
    if isinstance(error, EntryNotFoundError):
        return FileNotFoundError(
            f"{tried}: the repository exists, but has no {CONFIG_FILE} and {WEIGHTS_FILE}. {WAYS_ON}"
        )
    if status == 401:
        return PermissionError(
            f"{tried}: the hub wants a token: the repository is private, or does not exist (it answers both alike), or "
            f"the token is wrong; pass token= or log in with `hf auth login`. {WAYS_ON}"
        )
    if isinstance(error, RepositoryNotFoundError):
        return FileNotFoundError(f"{tried}: no such repository. {WAYS_ON}")
    return ConnectionError(f"{tried}: the transfer failed: {cause(error)}. {WAYS_ON}")


def cause(error: Exception) -> str:
    """First line of what lies at the bottom of a chain of errors."""
    bottom: BaseException = error
    while bottom.__cause__ is not None:
        bottom = bottom.__cause__
    first = str(bottom).strip().splitlines() or [type(bottom).__name__]
    return first[0].rstrip(".")
