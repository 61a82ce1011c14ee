"""The page of a run folder: its contents, that nothing in it is executed, and how a browser renders it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthaware_uda import DAFConfig, DAFTrainer, TargetSplit
from depthaware_uda.report import run_curves, run_series, save_panel, write_report
from depthaware_uda.viz import curves

from .conftest import save
from .tiny import Scenes, tiny_model

EVIL = "<script>document.title='owned'</script><img src=x onerror=alert(1)>&\"'"
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of 20 steps with two validations, as a trainer writes it, with names that try to break the page."""
    folder = tmp_path / "run"
    folder.mkdir()
    records = [
        {"step": 10, "segmentation": 2.0, "depth": 30.0, "learning_rate": 0.001},
        {"step": 10, "val/miou": 0.5, "val/iou": {"road": 0.75, EVIL: 0.25, "sky": None}},
        {"step": 20, "segmentation": 1.0, "depth": 20.0, "learning_rate": 0.0005},
        {"step": 20, "val/miou": 0.4, "val/iou": {"road": 0.6, EVIL: 0.2, "sky": None}},
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    run = {"trainer": "DAFTrainer", "config": {"max_steps": 20, "note": EVIL}, "model": {"name": EVIL}}
    (folder / "run.json").write_text(json.dumps(run))
    TargetSplit(("a.png", EVIL), ("c.png",)).save(folder / "split")
    save(folder / "panels" / "step-00000010.png", np.full((60, 80, 3), (255, 0, 0), np.uint8))
    save(folder / "panels" / "step-00000020.png", np.full((60, 80, 3), (0, 255, 0), np.uint8))
    return folder


def test_series_hold_every_number(run_folder: Path) -> None:
    series = run_series(run_folder)
    assert series["segmentation"] == [(10, 2.0), (20, 1.0)]
    assert series["val/miou"] == [(10, 0.5), (20, 0.4)]
    assert series["val/iou/road"] == [(10, 0.75), (20, 0.6)]
    assert all(np.isnan(value) for _, value in series["val/iou/sky"])
    assert "step" not in series


def test_curves_of_a_run_begin_with_validation(run_folder: Path) -> None:
    figures = run_curves(run_folder)
    assert list(figures) == ["val/miou", "segmentation", "depth", "learning_rate"]
    assert figures["depth"].axes[0].lines[0].get_ydata().tolist() == [30, 20]


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected the folder of a run with a log\.jsonl, found no record"):
        write_report(tmp_path)


def test_the_page_shows_what_the_folder_has(run_folder: Path) -> None:
    path = write_report(run_folder)
    assert path == run_folder / "index.html"
    page = path.read_text(encoding="utf-8")
    for text in ("mIoU, last", "40.0 %", "mIoU, best (step 10)", "50.0 %", "60.0 %", "max_steps", "2</b>", "c.png"):
        assert text in page, text
    assert page.index("step-00000020.png") < page.index("step-00000010.png")  # latest first
    assert page.count("data:image/svg+xml;base64,") == 4
    assert "sky</th><td>unknown" in page


def test_the_page_is_escaped_and_takes_nothing_from_elsewhere(run_folder: Path) -> None:
    page = write_report(run_folder, title=EVIL).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "onerror=alert(1)&gt;" in page
    assert page.count(EVIL) == 0
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "default-src 'none'" in page


def test_what_was_scored_without_labels_is_shown_too(tmp_path: Path) -> None:
    scores = [{"step": step, "label_free/score": score, "segmentation": 1.0} for step, score in ((5, 0.75), (9, 0.5))]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in scores))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    for text in ("label-free score, last", "50.0 %", "label-free score, best (step 5)", "75.0 %"):
        assert text in page, text
    assert next(iter(run_curves(tmp_path))) == "label_free/score"


def test_a_damaged_folder_is_named_and_what_is_no_picture_is_passed_over(run_folder: Path, tmp_path: Path) -> None:
    (run_folder / "folder.png").mkdir()
    write_report(run_folder)
    with pytest.raises(ValueError, match=r"notes\.txt: a page shows \.png, \.jpg, \.jpeg, \.svg files"):
        write_report(run_folder, pictures={"notes": tmp_path / "notes.txt"})
    (run_folder / "run.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"run\.json: not the description of a run, or damaged"):
        write_report(run_folder)
    (run_folder / "log.jsonl").write_text('{"step": 1, "val/iou": {"sky": "high"}}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl: not the log of a run, or damaged"):
        run_series(run_folder)


def test_a_log_without_numbers_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 3}\n')
    assert "<span>steps</span>" not in write_report(tmp_path).read_text(encoding="utf-8")


def test_further_pictures_and_another_place(run_folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "photo.jpg", np.zeros((4, 4, 3), np.uint8))
    drawn = curves({"a": [(0, 1.0)]}, tmp_path / "drawn.svg", ylabel="a")
    further = {"my <curve>": drawn, "photo": tmp_path / "photo.jpg", "drawn": str(tmp_path / "drawn.svg")}
    page = write_report(run_folder, tmp_path / "there" / "page.html", pictures=further).read_text(encoding="utf-8")
    assert "my &lt;curve&gt;" in page
    assert "data:image/jpeg;base64," in page
    assert page.count("data:image/svg+xml;base64,") == 6  # four curves of the run, and two others


def test_the_report_of_a_real_run(tmp_path: Path) -> None:
    scenes, model = Scenes(4, (64, 64)), tiny_model()
    config = DAFConfig(max_steps=2, batch_size=2, log_every=1, validate_every=1, precision="float32")
    DAFTrainer(model, scenes, scenes, config, output_dir=tmp_path / "run", val=scenes, device="cpu").fit()
    model.train()
    panel = save_panel(tmp_path / "run", 2, model, scenes, count=2)
    assert model.training
    assert panel == tmp_path / "run" / "panels" / "step-00000002.png"
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    for text in (
        "DAFTrainer",
        "mIoU, last",
        "adversarial",
        "discriminator_source",
        "construction",
        "adversarial_weight",
    ):
        assert text in page, text


def test_a_browser_shows_the_page_and_runs_nothing(run_folder: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    address = write_report(run_folder).as_uri()
    command = [browser, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1000,2200"]

    def opened(*options: str) -> str:
        return subprocess.run(
            [*command, *options, address], check=True, capture_output=True, text=True, timeout=120
        ).stdout

    document = opened("--dump-dom")
    assert "<title>run</title>" in document
    assert document.count("<img ") == 6  # four curves, two panels; none injected by a name
    opened(f"--screenshot={tmp_path / 'page.png'}")
    with Image.open(tmp_path / "page.png") as screenshot:
        colours = {colour: count for count, colour in screenshot.convert("RGB").getcolors(1 << 24)}
    # The bar of the road (60 % of its column) and both panels are drawn.
    assert colours.get((0, 114, 178), 0) > 500
    assert colours.get((255, 0, 0), 0) > 4000
    assert colours.get((0, 255, 0), 0) > 4000
