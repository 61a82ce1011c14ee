"""Predictions of many images as files, written as they come, going on where the writing stopped."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from depthaware_uda.data.contract import check_loading
from depthaware_uda.files import expecting, read_json, write_json
from depthaware_uda.inference import check_model, evaluating
from depthaware_uda.labels import LabelSpace
from depthaware_uda.models.input_size import InputSize
from depthaware_uda.precision import Precision
from depthaware_uda.prediction.inputs import Frame, PredictionInput, open_input
from depthaware_uda.prediction.passes import Passes, TileSize
from depthaware_uda.prediction.result import DEFAULT_FILES, FileKind, check_files, prediction_path
from depthaware_uda.prediction.run import predict_source, space_of
from depthaware_uda.types import OnError, SegDepthOutput

__all__ = ["write_predictions"]

RECORD_FILE = "predictions.json"
_WRITERS = 2


def write_predictions(
    model: nn.Module,
    images: PredictionInput,
    folder: str | Path,
    *,
    files: Sequence[FileKind] = DEFAULT_FILES,
    size: InputSize = "auto",
    tile: TileSize = "auto",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    batch_size: int = 1,
    label_space: str | LabelSpace | None = None,
    precision: Precision = "float32",
    overwrite: bool = False,
    on_error: OnError = "raise",
    progress: bool = False,
) -> list[str]:
    """Predict images and write one file a kind for each: `predict` to the disk.

    Images whose files are all there are not read again, so a run that was cut off goes on where it stopped.
    `predictions.json` keeps the settings and a hash of the weights; a folder of other settings is refused.

    Args:
        model: Any module that maps images (N, 3, H, W), RGB in 0..1, to `SegDepthOutput`.
        images: As `predict` takes them. A `folder` inside the folder of images is not read. Files of a list are named
            by their paths, those outside the working folder by their last part, and images without a path by number.
        folder: Where the files go, ``FOLDER/KIND/NAME``.
        files: Kinds of files, see `FileKind`; depth is left out if the model has none.
        size: As in `predict`.
        tile: As in `predict`.
        scales: As in `predict`.
        flip: As in `predict`.
        batch_size: As in `predict`.
        label_space: As in `predict`.
        precision: As in `predict`.
        overwrite: Predict everything anew, also in a folder of other settings.
        on_error: ``"raise"`` ends at an image that cannot be read, ``"skip"`` leaves it out with an `UnreadableImage`.
        progress: Show a progress bar.

    Warns:
        UnreadableImage: An image cannot be read, with ``on_error="skip"``; it is named.
        RuntimeWarning: As in `predict`.

    Returns:
        The names of all images that were predicted, also of those whose files were there.

    Raises:
        FileExistsError: A prediction would replace a file of a folder that holds none, such as a true label.
        FileNotFoundError: There is no such input.
        TypeError: The input is of another kind.
        ValueError: As in `predict`; or the folder holds predictions of other settings, or two images would share
            their files.
    """
    folder = Path(folder)
    check_files(files)
    if on_error not in get_args(OnError):
        raise ValueError(f"on_error must be one of {get_args(OnError)}, got {on_error!r}")
    check_model(model)
    passes = Passes.of_model(model, size, tile, scales, flip, precision)
    check_loading(batch_size=batch_size)
    space = space_of(model, label_space)
    source = open_input(images, leave_out=folder)
    kinds = [kind for kind in files if kind not in ("depth", "depth_pictures") or _has_depth(model)]
    if not kinds:
        raise ValueError(f"files asks for {tuple(files)} alone, but the model has no depth")
    record = {**passes.record(), "weights": _fingerprint(model), "classes": space and list(space.classes)}
    fresh = not overwrite and not (folder / RECORD_FILE).is_file()
    _claim(folder, record, overwrite=overwrite)

    names: dict[Path, str] = {}
    done: list[str] = []

    def missing(frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            path = prediction_path(folder, "labels", frame.name)
            if path in names:
                raise ValueError(
                    f"{names[path]!r} and {frame.name!r} would share their files; rename one, or give "
                    "the folder above them, below which names tell them apart"
                )
            names[path] = frame.name
            there = [path for kind in kinds if (path := prediction_path(folder, kind, frame.name)).is_file()]
            if fresh and there:
                (folder / RECORD_FILE).unlink()  # the folder is not claimed
                raise FileExistsError(
                    f"{there[0]} is there, but {folder} holds no {RECORD_FILE}: it may be no prediction, and was not "
                    "replaced. Choose another folder, or pass overwrite=True"
                )
            if overwrite or len(there) < len(kinds):
                yield frame
            else:
                done.append(frame.name)

    todo = source._replace(frames=missing(source.frames))
    if source.total is not None:  # what is known beforehand is checked, and counted, beforehand
        frames = list(todo.frames)
        todo = source._replace(frames=iter(frames), total=len(frames))
    waiting: deque[Future[list[Path]]] = deque()
    with ThreadPoolExecutor(_WRITERS) as writers:
        skip = on_error == "skip"
        for prediction in predict_source(
            model, todo, passes, space, batch_size=batch_size, progress=progress, skip=skip
        ):
            done.append(prediction.name)
            waiting.append(writers.submit(prediction.save, folder, kinds))
            if len(waiting) > 2 * _WRITERS:
                waiting.popleft().result()
        for written in waiting:
            written.result()
    predicted = set(done)
    return [name for name in names.values() if name in predicted]


def _has_depth(model: nn.Module) -> bool:
    """Whether a model predicts depth; one of another kind is asked with a grey image."""
    if hasattr(model, "depth_head"):
        return model.depth_head is not None
    first = next(model.parameters(), torch.zeros(()))
    with evaluating(model):
        output: SegDepthOutput = model(first.new_full((1, 3, 64, 64), 0.5))
    return output.inverse_depth is not None


def _fingerprint(model: nn.Module) -> str:
    """A short hash of a model's weights."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _claim(folder: Path, record: dict[str, Any], *, overwrite: bool) -> None:
    """Write the settings of a folder, or check that they are the same."""
    file = folder / RECORD_FILE
    if file.is_file() and not overwrite:
        found = read_json(file)
        with expecting("the settings of predictions", file):
            found = dict(found)
        if differences := [
            f"{key} (was {found.get(key)}, is {record[key]})" for key in record if found.get(key) != record[key]
        ]:
            raise ValueError(
                f"{folder} holds other predictions, nothing was overwritten. They differ in: {', '.join(differences)}. "
                "Choose another folder, or pass overwrite=True"
            )
        return
    write_json(file, record)
