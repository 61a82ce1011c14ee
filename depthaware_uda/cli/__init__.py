"""The command line: predict, evaluate, check and list, each a thin layer over the function of that name."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from depthaware_uda.cli.arguments import DEFAULT_MODEL, parser
from depthaware_uda.cli.commands import predict_images

__all__ = ["DEFAULT_MODEL", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Command-line arguments; by default those of the process.

    Returns:
        0 on success, 1 if `check` found an error or photographs were skipped, 2 if the input is wrong (the error is
        printed), 130 if interrupted.
    """
    args = parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = "; the same command continues with what is missing" if args.run is predict_images else ""
        print(f"interrupted{goes_on}", file=sys.stderr)
        return 130
