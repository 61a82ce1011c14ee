"""All torchvision transforms move image, label and depth of a sample together, and mark filled-in pixels."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from depthaware_uda.data import Augmented, CamVid, DepthMask, InMemory, LabelMask, MiniCity, as_tv_tensors
from depthaware_uda.types import Sample

from .conftest import ListDataset, make_sample

GEOMETRY: dict[str, v2.Transform] = {
    "flip": v2.RandomHorizontalFlip(1.0),
    "vertical flip": v2.RandomVerticalFlip(1.0),
    "crop": v2.RandomCrop((8, 12)),
    "padded crop": v2.RandomCrop((20, 30), padding=4),
    "crop larger than the picture": v2.RandomCrop((40, 50), pad_if_needed=True),
    "center crop": v2.CenterCrop((40, 20)),
    "resized crop": v2.RandomResizedCrop((12, 16), scale=(0.3, 0.6)),
    "rotation": v2.RandomRotation((20, 40), expand=True),
    "affine": v2.RandomAffine((20, 40), translate=(0.2, 0.2), scale=(0.6, 0.8)),
    "perspective": v2.RandomPerspective(0.5, p=1.0),
    "elastic": v2.ElasticTransform(alpha=60.0),
    "zoom out": v2.RandomZoomOut(p=1.0),
    "pad": v2.Pad((3, 5), fill={tv_tensors.Image: 0, tv_tensors.Mask: 7}),
    "resize": v2.Resize((17, 23)),
}
COLOUR: dict[str, v2.Transform] = {
    "jitter": v2.ColorJitter(0.5, 0.5, 0.5, 0.2),
    "blur": v2.GaussianBlur(5, sigma=2.0),
    "grayscale": v2.RandomGrayscale(1.0),
    "posterize": v2.Compose([v2.ToDtype(torch.uint8, scale=True), v2.RandomPosterize(2, 1.0)]),
}
FILLING = {"padded crop", "crop larger than the picture", "center crop", "rotation", "affine", "perspective", "elastic"}
FILLING |= {"zoom out", "pad"}


def telling(height: int = 24, width: int = 32) -> Sample:
    """A sample whose label and depth agree: metres = 1 + label; two rows have no depth."""
    label = torch.arange(height * width).reshape(height, width) % 200
    depth = 1.0 + label[None].float()
    depth[:, 10:12] = torch.nan
    return Sample(
        image=tv_tensors.Image(label.expand(3, -1, -1) / 255), label=LabelMask(label), depth=DepthMask(depth), name="a"
    )


@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_moves_all_together_and_marks_what_it_fills(name: str) -> None:
    before = telling()
    after = GEOMETRY[name](before)
    label, depth = after["label"].as_subclass(Tensor), after["depth"].as_subclass(Tensor)
    assert isinstance(after["label"], LabelMask)
    assert isinstance(after["depth"], DepthMask)
    assert (label.dtype, depth.dtype) == (torch.int64, torch.float32)
    assert after["image"].shape[-2:] == label.shape == depth.shape[-2:]
    outside = label == 255
    assert outside.any() == (name in FILLING)
    # Where there is a class, depth matches it or was unknown; elsewhere depth is unknown.
    assert set(label[~outside].tolist()) <= set(range(200))
    assert depth[0][outside].isnan().all()
    known = ~depth[0].isnan()
    assert torch.equal(depth[0][known], 1.0 + label[known])
    # Only the rows that had no depth lack it.
    lost = ~known & ~outside
    assert set(label[lost].tolist()) <= set(before["label"][10:12].flatten().tolist())


@pytest.mark.parametrize("name", COLOUR)
def test_colours_leave_label_and_depth_alone(name: str) -> None:
    before = telling()
    after = COLOUR[name](before)
    assert after["image"].shape == before["image"].shape
    assert torch.equal(after["label"], before["label"])
    assert torch.equal(after["depth"].nan_to_num(-1), before["depth"].nan_to_num(-1))


def test_the_image_moves_with_its_label() -> None:
    # The image encodes the label, also after a flip, a crop and a shift without resampling.
    pipeline = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.RandomCrop((16, 20)), v2.RandomAffine(0, (0.3, 0.3))])
    after = pipeline(telling())
    inside = after["label"] != 255
    torch.testing.assert_close(after["image"][0][inside].mul(255).as_subclass(Tensor), after["label"][inside].float())


def test_a_plain_mask_of_torchvision_would_read_as_class_0_at_0_metres() -> None:
    # The purpose of the two mask types.
    plain = tv_tensors.Mask(torch.full((4, 4), 3))
    assert v2.Pad(1)(plain)[0].tolist() == [0] * 6
    assert v2.Pad(1)(LabelMask(torch.full((4, 4), 3)))[0].tolist() == [255] * 6


def test_resized_labels_lie_where_their_image_does() -> None:
    # Under the centres of a third as many pixels lie columns 1, 4, 7 ...; torchvision's masks take 0, 3, 6 ...
    label = LabelMask(torch.arange(12).repeat(6, 1))
    depth = DepthMask(label[None].float())
    assert v2.Resize((2, 4))(tv_tensors.Mask(label))[0].tolist() == [0, 3, 6, 9]
    assert v2.Resize((2, 4))(label)[0].tolist() == [1, 4, 7, 10]
    assert v2.Resize((2, 4), interpolation=v2.InterpolationMode.BICUBIC)(depth)[0, 0].tolist() == [1, 4, 7, 10]
    assert v2.Resize(3, max_size=4)(label).shape == (2, 4)
    assert v2.RandomResizedCrop((2, 4), scale=(1, 1), ratio=(2, 2))(label)[0].tolist() == [1, 4, 7, 10]
    image = v2.Resize((2, 4))(tv_tensors.Image(label[None].expand(3, -1, -1) / 12))
    torch.testing.assert_close(image[0, 0, 1:3] * 12, torch.tensor([4.0, 7.0]))  # inside, a ramp stays a ramp
    crop = v2.functional.resized_crop(label, -2, -2, 4, 4, [2, 2])  # half of it lies outside
    assert (type(crop), crop.tolist()) == (LabelMask, [[255, 255], [255, 1]])


def test_padding_that_repeats_the_picture_is_known() -> None:
    after = v2.Pad(2, padding_mode="reflect")(telling())
    assert not (after["label"] == 255).any()
    assert after["label"][0, 0] == telling()["label"][2, 2]


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: InMemory(data, progress=False)])
def test_data_sets_give_such_masks(camvid_copy: object, wrap: Callable) -> None:
    for dataset in (CamVid(camvid_copy, "train"), MiniCity(1, size=(16, 16))):  # type: ignore[arg-type]
        sample = wrap(dataset)[0]
        assert isinstance(sample["image"], tv_tensors.Image)
        assert isinstance(sample["label"], LabelMask)
        assert "depth" not in sample or isinstance(sample["depth"], DepthMask)


def test_plain_tensors_of_other_data_sets_become_them_before_a_transform() -> None:
    sample = make_sample(height=4, width=4)
    plain = Sample(image=sample["image"].as_subclass(Tensor), label=sample["label"].as_subclass(Tensor), name="a")
    padded = Augmented(ListDataset([plain]), v2.Pad(1))[0]
    assert padded["image"].shape == (3, 6, 6)
    assert padded["label"][0].tolist() == [255] * 6
    assert padded["label"][1:-1, 1:-1].tolist() == plain["label"].tolist()


def test_as_tv_tensors_keeps_what_is_there() -> None:
    assert as_tv_tensors(Sample(name="a")) == {"name": "a"}
    sample = make_sample()
    typed = as_tv_tensors(sample)
    assert typed["depth"].data_ptr() == sample["depth"].data_ptr()
    assert not isinstance(sample["label"], LabelMask)
