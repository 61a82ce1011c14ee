"""Running a model over a data set: one loop that evaluation, ranking and pseudo-labelling share."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset
from tqdm import tqdm

from depthaware_uda.data.collate import check_pixels, check_tensor, collate
from depthaware_uda.data.contract import check_dataset_type, check_loading, check_sample_type
from depthaware_uda.distributed import is_writer, rank, world_size
from depthaware_uda.losses import at_least_float32
from depthaware_uda.models.resize import finite_scores, resize_output
from depthaware_uda.precision import Precision, autocast, check_precision
from depthaware_uda.types import Batch, Sample, SampleDataset, SegDepthOutput

__all__ = [
    "batch_names",
    "check_model",
    "evaluating",
    "ignore_interrupts",
    "image_batches",
    "output_batches",
    "output_of",
    "predict_batches",
    "warn_of_nan",
]


def check_model(model: object) -> None:
    """Raise a TypeError for anything but a module, such as the name of a network."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module, got {type(model).__name__}; create_model or load_pretrained makes one "
            "from a name"
        )


def warn_of_nan(where: str, *, stacklevel: int) -> None:
    """Warn of class scores that are NaN, of which the first class is taken; `where` names the images."""
    warnings.warn(
        f"the network's scores are NaN in {where}, and count as class 0 there: its weights or image are NaN, or half "
        "precision overflowed",
        RuntimeWarning,
        stacklevel=stacklevel + 1,
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode without gradients; every module's own mode is back afterwards."""
    check_model(model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def batch_names(batch: Batch) -> list[str]:
    """Names of the samples of a batch, which results are kept by; ValueError if one is missing or not a string."""
    if "name" not in batch:
        raise ValueError("samples have no name; give every sample its path below the data root as 'name'")
    for name in batch["name"]:
        if not isinstance(name, str):
            raise ValueError(f"the name of a sample is {name!r}, expected a text: its path below the data root")
    return batch["name"]


def output_of(model: nn.Module, image: Tensor, precision: Precision = "float32") -> SegDepthOutput:
    """What a model gives for a batch of images, in float32 at least, and without minus infinity.

    Raises:
        TypeError: It is not a `SegDepthOutput`.
        ValueError: Its maps have other shapes than `SegDepthOutput` says.
    """
    # Not `autocast("float32")`: a caller's own autocast stays as it is.
    with nullcontext() if precision == "float32" else autocast(image.device, precision):
        output: SegDepthOutput = model(image)
    if not isinstance(output, SegDepthOutput):
        raise TypeError(
            f"{type(model).__name__} returned {type(output).__name__}, expected SegDepthOutput(logits, inverse_depth); "
            "wrap the network in a module that returns one, with None as inverse_depth if it has no depth"
        )
    depth = output.inverse_depth
    if output.logits.ndim != 4 or len(output.logits) != len(image) or not output.logits.is_floating_point():
        raise ValueError(
            f"{type(model).__name__} gave logits of {output.logits.dtype} {tuple(output.logits.shape)} for "
            f"a batch of {len(image)}, expected class scores (N, C, h, w) in floating point"
        )
    if depth is not None and (depth.ndim != 4 or depth.shape[:2] != (len(image), 1)):
        raise ValueError(
            f"{type(model).__name__} gave inverse depth {tuple(depth.shape)} for a batch of {len(image)}, expected "
            "(N, 1, h, w)"
        )
    return SegDepthOutput(finite_scores(output.logits), None if depth is None else at_least_float32(depth))


def ignore_interrupts(worker: int) -> None:
    """Ignore Ctrl-C, which a terminal sends to processes that read samples too: their parent decides when they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Indexed(Dataset[tuple[int, Sample]]):
    """Samples with their place in the data set."""

    def __init__(self, dataset: SampleDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[int, Sample]:
        sample = self.dataset[index]
        check_sample_type(sample, f"sample {index} of the data set")
        return index, sample


def _by_size(items: Sequence[tuple[int, Sample]]) -> list[Batch]:
    """A batch of each size among some samples, with their places in `index`."""
    groups: dict[tuple[object, ...], list[tuple[int, Sample]]] = {}
    for index, sample in items:
        shapes = ((key, value.shape) for key, value in sample.items() if isinstance(value, Tensor))
        groups.setdefault(tuple(shapes), []).append((index, sample))
    return [_collated(group) for group in groups.values()]


def _collated(items: Sequence[tuple[int, Sample]]) -> Batch:
    index, samples = [index for index, _ in items], [sample for _, sample in items]
    if len(samples) > 1:
        return Batch(**collate(samples), index=index)
    # Label and depth of a single sample are never written to, so that, unlike the image, they need no copy.
    sample = samples[0].copy()
    for key in ("label", "depth"):
        if key in sample:
            check_tensor(sample[key], key, repr(sample.get("name", "a sample without a name")))
    label, depth = sample.pop("label", None), sample.pop("depth", None)
    batch = Batch(**collate([sample]), index=index)
    if label is not None:
        batch["label"] = label.as_subclass(Tensor)[None]
    if depth is not None:
        batch["depth"] = depth.as_subclass(Tensor)[None]
    return batch


def image_batches(
    model: nn.Module,
    dataset: SampleDataset,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    progress: str | None = None,
    shared: bool = False,
) -> Iterator[tuple[Batch, Tensor]]:
    """Yield each batch of a data set, in order, with its images on the device and in the precision of a model.

    Images of several sizes in a batch come as one batch a size; `index` of a batch says where they are in the data set.
    With `shared`, processes take the batches in turn (`distributed.gather_by_index` puts results into order again).

    Raises:
        TypeError: The data set gives no samples by index.
        ValueError: The data set is empty, an argument is out of range, or images are not RGB in 0..1 in floating point.
    """
    check_loading(batch_size=batch_size, num_workers=num_workers)
    check_dataset_type(dataset)
    if len(dataset) == 0:
        raise ValueError("the data set is empty: there is nothing to predict")
    # A network without weights takes what it is given on the CPU.
    first = next(model.parameters(), torch.zeros(()))
    batches = list(BatchSampler(range(len(dataset)), batch_size, drop_last=False))
    loader: DataLoader[list[Batch]] = DataLoader(
        _Indexed(dataset),  # type: ignore[arg-type]  # yields lists of batches
        # The batches themselves are those of one process, so that each image's result is the same to the bit.
        batch_sampler=batches[rank() :: world_size()] if shared else batches,
        num_workers=num_workers,
        collate_fn=_by_size,
        pin_memory=first.device.type == "cuda",
        worker_init_fn=ignore_interrupts,
        generator=torch.Generator(),  # looking at data does not move the caller's random numbers
    )
    for groups in tqdm(loader, desc=progress, disable=progress is None or not is_writer(), leave=False):
        for batch in groups:
            if not batch["image"].is_floating_point():
                raise ValueError(
                    f"images of the data set are {batch['image'].dtype}, expected RGB in 0..1 in floating point; "
                    "divide 8 bits by 255"
                )
            if 0 in batch["index"]:
                check_pixels(batch["image"][:1], "the first image of the data set")
            yield batch, batch["image"].to(first.device, first.dtype, non_blocking=True)


def predict_batches(
    model: nn.Module,
    dataset: SampleDataset,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    precision: Precision = "float32",
    progress: str | None = None,
    shared: bool = False,
) -> Iterator[tuple[Batch, SegDepthOutput]]:
    """Yield each batch with the model's output, both maps at the image's size, on the model's device.

    Args:
        model: Any module that maps images to `SegDepthOutput`.
        dataset: The samples, in order.
        batch_size: Images at once, as far as they have one size: a batch of several is divided (see `Batch.index`).
        num_workers: Processes that read samples.
        precision: Of the forward pass; the maps are float32 at least.
        progress: Text of a progress bar; None shows none.
        shared: Processes take the batches in turn.

    Raises:
        ValueError: The data set is empty.
    """
    outputs = output_batches(
        model,
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        precision=precision,
        progress=progress,
        shared=shared,
    )
    for batch, output in outputs:
        yield batch, resize_output(output, batch["image"].shape[-2:])


def output_batches(
    model: nn.Module,
    dataset: SampleDataset,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    precision: Precision = "float32",
    progress: str | None = None,
    shared: bool = False,
) -> Iterator[tuple[Batch, SegDepthOutput]]:
    """`predict_batches` with both maps as the model gives them, at its own stride."""
    check_precision(precision)
    check_model(model)
    batches = image_batches(
        model, dataset, batch_size=batch_size, num_workers=num_workers, progress=progress, shared=shared
    )
    for batch, image in batches:
        with evaluating(model):  # not around `yield`: whoever takes a batch may train before the next
            output = output_of(model, image, precision)
        yield batch, output
