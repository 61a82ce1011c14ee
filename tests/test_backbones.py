"""Backbones of many families under the same heads, without pretrained weights, at sizes that no patch size divides."""

import gc
import weakref

import numpy as np
import pytest
import timm
import torch
from torch import nn

from depthaware_uda import create_model, load_pretrained
from depthaware_uda.losses import berhu, cross_entropy
from depthaware_uda.models import TimmBackbone, resize, resize_output
from tests.test_examples import load

FAMILIES = load("benchmarks/families").FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_segments_and_sees_depth(family: str) -> None:
    name, arguments, strides = FAMILIES[family]
    model = create_model(f"timm/{name}", 7, dilations=(1, 2), backbone_arguments=arguments, seed=0)
    backbone = model.backbone
    assert isinstance(backbone, TimmBackbone)
    assert backbone.strides == strides
    image = torch.rand(2, 3, 70, 101)  # neither side is a multiple of anything

    features = backbone(model.normalization(image))
    for feature, channels, stride in zip(features, backbone.channels, strides, strict=True):
        assert feature.shape[:2] == (2, channels)
        # The image may be padded or enlarged to whole patches, by less than the stride of the coarsest stage.
        for side, length in zip(feature.shape[2:], (70, 101), strict=True):
            assert length // stride - 1 <= side <= -(-(length + max(strides)) // stride)

    output = model(image)
    assert output.logits.shape[:2] == (2, 7)
    full = resize_output(output, (70, 101))
    label, depth = torch.randint(7, (2, 70, 101)), torch.rand(2, 1, 70, 101) * 50
    loss = cross_entropy(full.logits, label) + berhu(full.inverse_depth, depth)  # type: ignore[arg-type]
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    first = next(parameter for parameter in backbone.parameters() if parameter.requires_grad)
    assert first.grad is not None
    assert first.grad.any()


def test_features_are_laid_over_the_image_as_they_were_seen() -> None:
    """A bright left half of the image affects the left half of the features, also with channels-last networks."""
    for name, arguments in (FAMILIES[key][:2] for key in ("swin", "dinov2", "mambaout")):
        torch.manual_seed(0)
        backbone = TimmBackbone(name, output_stride=None, arguments=arguments).eval()
        dark, half = torch.zeros(1, 3, 112, 224), torch.zeros(1, 3, 112, 224)
        half[..., :112] = 3
        with torch.no_grad():
            change = (backbone(half)[0] - backbone(dark)[0]).abs().mean((0, 1, 2)).numpy()
        left, right = np.array_split(change, 2)
        assert left.mean() > 1.5 * right.mean(), name


def test_images_of_whole_patches_are_not_touched_and_others_enlarged() -> None:
    backbone = TimmBackbone("vit_tiny_patch16_224", output_stride=None, arguments={"depth": 3}).eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(backbone(image)[-1], backbone.network(image)[-1])
        enlarged = resize(image[..., :90], (64, 96))
        assert torch.equal(backbone(image[..., :90])[-1], backbone.network(enlarged)[-1])


def test_a_plain_transformer_agrees_with_timm() -> None:
    torch.manual_seed(0)
    ours = TimmBackbone("vit_tiny_patch16_224", output_stride=None, arguments={"depth": 4, "out_indices": (1, 3)})
    theirs = timm.create_model("vit_tiny_patch16_224", depth=4, num_classes=0, dynamic_img_size=True)
    state = {key.removeprefix("model."): value for key, value in ours.network.state_dict().items()}
    theirs.load_state_dict(state, strict=False)
    image = torch.randn(1, 3, 48, 80)
    with torch.no_grad():
        features = ours.eval()(image)
        expected = theirs.eval().forward_intermediates(image, indices=(1, 3), intermediates_only=True)
    assert len(features) == 2
    for one, other in zip(features, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("name", "asked", "stride"), [("resnet10t", "auto", 8), ("resnet10t", None, 32), ("pvt_v2_b0", "auto", 32)]
)
def test_the_output_stride_that_was_found_is_kept(name: str, asked: str | None, stride: int, tmp_path) -> None:
    model = create_model(f"timm/{name}", 7, output_stride=asked, dilations=(1,), seed=0)  # type: ignore[arg-type]
    assert model.stride == stride
    assert model.config is not None
    assert model.config["output_stride"] == (8 if stride == 8 else None)
    model.save_pretrained(tmp_path)
    assert load_pretrained(tmp_path).stride == stride


def test_a_stride_that_was_asked_for_is_not_traded_for_another() -> None:
    with pytest.raises(ValueError, match=r"'pvt_v2_b0' gives no features with output_stride=16 .*output_stride=None"):
        create_model("timm/pvt_v2_b0", 7, output_stride=16)


def test_a_network_of_one_size_says_how_to_make_it_for_yours() -> None:
    arguments = {"embed_dim": 24, "stages": (1, 1, 1, 1)}
    model = create_model("timm/hiera_tiny_224", 7, dilations=(1,), backbone_arguments=arguments)
    with pytest.raises(ValueError, match=r"cannot take images of 64 x 96: .*=\{\"img_size\": \(64, 96\)"):
        model(torch.rand(1, 3, 64, 96))
    model = create_model(
        "timm/hiera_tiny_224", 7, dilations=(1,), backbone_arguments={**arguments, "img_size": (64, 96)}
    )
    assert model(torch.rand(1, 3, 64, 96)).logits.shape == (1, 7, 2, 3)


def test_a_network_is_freed_when_nobody_holds_it() -> None:
    gc.disable()  # otherwise GPU memory would be freed only by the collector
    try:
        network = create_model("timm/resnet10t", 7, seed=0)  # its first attempt, at a free size, fails
        alive = weakref.ref(network)
        del network
        assert alive() is None
    finally:
        gc.enable()


def test_weights_that_timm_does_not_have_are_named() -> None:
    with pytest.raises(ValueError, match=r"no trained weights of 'resnetv2_50d'.*pretrained_backbone=False"):
        create_model("timm/resnetv2_50d", 7, pretrained_backbone=True)


def test_images_of_another_type_are_not_taken_for_a_wrong_size() -> None:
    with pytest.raises(RuntimeError, match="scalar type"):
        TimmBackbone("resnet10t")(torch.rand(1, 3, 32, 32, dtype=torch.float64))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("full"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),  # before torch 2.8
        torch.distributed.DistBackendError("the process of rank 1 is gone"),
    ],
    ids=str,
)
def test_failures_of_the_device_are_not_taken_for_a_wrong_size(error: RuntimeError) -> None:
    backbone = TimmBackbone("resnet10t")

    class Failing(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise error

    backbone.network = Failing()
    with pytest.raises(type(error)) as caught:
        backbone(torch.rand(1, 3, 32, 32))
    assert caught.value is error


def test_weights_that_cannot_be_fetched_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise FileNotFoundError("no network, and nothing in the cache.")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ConnectionError, match=r"'resnet10t' could not be fetched.*pretrained_backbone=False"):
        create_model("timm/resnet10t", 7, pretrained_backbone=True)
