"""Imports go one way: trainers import the rooms, the rooms import the base, never the reverse."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "depthaware_uda"

BASE = {"types", "labels", "depth", "digests", "files", "tables", "tensors", "paint", "version", "distributed"}
BASE |= {"precision"}
ROOMS = {"data", "losses", "metrics", "models", "inference"}
STAGES = {"evaluation", "pseudo_labels", "ranking"}
ALLOWED = {
    **dict.fromkeys(BASE, frozenset()),
    "labels": {"files"},
    "digests": {"files"},
    "paint": {"labels"},
    **dict.fromkeys(("data", "losses", "metrics"), BASE),
    "models": BASE | {"losses"},
    "inference": BASE | {"data", "losses", "models"},
    "protocols": BASE | {"data"},
    "viz": BASE | ROOMS | STAGES,
    # The command line is above everything.
    **dict.fromkeys(("__main__", "cli"), BASE | ROOMS | STAGES | {"cli", "hub", "prediction"}),
    "report": BASE | ROOMS | STAGES | {"label_free", "trainers", "viz"},
    "export": BASE | {"inference", "models"},
    "prediction": BASE | ROOMS | {"viz"},
    **dict.fromkeys(STAGES, BASE | ROOMS),
    "results": BASE | {"metrics", "protocols"},
    "evaluation": BASE | ROOMS | {"protocols", "results"},
    "label_free": BASE | ROOMS,
    "self_training": BASE | {"data", "losses"},
    "trainers": BASE | ROOMS | STAGES | {"label_free", "self_training"},
    "pipeline": BASE | ROOMS | STAGES | {"protocols", "trainers"},
    "hub": BASE | {"models"},
}
# Modules of data sets and networks that the rooms above may use: only what all share, never a concrete one.
SHARED = {
    "data": {"collate", "contract", "images", "masks", "wrappers"},
    "models": {"argmax", "checkpointing", "discriminator", "fusion", "input_size", "pretrained", "resize", "slices"},
}
ABSTRACT = {"inference", *STAGES, "trainers"}

# Inside the trainers: what each of their rooms may use of `trainers`.
TRAINERS = {"step": {"config", "step"}, "run": {"callbacks", "config", "run", "step"}}

# Methods that users expect on a model; they import the room above only when called.
DOORS = {"models/pretrained.py": {"hub"}}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path, part: ast.AST | None = None, *, root: str = PACKAGE.name) -> set[tuple[str, ...]]:
    """Modules of this package that a file or part of it imports, without the package's name."""
    found = set()
    for node in ast.walk(part or tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [".".join([*_package(path, node.level), *filter(None, [node.module])])]
        else:
            continue
        found |= {tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == root}
    return found


def _package(path: Path, level: int) -> list[str]:
    """The package that the dots of a relative import denote; empty without dots."""
    if level == 0:
        return []
    parts = path.relative_to(PACKAGE.parent).parts
    return list(parts[: len(parts) - level])


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    here = room(path)
    assert here in ALLOWED, f"{here} is not in the table of rooms"
    allowed = ALLOWED[here] | {here} | DOORS.get(path.relative_to(PACKAGE).as_posix(), set())
    for parts in imported(path):
        assert parts, f"{path} imports from the package itself; name the module"
        assert parts[0] in allowed, f"{here} must not import {parts[0]}"


@pytest.mark.parametrize("folder", TRAINERS)
def test_rooms_of_the_trainers_know_no_stage(folder: str) -> None:
    for path in (PACKAGE / "trainers" / folder).glob("*.py"):
        run = [node for node in tree(path).body if not isinstance(node, ast.If)]  # not those for type checkers
        used = {parts[1] for node in run for parts in imported(path, node) if parts[0] == "trainers"}
        assert used <= TRAINERS[folder], f"{path} must not import {used - TRAINERS[folder]}"


@pytest.mark.parametrize(("file", "rooms"), DOORS.items())
def test_doors_are_opened_inside_functions(file: str, rooms: set[str]) -> None:
    path = PACKAGE / file
    outside = [node for node in tree(path).body if not isinstance(node, ast.ClassDef)]
    assert rooms <= {parts[0] for parts in imported(path)}
    assert not rooms & {parts[0] for node in outside for parts in imported(path, node)}


def test_only_the_hub_knows_huggingface() -> None:
    assert {room(path) for path in MODULES if imported(path, root="huggingface_hub")} == {"hub"}


@pytest.mark.parametrize(
    "path", [path for path in MODULES if room(path) in ABSTRACT], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_nobody_above_knows_a_concrete_data_set_or_network(path: Path) -> None:
    for parts in imported(path):
        if parts[0] in SHARED:
            assert len(parts) > 1, f"{path} imports all of {parts[0]}; name the module"
            assert parts[1] in SHARED[parts[0]], f"{path} must not import {'.'.join(parts)}"


def test_the_package_alone_needs_no_extra() -> None:
    code = (
        "import sys\n"
        "for extra in ('matplotlib', 'tensorboard'): sys.modules[extra] = None\n"
        "import depthaware_uda, depthaware_uda.viz, depthaware_uda.data\n"
        "assert not {'matplotlib.pyplot', 'scipy', 'skimage'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_public_names_are_there(path: Path) -> None:
    module = importlib.import_module(".".join(path.parent.relative_to(PACKAGE.parent).parts))
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(module, name)] == []
