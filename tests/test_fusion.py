"""Resizing, depth-aware maps, and the discriminator on them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depthaware_uda import DepthAwareFusion, SegDepthOutput
from depthaware_uda.losses import self_information
from depthaware_uda.models import (
    MIN_DISCRIMINATOR_SIZE,
    create_discriminator,
    resize,
    resize_output,
)

# Resizing -------------------------------------------------------------------------------------------------------------


def test_resizing_aligns_corners() -> None:
    assert resize(torch.tensor([[[[0.0, 3.0]]]]), (1, 4)).flatten().tolist() == pytest.approx([0, 1, 2, 3])
    maps = torch.randn(1, 2, 4, 5)
    torch.testing.assert_close(resize(maps, (10, 9))[:, :, ::9, ::8], maps[:, :, ::3, ::4])


def test_resizing_passes_what_has_the_size_and_raises_half_precision() -> None:
    maps = torch.randn(1, 2, 4, 5)
    assert resize(maps, (4, 5)) is maps
    assert resize(None, (4, 5)) is None
    assert resize(maps.half(), (4, 5)).dtype == resize(maps.bfloat16(), (8, 8)).dtype == torch.float32
    assert resize(maps.double(), (8, 8)).dtype == torch.float64


def test_resizing_an_output_takes_both_maps_to_one_size() -> None:
    output = resize_output(SegDepthOutput(torch.randn(1, 3, 4, 4), torch.randn(1, 1, 6, 2)), (8, 9))
    assert output.logits.shape == (1, 3, 8, 9)
    assert output.inverse_depth is not None
    assert output.inverse_depth.shape == (1, 1, 8, 9)
    assert resize_output(SegDepthOutput(torch.randn(1, 3, 4, 4), None), (8, 9)).inverse_depth is None


# Fusion ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), power=st.integers(0, 3), scale=st.sampled_from([0.01, 1.0, 2.5]))
def test_the_depth_aware_map_longhand(seed: int, power: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.float64)
    depth = 20 * torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    expected = -p * np.log(p) / np.log(5) * (scale * depth.numpy()) ** power
    ours = DepthAwareFusion(depth_power=power, depth_scale=scale)(logits, depth)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_the_depth_aware_map_by_hand() -> None:
    # Two classes of equal probability: 1 / 2 each; inverse depth 3.
    logits, depth = torch.zeros(1, 2, 1, 1), torch.full((1, 1, 1, 1), 3.0)
    for power, expected in ((0, 0.5), (1, 1.5), (2, 4.5)):
        assert DepthAwareFusion(depth_power=power)(logits, depth).flatten().tolist() == pytest.approx([expected] * 2)
    assert DepthAwareFusion(depth_power=2, depth_scale=2)(logits, depth)[0, 0, 0, 0] == pytest.approx(18)


def test_the_entropy_map_does_not_look_at_depth() -> None:
    logits = torch.randn(1, 4, 3, 3)
    fusion = DepthAwareFusion(mode="entropy", depth_power=2)
    assert torch.equal(fusion(logits), self_information(logits))
    assert torch.equal(fusion(logits, torch.randn(1, 1, 9, 9)), self_information(logits))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_the_map_of_half_precision_is_computed_in_float32(half: torch.dtype) -> None:
    logits, depth = torch.randn(1, 4, 3, 3).to(half), (300 * torch.rand(1, 1, 3, 3)).to(half)
    ours = DepthAwareFusion(depth_power=2)(logits, depth)  # 300 ** 2 exceeds float16
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, DepthAwareFusion(depth_power=2)(logits.float(), depth.float()))


def test_autocast_does_not_lower_the_map() -> None:
    logits, depth = torch.randn(1, 4, 3, 3), 50 * torch.rand(1, 1, 3, 3)
    expected = DepthAwareFusion()(logits, depth)
    with torch.autocast("cpu", torch.bfloat16):
        ours = DepthAwareFusion()(logits, depth)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def test_the_map_gives_both_heads_a_gradient() -> None:
    logits, depth = torch.randn(1, 4, 3, 3, requires_grad=True), torch.rand(1, 1, 3, 3, requires_grad=True)
    DepthAwareFusion()(logits, depth).square().sum().backward()
    assert logits.grad is not None
    assert logits.grad.any()
    assert depth.grad is not None
    assert depth.grad.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DepthAwareFusion(mode="depth"), r"mode must be one of \('depth_aware', 'entropy'\), got 'depth'"),
        (lambda: DepthAwareFusion(depth_power=-1), "depth_power must be a whole number of at least 0, got -1"),
        (lambda: DepthAwareFusion(depth_power=0.5), "depth_power must be a whole number.* may be negative"),  # type: ignore[arg-type]
        (lambda: DepthAwareFusion(depth_scale=0), "depth_scale must be positive"),
        (lambda: DepthAwareFusion(depth_scale=math.nan), "depth_scale must be positive and finite, got nan"),
        (lambda: DepthAwareFusion()(torch.zeros(1, 2, 3, 3)), "needs inverse_depth.*mode='entropy'"),
        (lambda: DepthAwareFusion()(torch.zeros(1, 2, 3, 3), torch.zeros(1, 1, 6, 6)), "differ in height.*resize"),
        (
            lambda: DepthAwareFusion()(torch.zeros(2, 2, 3, 3), torch.zeros(1, 1, 3, 3)),
            "are of 2 images, inverse_depth of 1",
        ),
        (
            lambda: DepthAwareFusion()(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3)),
            r"must be \(N, 1, H, W\), got \(1, 3",
        ),
        (
            lambda: DepthAwareFusion()(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)),
            r"must be \(N, 1, H, W\), got \(1, 2",
        ),
    ],
)
def test_fusion_refuses_what_it_cannot_multiply(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# Discriminator --------------------------------------------------------------------------------------------------------


def test_the_layout_of_the_discriminator() -> None:
    discriminator = create_discriminator(16)
    assert [type(layer).__name__ for layer in discriminator] == ["Conv2d", "LeakyReLU"] * 4 + ["Conv2d"]
    shapes = [tuple(discriminator[i].weight.shape) for i in (0, 2, 4, 6, 8)]
    assert shapes == [(64, 16, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4), (1, 512, 4, 4)]
    assert {discriminator[i].negative_slope for i in (1, 3, 5, 7)} == {0.2}


def test_the_smallest_map_has_one_score() -> None:
    discriminator = create_discriminator(3, base_channels=2)
    assert MIN_DISCRIMINATOR_SIZE == 32
    assert discriminator(torch.randn(2, 3, 32, 32)).shape == (2, 1, 1, 1)
    assert discriminator(torch.randn(2, 3, 64, 96)).shape == (2, 1, 2, 3)
    with pytest.raises(RuntimeError):
        discriminator(torch.randn(2, 3, 31, 64))


@pytest.mark.parametrize(("channels", "base"), [(0, 64), (3, 0)])
def test_a_discriminator_of_no_channels_is_refused(channels: int, base: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        create_discriminator(channels, base_channels=base)
