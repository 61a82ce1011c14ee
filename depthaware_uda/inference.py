"""Running a model over a data set: one loop that evaluation, ranking and pseudo-labelling share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader
from tqdm import tqdm

from depthaware_uda.data.collate import collate
from depthaware_uda.distributed import is_writer, rank, world_size
from depthaware_uda.models.resize import resize_output
from depthaware_uda.types import Batch, SampleDataset, SegDepthOutput

__all__ = [
    "batch_names",
    "evaluating",
    "image_batches",
    "output_batches",
    "output_of",
    "predict_batches",
]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode without gradients; every module's own mode is back afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def batch_names(batch: Batch) -> list[str]:
    """Names of the samples of a batch; ValueError if they have none, where names are what results are kept by."""
    if "name" not in batch:
        raise ValueError("samples have no name; give every sample its path below the data root as 'name'")
    return batch["name"]


def output_of(model: nn.Module, image: Tensor) -> SegDepthOutput:
    """What a model gives for a batch of images; TypeError if it is no `SegDepthOutput`."""
    output: SegDepthOutput = model(image)
    if not isinstance(getattr(output, "logits", None), Tensor):
        raise TypeError(
            f"{type(model).__name__} returned {type(output).__name__}, expected SegDepthOutput(logits, inverse_depth); "
            "wrap the network in a module that returns one, with None as inverse_depth if it has no depth"
        )
    return output


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

    With `shared`, processes take the batches in turn (`distributed.gather_in_turn` puts results into order again).

    Raises:
        ValueError: The data set is empty.
    """
    if len(dataset) == 0:
        raise ValueError("the data set is empty: there is nothing to predict")
    # A network without weights takes what it is given on the CPU.
    first = next(model.parameters(), torch.zeros(()))
    batches = list(BatchSampler(range(len(dataset)), batch_size, drop_last=False))
    loader: DataLoader[Batch] = DataLoader(
        dataset,  # type: ignore[arg-type]  # a map-style data set by protocol, not by inheritance
        # The batches themselves are those of one process, so that each image's result is the same to the bit.
        batch_sampler=batches[rank() :: world_size()] if shared else batches,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=first.device.type == "cuda",
        generator=torch.Generator(),  # looking at data does not move the caller's random numbers
    )
    for batch in tqdm(loader, desc=progress, disable=progress is None or not is_writer(), leave=False):
        if not batch["image"].is_floating_point():
            raise ValueError(
                f"images of the data set are {batch['image'].dtype}, expected RGB in 0..1 in floating point; "
                "divide 8 bits by 255"
            )
        yield batch, batch["image"].to(first.device, first.dtype, non_blocking=True)


def predict_batches(
    model: nn.Module,
    dataset: SampleDataset,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    progress: str | None = None,
    shared: bool = False,
) -> Iterator[tuple[Batch, SegDepthOutput]]:
    """Yield each batch with the model's output, both maps at the image's size, on the model's device.

    Args:
        model: Any module that maps images to `SegDepthOutput`.
        dataset: The samples, in order.
        batch_size: Images at once; more than 1 needs images of one size.
        num_workers: Processes that read samples.
        progress: Text of a progress bar; None shows none.
        shared: Processes take the batches in turn.

    Raises:
        ValueError: The data set is empty.
    """
    outputs = output_batches(
        model, dataset, batch_size=batch_size, num_workers=num_workers, progress=progress, shared=shared
    )
    for batch, output in outputs:
        yield batch, resize_output(output, batch["image"].shape[-2:])


def output_batches(
    model: nn.Module,
    dataset: SampleDataset,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    progress: str | None = None,
    shared: bool = False,
) -> Iterator[tuple[Batch, SegDepthOutput]]:
    """`predict_batches` with both maps as the model gives them, at its own stride."""
    batches = image_batches(
        model, dataset, batch_size=batch_size, num_workers=num_workers, progress=progress, shared=shared
    )
    with evaluating(model):
        for batch, image in batches:
            yield batch, output_of(model, image)
