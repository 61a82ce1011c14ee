"""Losses against values computed by hand, by PyTorch and by SciPy, and their properties."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from depthaware_uda.losses import (
    SOURCE,
    TARGET,
    berhu,
    cross_entropy,
    domain_loss,
    entropy_loss,
    normalized_entropy,
    scale_shift_invariant,
    self_information,
)

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**31 - 1)


def normal(seed: int, *shape: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gradient(loss: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(loss, at)[0]


# Cross-entropy --------------------------------------------------------------------------------------------------------


def two_pixels() -> tuple[Tensor, Tensor]:
    """Both pixels have probabilities 1/4 and 3/4; the first is of class 0, the second of class 1."""
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    return logits, torch.tensor([[[0, 1]]])


def test_cross_entropy_is_the_mean_over_pixels() -> None:
    logits, label = two_pixels()
    assert cross_entropy(logits, label).item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)


@pytest.mark.parametrize("weight", [(1.0, 2.0), torch.ones(3), torch.tensor(1.0)])
def test_class_weights_are_a_tensor_of_one_a_class(weight: Any) -> None:
    with pytest.raises(ValueError, match=r"class_weight must be a tensor \(C,\) of 2 classes, got "):
        cross_entropy(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.long), class_weight=weight)


def test_class_weights_weigh_the_mean_too() -> None:
    logits, label = two_pixels()
    loss = cross_entropy(logits, label, class_weight=torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((math.log(4) + 3 * math.log(4 / 3)) / 4)
    small = cross_entropy(logits, label, class_weight=torch.tensor([0.1, 0.3]))  # together less than one pixel
    assert small.item() == pytest.approx(loss.item())


def test_pixel_weights_weigh_the_sum_and_not_the_mean() -> None:
    logits, label = two_pixels()
    trust = torch.tensor([[[0.5, 0.0]]])
    assert cross_entropy(logits, label, pixel_weight=trust).item() == pytest.approx(0.5 * math.log(4) / 2)
    ignored = label.where(label == 0, 255)
    weight = torch.tensor([2.0, 3.0])
    loss = cross_entropy(logits, ignored, class_weight=weight, pixel_weight=trust)
    assert loss.item() == pytest.approx(0.5 * 2 * math.log(4) / 2)


def test_weights_and_masks_of_another_shape_are_refused() -> None:
    """With two images, an extra channel would broadcast over both: no error, but another loss."""
    label = torch.zeros(2, 4, 5, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"pixel_weight \(2, 1, 4, 5\) must have the shape of label \(2, 4, 5\)"):
        cross_entropy(torch.zeros(2, 3, 4, 5), label, pixel_weight=torch.ones(2, 1, 4, 5))
    depth = torch.ones(2, 1, 4, 5)
    for loss in (berhu, scale_shift_invariant):
        with pytest.raises(ValueError, match=r"valid \(2, 4, 5\) must have the shape of target \(2, 1, 4, 5\)"):
            loss(depth, depth, valid=torch.ones(2, 4, 5, dtype=torch.bool))


def test_ignored_pixels_do_not_count() -> None:
    logits, label = two_pixels()
    assert cross_entropy(logits, label.where(label == 0, 255)).item() == pytest.approx(math.log(4))
    assert cross_entropy(logits, label.where(label == 1, -1), ignore_index=-1).item() == pytest.approx(math.log(4 / 3))


@few
@given(seed=seeds, weighted=st.booleans(), ignored=st.sampled_from([0.0, 0.3, 0.9]))
def test_cross_entropy_and_its_gradient_equal_those_of_pytorch(seed: int, weighted: bool, ignored: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = normal(seed, 2, 5, 4, 6, scale=3).requires_grad_()
    label = torch.randint(5, (2, 4, 6), generator=generator)
    label[torch.rand(2, 4, 6, generator=generator) < ignored] = 255
    label[0, 0, 0] = 2
    weight = 0.1 + torch.rand(5, generator=generator, dtype=torch.float64) if weighted else None
    ours = cross_entropy(logits, label, class_weight=weight)
    judge = F.cross_entropy(logits, label, weight=weight, ignore_index=255)
    torch.testing.assert_close(ours, judge)
    torch.testing.assert_close(gradient(ours, logits), gradient(judge, logits))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 3.0])])
def test_without_a_labelled_pixel_cross_entropy_and_gradient_are_zero(
    dtype: torch.dtype, weight: Tensor | None
) -> None:
    logits = normal(0, 1, 3, 4, 5).to(dtype).requires_grad_()
    loss = cross_entropy(logits, torch.full((1, 4, 5), 255), class_weight=weight)
    assert loss.item() == 0
    assert gradient(loss, logits).tolist() == torch.zeros(1, 3, 4, 5).tolist()


@pytest.mark.parametrize("scale", [1, 65536], ids=["", "as scaled for half precision"])
def test_where_only_weightless_classes_are_shown_cross_entropy_and_gradient_are_zero(scale: int) -> None:
    logits = normal(0, 1, 2, 3, 3, dtype=torch.float32).requires_grad_()
    label, weight = torch.zeros(1, 3, 3, dtype=torch.int64), torch.tensor([0.0, 1.0])
    loss = cross_entropy(logits, label, class_weight=weight)
    assert loss.item() == 0
    assert gradient(scale * loss, logits).tolist() == torch.zeros(1, 2, 3, 3).tolist()


def test_cross_entropy_refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"logits \(1, 3, 4, 5\) and label \(1, 8, 10\).*resize"):
        cross_entropy(torch.zeros(1, 3, 4, 5), torch.zeros(1, 8, 10, dtype=torch.int64))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (torch.full((1, 4, 5), 3), r"none of the 3 classes \(0..2, and 255 to ignore\).*3.*more classes"),
        (torch.full((1, 4, 5), -1), "none of the 3 classes"),
        (torch.zeros(1, 4, 5), r"label is torch.float32 \(1, 4, 5\), expected class indices in integers"),
        (torch.zeros(1, 1, 4, 5, dtype=torch.int64), r"label is torch.int64 \(1, 1, 4, 5\), expected .* \(N, H, W\)"),
    ],
)
def test_cross_entropy_refuses_what_is_no_label(label: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cross_entropy(torch.zeros(1, 3, 4, 5), label)


def test_cross_entropy_of_labels_in_8_bits() -> None:
    logits, label = torch.randn(1, 3, 4, 5), torch.randint(3, (1, 4, 5))
    assert cross_entropy(logits, label.to(torch.uint8)) == cross_entropy(logits, label)


# berHu ----------------------------------------------------------------------------------------------------------------


def depth_map(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def test_berhu_by_hand() -> None:
    # Errors 1, -2, 10: c = 2; |1| and |-2| are linear, 10 is (100 + 4) / 4 = 26.
    loss = berhu(depth_map(6, 3, 15), depth_map(5, 5, 5))
    assert loss.item() == pytest.approx((1 + 2 + 26) / 3)


def test_the_gradient_of_berhu_by_hand() -> None:
    # c has no gradient: sign(e) / 3 where linear, e / c / 3 = 5 / 3 at the greatest error.
    prediction = depth_map(6, 3, 15).requires_grad_()
    loss = berhu(prediction, depth_map(5, 5, 5))
    torch.testing.assert_close(gradient(loss, prediction), depth_map(1 / 3, -1 / 3, 5 / 3))


def test_unknown_and_masked_depth_does_not_count() -> None:
    prediction, target = depth_map(6, 3, 15, 900, 400), depth_map(5, 5, 5, torch.nan, 5)
    prediction.requires_grad_()
    loss = berhu(prediction, target, valid=depth_map(1, 1, 1, 1, 0).bool())
    assert loss.item() == pytest.approx(29 / 3)
    assert gradient(loss, prediction)[0, 0, 0, 3:].tolist() == [0, 0]
    assert berhu(prediction, target).item() != pytest.approx(29 / 3)


def test_without_known_depth_berhu_and_gradient_are_zero() -> None:
    prediction = normal(0, 2, 1, 3, 4).requires_grad_()
    loss = berhu(prediction, torch.full((2, 1, 3, 4), torch.nan, dtype=torch.float64))
    assert loss.item() == 0
    assert not gradient(loss, prediction).any()


def test_a_perfect_prediction_has_no_berhu_loss_and_no_gradient() -> None:
    target = normal(0, 1, 1, 3, 4)
    prediction = target.clone().requires_grad_()
    loss = berhu(prediction, target)
    assert loss.item() == 0
    assert not gradient(loss, prediction).any()


@few
@given(seed=seeds)
def test_berhu_equals_the_formula_looped_over_pixels(seed: int) -> None:
    prediction, target = normal(seed, 2, 1, 3, 5, scale=9), normal(seed + 1, 2, 1, 3, 5)
    errors = [abs(a - b) for a, b in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True)]
    c = max(errors) / 5
    expected = sum(e if e <= c else (e * e + c * c) / (2 * c) for e in errors) / len(errors)
    assert berhu(prediction, target).item() == pytest.approx(expected, rel=1e-12)


@few
@given(seed=seeds, factor=st.floats(1e-3, 1e3))
def test_berhu_lies_between_the_mean_absolute_error_and_2_6_times_it_and_scales_with_it(
    seed: int, factor: float
) -> None:
    prediction, target = normal(seed, 1, 1, 4, 4), normal(seed + 1, 1, 1, 4, 4)
    loss, mean = berhu(prediction, target).item(), (prediction - target).abs().mean().item()
    assert mean <= loss <= 2.6 * mean * (1 + 1e-12)
    assert berhu(factor * prediction, factor * target).item() == pytest.approx(factor * loss, rel=1e-9)


def test_gradcheck_of_berhu_away_from_its_kinks() -> None:
    # The largest error, which sets c, stays fixed: the gradient treats c as a constant.
    held, target = depth_map(0), torch.tensor([10.0, -7.3, -0.5, 1.1, 4.0], dtype=torch.float64).view(1, 1, 1, 5)
    free = torch.zeros(1, 1, 1, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: berhu(torch.cat([held, x], 3), target), free)


def test_berhu_refuses_another_shape() -> None:
    with pytest.raises(ValueError, match=r"prediction \(1, 1, 2, 2\) and target \(1, 1, 4, 4\).*resize"):
        berhu(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 4, 4))


# Entropy --------------------------------------------------------------------------------------------------------------


def test_self_information_by_hand() -> None:
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)
    expected = [-0.25 * math.log2(0.25), -0.75 * math.log2(0.75)]
    assert self_information(logits).flatten().tolist() == pytest.approx(expected)


@few
@given(seed=seeds, classes=st.integers(2, 20), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_normalized_entropy_equals_that_of_scipy_and_is_the_sum_of_self_information(
    seed: int, classes: int, scale: float
) -> None:
    logits = normal(seed, 2, classes, 3, 4, scale=scale)
    entropy = normalized_entropy(logits)
    judge = scipy.stats.entropy(logits.softmax(1).numpy(), axis=1, base=classes)
    np.testing.assert_allclose(entropy.numpy(), judge, rtol=1e-9, atol=1e-12)
    assert 0 <= entropy.min() <= entropy.max() <= 1 + 1e-12
    information = self_information(logits)
    torch.testing.assert_close(information.sum(1), entropy)
    assert 0 <= information.min() <= information.max() <= 1 / (math.e * math.log(classes)) + 1e-12
    assert entropy_loss(logits).item() == pytest.approx(judge.mean(), rel=1e-9)


@few
@given(seed=seeds, shift=st.floats(-100, 100))
def test_self_information_ignores_a_shift_and_follows_a_permutation_of_classes(seed: int, shift: float) -> None:
    logits = normal(seed, 1, 6, 3, 3)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    information = self_information(logits)
    torch.testing.assert_close(self_information(logits + shift), information)
    torch.testing.assert_close(self_information(logits[:, order]), information[:, order])


@pytest.mark.parametrize("classes", [2, 7, 19])
def test_uniform_logits_have_entropy_one(classes: int) -> None:
    assert normalized_entropy(torch.full((1, classes, 2, 2), 5.0)).flatten().tolist() == pytest.approx(
        [1] * 4, rel=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits_have_entropy_zero_and_a_finite_gradient(dtype: torch.dtype) -> None:
    logits = torch.tensor([1e4, -1e4, -1e4, 0]).view(1, 4, 1, 1).to(dtype).requires_grad_()
    entropy = normalized_entropy(logits)
    assert entropy.item() == 0
    assert gradient(entropy.sum(), logits).isfinite().all()


def test_an_impossible_class_carries_no_information() -> None:
    logits = torch.tensor([0.0, 0.0, -math.inf]).view(1, 3, 1, 1)
    expected = [0.5 * math.log(2) / math.log(3)] * 2 + [0.0]
    assert self_information(logits).flatten().tolist() == pytest.approx(expected)


def test_the_entropy_of_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 classes"):
        self_information(torch.zeros(1, 1, 2, 2))


def test_gradcheck_of_the_entropy_loss() -> None:
    assert torch.autograd.gradcheck(entropy_loss, normal(3, 1, 4, 2, 2).requires_grad_())


# Domain ---------------------------------------------------------------------------------------------------------------


def test_domain_loss_by_hand() -> None:
    scores = torch.tensor([0.0, math.log(3)])  # target probabilities 1/2 and 3/4
    assert domain_loss(scores, SOURCE).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert domain_loss(scores, TARGET).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)


@few
@given(seed=seeds)
def test_domain_loss_equals_the_binary_cross_entropy_of_probabilities_and_mirrors(seed: int) -> None:
    scores = normal(seed, 2, 1, 3, 4, scale=3)
    judge = F.binary_cross_entropy(scores.sigmoid(), torch.zeros_like(scores))
    torch.testing.assert_close(domain_loss(scores, SOURCE), judge)
    torch.testing.assert_close(domain_loss(-scores, TARGET), judge)


def test_there_are_two_domains() -> None:
    with pytest.raises(ValueError, match=r"domain must be 0 \(source\) or 1 \(target\), got 2"):
        domain_loss(torch.zeros(3), 2)


def test_domain_loss_of_extreme_scores_is_the_score() -> None:
    assert domain_loss(torch.tensor([1e4]), SOURCE).item() == 1e4
    assert domain_loss(torch.tensor([1e4]), TARGET).item() == 0


# Precision ------------------------------------------------------------------------------------------------------------

LOSSES = {
    "cross_entropy": lambda x: cross_entropy(x, torch.ones(1, 2, 2, dtype=torch.int64)),
    "berhu": lambda x: berhu(x, torch.ones_like(x)),
    "self_information": self_information,
    "normalized_entropy": normalized_entropy,
    "entropy_loss": entropy_loss,
    "domain_loss": lambda x: domain_loss(x, SOURCE),
}


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_raised_and_float64_stays(name: str) -> None:
    exact = normal(0, 1, 3, 2, 2)
    for half in (torch.float16, torch.bfloat16):
        raised = LOSSES[name](exact.to(half))
        assert raised.dtype == torch.float32
        torch.testing.assert_close(raised, LOSSES[name](exact.to(half).float()))
    assert LOSSES[name](exact.float()).dtype == torch.float32
    assert LOSSES[name](exact).dtype == torch.float64
    torch.testing.assert_close(LOSSES[name](exact).float(), LOSSES[name](exact.float()))


# Depth of unknown scale and shift -------------------------------------------------------------------------------------


def test_scale_and_shift_do_not_matter() -> None:
    target = torch.rand(2, 1, 7, 9, dtype=torch.float64) * 60
    prediction = 3 * target + 5
    prediction[1] = 0.02 * target[1] - 7  # every image has its own scale and shift
    assert float(scale_shift_invariant(prediction, target)) == pytest.approx(0, abs=1e-12)
    assert float(scale_shift_invariant(1e-6 * prediction, 1e-6 * target)) == pytest.approx(0, abs=1e-9)
    assert scale_shift_invariant(-prediction, target) > 1  # near and far must not be swapped


def test_the_scale_and_shift_invariant_loss_by_hand() -> None:
    # Median 2, mean absolute deviation (2 + 1 + 0 + 1 + 6) / 5 = 2: -1, -0.5, 0, 0.5, 3.
    prediction = torch.tensor([0.0, 1, 2, 3, 8]).view(1, 1, 1, 5)
    # Median 10, deviation (1 + 1 + 0 + 1 + 2) / 5 = 1: -1, -1, 0, 1, 2.
    target = torch.tensor([9.0, 9, 10, 11, 12]).view(1, 1, 1, 5)
    assert float(scale_shift_invariant(prediction, target)) == pytest.approx((0 + 0.5 + 0 + 0.5 + 1) / 5)


def test_the_invariant_loss_of_a_batch_is_the_mean_over_its_images() -> None:
    prediction, target = torch.rand(2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(1))
    each = [float(scale_shift_invariant(prediction[i : i + 1], target[i : i + 1])) for i in range(3)]
    assert float(scale_shift_invariant(prediction, target)) == pytest.approx(sum(each) / 3)


def test_unknown_pixels_and_images_are_left_out_of_the_invariant_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.rand(2, 3, 1, 4, 5, generator=generator)
    alone = scale_shift_invariant(prediction[:1, :, :2], target[:1, :, :2])
    target[0, 0, 2] = torch.nan
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[0, 0, 3] = False
    target[1] = torch.nan
    target[2] = 4.0
    prediction.requires_grad_()
    loss = scale_shift_invariant(prediction, target, valid=valid)
    assert loss.item() == pytest.approx(alone.item())
    loss.backward()
    assert prediction.grad is not None
    assert prediction.grad[0, 0, :2].any()
    assert not prediction.grad[0, 0, 2:].any()
    assert not prediction.grad[1:].any()


def test_nothing_known_gives_an_invariant_loss_of_0_with_a_gradient() -> None:
    prediction = torch.rand(1, 1, 3, 3, requires_grad=True)
    loss = scale_shift_invariant(prediction, torch.full((1, 1, 3, 3), torch.nan))
    loss.backward()
    assert loss == 0
    assert prediction.grad is not None
    assert not prediction.grad.any()


def test_a_constant_prediction_has_a_finite_invariant_loss() -> None:
    prediction = torch.ones(1, 1, 2, 3, requires_grad=True)
    loss = scale_shift_invariant(prediction, torch.arange(6.0).view(1, 1, 2, 3))
    loss.backward()
    assert torch.isfinite(loss)
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()


def test_the_invariant_loss_takes_half_precision_and_checks_shapes() -> None:
    target = torch.rand(1, 1, 4, 4)
    assert scale_shift_invariant(torch.rand(1, 1, 4, 4).half(), target).dtype == torch.float32
    with pytest.raises(ValueError, match="differ in shape; resize the prediction"):
        scale_shift_invariant(target[..., :2], target)


def test_the_invariant_loss_teaches_the_order_of_depth() -> None:
    target = torch.rand(1, 1, 8, 8) * 50
    prediction = torch.rand(1, 1, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([prediction], lr=0.02)
    before = scale_shift_invariant(prediction, target).item()
    for _ in range(200):
        optimizer.zero_grad()
        loss = scale_shift_invariant(prediction, target)
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * before
    correlation = torch.corrcoef(torch.stack([prediction.detach().flatten(), target.flatten()]))[0, 1]
    assert correlation > 0.99


def test_a_map_without_the_number_of_images_is_refused() -> None:
    for measure in (self_information, normalized_entropy, entropy_loss):
        with pytest.raises(ValueError, match=r"logits must be \(N, C, H, W\), got \(3, 4, 5\)"):
            measure(torch.rand(3, 4, 5))
