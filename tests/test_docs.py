"""Every Python block of the README and the documentation runs: page by page, in order, in one namespace.

A page runs in its own folder with tiny data sets and photographs, and with the names in `prepared` defined. To take
only seconds, everything is made smaller: `create_model` gives a tiny network with the seven classes of the tiny data,
MiniCity a few scenes, a trainer two steps. Their arguments are still checked against the real signatures. A block after
the line ``<!-- not run: REASON -->`` is only compiled, and its imports must exist.
"""

import ast
import builtins
import dataclasses
import importlib
import inspect
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

import depthaware_uda
import depthaware_uda.data
import depthaware_uda.trainers
from depthaware_uda import create_model
from depthaware_uda.data import MiniCity, collate, write_miniature
from depthaware_uda.labels import LabelSpace, get_label_space

from .conftest import save
from .tiny import Scenes, few_layers, tiny_model

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>.+?) -->\s*\n)?```python\n(?P<code>.*?)```", re.DOTALL)
SIZE = (64, 64)


def blocks(page: Path) -> list[tuple[int, str, str | None]]:
    """The line, the code and the reason not to run it, for every Python block."""
    text = page.read_text(encoding="utf-8")
    return [
        (text[: match.start("code")].count("\n") + 1, match["code"], match["reason"]) for match in BLOCK.finditer(text)
    ]


def smaller(real: Callable[..., Any], replaced: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    """A function with the signature of `real` that returns `replaced` of the arguments by name."""
    signature = inspect.signature(real)

    def made(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return replaced(dict(bound.arguments))

    return made


def small_trainer(trainer: type, default: type) -> Callable[..., Any]:
    few = {"max_steps": 2, "schedule_steps": None, "batch_size": 2, "accumulation": 1, "warmup_steps": 0}

    def build(asked: dict[str, Any]) -> Any:
        config = asked.get("config") or default()
        asked["config"] = dataclasses.replace(config, **few, precision="float32", num_workers=0)
        asked |= {name: None for name in ("augment", "target_augment") if name in asked}  # made for real image sizes
        return trainer(**asked)

    return smaller(trainer, build)


def small_scenes(asked: dict[str, Any]) -> MiniCity:
    return MiniCity(**{**asked, next(iter(inspect.signature(MiniCity).parameters)): 4, "size": SIZE})


@pytest.fixture(scope="module")
def prepared() -> dict[str, Any]:
    """Names that pages may use without defining them."""
    scenes = Scenes(6, SIZE)
    batch = collate([scenes[0], scenes[1]])
    with torch.no_grad():
        logits, inverse_depth = tiny_model().eval()(batch["image"])
    return {
        **dict.fromkeys(("source", "target", "val"), scenes),
        **dict.fromkeys(("batch", "source_batch", "target_batch"), batch),
        "features": [torch.rand(2, channels, 32 // 2**i, 32 // 2**i) for i, channels in enumerate((64, 128, 256))],
        "logits": logits,
        "inverse_depth": inverse_depth,
        "config": depthaware_uda.DAFConfig(),
    }


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny data sets in the formats of the real ones."""
    root = tmp_path_factory.mktemp("miniatures")
    for folder, name in (("SYNTHIA", "synthia"), ("Cityscapes", "cityscapes"), ("Vistas", "mapillary")):
        write_miniature(root / folder, name, 2, size=SIZE)
    return root


@pytest.fixture
def desk(tmp_path: Path, miniatures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photographs and data sets, and a patched library that makes everything small."""
    rng = np.random.default_rng(0)
    for index in range(3):
        photo, label = rng.integers(0, 256, (*SIZE, 3), np.uint8), rng.integers(0, 7, SIZE, np.uint8)
        for name in (f"photos/{index}.jpg", f"renders/images/{index}.png", f"checked/images/{index}.png"):
            save(tmp_path / name, photo)
        for folder in ("renders", "checked"):
            save(tmp_path / folder / "labels" / f"{index}.png", label)
        save(tmp_path / "renders" / "depth" / f"{index}.png", rng.integers(100, 9999, SIZE).astype(np.uint16))
        for split in ("train", "val"):
            save(tmp_path / "data" / "camvid" / split / "images" / f"{index}.png", photo)
            save(tmp_path / "data" / "camvid" / split / "labels" / f"{index}.png", label)
        save(tmp_path / "photos-depth" / f"{index}.png", rng.integers(0, 256, SIZE, np.uint8))
    shutil.copytree(miniatures, tmp_path / "data", dirs_exist_ok=True)
    save(tmp_path / "photo.jpg", rng.integers(0, 256, (80, 120, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", mock.create_autospec(ModuleType("wandb"), init=mock.MagicMock()))

    # Drawing takes longer than training; other tests check figures and pages.
    monkeypatch.setattr("depthaware_uda.viz.figures.DPI", 30)
    monkeypatch.setattr("depthaware_uda.report.page.embedded_figure", lambda figure: "data:,")

    def small_model(asked: dict[str, Any]) -> Any:
        kept = {key: asked[key] for key in ("depth_head", "gate", "refined_head", "depth_size", "seed")}
        tiny = {"channels": (8, 16, 24, 32), "stem_width": 8}
        own = isinstance(asked["label_space"], LabelSpace)  # defined by the page, for the classes of its data
        space = asked["label_space"] if own else get_label_space("common7")
        return create_model(
            "timm/resnet10t", len(space), label_space=space, backbone_arguments=tiny, dilations=(1,), **kept
        )

    monkeypatch.setattr(depthaware_uda, "create_model", smaller(create_model, small_model))
    monkeypatch.setattr(depthaware_uda.data, "MiniCity", smaller(MiniCity, small_scenes))
    for data_set in ("CamVid", "SegmentationFolder"):
        real = getattr(depthaware_uda.data, data_set)
        monkeypatch.setattr(
            depthaware_uda.data, data_set, smaller(real, lambda asked, real=real: real(**{**asked, "size": SIZE}))
        )
    in_memory = depthaware_uda.data.InMemory
    monkeypatch.setattr(
        depthaware_uda.data, "InMemory", smaller(in_memory, lambda asked: in_memory(**{**asked, "num_workers": 0}))
    )
    for name in ("DAF", "ISL", "IDA", "SelfTraining"):
        trainer = small_trainer(getattr(depthaware_uda, f"{name}Trainer"), getattr(depthaware_uda, f"{name}Config"))
        for module in (depthaware_uda, depthaware_uda.trainers):
            monkeypatch.setattr(module, f"{name}Trainer", trainer)
    return tmp_path


def trainers_at_hand(names: set[str], space: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A trainer of each stage, for blocks that use ``daf``, ``isl`` or ``ida``."""
    scenes = space["source"]
    if "daf" in names:
        yield "daf", depthaware_uda.DAFTrainer(space["model"], scenes, scenes)
    if "isl" in names:
        yield "isl", depthaware_uda.ISLTrainer(space["model"], scenes)
    if "ida" in names:
        split = depthaware_uda.TargetSplit(tuple(scenes.names[:1]), tuple(scenes.names[1:]))
        yield "ida", depthaware_uda.IDATrainer(space["model"], scenes, split)


def free_names(code: str) -> set[str]:
    """Names that a block reads."""
    nodes = list(ast.walk(ast.parse(code)))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path, desk: Path, prepared: dict[str, Any]) -> None:
    space: dict[str, Any] = {
        **prepared,
        "model": few_layers() if page.stem == "export" else tiny_model(),
        "control": tiny_model(1),
    }
    for line, code, reason in blocks(page):
        compiled = compile("\n" * (line - 1) + code, str(page), "exec")
        if reason is not None:
            check_imports(code)
            continue
        wanted = free_names(code) - set(space)
        space.update(trainers_at_hand(wanted, space))
        exec(compiled, space)


def check_imports(code: str) -> None:
    """Check that the imports of a block exist."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


def test_a_broken_page_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n\n```python\nx = 1\n```\n<!-- not run: why -->\n```python\nfrom os import nothing\n```\n")
    (first, second) = blocks(page)
    assert first == (4, "x = 1\n", None)
    assert second[2] == "why"
    with pytest.raises(AssertionError, match="os has no nothing"):
        check_imports(second[1])
    assert free_names("import os\nx = y + len(os.sep)") - set(dir(builtins)) == {"y", "os"}


def test_what_is_made_smaller_still_checks_its_arguments(desk: Path) -> None:
    with pytest.raises(TypeError, match="clases"):
        depthaware_uda.create_model("deeplabv2_resnet101", 7, clases=7)
    with pytest.raises(TypeError, match="wokers"):
        depthaware_uda.data.InMemory([], wokers=1)
