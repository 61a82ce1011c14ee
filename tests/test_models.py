"""Backbones, and the network that the factory builds from a backbone and the heads."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthaware_uda import DepthAttentionHead, create_model
from depthaware_uda.labels import get_label_space
from depthaware_uda.models import (
    ASPPv2,
    CaffeResNet101,
    DadaDepthHead,
    DepthGate,
    DepthSegmenter,
    Normalization,
    TimmBackbone,
)
from depthaware_uda.models.backbones import CAFFE_PIXELS, PixelStatistics
from tests.tiny import assert_same_weights, tiny_model, weights

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
        ("timm/resnet10t", {"depth_size": 228}, r"depth_size must be \(height, width\) in pixels or None, got 228"),
        ("timm/resnet10t", {"depth_size": (228,)}, r"depth_size must be \(height, width\) .* got \(228,\)"),
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


def test_a_label_space_in_place_of_the_number_of_classes_is_refused() -> None:
    with pytest.raises(TypeError, match="num_classes must be the number of classes, got 'common7'"):
        create_model("timm/resnet10t", "common7")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name must be the name of a network, such as 'timm/resnet50', got None"):
        create_model(None, 7)  # type: ignore[arg-type]


def test_a_gate_without_a_depth_head_is_refused() -> None:
    backbone = TimmBackbone("resnet10t")
    with pytest.raises(ValueError, match="a gate needs a depth_head"):
        DepthSegmenter(backbone, ASPPv2(512, 7), gate=DepthGate(64, 512))


@pytest.mark.parametrize("shape", [(1, 3, 7, 64), (1, 3, 64, 4), (3, 64, 64), (1, 1, 64, 64)])
def test_an_image_that_is_none_or_too_small_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"image must be \(N, 3, H, W\) with H and W at least 8.*got \("):
        tiny_model().eval()(torch.rand(shape))


def test_an_image_in_integers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image is torch.uint8, expected RGB in 0..1 .*divide 8 bits by 255"):
        tiny_model().eval()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_a_network_of_other_pieces() -> None:
    """Any module with stages, strides and pixel statistics is a backbone."""

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
