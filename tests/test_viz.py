import importlib
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depthaware_uda import EvaluationResult, Ranking, SegDepthOutput
from depthaware_uda.data import CamVid
from depthaware_uda.depth import to_metres
from depthaware_uda.labels import LabelSpace
from depthaware_uda.losses import self_information
from depthaware_uda.viz import (
    class_bars,
    colorize_depth,
    colorize_fraction,
    colorize_label,
    confusion_figure,
    curves,
    model_panel,
    overlay,
    panel,
    ranking_sheet,
    sample_sheet,
)

from .conftest import ListDataset, make_sample
from .tiny import Listed, Oracle, Scenes, numbered, tiny_model

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
        (np.array([[0.5, np.nan]]), "label must hold integers, got float64"),
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
    with pytest.raises(ValueError, match="must be finite, ascending"):
        colorize_depth(np.ones((1, 1)), farthest=np.inf)


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
    # Only the picture remains.
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
    figure = sample_sheet(CamVid(camvid_copy), tmp_path / "sheet.png", count=2)
    # The first and the last of three samples, image and label.
    reds = [round(255 * figure.axes[i].images[0].get_array()[0, 0, 0]) for i in (0, 2)]
    assert reds == [0, 20]
    assert [text.get_text() for text in figure.texts] == ["image", "label"]
    assert (tmp_path / "sheet.png").is_file()


def test_a_sheet_of_samples_without_a_label_space_shows_images_and_depth(tmp_path: Path) -> None:
    figure = sample_sheet(ListDataset([make_sample()]), tmp_path / "sheet.png", count=1)
    assert [text.get_text() for text in figure.texts] == ["image", "depth"]
    assert not figure.legends


@pytest.mark.parametrize("count", [0, 2])
def test_sheets_are_checked(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=rf"count must be in 1\.\.1, the size of the data set, got {count}"):
        sample_sheet(ListDataset([make_sample()]), tmp_path / "sheet.png", count=count)


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


def test_steps_are_whole_numbers() -> None:
    (axes,) = curves({"a": [(3, 1.0), (4, 2.0)]}, ylabel="loss").axes
    assert [tick for tick in axes.get_xticks() if tick % 1] == []
    (axes,) = curves({"a": [(0.25, 1.0), (0.75, 2.0)]}, ylabel="loss").axes  # type: ignore[list-item]
    assert [tick for tick in axes.get_xticks() if tick % 1] != []


def test_curves_are_checked() -> None:
    with pytest.raises(ValueError, match="at least one curve, got none"):
        curves({}, ylabel="loss")
    with pytest.raises(ValueError, match=r"curves without points: \['b'\]"):
        curves({"a": [(0, 1.0)], "b": []}, ylabel="loss")


def test_without_matplotlib_the_error_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install matplotlib"):
        panel([{"a": PICTURE}])
    with pytest.raises(ImportError, match=r"pip install matplotlib"):
        curves({"a": [(0, 1.0)]}, ylabel="loss")


def test_a_logarithmic_axis_shows_losses_of_different_size() -> None:
    figure = curves({"depth": [(0, 100.0)], "adversarial": [(0, 0.7)]}, ylabel="loss", logarithmic=True)
    assert figure.axes[0].get_yscale() == "log"


def test_long_headings_are_broken_and_none_runs_into_its_neighbour() -> None:
    row = {f"network {index}: depth-aware": np.zeros((6, 8)) for index in range(6)}
    figure = panel([row])
    assert [text.get_text() for text in figure.texts] == [f"network {index}:\ndepth-aware" for index in range(6)]
    boxes = [text.get_window_extent() for text in figure.texts]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert all(box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)
    assert [text.get_text() for text in panel([{"a: b": np.zeros((6, 8))}]).texts] == ["a: b"]


def test_the_depth_that_is_known_stands_beside_the_predicted_one() -> None:
    figure = model_panel({"mine": tiny_model()}, Scenes(2, (64, 64)), count=1, maps=("labels", "depth"))
    headings = [text.get_text() for text in figure.texts]
    assert headings == ["image", "truth", "truth: depth", "mine", "mine: depth"]


def test_pyplot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # from here on, importing it is an error
    panel([{"a": np.zeros((4, 6))}], legend="common7")
    curves({"a": [(0, 1.0)]}, ylabel="loss")
    with pytest.raises(ImportError, match="pyplot"):
        importlib.import_module("matplotlib.pyplot")


# Fractions, overlays, networks and measures ---------------------------------------------------------------------------


def test_fractions_go_from_blue_to_yellow() -> None:
    values = np.array([[0.0, 0.5, 1.0, 2.0, np.nan]])
    low, middle, high = [22, 16, 62], [204, 71, 98], [252, 236, 158]
    assert colorize_fraction(values).tolist() == [[low, middle, high, high, [128] * 3]]
    with pytest.raises(ValueError, match=r"values must have shape \(H, W\), got \(1, 1, 1\)"):
        colorize_fraction(np.zeros((1, 1, 1)))


def test_an_overlay_mixes_and_leaves_ignored_pixels() -> None:
    image, label = np.full((1, 3, 3), 100, np.uint8), np.array([[0, 1, 255]])
    assert overlay(image, label, SPACE, opacity=0.75).tolist() == [[[26, 26, 27], [28, 29, 30], [100, 100, 100]]]
    with pytest.raises(ValueError, match=r"image must have shape \(1, 3, 3\) to fit the label, got \(2, 3, 3\)"):
        overlay(np.zeros((2, 3, 3), np.uint8), label, SPACE)
    with pytest.raises(ValueError, match=r"opacity must lie in 0\.\.1, got 2"):
        overlay(image, label, SPACE, opacity=2)
    tensors = overlay(torch.from_numpy(image), torch.from_numpy(label), SPACE, opacity=0.75)
    assert tensors.tolist() == overlay(image, label, SPACE, opacity=0.75).tolist()
    with pytest.raises(ValueError, match=r"image must be 8-bit, 0\.\.255, got float64"):
        overlay(image / 255, label, SPACE)
    with pytest.raises(ValueError, match=r"label holds \[2, 300\], which are neither classes 0\.\.1 of 'two' nor 255"):
        overlay(image, np.array([[0, 300, 2]]), SPACE)


def test_painting_is_exact_to_a_level() -> None:
    metres = np.geomspace(1.5, 130, 5000).reshape(50, 100)
    position = np.clip(np.log(metres / 2) / np.log(50), 0, 1)
    anchors = ((252, 236, 158), (248, 149, 85), (204, 71, 98), (116, 41, 122), (22, 16, 62))
    exact = np.stack([np.interp(position, np.linspace(0, 1, 5), channel) for channel in zip(*anchors, strict=True)], -1)
    assert np.abs(colorize_depth(metres) - exact).max() < 0.8
    assert np.abs(colorize_fraction(1 - position) - exact).max() < 0.8


def oracle(seed: int, *, depth: bool = True) -> Oracle:
    generator = torch.Generator().manual_seed(seed)
    outputs = [
        SegDepthOutput(
            torch.randn(1, 2, 4, 6, generator=generator),
            10 + 10 * torch.rand(1, 1, 4, 6, generator=generator) if depth else None,
        )
        for _ in range(3)
    ]
    return Oracle(outputs)


def test_a_panel_of_networks_shows_their_maps(tmp_path: Path) -> None:
    scenes = Listed(numbered(3, (4, 6), label=lambda i: torch.full((4, 6), i % 2)), SPACE)
    one, two = oracle(0), oracle(1)
    maps = ("labels", "confidence", "entropy", "depth_aware", "depth")
    figure = model_panel({"one": one, "two": two}, scenes, tmp_path / "panel.png", count=2, maps=maps)
    headings = [text.get_text() for text in figure.texts]
    assert headings[:4] == ["image", "truth", "one", "one: confidence"]
    assert headings[4:8] == ["one: entropy", "one: depth-aware", "one: depth", "two"]
    assert (tmp_path / "panel.png").is_file()
    # Two evenly spread images: the second row shows the third image.
    second = [axes.images[0].get_array() for axes in figure.axes[12:]]
    logits, inverse_depth = one.outputs[2]
    np.testing.assert_array_equal(second[1], colorize_label(torch.zeros(4, 6, dtype=torch.long), SPACE))
    np.testing.assert_array_equal(second[2], colorize_label(logits.argmax(1)[0], SPACE))
    np.testing.assert_array_equal(second[3], colorize_fraction(logits.softmax(1).amax(1)[0]))
    np.testing.assert_array_equal(second[6], colorize_depth(to_metres(inverse_depth[0])))
    aware = [
        (self_information(network.outputs[2].logits) * network.outputs[2].inverse_depth).sum(1)[0]
        for network in (one, two)
    ]
    largest = max(values.max() for values in aware)
    np.testing.assert_array_equal(second[5], colorize_fraction(aware[0] / largest))
    np.testing.assert_array_equal(second[10], colorize_fraction(aware[1] / largest))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": {}}, "at least one network"),
        ({"models": {"one": oracle(0), "truth": oracle(1)}}, r"models: \['truth'\] head other columns"),
        ({"maps": ("colours",)}, r"maps must be one or more of .*, got \('colours',\)"),
        (
            {"models": {"flat": oracle(0, depth=False)}},
            "model 'flat' has no depth; leave out 'depth' and 'depth_aware'",
        ),
        ({"count": 9}, r"count must be in 1\.\.3"),
    ],
)
def test_panels_of_networks_are_checked(options: dict, message: str) -> None:
    scenes = Listed(numbered(3, (4, 6)), SPACE)
    with pytest.raises(ValueError, match=message):
        model_panel(**{"models": {"one": oracle(0)}, "dataset": scenes, "count": 2, **options})
    with pytest.raises(ValueError, match="neither the data set nor a model names its classes"):
        model_panel({"one": oracle(0)}, Listed(numbered(3, (4, 6))))


def test_the_easiest_and_the_hardest_stand_side_by_side(tmp_path: Path) -> None:
    scenes = Listed(numbered(5, (4, 6)))
    ranking = Ranking.from_scores({f"image/{i}": score for i, score in enumerate((3.0, 1.0, 5.0, 2.0, 4.0))})
    figure = ranking_sheet(ranking, scenes, tmp_path / "sheet.png", count=2)
    shown = [round(255 * float(axes.images[0].get_array()[0, 0, 0])) for axes in figure.axes]
    assert shown == [1, 2, 3, 4]  # easiest, hardest; second easiest, second hardest
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["1 of 5: 1", "5 of 5: 5", "2 of 5: 2", "4 of 5: 4"]
    with pytest.raises(ValueError, match=r"count must be in 1\.\.2, half of the 5 ranked images, got 3"):
        ranking_sheet(ranking, scenes, count=3)


def result(confusion: list[list[int]]) -> EvaluationResult:
    return EvaluationResult.from_confusion(torch.tensor(confusion), ("left", "right", "none"))


def test_a_confusion_matrix_is_in_percent_of_each_label(tmp_path: Path) -> None:
    figure = confusion_figure(result([[3, 1, 0], [1, 999, 0], [0, 0, 0]]), tmp_path / "confusion.png", title="T")
    shown = figure.axes[0].images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(shown, [[75, 25, 0], [0.1, 99.9, 0], [np.nan] * 3])
    assert [text.get_text() for text in figure.axes[0].texts] == ["75", "25", "100"]
    assert figure.axes[0].get_xlabel() == "predicted, percent of each label"
    assert (tmp_path / "confusion.png").is_file()


def test_bars_stand_beside_published_ones(tmp_path: Path) -> None:
    rows = {"mine": {"a": 0.5, "b": float("nan")}, "theirs": {"b": 0.75, "a": 0.25}}
    figure = class_bars(rows, tmp_path / "bars.png")
    mine, theirs = figure.axes[0].containers
    assert [bar.get_height() for bar in theirs] == [25, 75]
    assert mine[0].get_height() == 50
    assert np.isnan(mine[1].get_height())
    assert mine[0].get_x() + mine[0].get_width() <= theirs[0].get_x() + 1e-9
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mine", "theirs"]
    assert [
        bar.get_height() for bar in class_bars({"r": result([[3, 1, 0], [0, 4, 0], [0, 0, 1]])}).axes[0].patches
    ] == [
        75,
        80,
        100,
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "at least one result"),
        ({"a": {"x": 0.5}, "b": {"y": 0.5}}, r"'b' has none of the classes \['x'\]"),
        ({"a": {"x": 50.0}}, r"'a' holds \{'x': 50.0\}; IoU is a fraction in 0\.\.1, not percent"),
    ],
)
def test_bars_are_checked(rows: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_bars(rows)
