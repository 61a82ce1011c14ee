import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depthaware_uda.data import CamVid
from depthaware_uda.labels import LabelSpace
from depthaware_uda.viz import colorize_depth, colorize_label, curves, panel, sample_sheet

from .conftest import ListDataset, make_sample

SPACE = LabelSpace("two", ("left", "right"), ((1, 2, 3), (4, 5, 6)))
PICTURE = np.zeros((4, 6, 3), np.uint8)


def test_labels_are_painted_in_the_palette() -> None:
    label = torch.tensor([[0, 1, 255]])
    assert colorize_label(label, SPACE).tolist() == [[[1, 2, 3], [4, 5, 6], [0, 0, 0]]]
    assert colorize_label(label.numpy(), "common7")[0, 0].tolist() == [128, 64, 128]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.zeros((1, 2, 2), int), r"shape \(H, W\), got \(1, 2, 2\)"),
        (np.array([[0, 2, 9]]), r"holds \[2, 9\], which are neither classes 0\.\.1 of 'two' nor 255"),
    ],
)
def test_labels_are_checked(label: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        colorize_label(label, SPACE)


def test_depth_goes_from_yellow_to_blue_and_unknown_is_grey() -> None:
    # From 1 to 100 m the colour in the middle belongs to 10 m.
    metres = torch.tensor([[[0.5, 1.0, 10.0, 100.0, torch.inf, torch.nan]]])
    near, middle, far, grey = [252, 236, 158], [204, 71, 98], [22, 16, 62], [128] * 3
    painted = colorize_depth(metres, nearest=1, farthest=100)
    assert painted.tolist() == [[near, near, middle, far, far, grey]]
    assert painted.dtype == np.uint8


def test_depth_is_checked() -> None:
    with pytest.raises(ValueError, match=r"\(H, W\) or \(1, H, W\), got \(2, 3, 4\)"):
        colorize_depth(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="ascending and above 0, got 5 and 5"):
        colorize_depth(np.ones((1, 1)), nearest=5, farthest=5)


def test_a_panel_shows_pictures_under_headings(tmp_path: Path) -> None:
    red, grey = np.full((4, 6, 3), (255, 0, 0), np.uint8), np.full((4, 6), 0.5)
    path = tmp_path / "new" / "panel.png"
    figure = panel([{"red": red, "grey": grey}, {"grey": grey, "red": red}], path, title="Title", legend=SPACE)
    texts = [text.get_text() for text in figure.texts]
    assert texts == ["red", "grey", "Title"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["left", "right"]
    assert len(figure.axes) == 4
    with Image.open(path) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(255, 0, 0), (255, 255, 255)} <= colours
    # Nothing but the picture stays behind.
    assert [file.name for file in path.parent.iterdir()] == ["panel.png"]


def test_a_panel_need_not_be_saved() -> None:
    figure = panel([{"a": PICTURE}])
    assert not figure.legends
    assert [text.get_text() for text in figure.texts] == ["a"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one row"),
        ([{}], "at least one picture"),
        ([{"a": PICTURE}, {"b": PICTURE}], r"row 0 has the headings \['a'\], row 1 has \['b'\]"),
        ([{"a": np.zeros((3, 4, 6))}], r"'a' must have shape \(H, W, 3\) or \(H, W\), got \(3, 4, 6\)"),
        ([{"a": np.zeros((4, 6), int)}], "'a' must be 8-bit or float in 0..1, got int64"),
    ],
)
def test_panels_are_checked(rows: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        panel(rows)


def test_a_sheet_spreads_over_the_data_set(camvid_copy: Path, tmp_path: Path) -> None:
    figure = sample_sheet(CamVid(camvid_copy), 2, tmp_path / "sheet.png")
    # The first and the last of three samples, image and label.
    reds = [round(255 * figure.axes[i].images[0].get_array()[0, 0, 0]) for i in (0, 2)]
    assert reds == [0, 20]
    assert [text.get_text() for text in figure.texts] == ["image", "label"]
    assert (tmp_path / "sheet.png").is_file()


def test_a_sheet_of_samples_without_a_label_space_shows_images_and_depth(tmp_path: Path) -> None:
    figure = sample_sheet(ListDataset([make_sample()]), 1, tmp_path / "sheet.png")
    assert [text.get_text() for text in figure.texts] == ["image", "depth"]
    assert not figure.legends


@pytest.mark.parametrize("count", [0, 2])
def test_sheets_are_checked(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=rf"count must be in 1\.\.1, the size of the data set, got {count}"):
        sample_sheet(ListDataset([make_sample()]), count, tmp_path / "sheet.png")


def test_curves_are_named_and_keep_gaps(tmp_path: Path) -> None:
    series = {"one": [(0, 1.0), (10, float("inf")), (20, 3.0)], "two": [(0, 2.0)]}
    figure = curves(series, tmp_path / "curves.svg", ylabel="mIoU", title="Title")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("step", "mIoU", "Title")
    assert axes.lines[0].get_xdata().tolist() == [0, 10, 20]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1, np.nan, 3])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_one_curve_needs_no_legend() -> None:
    assert not curves({"loss": [(i, float(i)) for i in range(30)]}, ylabel="loss").legends


def test_curves_are_checked() -> None:
    with pytest.raises(ValueError, match="at least one curve, got none"):
        curves({}, ylabel="loss")
    with pytest.raises(ValueError, match=r"curves without points: \['b'\]"):
        curves({"a": [(0, 1.0)], "b": []}, ylabel="loss")


def test_without_matplotlib_the_error_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install depthaware-uda\[viz\]"):
        panel([{"a": PICTURE}])
    with pytest.raises(ImportError, match=r"pip install depthaware-uda\[viz\]"):
        curves({"a": [(0, 1.0)]}, ylabel="loss")


def test_pyplot_is_left_alone() -> None:
    code = (
        "import sys, numpy as np\n"
        "from depthaware_uda.viz import curves, panel\n"
        "panel([{'a': np.zeros((4, 6))}], legend='common7')\n"
        "curves({'a': [(0, 1.0)]}, ylabel='loss')\n"
        "assert 'matplotlib.figure' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[1])
