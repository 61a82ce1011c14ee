"""Heads, fusion, discriminator, backbones and the factory: each piece alone, then together."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from depthaware_uda import DepthAttentionHead, DepthAwareFusion, SegDepthOutput, create_model
from depthaware_uda.labels import get_label_space
from depthaware_uda.losses import self_information
from depthaware_uda.models import (
    MIN_DISCRIMINATOR_SIZE,
    ASPPv2,
    CaffeResNet101,
    ChannelAttention,
    DadaDepthHead,
    DepthGate,
    DepthSegmenter,
    Normalization,
    TimmBackbone,
    create_discriminator,
    resize,
    resize_output,
)
from depthaware_uda.models.backbones import CAFFE_PIXELS, PixelStatistics
from tests.tiny import assert_same_weights, tiny_model, weights

# Heads ----------------------------------------------------------------------------------------------------------------


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
        (lambda: ASPPv2(8, 3, dilations=()), "dilations is empty"),
    ],
)
def test_heads_refuse_what_does_not_fit(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_the_dada_head_averages_its_depth_features() -> None:
    head = DadaDepthHead([8, 32], out_channels=12)
    inverse_depth, features = head(stages((8, 8, 8), (32, 4, 5)))
    assert features.shape == (2, 12, 4, 5)
    torch.testing.assert_close(inverse_depth, features.mean(1, keepdim=True))
    assert [tuple(layer.weight.shape) for layer in head.convolutions] == [(8, 32, 1, 1), (8, 8, 3, 3), (12, 8, 1, 1)]


def test_the_gate_multiplies_by_what_it_makes_of_the_depth_features() -> None:
    gate = DepthGate(2, 3)
    nn.init.constant_(gate.conv.weight, 0)
    gate.conv.bias.data = torch.tensor([2.0, 0.0, -1.0])  # the ReLU closes the last one
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
    ours = DepthAwareFusion(depth_power=2)(logits, depth)  # 300 ** 2 is no float16
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
        (lambda: DepthAwareFusion(depth_power=-1), "depth_power must not be negative"),
        (lambda: DepthAwareFusion(depth_scale=0), "depth_scale must be positive"),
        (lambda: DepthAwareFusion()(torch.zeros(1, 2, 3, 3)), "needs inverse_depth.*mode='entropy'"),
        (lambda: DepthAwareFusion()(torch.zeros(1, 2, 3, 3), torch.zeros(1, 1, 6, 6)), "differ in height.*resize"),
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


# Backbones ------------------------------------------------------------------------------------------------------------


def test_caffe_pixels_are_bgr_in_0_to_255_less_the_mean() -> None:
    red = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).view(1, 3, 1, 1)
    expected = [-104.00698793, -116.66876762, 255 - 122.67891434]
    normalized = Normalization(CAFFE_PIXELS)(red).flatten().tolist()
    assert normalized == pytest.approx(expected, rel=1e-14)
    assert Normalization(CAFFE_PIXELS)(red.float()).dtype == torch.float32


def test_timm_pixels_are_standardized_rgb() -> None:
    pixels = PixelStatistics((0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    grey = torch.full((1, 3, 1, 1), 0.5)
    assert Normalization(pixels)(grey).flatten().tolist() == [0, 1, 0.25]


def test_a_timm_backbone_takes_the_pixel_statistics_of_its_weights() -> None:
    imagenet = TimmBackbone("resnet10t", output_stride=8).pixels
    assert imagenet == PixelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    inception = TimmBackbone("vit_tiny_patch16_224", output_stride=None).pixels
    assert inception == PixelStatistics((0.5,) * 3, (0.5,) * 3)


def test_a_timm_backbone_leaves_the_stem_out_unless_asked() -> None:
    backbone = TimmBackbone("resnet10t", output_stride=8)
    assert (backbone.strides, backbone.channels) == ((4, 8, 8, 8), (64, 128, 256, 512))
    assert TimmBackbone("resnet10t", output_stride=None, out_indices=(0, 2)).strides == (2, 8)


@pytest.fixture(scope="module")
def resnet101() -> DepthSegmenter:
    return create_model("deeplabv2_resnet101", 16, label_space="cityscapes16", seed=0)


def test_the_published_network_has_its_size_and_strides(resnet101: DepthSegmenter) -> None:
    assert round(sum(p.numel() for p in resnet101.parameters()) / 1e6, 2) == 46.25
    with torch.no_grad():
        output = resnet101.eval()(torch.rand(1, 3, 33, 65))
        features = resnet101.backbone(torch.rand(1, 3, 64, 64))
    assert output.logits.shape == (1, 16, 5, 9)
    assert output.inverse_depth.shape == (1, 1, 5, 9)
    assert [tuple(f.shape[1:]) for f in features] == [(256, 17, 17), (512, 9, 9), (1024, 9, 9), (2048, 9, 9)]


def test_the_published_network_freezes_the_scale_of_its_backbone_but_not_the_statistics() -> None:
    backbone = CaffeResNet101().train()
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 104
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())
    before = norms[0].running_mean.clone()
    with torch.no_grad():
        backbone(torch.rand(1, 3, 32, 32))
    assert not torch.equal(norms[0].running_mean, before)


def test_the_published_network_starts_from_its_published_distribution(resnet101: DepthSegmenter) -> None:
    for module in (resnet101.backbone.layer4[0].conv2, resnet101.depth_head.merge[0], resnet101.gate.conv):
        assert module.weight.std().item() == pytest.approx(0.01, rel=0.03)
        assert abs(module.weight.mean().item()) < 1e-4


@pytest.mark.parametrize("name", ["resnet101", "tiny"])
def test_parameter_groups_hold_every_trainable_tensor_once(name: str, request: pytest.FixtureRequest) -> None:
    model = tiny_model() if name == "tiny" else request.getfixturevalue(name)
    groups = model.parameter_groups()
    assert set(groups) == {"backbone", "heads"}
    grouped = [id(p) for parameters in groups.values() for p in parameters]
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == trainable
    assert {id(p) for p in groups["backbone"]} == {id(p) for p in model.backbone.parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("name", "stride", "size", "shape"),
    [
        ("resnet10t", 8, (64, 72), (8, 9)),
        ("convnext_atto", 8, (64, 72), (8, 9)),
        ("mobilenetv3_small_050", 16, (64, 80), (4, 5)),
        ("swin_tiny_patch4_window7_224", None, (224, 224), (7, 7)),
        ("vit_tiny_patch16_224", None, (224, 224), (14, 14)),
    ],
)
def test_any_timm_network_predicts_classes_and_depth(
    name: str, stride: int | None, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    model = create_model(f"timm/{name}", 7, output_stride=stride, seed=0).eval()
    with torch.no_grad():
        output = model(torch.rand(2, 3, *size))
    assert output.logits.shape == (2, 7, *shape)
    assert output.inverse_depth is not None
    assert output.inverse_depth.shape[:2] == (2, 1)
    assert output.logits.isfinite().all()
    assert output.inverse_depth.isfinite().all()
    assert not torch.equal(output.logits[0], output.logits[1])


# The network ----------------------------------------------------------------------------------------------------------


def test_a_network_longhand() -> None:
    model = tiny_model().eval()
    image = torch.rand(2, 3, 48, 40)
    with torch.no_grad():
        output = model(image)
        normalized = (image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
            [0.229, 0.224, 0.225]
        ).view(3, 1, 1)
        features = model.backbone(normalized)
        depth, depth_features = model.depth_head(features)
        logits = model.classifier(features[-1] * F.relu(model.gate.conv(depth_features)))
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(output.inverse_depth, depth)
    assert output.logits.shape == (2, 7, 6, 5)


def test_depth_can_be_left_out_or_left_ungated_or_resized() -> None:
    image = torch.rand(1, 3, 32, 32)
    assert tiny_model(depth_head=None)(image).inverse_depth is None
    ungated = tiny_model(gate=False)
    assert ungated.gate is None
    assert ungated(image).inverse_depth.shape == (1, 1, 4, 4)
    assert tiny_model(depth_size=(11, 13))(image).inverse_depth.shape == (1, 1, 11, 13)


def test_the_dada_head_in_a_network() -> None:
    model = tiny_model(depth_head="dada")
    assert isinstance(model.depth_head, DadaDepthHead)
    output = model(torch.rand(1, 3, 32, 32))
    assert output.inverse_depth.shape == (1, 1, 4, 4)
    assert output.logits.shape == (1, 7, 4, 4)


def test_attention_can_be_left_out() -> None:
    without = {name for name, _ in tiny_model(channel_attention=False).named_parameters()}
    removed = {name for name, _ in tiny_model().named_parameters()} - without
    assert removed
    assert all(name.startswith("depth_head.attention.") for name in removed)


def test_the_seed_decides_the_weights_and_leaves_the_global_generator() -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    first, second, other = tiny_model(seed=5), tiny_model(seed=5), tiny_model(seed=6)
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_weights(weights(first), weights(second))
    assert not torch.equal(first.classifier.branches[0].weight, other.classifier.branches[0].weight)
    assert not torch.equal(first.backbone.network.layer1[0].conv1.weight, other.backbone.network.layer1[0].conv1.weight)


def test_without_a_seed_the_global_generator_decides() -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(7)
        models.append(tiny_model(seed=None))
    assert_same_weights(weights(models[0]), weights(models[1]))
    assert not torch.equal(models[0].classifier.branches[0].weight, tiny_model(seed=None).classifier.branches[0].weight)


def test_float64_stays_float64() -> None:
    model = tiny_model().double().eval()
    output = model(torch.rand(1, 3, 32, 32, dtype=torch.float64))
    assert output.logits.dtype == output.inverse_depth.dtype == torch.float64


def test_the_label_space_is_kept() -> None:
    assert tiny_model().label_space == get_label_space("common7")
    assert tiny_model(label_space=None).label_space is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm/resnet10", {}, "knows no model 'resnet10'; near names: .*'resnet10t'"),
        ("timm/zzzzzzzz", {}, r"knows no model 'zzzzzzzz'; timm.list_models\(\) lists all"),
        ("resnet10t", {}, "unknown model 'resnet10t': expected 'deeplabv2_resnet101' or 'timm/NAME'"),
        ("timm/swin_tiny_patch4_window7_224", {"output_stride": 8}, "output_stride=8.*try output_stride=None"),
        ("timm/vgg11", {"output_stride": 8}, "output_stride=8.*try output_stride=None"),
        ("timm/resnet10t", {"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ("timm/resnet10t", {"label_space": "cityscapes16"}, "num_classes is 7, but .*'cityscapes16' has 16"),
        ("timm/resnet10t", {"label_space": "cityscapes17"}, "unknown label space 'cityscapes17'"),
        ("timm/resnet10t", {"depth_head": "attentive"}, r"depth_head must be one of .* or None, got 'attentive'"),
        ("deeplabv2_resnet101", {"pretrained_backbone": True}, "takes neither pretrained_backbone"),
        ("deeplabv2_resnet101", {"output_stride": 16}, "deeplabv2_resnet101 has output_stride 8"),
        ("deeplabv2_resnet101", {"backbone_arguments": {"depth": 5}}, "takes neither .* nor backbone_arguments"),
    ],
)
def test_the_factory_names_what_does_not_fit(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(name, **{"num_classes": 7, **options})


def test_a_gate_without_a_depth_head_is_refused() -> None:
    backbone = TimmBackbone("resnet10t")
    with pytest.raises(ValueError, match="a gate needs a depth_head"):
        DepthSegmenter(backbone, ASPPv2(512, 7), gate=DepthGate(64, 512))


@pytest.mark.parametrize("shape", [(1, 3, 7, 64), (1, 3, 64, 4), (3, 64, 64), (1, 1, 64, 64)])
def test_an_image_that_is_none_or_too_small_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"image must be \(N, 3, H, W\) with H and W at least 8.*got \("):
        tiny_model().eval()(torch.rand(shape))


def test_a_network_of_other_pieces() -> None:
    """Anything that gives stages, strides and pixel statistics is a backbone."""

    class Pooling(nn.Module):
        strides = (2, 4)
        pixels = PixelStatistics((0.0,) * 3, (1.0,) * 3)

        def forward(self, image: Tensor) -> list[Tensor]:
            return [F.avg_pool2d(image, 2), F.avg_pool2d(image, 4)]

    model = DepthSegmenter(Pooling(), ASPPv2(3, 5, dilations=(1,)), depth_head=DepthAttentionHead([3, 3], hidden=2))
    output = model(torch.rand(1, 3, 16, 16))
    assert output.logits.shape == (1, 5, 4, 4)
    assert output.inverse_depth.shape == (1, 1, 4, 4)
    assert model.parameter_groups()["backbone"] == []
    with pytest.raises(ValueError, match="save_pretrained needs a model built by create_model"):
        model.save_pretrained("never")
