import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torchvision import tv_tensors
from torchvision.transforms import v2

from depthaware_uda.data import DepthMask, flip_and_crop, photometric, random_view, resize, strong_augmentation
from depthaware_uda.data.transforms import PhotometricNoise, RandomView
from depthaware_uda.types import Sample

from .conftest import make_sample


def _check_contract(sample: Sample, size: tuple[int, int]) -> None:
    assert sample["image"].shape == (3, *size)
    assert sample["label"].shape == size
    assert sample["depth"].shape == (1, *size)
    assert isinstance(sample["image"], tv_tensors.Image)
    assert isinstance(sample["label"], tv_tensors.Mask)
    assert isinstance(sample["depth"], tv_tensors.Mask)
    assert sample["image"].dtype == sample["depth"].dtype == torch.float32
    assert sample["label"].dtype == torch.int64


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    transform=st.sampled_from([resize, flip_and_crop, strong_augmentation]),
)
@settings(deadline=None, max_examples=60)
def test_every_size_becomes_every_size(height: int, width: int, size: tuple[int, int], transform: type) -> None:
    before = make_sample("town/a.png", height, width)
    after = transform(size)(before)
    _check_contract(after, size)
    assert after["name"] == "town/a.png"
    assert 0 <= after["image"].min() <= after["image"].max() <= 1
    # Labels and depth hold original values, or the marks for unknown, at the same pixels.
    unknown = after["label"] == 255
    assert torch.equal(after["depth"][0].isnan(), unknown)
    assert set(after["label"].unique().tolist()) <= {*before["label"].unique().tolist(), 255}
    assert set(after["depth"][0][~unknown].tolist()) <= set(before["depth"].flatten().tolist())


def test_resize_shows_everything() -> None:
    after = resize((4, 6))(make_sample(height=8, width=12))
    # Under the centres of the new pixels lie rows 1, 3, 5, 7 and columns 1, 3, ..., 11.
    assert after["label"][:, 0].tolist() == [1, 3, 5, 0]
    assert after["depth"][0, 0].tolist() == [2, 4, 6, 8, 10, 12]
    # Halving with antialiasing averages; a ramp stays a ramp: inside, pixel i lies at column 2 i + 0.5.
    torch.testing.assert_close(after["image"][0, 0, 1:-1] * 255, torch.tensor([2.5, 4.5, 6.5, 8.5]))


def test_resize_to_the_same_size_changes_nothing() -> None:
    before = make_sample()
    after = resize((8, 12))(before)
    for key in ("image", "label", "depth"):
        assert torch.equal(after[key], before[key])  # type: ignore[literal-required]


def test_resize_agrees_with_torchvision_on_images() -> None:
    image = tv_tensors.Image(torch.rand(3, 31, 47))
    ours = resize((16, 60))({"image": image})["image"]
    torch.testing.assert_close(ours, v2.Resize((16, 60), antialias=True)(image))


def test_flip_and_crop_keeps_pixels_as_they_are() -> None:
    before = make_sample(height=8, width=12)
    directions, corners = set(), set()
    for _ in range(60):
        after = flip_and_crop((3, 5))(before)
        columns, rows = after["image"][0] * 255, after["image"][1] * 255
        step = round((columns[0, 1] - columns[0, 0]).item())
        directions.add(step)
        corners.add((round(rows[0, 0].item()), round(columns.min().item())))
        assert columns.diff(dim=1).round().unique().tolist() == [step]
        assert rows.diff(dim=0).round().unique().tolist() == [1]
        assert torch.equal(after["label"], rows.round().long() % 7)
        torch.testing.assert_close(after["depth"][0].as_subclass(torch.Tensor), columns + 1)
    assert directions == {1, -1}
    assert {row for row, _ in corners} == set(range(6))
    assert {column for _, column in corners} == set(range(8))


def test_beyond_the_border_the_edge_repeats_and_nothing_is_known() -> None:
    after = flip_and_crop((4, 2))(make_sample(height=2, width=2))
    outside = after["label"][:, 0] == 255
    assert outside.sum() == 2
    assert after["depth"][0, :, 0].isnan().tolist() == outside.tolist()
    assert (after["image"][1] * 255).round().unique().tolist() == [0, 1]


def test_a_sample_smaller_than_its_crop_lies_at_the_drawn_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_view, "uniform", lambda count: [0.5] * count)
    after = RandomView((6, 5), zoom=None)(make_sample(height=2, width=3))
    # Four rows and two columns are beyond the border; the middle one of five and three places is drawn.
    rows, columns = [255, 255, 0, 1, 255, 255], [255, 1, 2, 3, 255]
    assert after["label"][:, 2].tolist() == rows
    assert after["depth"][0, 2].nan_to_num(255).tolist() == columns
    assert (after["label"] != 255).sum() == 6
    assert (after["image"][:2, 0, 0] * 255).tolist() == [0, 0]


def test_zoom_and_aspect_are_drawn_evenly_in_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_view, "uniform", lambda count: [0.5] * count)
    view = RandomView((8, 8), zoom=(1, 4), aspect=(1, 16))
    drawn = view.make_params([torch.zeros(1, 64, 64)])
    # Zoom 2 shows 32 of 64 pixels, and aspect 4 twice as many columns and half as many rows.
    assert (len(drawn["rows"]), len(drawn["columns"])) == (16, 64)


def test_nan_stays_apart() -> None:
    before = make_sample()
    before["depth"][0, :, :6] = torch.nan
    depth = resize((5, 7))(before)["depth"]
    assert set(depth[~depth.isnan()].tolist()) <= set(range(7, 13))
    assert depth.isnan().any()


@pytest.mark.parametrize(("zoom", "seen"), [(1.0, 12), (2.0, 6), (0.5, 6)])
def test_zoom_is_magnification(zoom: float, seen: int) -> None:
    after = RandomView((8, 12), zoom=(zoom, zoom))(make_sample(height=8, width=12))
    known = after["depth"][0][~after["depth"][0].isnan()]
    assert len(known.unique()) == seen
    # Zoomed out by two, the picture takes a quarter of the area.
    assert len(known) == round(min(1, zoom**2) * 96)


def test_depth_stays_in_metres_under_any_zoom() -> None:
    sample = make_sample()
    sample["depth"] = DepthMask(torch.full((1, 8, 12), 7.0))
    assert RandomView((16, 24), zoom=(2, 2))(sample)["depth"].unique().tolist() == [7.0]


def test_zoom_1_shows_the_largest_window_of_the_wanted_aspect() -> None:
    after = RandomView((4, 4), zoom=(1, 1))(make_sample(height=8, width=12))
    columns = after["depth"][0, 0]
    assert after["label"][:, 0].tolist() == [1, 3, 5, 0]
    assert columns.diff().tolist() == [2, 2, 2]


def test_aspect_widens_the_window() -> None:
    after = RandomView((8, 8), zoom=(2, 2), aspect=(4, 4))(make_sample(height=8, width=8))
    assert len(after["depth"].unique()) == 8  # half of 8 columns, times 2
    assert len(after["image"][1].unique()) <= 8


def test_photometric_noise_does_nothing_by_default() -> None:
    image = tv_tensors.Image(torch.rand(3, 5, 6))
    torch.testing.assert_close(PhotometricNoise()(image), image, atol=1e-6, rtol=0)


def _with(image: torch.Tensor, transform: PhotometricNoise, **params: object) -> torch.Tensor:
    """The image with this setting, all others being neutral."""
    neutral = {"gamma": 1.0, "matrix": torch.eye(3, dtype=torch.float64), "contrast": 1.0, "blur": 0.0, "noise": 0.0}
    return transform.transform(tv_tensors.Image(image), neutral | params).as_subclass(torch.Tensor)


def test_tone_curve_contrast_and_gains_by_hand() -> None:
    image = torch.tensor([0.2, 0.4]).expand(3, 1, 2)
    transform = PhotometricNoise()
    torch.testing.assert_close(_with(image, transform, gamma=2.0), image**2)
    # Twice the contrast spreads 0.2 and 0.4 around their mean 0.3.
    torch.testing.assert_close(_with(image, transform, contrast=2.0)[0, 0], torch.tensor([0.1, 0.5]))
    doubled = _with(image, transform, matrix=torch.diag(torch.tensor([2.0, 1.0, 4.0], dtype=torch.float64)))
    torch.testing.assert_close(doubled[:, 0, 1], torch.tensor([0.8, 0.4, 1.0]))  # clipped
    # 0.4 and 0.8 around 0.6.
    both = _with(image, transform, matrix=2 * torch.eye(3, dtype=torch.float64), contrast=2.0)
    torch.testing.assert_close(both[0, 0], torch.tensor([0.2, 1.0]))


def test_what_is_drawn_for_each_setting_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Brightness, contrast, saturation, hue, gamma and three tints as positions in -1..1; then three more and noise.
    grey = [0.75, 0.25, 0.0, 0.75, 0.75, 1.0, 0.5, 0.0, 0.9, 0.4, 0.5, 0.5]
    monkeypatch.setattr(photometric, "uniform", lambda count: grey)
    noise = PhotometricNoise(
        brightness=0.2, contrast=0.4, saturation=1.5, tint=0.1, gamma=0.6, grayscale=0.5, blur=2, noise=0.1
    )
    drawn = noise.make_params([])
    assert drawn["gamma"] == pytest.approx(math.exp(0.3))
    assert drawn["contrast"] == pytest.approx(math.exp(-0.2))
    assert (drawn["blur"], drawn["noise"]) == pytest.approx((1.0, 0.05))
    # No colour is left (1 - 1.5 is below 0), and red, green and blue are as bright as exp(0.1 + 0.1), ...
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    gains = torch.tensor([0.2, 0.1, 0.0], dtype=torch.float64).exp()
    torch.testing.assert_close(drawn["matrix"], gains[:, None] * luma, atol=2e-3, rtol=0)

    turned = [*[0.5] * 3, 1.0, *[0.5] * 4, 0.9, 0.6, 0.5, 0.5]
    monkeypatch.setattr(photometric, "uniform", lambda count: turned)
    drawn = PhotometricNoise(hue=0.5, blur=2).make_params([])
    # Half a turn makes every colour its opposite, and leaves the luma.
    torch.testing.assert_close(drawn["matrix"], 2 * luma - torch.eye(3), atol=5e-3, rtol=0, check_dtype=False)
    assert drawn["blur"] == 0


def test_what_bicubic_resizing_leaves_below_black_stays_a_number() -> None:
    edge = tv_tensors.Image(torch.zeros(3, 8, 8))
    edge[:, :, 4:] = 1
    resized = v2.Resize((13, 17), interpolation=v2.InterpolationMode.BICUBIC)(edge)
    assert resized.min() < 0
    toned = _with(resized, PhotometricNoise(), gamma=0.7)
    assert (toned.min(), toned.max()) == (0, 1)  # and not NaN everywhere because of the mean


def test_grayscale_keeps_luma_and_hue_turns_keep_greys() -> None:
    image = tv_tensors.Image(torch.rand(3, 4, 4))
    grey = PhotometricNoise(grayscale=1.0)(image)
    luma = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    torch.testing.assert_close(grey, tv_tensors.Image(luma.expand(3, 4, 4)), atol=2e-3, rtol=0)
    plain = tv_tensors.Image(torch.full((3, 2, 2), 0.5))
    torch.testing.assert_close(PhotometricNoise(hue=0.5, saturation=1)(plain), plain, atol=2e-3, rtol=0)


@pytest.mark.parametrize("sigma", [0.5, 1.2])
def test_blur_agrees_with_scipy(sigma: float) -> None:
    image = torch.rand(3, 9, 11)
    radius = int(np.ceil(3 * sigma))
    expected = [gaussian_filter(channel, sigma, mode="nearest", radius=radius) for channel in image.numpy()]
    blurred = _with(image, PhotometricNoise(), blur=sigma)
    torch.testing.assert_close(blurred, torch.from_numpy(np.stack(expected)), atol=1e-5, rtol=0)


def test_noise_has_the_drawn_deviation() -> None:
    noisy = _with(torch.full((3, 100, 100), 0.5), PhotometricNoise(), noise=0.05)
    assert noisy.std().item() == pytest.approx(0.05, rel=0.05)


def test_the_global_seed_decides_everything() -> None:
    transform, sample = strong_augmentation((8, 12)), make_sample()
    torch.manual_seed(3)
    first, other = transform(sample), transform(sample)
    torch.manual_seed(3)
    again = pickle.loads(pickle.dumps(transform))(sample)
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["label"], again["label"])
    assert not torch.equal(first["image"], other["image"])


def test_the_sample_that_went_in_is_unchanged() -> None:
    sample, copy = make_sample(), make_sample()
    strong_augmentation((8, 12))(sample)
    assert all(torch.equal(sample[key], copy[key]) for key in ("image", "label", "depth"))  # type: ignore[literal-required]


def test_labels_and_depth_may_be_absent() -> None:
    after = strong_augmentation((4, 4))(make_sample(full=False))
    assert sorted(after) == ["image", "name"]
    assert strong_augmentation((4, 4))({"name": "a"}) == {"name": "a"}


def test_they_compose_with_torchvision() -> None:
    after = v2.Compose([flip_and_crop((6, 6)), v2.RandomVerticalFlip(1.0)])(make_sample())
    _check_contract(after, (6, 6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (4, -1)}, r"size must be \(height, width\)"),
        ({"zoom": (0, 1)}, "zoom must be an ascending range above 0"),
        ({"zoom": 1.5}, "zoom must be an ascending range above 0, got 1.5"),
        ({"zoom": ()}, "zoom must be an ascending range above 0"),
        ({"zoom": (1, float("inf"))}, "zoom must be an ascending range above 0"),
        ({"aspect": (2, 1)}, "aspect must be an ascending range above 0"),
        ({"aspect": (1, float("nan"))}, "aspect must be an ascending range above 0"),
        ({"flip": 1.5}, r"flip must be a probability in 0\.\.1, got 1\.5"),
        ({"grayscale": -0.1}, "grayscale must be a probability"),
        ({"noise": -1}, "noise must be 0 or more, got -1"),
        ({"hue": float("nan")}, "hue must be 0 or more, got nan"),
    ],
)
def test_wrong_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        strong_augmentation(**{"size": (4, 4)} | arguments)


def test_wrong_samples() -> None:
    with pytest.raises(ValueError, match=r"size must be .* got None"):
        RandomView(None, zoom=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"stretch shows the whole sample: zoom must be None, got \(1, 2\)"):
        RandomView((4, 4), zoom=(1, 2), stretch=True)
    for shape in ((3, 3, 2, 2), (1, 2, 2)):
        with pytest.raises(ValueError, match=r"expected one RGB image \(3, H, W\), got"):
            PhotometricNoise()(tv_tensors.Image(torch.zeros(shape)))
    sample = make_sample()
    sample["label"] = tv_tensors.Mask(torch.zeros(3, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"must have one size, got \[\(3, 3\), \(8, 12\)\]; full_size_labels is"):
        resize((4, 4))(sample)
    with pytest.raises(TypeError, match=r"floating-point image in 0\.\.1, got torch\.uint8"):
        PhotometricNoise()(tv_tensors.Image(torch.zeros(3, 2, 2, dtype=torch.uint8)))


def test_plain_tensors_are_not_left_as_they_are() -> None:
    typed = make_sample()
    plain = Sample(**{key: value.as_subclass(torch.Tensor) for key, value in typed.items() if key != "name"})  # type: ignore[typeddict-item,attr-defined]
    for transform in (resize((4, 4)), PhotometricNoise(noise=1.0), strong_augmentation((4, 4))):
        with pytest.raises(TypeError, match=r"plain tensor of shape \(3, 8, 12\).*as_tv_tensors\(sample\)"):
            transform(plain)
    with pytest.raises(TypeError, match=r"plain tensor of shape \(8, 12\)"):
        resize((4, 4))({**typed, "label": plain["label"]})
    # Entries that are not pixel maps pass through: a camera matrix, a number.
    after = resize((4, 4))({**typed, "camera": torch.eye(3), "weight": torch.tensor(2.0)})
    assert torch.equal(after["camera"], torch.eye(3))
    assert PhotometricNoise()({**typed, "label": plain["label"]})["label"] is plain["label"]
