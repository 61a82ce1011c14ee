"""Heads: depth with channel attention, DADA's depth head, the gate, the classifier."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthaware_uda import DepthAttentionHead
from depthaware_uda.models import (
    ASPPv2,
    ChannelAttention,
    DadaDepthHead,
    DepthGate,
)


def stages(*shapes: tuple[int, int, int], batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, *shape) for shape in shapes]


def test_channel_attention_multiplies_every_channel_by_one_weight_in_0_to_1() -> None:
    attention = ChannelAttention(32, reduction=4)
    features = torch.rand(3, 32, 5, 6) + 0.5
    weight = attention(features) / features
    assert 0 < weight.min() <= weight.max() < 1
    torch.testing.assert_close(weight, weight[:, :, :1, :1].expand_as(weight))
    assert attention.squeeze.weight.shape == (8, 32, 1, 1)
    assert {name for name, _ in attention.named_parameters()} == {"squeeze.weight", "excite.weight"}


def test_channel_attention_longhand() -> None:
    attention = ChannelAttention(6, reduction=2)
    features = torch.randn(2, 6, 3, 4)
    mean = features.mean((2, 3)).detach().numpy()
    down, up = (layer.weight.detach().numpy()[:, :, 0, 0] for layer in (attention.squeeze, attention.excite))
    weight = 1 / (1 + np.exp(-np.maximum(mean @ down.T, 0) @ up.T))
    expected = features.numpy() * weight[:, :, None, None]
    np.testing.assert_allclose(attention(features).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_channel_attention_of_few_channels_keeps_one_hidden_channel() -> None:
    assert ChannelAttention(4, reduction=16).squeeze.weight.shape == (1, 4, 1, 1)


def test_the_widths_of_the_depth_head_are_the_published_ones_unless_told() -> None:
    head, narrow = DepthAttentionHead([64, 32]), DepthAttentionHead([64, 32], hidden=4, reduction=2)
    assert (head.projections[0][0].out_channels, head.out_channels) == (16, 32)
    assert [attention.squeeze.out_channels for attention in head.attention] == [4, 2]
    assert [attention.squeeze.out_channels for attention in narrow.attention] == [32, 16]
    assert ChannelAttention(64).squeeze.out_channels == 4


@pytest.mark.parametrize(("output_stage", "size"), [(-1, (3, 4)), (0, (12, 16)), (1, (6, 8)), (-3, (12, 16))])
def test_the_depth_head_takes_the_size_of_its_output_stage(output_stage: int, size: tuple[int, int]) -> None:
    head = DepthAttentionHead([8, 16, 24], hidden=4, reduction=2, output_stage=output_stage)
    inverse_depth, features = head(stages((8, 12, 16), (16, 6, 8), (24, 3, 4)))
    assert inverse_depth.shape == (2, 1, *size)
    assert features.shape == (2, 12, *size)
    assert head.out_channels == 12


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_depth_head_takes_any_number_of_stages(count: int) -> None:
    head = DepthAttentionHead([8] * count, hidden=4)
    inverse_depth, features = head(stages(*[(8, 4 + i, 5) for i in range(count)]))
    assert inverse_depth.shape == (2, 1, 3 + count, 5)
    assert features.shape[1] == 4 * count


def test_the_depth_head_longhand() -> None:
    head = DepthAttentionHead([8, 6], hidden=4, reduction=2, output_stage=0).eval()
    fine, coarse = stages((8, 6, 7), (6, 3, 4))

    def block(layers: nn.Module, x: Tensor) -> Tensor:
        return F.relu(layers[1](F.conv2d(x, layers[0].weight, padding=2)))  # type: ignore[index]

    with torch.no_grad():
        projected = [block(head.projections[i], head.attention[i](x)) for i, x in enumerate((fine, coarse))]
        up = F.interpolate(projected[1], size=(6, 7), mode="bilinear", align_corners=True)
        features = block(head.merge, torch.cat([projected[0], up], 1))
        depth = F.conv2d(block(head.refine, features), head.predict.weight, head.predict.bias, padding=2)
        ours = head([fine, coarse])
    torch.testing.assert_close(ours[0], depth)
    torch.testing.assert_close(ours[1], features)


def test_the_depth_head_without_attention_has_no_attention_weights() -> None:
    head = DepthAttentionHead([8, 8], attention=False)
    assert not [name for name, _ in head.named_parameters() if name.startswith("attention")]
    assert head(stages((8, 4, 4), (8, 2, 2)))[0].shape == (2, 1, 2, 2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DepthAttentionHead([]), "in_channels is empty"),
        (lambda: DadaDepthHead([]), "in_channels is empty"),
        (lambda: DepthAttentionHead([8, 8], output_stage=2), "output_stage 2 is not one of the 2 stages"),
        (lambda: DepthAttentionHead([8, 8], output_stage=-3), "output_stage -3"),
        (lambda: DepthAttentionHead([8, 8])(stages((8, 4, 4))), "features of 2 stages, got 1"),
        (lambda: DepthAttentionHead([8, 4])(stages((4, 4, 4), (8, 2, 2))), r"with C of \(8, 4\), in this order, got"),
        (lambda: DepthAttentionHead([8])([torch.zeros(8, 4, 4)]), r"stages \(N, C, H, W\).* got \[\(8, 4, 4\)\]"),
        (lambda: ASPPv2(8, 3, dilations=()), "dilations is empty"),
        (lambda: ASPPv2(8, 3, dilations=4), "dilations must be whole numbers above 0, .* got 4"),  # type: ignore[arg-type]
        (lambda: ASPPv2(8, 3, dilations=(1, 0)), r"dilations must be whole numbers above 0, .* got \(1, 0\)"),
    ],
)
def test_heads_refuse_what_does_not_fit(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_stages_come_in_a_list() -> None:
    for features in (torch.zeros(2, 8, 4, 4), dict(enumerate(stages((8, 4, 4))))):
        with pytest.raises(TypeError, match="features must be a list of one map a stage, got"):
            DepthAttentionHead([8])(features)  # type: ignore[arg-type]


def test_the_dada_head_averages_its_depth_features() -> None:
    head = DadaDepthHead([8, 32], out_channels=12)
    fine, coarse = stages((8, 8, 8), (32, 4, 5))
    inverse_depth, features = head([fine, coarse])
    assert features.shape == (2, 12, 4, 5)
    first, middle, last = head.convolutions
    hidden = F.conv2d(F.conv2d(coarse, first.weight, first.bias).relu(), middle.weight, middle.bias, padding=1).relu()
    torch.testing.assert_close(features, F.conv2d(hidden, last.weight, last.bias))
    torch.testing.assert_close(inverse_depth, features.mean(1, keepdim=True))
    assert [tuple(layer.weight.shape) for layer in head.convolutions] == [(8, 32, 1, 1), (8, 8, 3, 3), (12, 8, 1, 1)]


def test_the_gate_multiplies_by_what_it_makes_of_the_depth_features() -> None:
    gate = DepthGate(2, 3)
    nn.init.constant_(gate.conv.weight, 0)
    gate.conv.bias.data = torch.tensor([2.0, 0.0, -1.0])  # the ReLU sets the last one to 0
    features = torch.randn(1, 3, 4, 5)
    gated = gate(features, torch.randn(1, 2, 4, 5))
    torch.testing.assert_close(gated, features * torch.tensor([2.0, 0, 0]).view(1, 3, 1, 1))


def test_the_gate_resizes_depth_features_with_aligned_corners() -> None:
    gate = DepthGate(1, 1)
    nn.init.constant_(gate.conv.weight, 1)
    nn.init.zeros_(gate.conv.bias)
    gated = gate(torch.ones(1, 1, 1, 5), torch.tensor([[[[0.0, 4.0]]]]))
    assert gated.flatten().tolist() == [0, 1, 2, 3, 4]


def test_the_classifier_is_the_sum_of_its_dilated_convolutions() -> None:
    classifier = ASPPv2(6, 5, dilations=(1, 3))
    features = torch.randn(2, 6, 7, 9)
    expected = sum(
        F.conv2d(features, branch.weight, branch.bias, padding=dilation, dilation=dilation)
        for branch, dilation in zip(classifier.branches, (1, 3), strict=True)
    )
    torch.testing.assert_close(classifier(features), expected)
    assert [branch.dilation[0] for branch in ASPPv2(6, 5).branches] == [6, 12, 18, 24]


def test_class_weights_are_taken_off_the_scores() -> None:
    classifier, features = ASPPv2(6, 3, dilations=(1, 3)), torch.randn(2, 6, 7, 9)
    before = classifier(features).softmax(1)
    classifier.adjust_logits((0.5, 1.0, 4.0))
    divided = before / torch.tensor([0.5, 1.0, 4.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(classifier(features).softmax(1), divided / divided.sum(1, keepdim=True))
    for weights in ((1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, math.nan)):
        with pytest.raises(ValueError, match="expected 3 weights above 0, one a class"):
            classifier.adjust_logits(weights)


def test_the_classifier_can_be_differentiated_by_torch_func() -> None:
    classifier, features = ASPPv2(4, 3, dilations=(1, 2)).double(), torch.randn(2, 4, 5, 6, dtype=torch.float64)
    parameters = dict(classifier.named_parameters())

    def squared(given: dict[str, Tensor], image: Tensor) -> Tensor:
        return torch.func.functional_call(classifier, given, (image[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(squared), in_dims=(None, 0))(parameters, features)
    for index in range(2):
        classifier.zero_grad()
        squared(parameters, features[index]).backward()
        for name, parameter in parameters.items():
            assert parameter.grad is not None
            torch.testing.assert_close(each[name][index], parameter.grad)
