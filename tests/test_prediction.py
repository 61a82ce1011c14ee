"""Prediction: every kind of input, any size, tiles and averages, files and resumption."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from depthaware_uda import Prediction, SegDepthOutput, evaluate, load_pretrained, predict, write_predictions
from depthaware_uda.data import SegmentationFolder
from depthaware_uda.data.images import read_depth_values
from depthaware_uda.depth import to_inverse_depth, to_metres
from depthaware_uda.labels import LabelSpace
from depthaware_uda.losses import normalized_entropy
from depthaware_uda.models import resize, slices
from depthaware_uda.prediction import passes as passes_module
from depthaware_uda.prediction.passes import Passes
from depthaware_uda.prediction.tiles import blend_window, pixels_that_fit, tile_within, tiles
from depthaware_uda.types import Sample

from .conftest import save
from .tiny import Listed, Scenes, numbered, tiny_model

RNG = np.random.default_rng(0)


class Pixelwise(nn.Module):
    """Red, green and blue are the scores of three classes; inverse depth is red. Pixels do not affect each other."""

    def __init__(self, *, depth: bool = True) -> None:
        super().__init__()
        self.depth = depth
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> SegDepthOutput:
        self.sizes.append(tuple(image.shape))
        return SegDepthOutput(4 * image, 10 + 50 * image[:, :1] if self.depth else None)


def picture(height: int = 20, width: int = 30) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index, name in enumerate(("a.png", "town/b.png", "town/c.png")):
        save(tmp_path / "photos" / name, np.full((6, 8, 3), 40 * index, np.uint8))
    return tmp_path / "photos"


# Outputs --------------------------------------------------------------------------------------------------------------


def test_every_map_longhand() -> None:
    image = picture()
    found = predict(Pixelwise(), image)
    scores = torch.from_numpy(image / 255).permute(2, 0, 1)[None] * 4
    probability = scores.softmax(1)[0]
    assert isinstance(found, Prediction)
    assert found.label.dtype == np.uint8
    np.testing.assert_array_equal(found.label, image.argmax(2))
    np.testing.assert_allclose(found.confidence, probability.amax(0), atol=1e-6)
    entropy = -(probability * probability.log()).sum(0) / np.log(3)
    np.testing.assert_allclose(found.entropy, entropy, atol=1e-6)
    np.testing.assert_allclose(found.depth, 655.36 / (10 + 50 * (image[..., 0] / 255)) - 0.01, rtol=1e-5)
    np.testing.assert_array_equal(found.image, image)
    assert found.size == (20, 30)
    assert found.label_space.classes == ("0", "1", "2")


def test_a_model_without_depth_gives_none(tmp_path: Path) -> None:
    found = predict(Pixelwise(depth=False), picture())
    assert found.depth is None
    assert {path.parent.name for path in found.save(tmp_path)} == {"labels", "overlays"}


def test_it_agrees_with_evaluation_where_both_look_at_the_image_alike() -> None:
    model, scenes = tiny_model(), Scenes(3)
    seen = [torch.from_numpy(found.label).long() for found in predict(model, scenes)]
    labelled = [Sample(image=scenes[i]["image"], label=label, name=str(i)) for i, label in enumerate(seen)]
    assert evaluate(model, Listed(labelled, "common7")).pixel_accuracy == 1


def test_maps_of_the_network_are_resized_as_everywhere() -> None:
    model, image = tiny_model().eval(), torch.rand(3, 45, 61)
    with torch.no_grad():
        output = model(image[None])
    found = predict(model, image)
    logits = resize(output.logits, (45, 61))
    np.testing.assert_array_equal(found.label, logits.argmax(1)[0])
    np.testing.assert_allclose(found.entropy, normalized_entropy(logits)[0], atol=1e-5)
    np.testing.assert_allclose(found.depth, to_metres(resize(output.inverse_depth, (45, 61)))[0, 0], rtol=1e-4)


def test_an_image_is_finished_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = tiny_model(), picture(40, 50)
    whole = predict(model, image)
    monkeypatch.setattr(slices, "_CACHE_BYTES", 7 * 50 * 3 * 4)
    bands = predict(model, image)
    np.testing.assert_array_equal(bands.label, whole.label)
    np.testing.assert_allclose(bands.depth, whole.depth, rtol=1e-5)


def test_overlay_shares_and_notebook_picture() -> None:
    found = predict(Pixelwise(), np.array([[[255, 0, 0], [0, 255, 0], [0, 255, 0], [0, 255, 0]]], np.uint8))
    assert list(found.shares().items()) == [("1", 0.75), ("0", 0.25)]
    colour = np.array(found.label_space.palette[0])
    np.testing.assert_array_equal(found.overlay(1.0)[0, 0], colour)
    np.testing.assert_array_equal(found.overlay(0.0), found.image)
    np.testing.assert_allclose(found.overlay()[0, 0], (colour + np.array([255, 0, 0])) / 2, atol=0.51)
    assert found._repr_png_().startswith(b"\x89PNG")


# Inputs ---------------------------------------------------------------------------------------------------------------


def test_one_image_in_any_form_is_one_prediction(tmp_path: Path) -> None:
    image = picture()
    save(tmp_path / "photo.png", image)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    forms = [image, Image.fromarray(image), tensor, tensor / 255, tmp_path / "photo.png", str(tmp_path / "photo.png")]
    for form in forms:
        found = predict(Pixelwise(), form)
        np.testing.assert_array_equal(found.label, image.argmax(2))
        np.testing.assert_array_equal(found.image, image)
    assert found.name == "photo.png"


def test_many_images_are_an_iterator(photos: Path) -> None:
    found = predict(Pixelwise(), photos)
    assert isinstance(found, Iterator)
    assert [one.name for one in found] == ["a.png", "town/b.png", "town/c.png"]
    assert [one.name for one in predict(Pixelwise(), str(photos / "town" / "*.png"))] == ["b.png", "c.png"]
    assert [one.name for one in predict(Pixelwise(), str(photos / "**" / "*.png"))] == [
        "a.png",
        "town/b.png",
        "town/c.png",
    ]
    batch = list(predict(Pixelwise(), torch.rand(2, 3, 5, 6)))
    assert [one.name for one in batch] == ["000000.png", "000001.png"]
    assert [one.name for one in predict(Pixelwise(), Scenes(2))] == ["street/0.png", "street/1.png"]


def test_frames_of_a_video_come_lazily() -> None:
    drawn = []

    def frames() -> Iterator[np.ndarray]:
        for index in range(100):
            drawn.append(index)
            yield np.full((4, 4, 3), index, np.uint8)

    found = predict(Pixelwise(), frames())
    assert next(found).image[0, 0, 0] == 0
    assert next(found).image[0, 0, 0] == 1
    assert len(drawn) < 10


def test_paths_in_a_list(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.name for one in predict(Pixelwise(), [photos / "a.png", photos / "town" / "b.png"])] == [
        "a.png",
        "b.png",
    ]
    monkeypatch.chdir(photos)
    assert [one.name for one in predict(Pixelwise(), ["a.png", "town/b.png"])] == ["a.png", "town/b.png"]
    assert [one.name for one in predict(Pixelwise(), ["../photos/town/b.png"])] == ["b.png"]  # not below this folder
    (photos / "notes.txt").write_text("no image")
    assert [one.name for one in predict(Pixelwise(), "*")] == ["a.png"]


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ("nowhere.jpg", FileNotFoundError, "nowhere.jpg: no such file or folder"),
        ("nowhere/*.jpg", ValueError, r"expected images \(.jpg, .*.webp\), found none"),
        ("https://example.org/a.jpg", ValueError, "addresses are not fetched"),
        (np.zeros((4, 4), np.uint8), ValueError, r"RGB of 8 bits, \(H, W, 3\), got uint8 \(4, 4\)"),
        (np.zeros((4, 4, 3)), ValueError, "got float64"),
        (torch.zeros(1, 4, 4), ValueError, r"must be RGB, \(3, H, W\) or \(N, 3, H, W\), got \(1, 4, 4\)"),
        (torch.full((3, 4, 4), 2.0), ValueError, r"RGB in 0\.\.1, not normalised, got torch.float32 in 2\.\.2"),
        (5, TypeError, "cannot predict int: expected a path"),
        (b"\xff\xd8", TypeError, "cannot predict bytes: expected a path"),
        (io.BytesIO(), TypeError, "cannot predict BytesIO: expected a path"),
    ],
)
def test_other_inputs_are_refused(images: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        predict(Pixelwise(), images)  # type: ignore[arg-type]


def test_an_array_of_frames_and_one_that_must_not_be_written_to() -> None:
    frames = np.stack([picture(), picture()])
    frames.setflags(write=False)  # torch would warn, and warnings are errors in tests
    found = list(predict(Pixelwise(), frames))
    for frame, one in zip(frames, found, strict=True):
        np.testing.assert_array_equal(one.label, frame.argmax(2))
    assert [one.name for one in found] == ["000000.png", "000001.png"]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_frames_may_come_in_one_buffer(batch_size: int) -> None:
    frames = [picture() for _ in range(5)]

    def video() -> Iterator[np.ndarray]:
        buffer = np.empty_like(frames[0])
        for frame in frames:
            buffer[:] = frame
            yield buffer

    for frame, one in zip(frames, predict(Pixelwise(), video(), batch_size=batch_size), strict=True):
        np.testing.assert_array_equal(one.label, frame.argmax(2))
        np.testing.assert_array_equal(one.image, frame)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (255 * torch.rand(3, 9, 9), r"image of image/1 has values in .*, expected 0\.\.1; the model normalises"),
        (
            torch.ones(3, 9, 9, dtype=torch.int64),
            r"image of image/1 is torch.int64 \(3, 9, 9\), expected RGB in 0\.\.1",
        ),
        (torch.rand(1, 9, 9), r"image of image/1 is torch.float32 \(1, 9, 9\), expected RGB"),
        (np.zeros((9, 9, 3), np.uint8), "image of image/1 is a ndarray, expected a tensor"),
    ],
)
def test_an_image_of_a_data_set_that_is_none_is_named(image: Any, message: str) -> None:
    samples = numbered(2, (9, 9))
    samples[1]["image"] = image
    with pytest.raises(ValueError, match=message):
        list(predict(Pixelwise(), Listed(samples)))


def test_what_would_be_clipped_or_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="the image: expected an image of 8 bits a channel, got mode I;16"):
        predict(Pixelwise(), Image.fromarray(np.full((4, 4), 999, np.uint16)))
    with pytest.raises(TypeError, match="cannot predict dict: expected a path"):
        predict(Pixelwise(), {"image": picture()})  # type: ignore[arg-type]


def test_a_strange_frame_is_named() -> None:
    with pytest.raises(TypeError, match="image 1: cannot predict float"):
        list(predict(Pixelwise(), [picture(), 0.5]))  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, r"scales must be one or more factors above 0, got \(\)"),
        ({"scales": (1.0, -1.0)}, "scales must be"),
        ({"tile": (0, 5)}, r"tile must be 'auto', \(height, width\) in pixels or None, got \(0, 5\)"),
        ({"tile": "large"}, "tile must be 'auto'"),
        ({"size": 0}, "size must be pixels"),
        ({"size": "large"}, "size must be pixels of the shorter side"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"label_space": "common7"}, "predicts 3 classes, but label space 'common7' has 7"),
    ],
)
def test_arguments_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predict(Pixelwise(), picture(), **options)


def test_a_name_in_place_of_a_model_and_one_scale_in_place_of_several_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got str"):
        predict("daf-ida-minicity", picture())  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got str"):
        write_predictions("daf-ida-minicity", [picture()], tmp_path)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"scales must be a list of factors, such as \(1.0,\), got 1.0"):
        predict(Pixelwise(), picture(), scales=1.0)  # type: ignore[call-overload]


# Sizes, scales and tiles ----------------------------------------------------------------------------------------------


def test_images_of_one_size_go_through_together() -> None:
    model = Pixelwise()
    images = [picture(4, 6), picture(4, 6), picture(4, 6), picture(5, 6), picture(4, 6)]
    found = list(predict(model, images, batch_size=2))
    assert [size[0] for size in model.sizes] == [2, 1, 1, 1]
    for image, one in zip(images, found, strict=True):
        np.testing.assert_array_equal(one.label, image.argmax(2))


def test_images_in_bytes_and_in_0_to_1_do_not_go_through_together() -> None:
    plain = torch.from_numpy(picture(4, 6)).permute(2, 0, 1)
    byte, fraction = predict(Pixelwise(), [plain, plain / 255], batch_size=2)
    np.testing.assert_allclose(byte.confidence, fraction.confidence, atol=1e-6)
    np.testing.assert_array_equal(byte.image, fraction.image)


def test_a_label_space_that_is_asked_for_comes_before_the_models() -> None:
    asked = LabelSpace("asked", tuple("abcdefg"), ((0, 0, 0),) * 7)
    assert predict(tiny_model(), picture(), label_space=asked).label_space == asked


def test_an_image_smaller_than_the_stride_is_enlarged() -> None:
    found = predict(tiny_model(), picture(3, 50))
    assert found.size == (3, 50)
    assert np.isfinite(found.depth).all()


@pytest.mark.parametrize(("size", "seen"), [(10, (10, 15)), ((12, 12), (12, 12)), (None, (20, 30))])
def test_the_network_sees_the_size_asked_for_and_the_result_has_the_images(
    size: int | tuple[int, int] | None, seen: tuple[int, int]
) -> None:
    model = Pixelwise()
    assert predict(model, picture(), size=size).size == (20, 30)
    assert model.sizes == [(1, 3, *seen)]


@pytest.mark.parametrize(("size", "seen"), [("auto", (10, 15)), (None, (20, 30)), (5, (5, 8))])
def test_a_model_that_says_so_sees_images_at_the_size_it_was_trained_at(
    size: Any, seen: tuple[int, int], tmp_path: Path
) -> None:
    model = Pixelwise()
    assert predict(model, picture()).size == (20, 30)
    model.image_size = 10  # type: ignore[assignment]
    assert predict(model, picture(), size=size).size == (20, 30)
    assert [size[2:] for size in model.sizes] == [(20, 30), seen]
    write_predictions(model, [picture()], tmp_path, size=size)
    assert model.sizes[-1][2:] == seen


def test_the_size_is_kept_with_the_weights(tmp_path: Path) -> None:
    tiny_model(image_size=40).save_pretrained(tmp_path)
    assert load_pretrained(tmp_path).image_size == 40
    assert load_pretrained("daf-ida-minicity").image_size == 360
    with pytest.raises(ValueError, match="image_size must be pixels of the shorter side or None, got 0"):
        tiny_model(image_size=0)


def test_scales_and_flips_are_averaged() -> None:
    class Left(nn.Module):
        """Gives class 1 on the left half of any input with probability 0.8, class 0 elsewhere. Depth by size."""

        stride = 1

        def forward(self, image: Tensor) -> SegDepthOutput:
            width = image.shape[-1]
            left = (torch.arange(width) < width / 2).float().expand(1, 1, *image.shape[-2:])
            probability = torch.cat([1 - 0.8 * left, 0.8 * left], 1).clamp(min=1e-9)
            return SegDepthOutput(probability.log(), torch.full_like(left, width))

    image = picture(4, 8)
    alone, mirrored = predict(Left(), image), predict(Left(), image, flip=True)
    np.testing.assert_allclose(alone.confidence, np.tile([0.8] * 4 + [1.0] * 4, (4, 1)), atol=1e-5)
    # With the mirror image, each half is class 1 once with 0.8 and once with 0: the mean is 0.4, and class 0 has 0.6.
    np.testing.assert_allclose(mirrored.confidence, 0.6, atol=1e-5)
    assert (mirrored.label == 0).all()
    # Depth comes from the scale nearest to 1.
    scaled = predict(Left(), image, scales=(2.0, 1.0, 0.5))
    np.testing.assert_allclose(scaled.depth, 655.36 / 8 - 0.01, rtol=1e-5)
    np.testing.assert_allclose(predict(Left(), image, scales=(2.0, 4.0)).depth, 655.36 / 16 - 0.01, rtol=1e-5)
    # As a factor, 1.5 is nearer to 1 than 0.625 is.
    np.testing.assert_allclose(predict(Left(), image, scales=(0.625, 1.5)).depth, 655.36 / 12 - 0.01, rtol=1e-5)


def test_the_depth_of_the_mirrored_image_is_mirrored_back_and_averaged() -> None:
    class Places(Pixelwise):
        """Inverse depth is that of `Pixelwise`, plus the column."""

        def forward(self, image: Tensor) -> SegDepthOutput:
            logits, inverse_depth = super().forward(image)
            assert inverse_depth is not None
            return SegDepthOutput(logits, inverse_depth + torch.arange(image.shape[-1]))

    image = torch.rand(1, 3, 4, 6)
    found = Passes(flip=True)(Places(), image).inverse_depth
    assert found is not None
    torch.testing.assert_close(found, 10 + 50 * image[:, :1] + 2.5)  # the mean of column and mirrored column


def test_passes_are_counted() -> None:
    model = Pixelwise()
    predict(model, picture(20, 30), scales=(0.5, 1.0), flip=True)
    assert model.sizes == [(1, 3, 10, 15)] * 2 + [(1, 3, 20, 30)] * 2


@pytest.mark.parametrize("tile", [(8, 8), (7, 30), (64, 9), (1, 1)])
def test_tiles_of_a_pixelwise_model_give_what_the_whole_gives(tile: tuple[int, int]) -> None:
    image = picture()
    whole, tiled = predict(Pixelwise(), image), predict(Pixelwise(), image, tile=tile)
    np.testing.assert_array_equal(tiled.label, whole.label)
    np.testing.assert_allclose(tiled.confidence, whole.confidence, atol=1e-5)
    np.testing.assert_allclose(tiled.entropy, whole.entropy, atol=1e-5)
    np.testing.assert_allclose(tiled.depth, whole.depth, rtol=1e-4)


def test_tiles_cover_the_image_and_overlap_by_a_quarter() -> None:
    parts = list(tiles((100, 50), (40, 64)))
    assert [(part.top, part.left, part.height, part.width) for part in parts] == [
        (0, 0, 40, 50),
        (30, 0, 40, 50),
        (60, 0, 40, 50),
    ]
    covered = np.zeros((106, 131), int)
    for part in tiles((106, 131), (32, 48)):
        covered[part.window] += 1
    assert covered.min() == 1
    tops = sorted({part.top for part in tiles((106, 131), (32, 48))})
    assert tops == [0, 18, 37, 56, 74]  # no further apart than 24


def test_the_blend_falls_towards_the_borders_and_never_to_0() -> None:
    window = blend_window(8, 12)[:, 6]
    assert window.tolist() == [0.25, 0.75, 1, 1, 1, 1, 0.75, 0.25]


def test_tiles_are_chosen_by_pixels() -> None:
    assert tile_within((1024, 2048), 1024 * 2048) is None
    # 1.5 million pixels: 1216 = 38 * 32 is the largest side below the root, and 1216 * 1216 fits.
    assert tile_within((3000, 4000), 1_500_000) == (1216, 1216)
    assert tile_within((500, 8000), 1_000_000) == (500, 1984)
    assert tile_within((8000, 500), 1_000_000) == (1984, 500)
    assert tile_within((4000, 4000), 10) == (256, 256)


def test_the_rule_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gigabyte = 1 << 30
    monkeypatch.setattr("depthaware_uda.prediction.tiles._device_memory", lambda _: 8 * gigabyte)
    cpu = torch.device("cpu")
    assert pixels_that_fit(cpu, torch.float32) == 4 * gigabyte // 2048 == 2048 * 1024
    assert pixels_that_fit(cpu, torch.bfloat16) == 2 * 2048 * 1024


def test_auto_cuts_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes_module, "pixels_that_fit", lambda *_: 300 * 300)
    model, image = Pixelwise(), picture(320, 400)
    found = predict(model, image)
    assert {size[2:] for size in model.sizes} == {(288, 288)}
    np.testing.assert_array_equal(found.label, image.argmax(2))
    # Twice the scale means four times the pixels.
    model.sizes.clear()
    predict(model, picture(256, 280), scales=(2.0,))
    assert {size[2:] for size in model.sizes} == {(512, 512)}
    model.sizes.clear()
    predict(model, picture(256, 280))
    assert [size[2:] for size in model.sizes] == [(256, 280)]
    # 300,000 pixels are 75,000 at twice the scale, and 150,000 for each of two images.
    monkeypatch.setattr(passes_module, "pixels_that_fit", lambda *_: 300_000)
    model.sizes.clear()
    predict(model, picture(400, 640), scales=(2.0,))
    assert {size[2:] for size in model.sizes} == {(2 * 256, 2 * 288)}
    model.sizes.clear()
    list(predict(model, [picture(400, 640)] * 2, batch_size=2))
    assert set(model.sizes) == {(2, 3, 384, 384)}


def test_modes_and_gradients_are_the_callers_between_images() -> None:
    model = tiny_model()
    model.train()
    model.backbone.eval()
    modes = [module.training for module in model.modules()]
    found = predict(model, [picture(), picture()])
    next(found)
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()
    assert torch.tensor(1.0, requires_grad=True).mul(2).requires_grad
    next(found)
    assert [module.training for module in model.modules()] == modes


def test_a_model_in_float64_predicts() -> None:
    assert predict(tiny_model().double(), picture(32, 32)).confidence.dtype == np.float32


def test_passes_of_a_pixelwise_model_average_to_themselves() -> None:
    image = torch.rand(2, 3, 6, 8)
    output = Passes(flip=True, tile=(4, 4))(Pixelwise(), image)
    torch.testing.assert_close(output.logits.softmax(1), (4 * image).softmax(1))
    # The logarithm of a probability of 0 is finite: infinity could not be resized.
    assert Passes(flip=True)(Sure(), image).logits.isfinite().all()


class Sure(Pixelwise):
    """Sure of a class to the last bit."""

    def forward(self, image: Tensor) -> SegDepthOutput:
        logits, inverse_depth = super().forward(image)
        return SegDepthOutput(1000 * logits, inverse_depth)


def test_where_tiles_overlap_each_weighs_by_its_window() -> None:
    class ByFirst(nn.Module):
        """Class 1 has a probability of 0.8 and inverse depth is 20 if the first pixel is white, else 0.2 and 10."""

        def forward(self, image: Tensor) -> SegDepthOutput:
            white = image[:, :1, :1, :1].expand(-1, -1, *image.shape[-2:])
            likely = 0.2 + 0.6 * white
            return SegDepthOutput(torch.cat([1 - likely, likely], 1).log(), 10 + 10 * white)

    image = torch.zeros(1, 3, 4, 6)
    image[..., 0] = 1
    # Two tiles of four columns, of weight 1/2, 1, 1, 1/2; the second begins at column 2.
    output = Passes(tile=(4, 4))(ByFirst(), image)
    shares = torch.tensor([1, 1, 2 / 3, 1 / 3, 0, 0]).expand(4, 6)
    torch.testing.assert_close(output.logits.softmax(1)[0, 1], 0.2 + 0.6 * shares)
    assert output.inverse_depth is not None
    torch.testing.assert_close(output.inverse_depth[0, 0], 10 + 10 * shares)


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_folder_becomes_a_data_set(photos: Path, tmp_path: Path) -> None:
    model = Pixelwise()
    assert write_predictions(model, photos, tmp_path / "out") == ["a.png", "town/b.png", "town/c.png"]
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert files == [
        *("depth/a.png", "depth/town/b.png", "depth/town/c.png"),
        *("labels/a.png", "labels/town/b.png", "labels/town/c.png"),
        *("overlays/a.jpg", "overlays/town/b.jpg", "overlays/town/c.jpg"),
        "predictions.json",
    ]
    space = predict(model, picture()).label_space
    samples = SegmentationFolder(photos, tmp_path / "out" / "labels", tmp_path / "out" / "depth", label_space=space)
    assert samples.names == ["a.png", "town/b.png", "town/c.png"]
    # Image 2 is 80 / 255 red: 655.36 / (10 + 50 * 80 / 255) - 0.01 = 25.50 m.
    torch.testing.assert_close(samples[2]["depth"].unique(), torch.tensor([25.50]))
    assert read_depth_values(tmp_path / "out" / "depth" / "town" / "c.png").max() == 2550


def test_what_was_written_is_not_predicted_again(photos: Path, tmp_path: Path) -> None:
    model, out = Pixelwise(), tmp_path / "out"

    def cut_off() -> Iterator[Path]:
        yield from (photos / "a.png", photos / "town" / "b.png", photos / "town" / "c.png")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(model, cut_off(), out)
    model = Pixelwise()
    assert (out / "labels" / "a.png").is_file()
    (out / "depth" / "a.png").unlink()
    write_predictions(model, photos, out)
    assert len([size for size in model.sizes if size[-2:] == (6, 8)]) == 3
    model.sizes.clear()
    assert write_predictions(model, photos, out) == ["a.png", "town/b.png", "town/c.png"]
    (out / "overlays" / "town" / "b.jpg").unlink()
    write_predictions(model, photos, out)
    assert len([size for size in model.sizes if size[-2:] == (6, 8)]) == 1
    write_predictions(model, photos, out, overwrite=True)
    assert len([size for size in model.sizes if size[-2:] == (6, 8)]) == 4


def test_other_settings_or_weights_are_refused(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_predictions(tiny_model(seed=0), photos, out)
    with pytest.raises(ValueError, match=r"flip \(was False, is True\).*another folder, or pass overwrite=True"):
        write_predictions(tiny_model(seed=0), photos, out, flip=True)
    with pytest.raises(ValueError, match=r"holds other predictions, nothing was overwritten\..*weights"):
        write_predictions(tiny_model(seed=1), photos, out)
    assert len(write_predictions(tiny_model(seed=1), photos, out, overwrite=True)) == 3
    asked = LabelSpace("asked", tuple("abcdefg"), ((0, 0, 0),) * 7)
    with pytest.raises(ValueError, match=r"They differ in: classes \(was .*'flat', .*, is \['a', 'b',"):
        write_predictions(tiny_model(seed=1), photos, out, label_space=asked)


@pytest.mark.parametrize("failing", ["0.png", "7.png"])
def test_a_file_that_cannot_be_written_is_an_error(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(8):
        save(tmp_path / "photos" / f"{index}.png", picture(4, 6))
    written = Prediction.save

    def full(self: Prediction, *arguments: Any) -> list[Path]:
        if self.name == failing:
            raise OSError("no space left on the device")
        return written(self, *arguments)

    monkeypatch.setattr(Prediction, "save", full)
    with pytest.raises(OSError, match="no space left"):
        write_predictions(Pixelwise(), tmp_path / "photos", tmp_path / "out")


@pytest.mark.parametrize("lazy", [False, True])
def test_files_that_are_no_predictions_are_not_replaced(photos: Path, tmp_path: Path, lazy: bool) -> None:
    true = tmp_path / "labels" / "000001.png"
    save(true, np.zeros((6, 8), np.uint8))
    before = true.read_bytes()
    for _ in (1, 2):
        images = [picture() for _ in range(3)]
        with pytest.raises(FileExistsError, match=r"000001\.png is there, but .* holds no predictions\.json"):
            write_predictions(Pixelwise(), iter(images) if lazy else images, tmp_path)
        assert true.read_bytes() == before
    write_predictions(Pixelwise(), [picture() for _ in range(3)], tmp_path, overwrite=True)
    assert true.read_bytes() != before


def test_the_output_inside_the_input_is_no_input(photos: Path) -> None:
    for _ in range(2):
        assert len(write_predictions(Pixelwise(), photos, photos / "seen")) == 3


def test_names_that_would_share_files_are_refused_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    save(photos / "a.jpg", picture())
    model = Pixelwise()
    with pytest.raises(ValueError, match=r"'a.jpg' and 'a.png' would share their files"):
        write_predictions(model, photos, tmp_path / "out")
    assert not (tmp_path / "out" / "labels").exists()


def test_every_kind_of_file(tmp_path: Path) -> None:
    kinds = ("labels", "overlays", "depth", "depth_pictures", "confidence", "entropy")
    found = predict(Pixelwise(), Listed(numbered(1, (4, 4)), None))
    (one,) = found
    paths = one.save(tmp_path, kinds)
    assert [path.parent.parent.name for path in paths] == list(kinds)
    with Image.open(paths[-1]) as entropy:
        assert (entropy.mode, np.array(entropy).min()) == ("L", 255)  # black: three equal scores
    with Image.open(paths[2]) as depth:
        assert depth.mode.startswith("I;16")
        metres = float(to_metres(torch.tensor(10.0)))
        assert np.array(depth).max() == round(100 * metres) == 6553
    assert float(to_inverse_depth(torch.tensor(65.526))) == pytest.approx(10, abs=1e-3)


def test_scores_that_are_nan_are_warned_of_and_the_image_is_named(tmp_path: Path) -> None:
    samples = numbered(3, (4, 4))
    samples[1]["image"][:, 0] = torch.nan
    with pytest.warns(RuntimeWarning, match="scores are NaN in image/1, and count as class 0 there") as told:
        names = write_predictions(Pixelwise(), Listed(samples), tmp_path, files=["labels", "confidence", "entropy"])
    assert (len(told), len(names)) == (1, 3)
    with Image.open(tmp_path / "confidence" / "image" / "1.png") as confidence:
        assert np.array(confidence)[:2, 0].tolist() == [0, 85]  # unknown, and three equal scores
    with Image.open(tmp_path / "entropy" / "image" / "1.png") as entropy:
        assert np.array(entropy)[:, 0].tolist() == [255] * 4  # unknown pixels are uncertain


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"size": 9}])
def test_a_class_that_is_masked_out_wins_nowhere(options: dict[str, Any]) -> None:
    class Masked(Pixelwise):
        def forward(self, image: Tensor) -> SegDepthOutput:
            logits = super().forward(image).logits[..., ::2, ::2].clone()
            logits[:, 1] = -torch.inf
            return SegDepthOutput(logits, None)

    found = predict(Masked(), picture(), **options)
    assert set(np.unique(found.label)) == {0, 2}
    assert 0.5 - 1e-6 <= found.confidence.min() <= found.confidence.max() <= 1
    assert found.entropy.max() <= np.log(2) / np.log(3) + 1e-6


def test_the_picture_of_an_image_that_resampling_made_overshoot_is_clipped() -> None:
    (found,) = predict(Pixelwise(), Listed([{"image": torch.tensor([1.02, -0.02, 0.5]).view(3, 1, 1), "name": "a"}]))
    assert found.image[0, 0].tolist() == [255, 0, 128]


def test_kinds_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"files must be one or more of .*, got \('colours',\)"):
        write_predictions(Pixelwise(), picture(), tmp_path, files=["colours"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="alone, but the model has no depth"):
        write_predictions(Pixelwise(depth=False), picture(), tmp_path, files=["depth"])
    with pytest.raises(ValueError, match="alone, but the model has no depth"):
        write_predictions(tiny_model(depth_head=None, gate=False), picture(), tmp_path, files=["depth_pictures"])
