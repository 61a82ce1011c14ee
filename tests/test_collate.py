from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors

from depthaware_uda.data import collate
from depthaware_uda.data.collate import check_pixels, check_some_pixels
from depthaware_uda.types import Sample

from .conftest import ListDataset, make_sample


def test_samples_become_plain_tensors() -> None:
    batch = collate([make_sample("a"), make_sample("b")])
    assert batch["image"].shape == (2, 3, 8, 12)
    assert batch["label"].shape == (2, 8, 12)
    assert batch["depth"].shape == (2, 1, 8, 12)
    assert batch["name"] == ["a", "b"]
    assert type(batch["image"]) is type(batch["label"]) is type(batch["depth"]) is torch.Tensor


def test_absent_keys_stay_absent() -> None:
    assert sorted(collate([make_sample(full=False)])) == ["image", "name"]
    assert sorted(collate([Sample(label=tv_tensors.Mask(torch.zeros(2, 2, dtype=torch.long)))])) == ["label"]


def test_it_serves_a_loader() -> None:
    dataset = ListDataset([make_sample(name) for name in "abc"])
    batches = list(DataLoader(dataset, batch_size=2, collate_fn=collate))  # type: ignore[arg-type]
    assert [batch["name"] for batch in batches] == [["a", "b"], ["c"]]


def test_no_samples() -> None:
    with pytest.raises(ValueError, match="at least one sample, got none"):
        collate([])


@pytest.mark.parametrize("wrong", [lambda image: 255 * image, lambda image: (image - 0.45) / 0.22])
def test_an_image_that_is_not_in_0_to_1_is_named(wrong: Callable[[torch.Tensor], torch.Tensor]) -> None:
    good, bad = make_sample("a", height=30), make_sample("b", height=30)
    good["image"], bad["image"] = torch.rand(3, 30, 40) * 1.2 - 0.1, wrong(torch.rand(3, 30, 40))  # just outside 0..1
    with pytest.raises(ValueError, match=r"image of 'b' has values in .*, expected 0\.\.1; the model normalises"):
        collate([good, bad])


@pytest.mark.parametrize(("value", "right"), [(-0.4, True), (1.4, True), (-0.6, False), (1.6, False)])
def test_resampling_may_overshoot_by_half_of_the_range(value: float, right: bool) -> None:
    image = torch.rand(3, 16, 16)
    image[1, 8, 8] = value  # of every eighth row and column
    for check in (check_pixels, check_some_pixels):
        with nullcontext() if right else pytest.raises(ValueError, match=r"image of a has values in .*expected 0\.\.1"):
            check(image, "image of a")


def test_whole_numbers_and_nan_are_left_to_others() -> None:
    sample = make_sample("a")
    for image in (torch.full((3, 8, 12), 255, dtype=torch.uint8), torch.full((3, 8, 12), torch.nan)):
        assert collate([{**sample, "image": image}])["image"].dtype == image.dtype


def test_different_keys_name_the_samples() -> None:
    with pytest.raises(ValueError, match=r"'a' has \['depth', 'image', 'label', 'name'\], 'b' has \['image', 'name'\]"):
        collate([make_sample("a"), make_sample("b", full=False)])


def test_different_sizes_name_the_samples_and_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"image of 'a' is \(3, 8, 12\), of 'b' \(3, 6, 12\);.* resize\(size\)"):
        collate([make_sample("a"), make_sample("b", height=6)])
    nameless = make_sample(height=6)
    del nameless["name"]
    first = make_sample()
    del first["name"]
    with pytest.raises(ValueError, match="image of a sample without a name"):
        collate([first, nameless])


@pytest.mark.parametrize("key", ["image", "label", "depth"])
def test_what_is_no_tensor_is_named(key: str) -> None:
    sample = make_sample("a")
    array = {**sample, key: sample[key].numpy()}  # type: ignore[literal-required]
    with pytest.raises(ValueError, match=f"{key} of 'a' is a ndarray, expected a tensor; torch.from_numpy"):
        collate([array])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=f"{key} of 'a' is None; leave out"):
        collate([{**sample, key: None}])  # type: ignore[typeddict-item]
