"""The arguments of the command line."""

from __future__ import annotations

import argparse
from typing import Any, get_args

import torch

from depthaware_uda.cli import commands
from depthaware_uda.cli.commands import OWN_FOLDERS
from depthaware_uda.depth import DEPTH_ENCODINGS
from depthaware_uda.version import __version__

__all__ = ["DEFAULT_MODEL", "parser"]

DEFAULT_MODEL = "daf-ida-minicity"
"""The weights inside the package."""
_FILES = ["labels", "overlays", "depth", "depth_pictures"]


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; `run` of its result is the function of `cli.commands` to call."""
    from depthaware_uda.prediction import FileKind

    main = argparse.ArgumentParser(prog="python -m depthaware_uda", description="Depth-aware segmentation.")
    main.add_argument("--version", action="version", version=f"depthaware_uda {__version__}, torch {torch.__version__}")
    subparsers = main.add_subparsers(required=True, metavar="command")

    command = _command(subparsers, "predict", commands.predict_images, "segment photographs and estimate their depth")
    command.add_argument("images", nargs="+", help="files, or a folder, or a quoted pattern such as 'photos/**/*.jpg'")
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
    command.add_argument("--overwrite", action="store_true", help="predict again what exists")
    command.add_argument("--skip-unreadable", action="store_true", help="skip images that cannot be read, and warn")

    command = _command(subparsers, "evaluate", commands.evaluate_model, "measure a model on labelled images")
    _add_dataset(command)
    _add_model(command)
    command.add_argument("-o", "--output", help="JSON file for the result")

    command = _command(subparsers, "check", commands.check_data, "look for what is wrong with a data set")
    _add_dataset(command)
    command.add_argument("-o", "--output", help="JSON file for the report")
    command.add_argument("--picture", help="PNG file for a page of samples")

    command = _command(subparsers, "list", commands.list_weights, "list the weights that have a name")
    command.add_argument("pattern", nargs="?", default="*", help="such as 'daf-*'")
    return main


def _command(subparsers: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = subparsers.add_parser(name, help=text, description=text.capitalize() + ".")
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
        "--dataset", default=OWN_FOLDERS, help="camvid, cityscapes, mapillary or synthia; default: your own folders"
    )
    command.add_argument("--labels", help="folder of label images, for folders of your own")
    command.add_argument("--depth", help="folder of depth images, for folders of your own")
    command.add_argument("--classes", help="label space, such as common7; default: that of the model or data set")
    command.add_argument("--label-map", metavar="FILE", help="what the ids in label images mean, .json or .toml")
    command.add_argument("--unknown", choices=("error", "ignore"), default="error", help="ids not in the label map")
    encodings = "what numbers in depth images of your own mean; default: centimetres"
    command.add_argument("--depth-encoding", choices=sorted(DEPTH_ENCODINGS), help=encodings)
    command.add_argument("--split", help="of a data set by name, such as val")
    command.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="resize while reading",
    )
    command.add_argument("--workers", type=int, default=0, help="processes that read")
