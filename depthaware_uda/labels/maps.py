"""Label maps: tables from the ids in label files to class indices, and files to share them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthaware_uda.files import read_json, read_text, write_json
from depthaware_uda.labels.registry import get_label_space, id_map
from depthaware_uda.labels.space import IGNORE_INDEX, LabelSpace
from depthaware_uda.labels.tables import SPACES

__all__ = [
    "LabelMap",
    "UnmappedIdsError",
    "check_label_map",
    "choose_label_map",
    "load_label_map",
    "remap",
    "save_label_map",
]

_IGNORE = "ignore"


class UnmappedIdsError(ValueError):
    """A label holds ids that are not in its map."""


class LabelMap(NamedTuple):
    """The meaning of the ids in label files, as a label map file holds it."""

    ids: dict[int, int]
    """Id in the files (0..65535) to class index; 255 is ignored."""
    label_space: LabelSpace
    """The classes."""


def check_label_map(label_map: Mapping[int, int | str], space: LabelSpace) -> dict[int, int]:
    """Check a map from ids 0..65535 to classes of a space, given by index, 255 or name; return it with indices.

    Raises:
        ValueError: It is anything else, or names an unknown class.
    """
    expected = (
        f"label_map: expected ids 0..65535 to class indices 0..{len(space) - 1} of {space.name!r} or {IGNORE_INDEX}"
    )
    if not isinstance(label_map, Mapping) or not label_map:
        raise ValueError(f"{expected}, got {label_map!r}")
    label_map = {key: _as_class(value, space) if isinstance(value, str) else value for key, value in label_map.items()}
    classes = {*range(len(space)), IGNORE_INDEX}
    wrong = {
        key: value
        for key, value in label_map.items()
        if not (_is_integer(key) and 0 <= key <= 65535 and _is_integer(value) and value in classes)
    }
    if wrong:
        raise ValueError(f"{expected}, got {wrong}")
    return {int(key): int(value) for key, value in label_map.items()}


def _is_integer(number: object) -> bool:
    return isinstance(number, (int, np.integer))


def remap(
    label: NDArray[np.integer], table: Mapping[int, int], *, name: str = "label", unknown: str = "error"
) -> NDArray[np.int64]:
    """Map raw ids to class indices, by one table look-up.

    Args:
        label: Raw ids, 0..65535, any shape.
        table: Raw id to class index.
        name: Name of the label in errors, usually its file.
        unknown: ``"error"`` raises on an id that is not in the table, ``"ignore"`` maps it to 255.

    Raises:
        UnmappedIdsError: An id is not in the table; this ValueError names the ids and the label.
        ValueError: An id is not an integer in 0..65535.
    """
    if unknown not in ("error", "ignore"):
        raise ValueError(f"unknown must be 'error' or 'ignore', got {unknown!r}")
    label = np.asarray(label)
    if label.dtype.kind not in "biu":
        raise ValueError(f"{name}: label ids must be integers, got {label.dtype}")
    wide = label.dtype.kind == "i" or label.dtype.itemsize > 2  # other types cannot exceed the range
    if wide and label.size and not 0 <= label.min() <= label.max() <= 65535:
        raise ValueError(f"{name}: label ids must lie in 0..65535, got {label.min()}..{label.max()}")
    # 16 bits until the end, as a label has millions of pixels.
    lookup = np.full(1 << 16, -1, np.int16)
    lookup[list(table)] = list(table.values())
    classes: NDArray[np.int16] = np.take(lookup, label)
    if classes.size and classes.min() < 0:
        missing = classes < 0
        if unknown == "error":
            ids = np.unique(label[missing]).tolist()
            raise UnmappedIdsError(
                f"{name}: label ids {ids} are not in the id map; add them to `label_map` (255 to ignore), "
                "or pass unknown='ignore'"
            )
        classes[missing] = IGNORE_INDEX
    return classes.astype(np.int64)


def save_label_map(path: str | Path, label_map: Mapping[int, int | str], label_space: str | LabelSpace) -> None:
    """Write a label map as JSON, with class names instead of indices, so that people can read and share it.

    Your own label space is written in full, one of the library by its name.

    Args:
        path: File to write, ``.json``.
        label_map: Maps ids in the label files to class indices or names, 255 or ``"ignore"`` to ignore.
        label_space: The classes.

    Raises:
        ValueError: The map does not fit the space, the space has a class ``"ignore"``, or the file name does not end in
            ``.json``.
    """
    if Path(path).suffix.lower() != ".json":
        raise ValueError(f"{path}: label maps are written as JSON; choose a name that ends in .json")
    space = get_label_space(label_space)
    ids = {
        str(key): _IGNORE if value == IGNORE_INDEX else space.classes[value]
        for key, value in sorted(check_label_map(label_map, space).items())
    }
    _check_ignore(space)
    known = SPACES.get(space.name) == space
    write_json(path, {"label_space": space.name if known else space.to_dict(), "ids": ids})


def load_label_map(path: str | Path) -> LabelMap:
    """Read a label map from JSON, or from TOML on Python 3.11 and newer.

    The file names a label space (or holds one, as `LabelSpace.to_dict` gives it) and maps every id to the name of its
    class, or to ``"ignore"``::

        label_space = "common7"

        [ids]
        0 = "ignore"
        7 = "flat"

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not JSON or TOML, is incomplete, or names an unknown class; file and entry are named.
    """
    record = _read_table(Path(path))
    if not isinstance(record, dict) or not isinstance(record.get("ids"), dict) or "label_space" not in record:
        raise ValueError(f"{path}: expected a table with 'label_space' and 'ids', such as {{'7': 'flat'}}")
    try:
        space = get_label_space(record["label_space"])
        ids = {_as_id(key): _as_class(value, space) for key, value in record["ids"].items()}
        return LabelMap(check_label_map(ids, space), space)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from None


def choose_label_map(
    label_space: str | LabelSpace | None,
    label_map: Mapping[int, int | str] | str | Path | None,
    *,
    dataset: str | None = None,
) -> LabelMap:
    """Resolve what a user gives, a label space, a label map (or its file) or both, to a `LabelMap`.

    Args:
        label_space: The classes; may be None if the file of a map names them.
        label_map: Maps ids to class indices or names; a mapping or a file. None takes the data set's own map, or
            without `dataset` the ids as class indices.
        dataset: A data set whose ids `id_map` knows.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: There is no map, the map does not fit the space, or no space is given.
    """
    space = None if label_space is None else get_label_space(label_space)
    if isinstance(label_map, (str, Path)):
        loaded = load_label_map(label_map)
        if space is not None and space != loaded.label_space:
            raise ValueError(
                f"{label_map}: maps to label space {loaded.label_space.name!r}, but {space.name!r} was requested"
            )
        return loaded
    if space is None:
        raise ValueError("label_space: name the classes, such as label_space='common7' or a LabelSpace of your own")
    if label_map is not None:
        return LabelMap(check_label_map(label_map, space), space)
    if dataset is not None:
        return LabelMap(id_map(dataset, space), space)
    return LabelMap({index: index for index in (*range(len(space)), IGNORE_INDEX)}, space)


def _read_table(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such label map file")
    if path.suffix.lower() == ".json":
        return read_json(path)
    if path.suffix.lower() != ".toml":
        raise ValueError(f"{path}: expected a label map in a .json or .toml file")
    if sys.version_info < (3, 11):
        raise ValueError(f"{path}: reading TOML needs Python 3.11 or newer; write the label map as JSON")
    import tomllib

    try:
        return tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a TOML file ({error})") from None


def _as_id(key: str) -> int:
    if not key.isascii() or not key.isdigit():
        raise ValueError(f"ids: expected whole numbers from 0 to 65535, got {key!r}")
    return int(key)


def _as_class(value: object, space: LabelSpace) -> int:
    if not isinstance(value, str):
        raise ValueError(f"ids: expected names of classes or {_IGNORE!r}, got {value!r}")
    if value != _IGNORE:
        return space.index(value)
    _check_ignore(space)
    return IGNORE_INDEX


def _check_ignore(space: LabelSpace) -> None:
    if _IGNORE in space.classes:
        raise ValueError(
            f"label space {space.name!r} has a class {_IGNORE!r}, which label maps use for ignored ids; "
            "rename the class"
        )
