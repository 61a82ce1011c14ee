"""The commands, each a thin layer over a function of the library that is imported when the command runs."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depthaware_uda.models.input_size import InputSize
    from depthaware_uda.types import SampleDataset

__all__ = ["OWN_FOLDERS", "check_data", "evaluate_model", "list_weights", "predict_images"]

OWN_FOLDERS = "folders"
"""Value of `--dataset` for data in the user's own folders."""
_DATA_SETS = {
    **{"camvid": "CamVid", "cityscapes": "Cityscapes", "synthia": "Synthia"},
    **{"mapillary": "MapillaryVistas", "mapillaryvistas": "MapillaryVistas"},
}
"""Names of data sets on the command line, and their classes in `depthaware_uda.data`."""


def predict_images(args: argparse.Namespace) -> int:
    """Segment photographs (files, a folder or a pattern) and write the results to files."""
    from depthaware_uda.hub import load_pretrained
    from depthaware_uda.prediction import UnreadableImage, predict, write_predictions

    if len(args.images) > 1 and (others := [path for path in args.images if not Path(path).is_file()]):
        raise ValueError(f"{others[0]}: no such file; several inputs must all be files, a folder is given alone")
    model = load_pretrained(args.model, device=args.device)
    size = _pixels("--size", args.size)
    options: dict[str, Any] = {
        "size": size[0] if isinstance(size, tuple) and len(size) == 1 else size,
        "tile": _pixels("--tile", args.tile),
        "scales": args.scales,
        "flip": args.flip,
        "precision": args.precision,
    }
    if len(args.images) == 1 and Path(args.images[0]).is_file():
        found = predict(model, args.images[0], batch_size=args.batch_size, **options)
        print(", ".join(f"{name} {100 * share:.0f} %" for name, share in found.shares().items()))
        for path in found.save(args.output, args.files):
            print(path)
        return 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UnreadableImage)
        warnings.simplefilter("always", RuntimeWarning)
        names = write_predictions(
            model,
            args.images[0] if len(args.images) == 1 else args.images,
            args.output,
            files=args.files,
            batch_size=args.batch_size,
            overwrite=args.overwrite,
            on_error="skip" if args.skip_unreadable else "raise",
            progress=True,
            **options,
        )
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    print(f"{len(names)} images in {args.output}")
    return 1 if any(issubclass(warning.category, UnreadableImage) for warning in caught) else 0


def _pixels(option: str, words: Sequence[str]) -> str | tuple[int, ...] | None:
    """The value of --size or --tile: "auto", None, or numbers."""
    if list(words) == ["auto"]:
        return "auto"
    if list(words) == ["none"]:
        return None
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"{option} must be auto, none or numbers of pixels, got {' '.join(words)}")
    return tuple(int(word) for word in words)


def evaluate_model(args: argparse.Namespace) -> int:
    """Measure a model on labelled images, and print the table."""
    from depthaware_uda.evaluation import evaluate
    from depthaware_uda.hub import load_pretrained

    model = load_pretrained(args.model, device=args.device)
    args.classes = args.classes or model.label_space
    # Labels are compared at their own size; with --size, images are already read at the size for the network.
    size: InputSize = "auto" if args.size is None else None
    result = evaluate(
        model,
        _dataset(args),
        size=size,
        batch_size=args.batch_size,
        num_workers=args.workers,
        precision=args.precision,
        progress=True,
    )
    print(result.table())
    if result.image_size is not None:
        print("the network saw images of {} x {}".format(*result.image_size))
    if args.output:
        result.save(args.output)
    return 0


def check_data(args: argparse.Namespace) -> int:
    """Print what is wrong with a data set; returns 1 if there is an error."""
    from depthaware_uda.data import check_dataset

    report = check_dataset(_dataset(args), num_workers=args.workers)
    print(report.table())
    if args.output:
        report.save(args.output)
    if args.picture:
        report.draw(args.picture)
    return 0 if report.ok else 1


def list_weights(args: argparse.Namespace) -> int:
    """Print the weights that have a name."""
    from depthaware_uda.hub import list_pretrained

    records = list_pretrained(args.pattern)
    if not records:
        print(f"no name matches {args.pattern!r}", file=sys.stderr)
    width = max((len(record.name) for record in records), default=0)
    for record in records:
        where = (
            "in the package"
            if record.packaged
            else "on the hub"
            if record.published
            else "not published yet; mIoU of the paper"
        )
        print(f"{record.name:<{width}}  {record.label_space:<13}  mIoU {100 * record.miou:.1f}  {where}")
    return 0


def _dataset(args: argparse.Namespace) -> SampleDataset:
    """The data set that the arguments name: a class of `depthaware_uda.data`, or the user's own folders."""
    import depthaware_uda.data as data

    options: dict[str, Any] = {"unknown": args.unknown}
    if args.size is not None:
        options["size"] = tuple(args.size)
    if args.dataset == OWN_FOLDERS:
        if args.split is not None:
            raise ValueError("--split chooses a split of a data set named by --dataset; folders of your own have none")
        space = args.classes
        if space is None and args.label_map is None:
            if args.labels is not None:
                raise ValueError("--classes is missing: the label space of the label images, such as common7")
            space = "common7"  # which does not matter without labels
        if args.depth_encoding is not None:
            options["depth_encoding"] = args.depth_encoding
        own: SampleDataset = data.SegmentationFolder(
            args.root, args.labels, args.depth, label_space=space, label_map=args.label_map, **options
        )
        return own
    name = _DATA_SETS.get(args.dataset.lower())
    if name is None:
        raise ValueError(f"--dataset must be {OWN_FOLDERS} or one of {sorted(_DATA_SETS)}, got {args.dataset!r}")
    if args.label_map is not None:
        options["label_map"] = args.label_map
    if any(argument is not None for argument in (args.labels, args.depth, args.depth_encoding)):
        raise ValueError(
            f"--labels, --depth and --depth-encoding are for images of your own; {name} finds its files below "
            f"{args.root}, and its classes are chosen with --classes"
        )
    if args.classes is not None:
        options["labels"] = args.classes
    if args.split is not None:
        options["split"] = args.split
    named: SampleDataset = getattr(data, name)(args.root, **options)
    return named
