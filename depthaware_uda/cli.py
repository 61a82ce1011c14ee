"""The command line: predict, evaluate, check and list, each a thin layer over the function of that name."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from depthaware_uda.models.input_size import InputSize
    from depthaware_uda.types import SampleDataset

__all__ = ["main"]

DEFAULT_MODEL = "daf-ida-minicity"
"""The weights inside the package."""
_FILES = ["labels", "overlays", "depth", "depth_pictures"]
_OWN_FOLDERS = "folders"
_DATA_SETS = {
    **{"camvid": "CamVid", "cityscapes": "Cityscapes", "synthia": "Synthia"},
    **{"mapillary": "MapillaryVistas", "mapillaryvistas": "MapillaryVistas"},
}
"""Names of data sets on the command line, and their classes in `depthaware_uda.data`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Those of the command line, by default of the process.

    Returns:
        0 if it worked, 1 if `check` found an error or photographs were left out, 2 if the input is wrong (the error is
        printed), 130 if it was interrupted.
    """
    args = _parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = "; the same command goes on with what is missing" if args.run is _predict else ""
        print(f"interrupted{goes_on}", file=sys.stderr)
        return 130


def _predict(args: argparse.Namespace) -> int:
    from depthaware_uda.hub import load_pretrained
    from depthaware_uda.prediction import UnreadableImage, predict, write_predictions

    if len(args.images) > 1:
        raise ValueError(
            f"one file, folder or pattern is expected, got {len(args.images)}; a pattern has to be quoted, such as "
            "'photos/*.jpg', or the shell takes it apart"
        )
    (images,) = args.images
    model = load_pretrained(args.model, device=args.device)
    size = _pixels("--size", args.size)
    options: dict[str, Any] = {
        "size": size[0] if isinstance(size, tuple) and len(size) == 1 else size,
        "tile": _pixels("--tile", args.tile),
        "scales": args.scales,
        "flip": args.flip,
        "precision": args.precision,
    }
    if Path(images).is_file():
        found = predict(model, images, batch_size=args.batch_size, **options)
        print(", ".join(f"{name} {100 * share:.0f} %" for name, share in found.shares().items()))
        for path in found.save(args.output, args.files):
            print(path)
        return 0
    with warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always", UnreadableImage)
        names = write_predictions(
            model,
            images,
            args.output,
            files=args.files,
            batch_size=args.batch_size,
            overwrite=args.overwrite,
            on_error="skip" if args.skip_unreadable else "raise",
            progress=True,
            **options,
        )
    for warning in left_out:
        print(f"warning: {warning.message}", file=sys.stderr)
    print(f"{len(names)} images in {args.output}")
    return 1 if any(issubclass(warning.category, UnreadableImage) for warning in left_out) else 0


def _pixels(option: str, words: Sequence[str]) -> str | tuple[int, ...] | None:
    """The value of --size or --tile: "auto", None, or numbers."""
    if list(words) == ["auto"]:
        return "auto"
    if list(words) == ["none"]:
        return None
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"{option} must be auto, none or numbers of pixels, got {' '.join(words)}")
    return tuple(int(word) for word in words)


def _evaluate(args: argparse.Namespace) -> int:
    from depthaware_uda.evaluation import evaluate
    from depthaware_uda.hub import load_pretrained

    model = load_pretrained(args.model, device=args.device)
    args.classes = args.classes or model.label_space
    # Labels are compared at their own size; with --size, images are read as the network is to see them.
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


def _check(args: argparse.Namespace) -> int:
    from depthaware_uda.data import check_dataset

    report = check_dataset(_dataset(args), workers=args.workers)
    print(report.table())
    if args.output:
        report.save(args.output)
    if args.picture:
        report.draw(args.picture)
    return 0 if report.ok else 1


def _list(args: argparse.Namespace) -> int:
    from depthaware_uda.hub import list_pretrained

    records = list_pretrained(args.pattern)
    if not records:
        print(f"no name matches {args.pattern!r}", file=sys.stderr)
    width = max((len(record.name) for record in records), default=0)
    for record in records:
        where = "in the package" if record.packaged else "on the hub" if record.published else "not published yet"
        print(f"{record.name:<{width}}  {record.label_space:<13}  mIoU {100 * record.miou:.1f}  {where}")
    return 0


def _dataset(args: argparse.Namespace) -> SampleDataset:
    """The data set that the arguments name: a class of `depthaware_uda.data`, or folders of one's own."""
    import depthaware_uda.data as data

    options: dict[str, Any] = {} if args.size is None else {"size": tuple(args.size)}
    if args.dataset == _OWN_FOLDERS:
        if args.split is not None:
            raise ValueError("--split chooses a part of a data set that --dataset names; folders of your own have none")
        space = args.classes
        if space is None and args.label_map is None:
            if args.labels is not None:
                raise ValueError("--classes is missing: the label space of the label images, such as common7")
            space = "common7"  # which says nothing where there are no labels
        own: SampleDataset = data.SegmentationFolder(
            args.root, args.labels, args.depth, label_space=space, label_map=args.label_map, **options
        )
        return own
    name = _DATA_SETS.get(args.dataset.lower())
    if name is None:
        raise ValueError(f"--dataset must be {_OWN_FOLDERS} or one of {sorted(_DATA_SETS)}, got {args.dataset!r}")
    if args.label_map is not None:
        options["label_map"] = args.label_map
    if args.labels is not None or args.depth is not None:
        raise ValueError(
            f"--labels and --depth are folders that go with images of your own; {name} finds its files below "
            f"{args.root}, and its classes are chosen with --classes"
        )
    if args.classes is not None:
        options["labels"] = args.classes
    if args.split is not None:
        options["split"] = args.split
    named: SampleDataset = getattr(data, name)(args.root, **options)
    return named


def _parser() -> argparse.ArgumentParser:
    from depthaware_uda.prediction import FileKind

    parser = argparse.ArgumentParser(prog="python -m depthaware_uda", description="Depth-aware segmentation.")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = _command(commands, "predict", _predict, "segment photographs and estimate their depth")
    command.add_argument("images", nargs="+", help="a file, a folder or a quoted pattern such as 'photos/*.jpg'")
    command.add_argument("-o", "--output", default="predictions", help="folder of the results; default: predictions")
    _add_model(command)
    command.add_argument("--files", nargs="+", choices=get_args(FileKind), default=_FILES)
    command.add_argument(
        "--size",
        nargs="+",
        default=["auto"],
        metavar="PIXELS",
        help="resize to this shorter side, or height and width; auto: the size that the model was trained at; none",
    )
    command.add_argument("--tile", nargs="+", default=["auto"], help="auto, none, or height and width")
    command.add_argument("--scales", type=float, nargs="+", default=[1.0], help="average over these scales")
    command.add_argument("--flip", action="store_true", help="average with the mirrored image")
    command.add_argument("--overwrite", action="store_true", help="predict again what is there")
    command.add_argument("--skip-unreadable", action="store_true", help="name images that cannot be read, and go on")

    command = _command(commands, "evaluate", _evaluate, "measure a model on labelled images")
    _add_dataset(command)
    _add_model(command)
    command.add_argument("-o", "--output", help="JSON file for the result")

    command = _command(commands, "check", _check, "look for what is wrong with a data set")
    _add_dataset(command)
    command.add_argument("-o", "--output", help="JSON file for the report")
    command.add_argument("--picture", help="PNG file for a page of samples")

    command = _command(commands, "list", _list, "list the weights that have a name")
    command.add_argument("pattern", nargs="?", default="*", help="such as 'daf-*'")
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    command.set_defaults(run=run)
    return command


def _add_model(command: argparse.ArgumentParser) -> None:
    from depthaware_uda.precision import Precision

    command.add_argument("--model", default=DEFAULT_MODEL, help=f"name or folder of weights; default: {DEFAULT_MODEL}")
    command.add_argument("--device", default="cpu", help="such as cuda; default: cpu")
    command.add_argument("--batch-size", type=int, default=1)
    command.add_argument("--precision", choices=get_args(Precision), default="float32", help="auto: half on a GPU")


def _add_dataset(command: argparse.ArgumentParser) -> None:
    command.add_argument("root", help="folder of the data set, or of the images")
    command.add_argument(
        "--dataset", default=_OWN_FOLDERS, help="camvid, cityscapes, mapillary or synthia; default: your own folders"
    )
    command.add_argument("--labels", help="folder of label images, for folders of your own")
    command.add_argument("--depth", help="folder of depth images, for folders of your own")
    command.add_argument("--classes", help="label space, such as common7; default: that of the model or data set")
    command.add_argument("--label-map", metavar="FILE", help="what the ids in label images mean, .json or .toml")
    command.add_argument("--split", help="of a data set by name, such as val")
    command.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="resize while reading",
    )
    command.add_argument("--workers", type=int, default=0, help="processes that read")
