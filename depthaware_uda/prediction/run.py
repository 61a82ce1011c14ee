"""Prediction of anything that shows a street: one image gives one `Prediction`, many give them one after another."""

from __future__ import annotations

import colorsys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from depthaware_uda.data.contract import check_loading
from depthaware_uda.depth import to_metres
from depthaware_uda.inference import check_model, evaluating, warn_of_nan
from depthaware_uda.labels import IGNORE_INDEX, LabelSpace, get_label_space
from depthaware_uda.losses import normalized_entropy
from depthaware_uda.models.input_size import InputSize
from depthaware_uda.models.resize import size_of
from depthaware_uda.models.slices import row_slices
from depthaware_uda.precision import Precision
from depthaware_uda.prediction.inputs import Frame, OneImage, PredictionInput, Source, open_input
from depthaware_uda.prediction.passes import Passes, TileSize
from depthaware_uda.prediction.result import Prediction
from depthaware_uda.types import SampleDataset, SegDepthOutput

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["UnreadableImage", "predict"]

_READ_AHEAD = 2


class UnreadableImage(UserWarning):
    """An image of many could not be read and is left out."""


class _Options(TypedDict, total=False):
    """What `predict` takes beside model and images, for type checkers."""

    size: InputSize
    tile: TileSize
    scales: Sequence[float]
    flip: bool
    batch_size: int
    label_space: str | LabelSpace | None
    precision: Precision
    progress: bool


@overload
def predict(model: nn.Module, images: Image.Image, **options: Unpack[_Options]) -> Prediction: ...
# A type does not tell what lies at a path, or how many dimensions an array has.
@overload
def predict(model: nn.Module, images: str | Path | NDArray[Any] | Tensor, **options: Unpack[_Options]) -> Any: ...
@overload
def predict(
    model: nn.Module, images: SampleDataset | Iterable[OneImage], **options: Unpack[_Options]
) -> Iterator[Prediction]: ...
def predict(
    model: nn.Module,
    images: PredictionInput,
    *,
    size: InputSize = "auto",
    tile: TileSize = "auto",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    batch_size: int = 1,
    label_space: str | LabelSpace | None = None,
    precision: Precision = "float32",
    progress: bool = False,
) -> Prediction | Iterator[Prediction]:
    """Segment images of any size and estimate their depth.

    `write_predictions` does the same and writes files. Between two images of many, the model is in its own training
    mode and gradients are on, so that the caller may train.

    Args:
        model: Any module that maps images (N, 3, H, W), RGB in 0..1, to `SegDepthOutput`.
        images: One image: the path of a file, a PIL image, an array (H, W, 3) of 8 bits, a tensor (3, H, W) in 0..1.
            Or many: the path of a folder or a pattern such as ``"photos/*.jpg"``, an array (N, H, W, 3), a tensor
            (N, 3, H, W), a data set, or any iterable of images and paths, such as the frames of a video.
        size: Resize images for the network, to this shorter side or (height, width): a network sees best at the size
            that it was trained at, which ``"auto"`` takes where the model names it (``create_model(image_size=...)``).
            None resizes nothing. Results have the image's own size all the same.
        tile: ``"auto"`` gives the network whole images, unless that takes more than half of the device's memory at
            2 KiB a pixel in float32; then overlapping tiles are blended. (height, width) always cuts, None never.
        scales: Factors on the network's input, whose probabilities are averaged; depth comes from the one nearest to 1.
        flip: Average with the mirrored image.
        batch_size: Consecutive images of one size that go through the network at once.
        label_space: Names and colours of the classes; by default the model's.
        precision: Of the network's forward pass: ``"auto"`` is bfloat16 on GPUs that have it, faster by far there;
            scores, resizing and maps stay float32.
        progress: Show a progress bar.

    Warns:
        RuntimeWarning: Scores of an image are NaN; it is named, and its confidence is NaN there.

    Returns:
        One `Prediction` for one image, an ``Iterator[Prediction]`` for many; each image is read when its turn comes.

    Raises:
        FileNotFoundError: There is no such file or folder.
        TypeError: The input is of another kind, or the model no module.
        ValueError: A folder or pattern without images, an image of another shape, or an argument out of range.
    """
    check_model(model)
    passes = Passes.of_model(model, size, tile, scales, flip, precision)
    space = space_of(model, label_space)
    check_loading(batch_size=batch_size)
    source = open_input(images)
    predictions = predict_source(model, source, passes, space, batch_size=batch_size, progress=progress)
    return next(predictions) if source.single else predictions


def space_of(model: nn.Module, label_space: str | LabelSpace | None) -> LabelSpace | None:
    """The label space asked for, or that of the model, if it has one."""
    known = label_space or getattr(model, "label_space", None)
    return None if known is None else get_label_space(known)


def predict_source(
    model: nn.Module,
    source: Source,
    passes: Passes,
    space: LabelSpace | None,
    *,
    batch_size: int = 1,
    progress: bool = False,
    skip: bool = False,
) -> Iterator[Prediction]:
    """Predict the images of an opened input, batch by batch; with `skip` those that can be read."""
    bar = tqdm(total=source.total, desc="predict", unit="image", disable=not progress or source.single, leave=False)
    first = next(model.parameters(), torch.zeros(()))
    with bar:
        for names, images in _batches(_read_ahead(source.frames, skip), batch_size):
            batch = torch.stack(images).to(first.device)
            batch = batch.to(first.dtype) / 255 if batch.dtype == torch.uint8 else batch.to(first.dtype)
            with evaluating(model):
                output = passes(model, batch)
                results = [
                    _finish(name, image, _of_one(output, index), space)
                    for index, (name, image) in enumerate(zip(names, images, strict=True))
                ]
            for prediction in results:
                if np.isnan(prediction.confidence).any():
                    warn_of_nan(prediction.name, stacklevel=2)
                yield prediction
                bar.update()


def _of_one(output: SegDepthOutput, index: int) -> SegDepthOutput:
    """The output of one image of a batch, as a batch of its own."""
    one, depth = slice(index, index + 1), output.inverse_depth
    return SegDepthOutput(output.logits[one], None if depth is None else depth[one])


def _read_ahead(frames: Iterator[Frame], skip: bool) -> Iterator[tuple[str, Tensor]]:
    """Read images in a thread while the network is busy with those before."""
    waiting: deque[tuple[str, Future[Tensor]]] = deque()

    def arrived() -> Iterator[tuple[str, Tensor]]:
        name, image = waiting.popleft()
        try:
            pixels = image.result()
        except (OSError, ValueError) as error:
            if not skip:
                raise
            warnings.warn(f"left out: {error}", UnreadableImage, stacklevel=2)
        else:
            yield name, pixels

    with ThreadPoolExecutor(1) as reader:
        for frame in frames:
            waiting.append((frame.name, reader.submit(frame.read)))
            if len(waiting) > _READ_AHEAD:
                yield from arrived()
        while waiting:
            yield from arrived()


def _batches(images: Iterator[tuple[str, Tensor]], count: int) -> Iterator[tuple[list[str], list[Tensor]]]:
    """Group consecutive images of one size and type, at most `count` at once."""
    names: list[str] = []
    batch: list[Tensor] = []
    for name, image in images:
        if batch and (image.shape != batch[0].shape or image.dtype != batch[0].dtype):
            yield names, batch
            names, batch = [], []
        names.append(name)
        batch.append(image)
        if len(batch) == count:
            yield names, batch
            names, batch = [], []
    if batch:
        yield names, batch


def _finish(name: str, image: Tensor, output: SegDepthOutput, space: LabelSpace | None) -> Prediction:
    """Bring one image's maps to its size, a few rows at a time: class scores at full size would be large."""
    size, classes = size_of(image), output.logits.shape[1]
    if space is None:
        space = _numbered_space(classes)
    elif len(space) != classes:
        raise ValueError(
            f"the model predicts {classes} classes, but label space {space.name!r} has {len(space)}; pass the label "
            "space that it was trained with"
        )
    label = np.empty(size, np.uint8)
    confidence, entropy = np.empty((2, *size), np.float32)
    depth = None if output.inverse_depth is None else np.empty(size, np.float32)
    for rows, part in row_slices(output, size):
        best, index = part.logits[0].softmax(0).max(0)
        label[rows], confidence[rows] = index.to(torch.uint8).cpu().numpy(), best.cpu().numpy()
        entropy[rows] = normalized_entropy(part.logits)[0].clamp(0, 1).cpu().numpy()
        if depth is not None and part.inverse_depth is not None:
            depth[rows] = to_metres(part.inverse_depth)[0, 0].cpu().numpy()
    pixels = image if image.dtype == torch.uint8 else (255 * image.clamp(0, 1)).round().to(torch.uint8)
    return Prediction(name, label, confidence, entropy, depth, pixels.permute(1, 2, 0).cpu().numpy(), space)


def _numbered_space(classes: int) -> LabelSpace:
    """Numbers as names and evenly spread hues as colours, for a model that does not know its classes."""
    if classes > IGNORE_INDEX:
        raise ValueError(f"8-bit labels hold at most {IGNORE_INDEX} classes, the model predicts {classes}")
    hues = [colorsys.hsv_to_rgb(index / classes, 0.75 - 0.25 * (index % 2), 0.9) for index in range(classes)]
    palette = tuple((round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in hues)
    return LabelSpace("numbered", tuple(map(str, range(classes))), palette)
