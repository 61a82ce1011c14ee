"""Writing a network's confident predictions as pseudo-labels."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from depthaware_uda.data.contract import check_dataset_type, check_loading, check_repeatable, sample_names
from depthaware_uda.data.wrappers import Unlabelled
from depthaware_uda.digests import write_sealed
from depthaware_uda.distributed import barrier, gather, gather_by_index, is_writer
from depthaware_uda.files import atomic_path, flush, sha256
from depthaware_uda.inference import batch_names, check_model, output_batches
from depthaware_uda.labels import IGNORE_INDEX, LabelSpace, get_label_space
from depthaware_uda.models.resize import size_of
from depthaware_uda.precision import Precision, check_precision
from depthaware_uda.pseudo_labels.folder import RECORD_FILE, PseudoLabels, label_path
from depthaware_uda.pseudo_labels.labelling import class_thresholds, confidence_histogram, labels_at
from depthaware_uda.types import SampleDataset

__all__ = ["write_pseudo_labels"]

_PREVIEW_SUFFIX = ".color.png"
_UNFINISHED_FILE = "pseudo_labels.unfinished"
"""Lies in a folder while it is written, and after a kill: what is there may be replaced."""


def write_pseudo_labels(
    model: nn.Module,
    dataset: SampleDataset,
    folder: str | Path,
    *,
    threshold: float = 0.9,
    proportion: float | None = None,
    preview: str | LabelSpace | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    precision: Precision = "float32",
    progress: bool = False,
) -> PseudoLabels:
    """Write the labels of which a model is sure, one 8-bit PNG a sample under its name, and a JSON record.

    The label of ``town/0001.jpg`` is ``town/0001.jpg.png``; `PseudoLabels` opens the folder again. All that
    this function wrote there are removed first, other files never. The record is written last: a folder with one is
    complete. Several processes (`distributed.initialize`) share the images: all of them call this with one folder, each
    writes the labels of its share, and rank 0 the record.

    Args:
        model: Any module that maps images to `SegDepthOutput`.
        dataset: The target images; labels they may have are not looked at.
        folder: Where the files go.
        threshold: Least probability of a label; 0 keeps every pixel.
        proportion: Keep at least this share of every class's pixels, the most confident ones: the threshold of a class
            falls below `threshold` where the network is less sure of it. This takes a second pass over the images.
        preview: Label space whose colours a preview beside every label has (`NAME.color.png`); None writes none.
        batch_size: Images at once, as far as they have one size.
        num_workers: Processes that read samples.
        precision: Of the network's forward pass, as in `evaluate`; probabilities are float32.
        progress: Show a progress bar.

    Raises:
        FileExistsError: A label would replace a file that is not a pseudo-label; nothing was written.
        TypeError: The model is not a module, or the data set gives no samples by index.
        ValueError: threshold or proportion out of 0..1, an empty data set, images that are others each time they are
            read, samples without names, names that share a file, a name that would leave the folder, or more than 255
            classes.
    """
    for argument, value in (("threshold", threshold), ("proportion", 0.0 if proportion is None else proportion)):
        if not 0 <= value <= 1:
            raise ValueError(f"{argument} must lie in 0..1, got {value}")
    check_dataset_type(dataset)
    if len(dataset) == 0:
        raise ValueError("the data set is empty: there is nothing to label")
    check_precision(precision)
    check_model(model)
    check_loading(batch_size=batch_size, num_workers=num_workers)
    folder, dataset = Path(folder), Unlabelled(dataset)
    check_repeatable(dataset)
    loading: dict[str, Any] = {
        "batch_size": batch_size,
        "num_workers": num_workers,
        "precision": precision,
        "progress": "pseudo-labels" if progress else None,
        "shared": True,
    }
    space = None if preview is None else get_label_space(preview)
    _check_free(folder, dataset, previews=space is not None)
    limits: Tensor | None = None
    if proportion is not None:
        limits = class_thresholds(confidence_histogram(model, dataset, loading), proportion, ceiling=threshold)
    if is_writer():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _UNFINISHED_FILE).touch()
        _remove_labels(folder)
    barrier()
    named: dict[int, tuple[str, str]] = {}  # names and digests
    written: set[str] = set()
    counts: Tensor = torch.zeros(256, dtype=torch.int64)
    for batch, output in output_batches(model, dataset, **loading):
        kept = labels_at(output, size_of(batch["image"]), threshold if limits is None else limits).cpu()
        counts += torch.bincount(kept.flatten().long(), minlength=256)
        for index, name, values in zip(batch["index"], batch_names(batch), kept.numpy(), strict=True):
            if name in written:
                raise ValueError(f"two samples share the name {name!r}; names must be unique")
            written.add(name)
            if space is not None:
                _check_preview(name, written)
            path = label_path(folder, name)
            with atomic_path(path) as partial:
                Image.fromarray(values).save(partial)
                named[index] = name, sha256(partial)
            if space is not None:
                with atomic_path(path.with_suffix(_PREVIEW_SUFFIX)) as partial:
                    Image.fromarray(space.colorize(values)).save(partial)
    digests = gather_by_index(named)
    names = [name for name, _ in digests]
    if len(set(names)) != len(names):
        raise ValueError("two samples of the data set share a name; names must be unique")
    if space is not None:
        for name in names:
            _check_preview(name, set(names))
    counts = torch.stack(gather(counts)).sum(0)
    shown = counts[:IGNORE_INDEX].nonzero()
    record = {
        "threshold": threshold,
        "proportion": proportion,
        "class_thresholds": None if limits is None else limits.tolist(),
        "coverage": 1 - int(counts[IGNORE_INDEX]) / int(counts.sum()),
        "pixels_per_class": counts[: int(shown.max()) + 1].tolist() if len(shown) else [],
        "names": names,
        "sha256": dict(digests),
    }
    # The record says that all labels are there: not before they are on the disk, in case of a power cut.
    paths = [label_path(folder, name) for name in written]
    for path in (*paths, *{path.parent for path in paths}):
        flush(path)
    barrier()
    if is_writer():
        write_sealed(folder / RECORD_FILE, record)
        (folder / _UNFINISHED_FILE).unlink(missing_ok=True)
    barrier()
    return PseudoLabels(folder)


def _remove_labels(folder: Path) -> None:
    """Remove what an earlier call wrote: labels of another network or threshold must not lie among the new ones."""
    with suppress(FileNotFoundError, ValueError):  # there are none, or a damaged record names none
        earlier = PseudoLabels(folder)
        for name in earlier.names:
            earlier.path(name).unlink(missing_ok=True)
    (folder / RECORD_FILE).unlink(missing_ok=True)


def _check_free(folder: Path, dataset: SampleDataset, *, previews: bool) -> None:
    """FileExistsError if labels would replace files of a folder that holds no pseudo-labels, such as true labels."""
    if any((folder / file).exists() for file in (RECORD_FILE, _UNFINISHED_FILE)):
        return
    if not folder.exists() or not any(folder.iterdir()):  # names may cost a reading of all images
        return
    for name in filter(None, sample_names(dataset)):
        path = label_path(folder, name)
        for file in (path, *([path.with_suffix(_PREVIEW_SUFFIX)] if previews else [])):
            if file.exists():
                raise FileExistsError(
                    f"{file} is there, and {folder} holds no pseudo-labels that could be replaced; nothing was "
                    "written. Choose another folder"
                )


def _check_preview(name: str, others: set[str]) -> None:
    """ValueError if the preview of one sample would be the label of another."""
    ending = _PREVIEW_SUFFIX.removesuffix(".png")
    for plain in {name, name.removesuffix(ending)}:
        if {plain, f"{plain}{ending}"} <= others:
            raise ValueError(
                f"the preview of {plain!r} and the label of {plain + ending!r} would be one file; rename a sample, "
                "or write no previews"
            )
