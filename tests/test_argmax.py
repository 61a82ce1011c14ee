"""The class of every pixel of a resized map equals that of the resized scores."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from depthaware_uda.models import resize
from depthaware_uda.models.argmax import argmax, argmax_resized


def scores(
    size: tuple[int, int] = (16, 24), *, classes: int = 7, roughness: float = 1.0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Scores of two images with regions of one class each, with noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(2, classes, 4, 6, generator=generator, dtype=dtype)
    return resize(coarse, size) + roughness * torch.randn(2, classes, *size, generator=generator, dtype=dtype)


def assert_classes_of_resized(logits: Tensor, size: tuple[int, int]) -> None:
    found = argmax_resized(logits, size)
    assert torch.equal(found.long(), resize(logits, size).argmax(1))


@pytest.mark.parametrize("roughness", [0, 0.5, 5])
@pytest.mark.parametrize("size", [(64, 96), (48, 72), (128, 192), (130, 257), (33, 97), (16, 24), (5, 7), (1, 1)])
def test_the_class_of_every_pixel_is_that_of_the_resized_scores(size: tuple[int, int], roughness: float) -> None:
    assert_classes_of_resized(scores(roughness=roughness), size)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    factor=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    more=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    classes=st.integers(1, 6),
    levels=st.integers(1, 4),
    seed=st.integers(0, 2**16),
    count=st.integers(1, 3),
)
def test_equal_scores_too(
    shape: tuple[int, int],
    factor: tuple[int, int],
    more: tuple[int, int],
    classes: int,
    levels: int,
    seed: int,
    count: int,
) -> None:
    """With only a few score levels, classes often tie at corners, where only rounding may separate them."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(levels, (count, classes, *shape), generator=generator).float()
    size = shape[0] * factor[0] + more[0], shape[1] * factor[1] + more[1]
    resized = resize(logits, size)
    found = resized.gather(1, argmax_resized(logits, size).long()[:, None])
    torch.testing.assert_close(found, resized.amax(1, keepdim=True), rtol=0, atol=1e-5)


def test_of_equal_scores_the_first_class_wins_as_in_torch() -> None:
    logits = torch.tensor([0.0, 2.0, 1.0, 2.0])[None, :, None, None].expand(1, 4, 3, 3).contiguous()
    for size in ((3, 3), (12, 12)):
        assert torch.equal(argmax_resized(logits, size), torch.ones(1, *size, dtype=torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype) -> None:
    assert_classes_of_resized(scores(dtype=dtype), (64, 96))


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1)])
def test_maps_of_one_row_or_column(shape: tuple[int, int]) -> None:
    assert_classes_of_resized(scores(shape), (40, 40))


@pytest.mark.parametrize("classes", [1, 2, 255, 257, 300])
def test_any_number_of_classes(classes: int) -> None:
    logits = scores((3, 4), classes=classes)
    logits[:, -1, 0] += 100  # the last class, which bytes may not hold, wins there
    assert torch.equal(argmax(logits).long(), logits.argmax(1))
    assert_classes_of_resized(logits, (12, 17))


def test_classes_that_win_inside_a_cell_but_at_no_corner_of_it() -> None:
    logits = torch.tensor([[[4.0, 0.0], [4.0, 0.0]], [[2.9, 2.9], [2.9, 2.9]], [[0.0, 4.0], [0.0, 4.0]]])[None]
    assert argmax_resized(logits, (6, 9))[0, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_scores_may_need_gradients_and_do_not_become_classes_that_do() -> None:
    logits = scores().requires_grad_()
    assert_classes_of_resized(logits, (64, 96))


def test_scores_that_are_not_numbers_give_classes_all_the_same() -> None:
    logits = scores()
    logits[0, :, 3] = torch.nan
    logits[1, 2, 5] = torch.inf
    label = argmax_resized(logits, (64, 96))
    assert label.max() < 7
    assert (label[1, 21] == 2).all()  # row 21 of 0..63 lies on row 5 of 0..15


@pytest.mark.parametrize("size", [(16, 24), (20, 30), (64, 96)])
def test_a_class_that_is_masked_out_wins_nowhere_and_the_others_as_without_it(size: tuple[int, int]) -> None:
    logits = scores()
    others = torch.tensor([0, 1, 2, 4, 5, 6])
    logits[:, 3] = -torch.inf
    assert torch.equal(argmax_resized(logits, size).long(), others[resize(logits[:, others], size).argmax(1)])
    logits = torch.zeros(1, 3, 4, 6)  # no score is larger than any other
    logits[:, 0] = -torch.inf
    assert (argmax_resized(logits, size) == 1).all()
