"""Class-mix, confidence and rare-class sampling, with numbers that can be checked by hand."""

import pytest
import torch

from depthaware_uda.data import class_pixels
from depthaware_uda.pseudo_labels import pseudo_label
from depthaware_uda.self_training import (
    RareClassSampled,
    class_mask,
    class_probabilities,
    confident_share,
    mix,
    nearer,
    pixel_confidence,
)
from depthaware_uda.trainers.run.streams import seeded, stream
from depthaware_uda.types import Sample
from tests.tiny import Listed, Scenes


def test_half_of_the_classes_are_chosen_whole_and_unlabelled_pixels_never() -> None:
    label = torch.tensor([[[0, 0, 3], [4, 255, 6]], [[2, 2, 2], [2, 2, 255]]])
    seen = set()
    for _ in range(30):
        mask = class_mask(label)
        chosen = set(label[0][mask[0]].tolist())
        assert len(chosen) == 2
        assert not chosen & set(label[0][~mask[0]].tolist())
        assert not mask[label == 255].any()
        assert mask[1].sum() == 5
        seen |= chosen
    assert seen == {0, 3, 4, 6}


def test_a_label_without_classes_pastes_nothing() -> None:
    assert not class_mask(torch.full((1, 2, 3), 255)).any()


def test_images_labels_and_depth_are_mixed_by_one_mask() -> None:
    mask = torch.tensor([[[True, False]]])
    assert mix(mask, torch.tensor([[[1, 2]]]), torch.tensor([[[3, 4]]])).tolist() == [[[1, 4]]]
    mixed = mix(mask, torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2))
    assert mixed.tolist() == [[[[1.0, 0.0]]] * 3]
    with pytest.raises(ValueError, match="one size first"):
        mix(mask, torch.ones(1, 3, 1, 2), torch.ones(1, 3, 1, 3))


def test_only_what_is_nearer_is_pasted() -> None:
    mask = torch.tensor([[[True, True, True, False, True]]])
    source = torch.tensor([[[[5.0, 1.0, torch.nan, 9.0, 2.0]]]])  # the last is as near as what it covers
    assert nearer(mask, source, torch.full((1, 1, 1, 5), 2.0)).tolist() == [[[True, False, False, False, True]]]
    with pytest.raises(ValueError, match=r"source \(1, 1, 5\) and target .* must be \(N, 1, H, W\) of a mask"):
        nearer(mask, source[0], torch.full((1, 1, 5), 2.0))


def test_the_confident_share_counts_sure_pixels_of_each_image() -> None:
    sure, unsure = [9.0, 0.0], [0.0, 0.0]
    logits = torch.tensor([[sure, unsure, unsure, unsure], [sure, sure, sure, unsure]]).permute(0, 2, 1)[..., None]
    assert confident_share(logits).tolist() == [0.25, 0.75]
    assert confident_share(logits, 0.5).tolist() == [0.25, 0.75]  # a probability of 0.5 does not exceed 0.5
    published = torch.tensor([[0.96, 0.04], [0.97, 0.03]]).log().T[None, :, None, :]
    assert confident_share(published).tolist() == [0.5]
    with pytest.raises(ValueError, match=r"lie in 0\.\.1"):
        confident_share(logits, 1.5)


def test_the_confidence_of_a_pixel_is_its_best_probability_where_that_suffices() -> None:
    logits = torch.tensor([[0.9, 0.1], [0.6, 0.4]]).log().T[None, :, None, :]
    assert pixel_confidence(logits, 0.7)[0, 0].tolist() == pytest.approx([0.9, 0.0])
    assert pixel_confidence(logits)[0, 0].tolist() == pytest.approx([0.9, 0.6])
    assert pixel_confidence(torch.zeros(1, 2, 1, 1), 0.5).item() == 0.5  # it reaches the threshold
    with pytest.raises(ValueError, match=r"lie in 0\.\.1"):
        pixel_confidence(logits, -1)
    for weight in (pixel_confidence, confident_share):
        with pytest.raises(ValueError, match=r"logits must be \(N, C, H, W\), got \(2, 1, 2\)"):
            weight(logits[0])


def labelled(*rows: list[int]) -> Listed:
    samples = [Sample(image=torch.zeros(3, 1, len(row)), label=torch.tensor([row]), name=str(row)) for row in rows]
    return Listed(samples)


def test_rare_classes_are_drawn_by_their_temperature() -> None:
    pixels = torch.tensor([75, 25, 0])
    expected = torch.tensor([0.25, 0.75]).double().div(0.5).softmax(0)
    assert class_probabilities(pixels, 0.5).tolist() == pytest.approx([*expected.tolist(), 0.0])
    assert class_probabilities(pixels, 0.5).dtype == torch.float64
    with pytest.raises(ValueError, match="temperature must be positive"):
        class_probabilities(pixels, 0.0)
    with pytest.raises(ValueError, match="no class has a pixel"):
        class_probabilities(torch.zeros(2), 1.0)


def test_an_image_that_shows_the_class_is_drawn_whatever_the_index() -> None:
    data = RareClassSampled(labelled([0, 0, 0, 0], [0, 0, 0, 1], [0, 255, 1, 1]), 3, temperature=0.001, min_pixels=2)
    # Class 1 is the rarer one, and only the last image has two pixels of it.
    assert {data[index]["name"] for index in range(3) for _ in range(5)} == {"[0, 255, 1, 1]"}
    for skip in (False, True):
        batches = stream(data, name="source", seed=0, batch_size=3, start_step=0, stop_step=3, skip=skip)
        assert {name for batch in batches for name in batch["name"]} == {"[0, 255, 1, 1]"}
    even = RareClassSampled(Scenes(4), 7, temperature=10.0)
    published = class_probabilities(class_pixels(Scenes(4), 7), 0.01)
    torch.testing.assert_close(RareClassSampled(Scenes(4), 7).probabilities, published)
    with seeded(1):
        first = [even[0]["name"] for _ in range(20)]
    with seeded(1):
        assert [even[3]["name"] for _ in range(20)] == first
    assert len(set(first)) > 1
    assert (len(even), even.names) == (4, Scenes(4).names)


def test_rare_classes_need_labels() -> None:
    with pytest.raises(ValueError, match=r"'street/0\.png' has no label to count"):
        RareClassSampled(Scenes(2, labels=False), 7)
    with pytest.raises(ValueError, match="min_pixels must be at least 1"):
        RareClassSampled(Scenes(2), 7, min_pixels=0)
    with pytest.raises(ValueError, match="num_classes must be a whole number of at least 1, got None"):
        RareClassSampled(Scenes(2), None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="data set is empty"):
        RareClassSampled(Scenes(0), 7)
    with pytest.raises(ValueError, match=r"labels of '\[0, 7\]' hold \[7\], expected integers in 0\.\.2"):
        RareClassSampled(labelled([0, 0], [0, 7]), 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_confidence_is_computed_in_float32_at_least(dtype: torch.dtype) -> None:
    logits = (3 * torch.randn(1, 3, 40, 40)).to(dtype)
    exact = logits if dtype == torch.float64 else logits.float()
    assert torch.equal(pixel_confidence(logits, 0.9), pixel_confidence(exact, 0.9))
    assert pixel_confidence(logits).dtype == confident_share(logits).dtype == exact.dtype
    assert torch.equal(pseudo_label(logits, 0.9), pseudo_label(exact, 0.9))


def test_a_mask_is_drawn_of_a_batch_of_integers() -> None:
    label = torch.randint(5, (2, 4, 6))
    torch.manual_seed(0)
    expected = class_mask(label)
    torch.manual_seed(0)
    assert torch.equal(class_mask(label.byte()), expected)
    for wrong in (label[0], label[:, None], label.float()):
        with pytest.raises(ValueError, match=r"expected class indices in integers, \(N, H, W\)"):
            class_mask(wrong)
    for strange in (-1, 256):
        with pytest.raises(ValueError, match=f"label holds the id {strange}, expected classes, or 255 for none"):
            class_mask(torch.where(label == 4, strange, label))


def test_images_of_8_bits_are_not_mixed_with_others() -> None:
    mask, image = torch.ones(1, 2, 2, dtype=torch.bool), torch.rand(1, 3, 2, 2)
    with pytest.raises(ValueError, match=r"source is torch.uint8, target torch.float32: divide 8-bit images by 255"):
        mix(mask, (255 * image).byte(), image)
