"""Reports of a run folder: its curves, its panels, and a page that shows everything in one file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from depthaware_uda.files import atomic_path, expecting, read_json
from depthaware_uda.ranking import TargetSplit
from depthaware_uda.report import page
from depthaware_uda.trainers.run.log import LOG_FILE, read_log
from depthaware_uda.trainers.run.run_folder import RUN_FILE
from depthaware_uda.types import SampleDataset
from depthaware_uda.viz import PanelMap, curves, model_panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["run_curves", "run_series", "save_panel", "write_report"]

PANELS = "panels"
_MOST_PANELS = 12
# Losses by importance; scores of a validation, with labels and without.
_LOSSES = ("segmentation", "depth", "adversarial")
_SCORES = {"val/miou": "mIoU", "label_free/score": "label-free score"}


def run_series(run_folder: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Everything that a run logged, as (step, value) points by name: losses, learning rate, ``"val/miou"``.

    Fractions are in 0..1, losses are unweighted means since the previous record. The IoU of a class is under
    ``"val/iou/CLASS"``. To compare runs: ``curves({"DAF": run_series("runs/daf")["val/miou"]})``.

    Raises:
        FileNotFoundError: The folder holds no log.
        ValueError: The log is damaged.
    """
    records = read_log(run_folder)
    if not records:
        raise FileNotFoundError(f"{run_folder}: expected the folder of a run with a log.jsonl, found no record")
    series: dict[str, list[tuple[int, float]]] = {}
    with expecting("the log of a run", Path(run_folder) / LOG_FILE):
        for record in records:
            for name, value in _numbers(record):
                series.setdefault(name, []).append((record["step"], value))
    return series


def run_curves(run_folder: str | Path) -> dict[str, Figure]:
    """One figure for every quantity that a run logged, by name, validation first; none for the IoU of single classes.

    Raises:
        FileNotFoundError: The folder holds no log.
        ImportError: matplotlib is not installed.
    """
    series = {name: points for name, points in run_series(run_folder).items() if not name.startswith("val/iou/")}
    order = sorted(series, key=lambda name: (not name.startswith(("val/", "label_free/")), name == "learning_rate"))
    # A dollar sign would start a formula.
    return {name: curves({name: series[name]}, ylabel=name.replace("$", r"\$"), size=(4.4, 2.7)) for name in order}


def save_panel(
    run_folder: str | Path,
    step: int,
    model: nn.Module,
    dataset: SampleDataset,
    *,
    names: Sequence[str] | None = None,
    count: int = 4,
    maps: Sequence[PanelMap] = ("labels", "entropy", "depth"),
) -> Path:
    """Draw a model's predictions for fixed images after a step, to ``panels/step-00001000.png`` in its run folder.

    Args:
        run_folder: The folder of the run.
        step: Steps trained so far.
        model: The model; its training mode is restored.
        dataset: Validation images.
        names: Names of the images; by default `count` images evenly spread.
        count: Number of images, if no names are given.
        maps: Maps to show, see `model_panel`; ``"depth"`` is left out for a model without depth.

    Returns:
        The path of the picture.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: As in `model_panel`.
    """
    path = Path(run_folder) / PANELS / f"step-{step:08d}.png"
    model_panel({"prediction": model}, dataset, path, names=names, count=count, maps=maps, title=f"step {step}")
    return path


def write_report(
    run_folder: str | Path,
    path: str | Path | None = None,
    *,
    title: str | None = None,
    pictures: Mapping[str, Figure | str | Path] | None = None,
) -> Path:
    """Write a page that shows a run: results, curves, panels, split, configuration. One file, no scripts.

    It shows what the folder holds: `run.json`, `log.jsonl`, the last 12 pictures in `panels/` (the latest first),
    pictures in the folder itself (PNG, JPEG, SVG), and a split in `split/`.

    Args:
        run_folder: The folder of a run, finished or not.
        path: File to write; by default `index.html` in the run folder.
        title: Heading; by default the folder's name.
        pictures: Additional figures or files to show, by caption.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: The folder holds no log.
        ImportError: matplotlib is not installed.
        ValueError: A file of the run is damaged, or a picture is not a PNG, JPEG or SVG.
    """
    folder = Path(run_folder)
    series = run_series(folder)
    about, config = _description(folder / RUN_FILE)
    parts = [
        page.tiles(_headline(series)),
        page.section("Classes at the last validation", page.bars(_last_classes(series))),
        page.section("Curves", page.pictures({k: page.embedded_figure(v) for k, v in run_curves(folder).items()})),
        page.section("Pictures", page.pictures(_pictures(folder, pictures or {}), wide=True)),
        page.section("Easy and hard target images", _split(folder)),
        page.section("Configuration", page.facts(config)),
        page.section("Run", page.details("run.json", page.text(json.dumps(about, indent=2))) if about else ""),
    ]
    document = page.page(title or folder.resolve().name, str(about.get("trainer", "run")), parts)
    target = folder / "index.html" if path is None else Path(path)
    with atomic_path(target) as partial:
        partial.write_text(document, encoding="utf-8")
    return target


def _description(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The description of a run, and its settings; both empty if the file is missing."""
    if not file.is_file():
        return {}, {}
    with expecting("the description of a run", file):
        about = dict(read_json(file))
        return about, dict(about.pop("config", {}))


def _numbers(record: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The numbers of a log record by name, those of a nested table as "TABLE/NAME", where unknown values are NaN."""
    found = []
    for name, value in record.items():
        if name == "step":
            continue
        if isinstance(value, Mapping):
            found += [(f"{name}/{key}", math.nan if inner is None else float(inner)) for key, inner in value.items()]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((name, float(value)))
    return found


def _headline(series: Mapping[str, list[tuple[int, float]]]) -> dict[str, str]:
    values = {"steps": f"{max(points[-1][0] for points in series.values()):,}"} if series else {}
    for name, title in _SCORES.items():
        known = [(value, step) for step, value in series.get(name, ()) if value == value]
        if known:
            best, step = max(known)
            values[f"{title}, last"] = f"{100 * known[-1][0]:.1f} %"
            values[f"{title}, best (step {step:,})"] = f"{100 * best:.1f} %"
    for name in _LOSSES:
        if name in series:
            values[f"{name} loss, last"] = f"{series[name][-1][1]:.4g}"
    return values


def _last_classes(series: Mapping[str, list[tuple[int, float]]]) -> dict[str, float]:
    prefix = "val/iou/"
    return {name.removeprefix(prefix): points[-1][1] for name, points in series.items() if name.startswith(prefix)}


def _pictures(folder: Path, further: Mapping[str, Figure | str | Path]) -> dict[str, str]:
    shown = {
        caption: page.embedded_file(Path(one)) if isinstance(one, (str, Path)) else page.embedded_figure(one)
        for caption, one in further.items()
    }
    panels = sorted((folder / PANELS).glob("*.*"), reverse=True)[:_MOST_PANELS]
    for file in [*panels, *sorted(folder.glob("*.*"))]:
        if file.suffix.lower() in page.PICTURES and file.is_file() and not file.name.startswith("."):
            shown[file.relative_to(folder).as_posix()] = page.embedded_file(file)
    return shown


def _split(folder: Path) -> str:
    if not (folder / "split" / "easy.txt").is_file():
        return ""
    split = TargetSplit.load(folder / "split")
    sides = {"easy": split.easy, "hard": split.hard}
    return page.tiles({f"{side} images": f"{len(listed):,}" for side, listed in sides.items()}) + "".join(
        page.details(f"{side} images, the easiest first", page.names(listed)) for side, listed in sides.items()
    )
