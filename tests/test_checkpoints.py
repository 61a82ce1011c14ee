"""Checkpoints in common formats become models; other files are refused, and their code is never run."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from depthaware_uda import convert_checkpoint, create_model, load_pretrained
from depthaware_uda.hub import load_backbone, read_checkpoint
from depthaware_uda.models import CaffeResNet101, DadaDepthHead, DepthSegmenter
from tests import reference_recipe as recipe
from tests.test_goldens import assert_forward_is_golden, filled

Tensors = dict[str, Tensor]


def shaped(shapes: recipe.Shapes) -> Tensors:
    """Tensors that differ in their first value; each takes one number in memory and on disk."""
    return {
        key: torch.zeros(shape, dtype=torch.long)
        if key.endswith("tracked")
        else torch.tensor(index / 1000).expand(shape)
        for index, (key, shape) in enumerate(shapes.items())
    }


def backbone_shapes() -> recipe.Shapes:
    heads = ("att", "up", "mff", "conv", "bnR", "dec4", "layer6")
    return {k: v for k, v in recipe.network_shapes().items() if k.startswith("conv1") or not k.startswith(heads)}


def classifier_shapes(layer: str, channels: int, classes: int) -> recipe.Shapes:
    weights = {f"{layer}.conv2d_list.{i}.weight": (classes, channels, 3, 3) for i in range(4)}
    return {**weights, **{f"{layer}.conv2d_list.{i}.bias": (classes,) for i in range(4)}}


def advent(classes: int = 19) -> Tensors:
    """AdvEnt's multi-level network, with its auxiliary classifier."""
    heads = {**classifier_shapes("layer5", 1024, classes), **classifier_shapes("layer6", 2048, classes)}
    return shaped({**backbone_shapes(), **heads})


def dada() -> Tensors:
    widths = {"enc4_1": (512, 2048, 1, 1), "enc4_2": (512, 512, 3, 3), "enc4_3": (128, 512, 1, 1)}
    convolutions = {**widths, "dec4": (2048, 128, 1, 1)}
    heads: recipe.Shapes = {f"{key}.weight": shape for key, shape in convolutions.items()}
    heads |= {f"{key}.bias": shape[:1] for key, shape in convolutions.items()}
    return shaped({**backbone_shapes(), **heads, **classifier_shapes("layer6", 2048, 16)})


def caffe() -> Tensors:
    """The initialisation file: a prefix on every name, 21 classes, no batch norm counters."""
    shapes = {**backbone_shapes(), **classifier_shapes("layer5", 2048, 21)}
    return {f"Scale.{key}": value for key, value in shaped(shapes).items() if not key.endswith("tracked")}


def test_a_checkpoint_in_the_layout_of_the_authors_computes_what_theirs_computes(tmp_path: Path) -> None:
    # The authors' network with the recipe's weights, as saved by their first stage.
    state = {f"module.{key}": value for key, value in filled(recipe.network_shapes()).items()}
    torch.save({"model_state_dict": state, "iteration": 90_000, "best": np.float64(45.9)}, tmp_path / "model_daf.pth")
    model = convert_checkpoint(tmp_path / "model_daf.pth")
    assert not model.training
    assert model.label_space is not None
    assert model.label_space.name == "cityscapes16"
    model.double()
    for mode in ("eval", "train"):  # in this order: train mode changes the statistics
        assert_forward_is_golden(model, mode)


def first_values(model: DepthSegmenter) -> dict[str, float]:
    return {key: float(value.flatten()[0]) for key, value in model.state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrap", [dict, lambda state: {"model_state_dict": state, "epoch": 3}])
def test_both_layouts_of_the_authors_are_read(
    tmp_path: Path, prefix: str, wrap: Callable[[Tensors], dict[str, object]]
) -> None:
    tensors = {"conv1.weight": torch.ones(1), "bn1.bias": torch.zeros(2)}
    torch.save(wrap({prefix + key: value for key, value in tensors.items()}), tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth")
    assert {key: value.tolist() for key, value in read.items()} == {"conv1.weight": [1.0], "bn1.bias": [0.0, 0.0]}


@pytest.mark.parametrize(("classes", "space"), [(16, "cityscapes16"), (7, "common7"), (5, None)])
def test_networks_without_depth_come_from_advent(tmp_path: Path, classes: int, space: str | None) -> None:
    tensors = advent(classes)
    torch.save(tensors, tmp_path / "advent.pth", _use_new_zipfile_serialization=False)  # as in 2019
    model = convert_checkpoint(tmp_path / "advent.pth")
    assert model.depth_head is model.gate is None
    assert (model.label_space and model.label_space.name) == space
    ours = first_values(model)
    assert ours["classifier.branches.2.bias"] == float(tensors["layer6.conv2d_list.2.bias"][0])
    assert ours["backbone.layer3.22.conv3.weight"] == float(tensors["layer3.22.conv3.weight"].flatten()[0])


def test_the_network_of_dada_has_its_own_depth_head(tmp_path: Path) -> None:
    tensors = dada()
    save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / "dada.safetensors")
    model = convert_checkpoint(tmp_path / "dada.safetensors")
    assert isinstance(model.depth_head, DadaDepthHead)
    ours = first_values(model)
    for theirs, name in {"enc4_1": "convolutions.0", "enc4_2": "convolutions.1", "enc4_3": "convolutions.2"}.items():
        assert ours[f"depth_head.{name}.weight"] == float(tensors[f"{theirs}.weight"].flatten()[0])
    assert ours["gate.conv.bias"] == float(tensors["dec4.bias"][0])
    with torch.no_grad():
        logits, depth = model(torch.rand(1, 3, 33, 33))
    assert logits.shape == (1, 16, 5, 5)
    assert depth.shape == (1, 1, 5, 5)


def test_the_caffe_initialisation_goes_into_the_backbone(tmp_path: Path) -> None:
    tensors = {key: value.half() if value.is_floating_point() else value for key, value in caffe().items()}
    torch.save(tensors, tmp_path / "init.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="holds a backbone: pass num_classes="):
        convert_checkpoint(tmp_path / "init.pth")
    model = convert_checkpoint(tmp_path / "init.pth", num_classes=16, seed=4)
    fresh = create_model("deeplabv2_resnet101", 16, label_space="cityscapes16", seed=4)
    ours, new = first_values(model), first_values(fresh)
    assert {key: value for key, value in ours.items() if not key.startswith("backbone.")} == {
        key: value for key, value in new.items() if not key.startswith("backbone.")
    }
    assert ours["backbone.layer4.2.bn3.running_var"] == float(tensors["Scale.layer4.2.bn3.running_var"][0])
    assert ours["backbone.bn1.num_batches_tracked"] == 0
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert isinstance(model.backbone, CaffeResNet101)
    assert not model.backbone.bn1.weight.requires_grad  # still frozen
    assert model.backbone.conv1.weight.requires_grad


@pytest.mark.parametrize("network", ["resnet18", "resnet50"])
def test_a_resnet_of_torchvision_computes_the_same_features(tmp_path: Path, network: str) -> None:
    theirs = torchvision.models.get_model(network).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    model = convert_checkpoint(tmp_path / "resnet.pth", num_classes=7)
    assert model.config is not None
    assert model.config["name"] == f"timm/{network}"
    plain = create_model(f"timm/{network}", 7, output_stride=None).eval()
    load_backbone(plain, tmp_path / "resnet.pth")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        x = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(x))))
        assert torch.allclose(plain.backbone(image)[-1], x, rtol=1e-4, atol=1e-5)


def test_backbones_are_not_mixed_up(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet.pth")
    with torch.device("meta"):
        model = create_model("deeplabv2_resnet101", 16)
    with pytest.raises(ValueError, match=r"holds a ResNet of torchvision.*is a CaffeResNet101, which wants other"):
        load_backbone(model, tmp_path / "resnet.pth")


def test_every_tensor_has_to_find_its_place(tmp_path: Path) -> None:
    tensors = advent(16)
    del tensors["layer2.1.conv2.weight"], tensors["bn1.weight"]
    tensors["extra.weight"] = torch.ones(1)
    tensors["layer1.0.conv1.weight"] = torch.ones(2, 3)
    torch.save(tensors, tmp_path / "a.pth")
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is checked below)
        convert_checkpoint(tmp_path / "a.pth")
    for part in (
        "2 missing: backbone.bn1.weight, backbone.layer2.1.conv2.weight",
        "1 unexpected: backbone.extra.weight",
        "1 of another shape: backbone.layer1.0.conv1.weight ((2, 3) instead of (64, 64, 1, 1))",
    ):
        assert part in str(error.value)


def test_the_architecture_can_be_named_and_must_fit(tmp_path: Path) -> None:
    torch.save(advent(16), tmp_path / "a.pth")
    assert convert_checkpoint(tmp_path / "a.pth", "deeplabv2").depth_head is None
    with pytest.raises(ValueError, match=r"missing: depth_head.attention.0.excite.weight"):
        convert_checkpoint(tmp_path / "a.pth", "daf")
    with pytest.raises(ValueError, match="architecture must be one of"):
        convert_checkpoint(tmp_path / "a.pth", "segformer")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_classes is 7, but the checkpoint has 16"):
        convert_checkpoint(tmp_path / "a.pth", num_classes=7)
    torch.save({"encoder.weight": torch.ones(1)}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"of no known architecture.*encoder.weight"):
        convert_checkpoint(tmp_path / "b.pth")


def test_a_converted_model_is_saved_as_any_other(tmp_path: Path) -> None:
    torch.save(advent(7), tmp_path / "a.pth")
    model = convert_checkpoint(tmp_path / "a.pth")
    model.save_pretrained(tmp_path / "model")
    back = load_pretrained(tmp_path / "model")
    assert first_values(back) == first_values(model)
    for network in (model, back):
        frozen = {key for key, parameter in network.named_parameters() if not parameter.requires_grad}
        assert frozen == {key for key in frozen if ".bn" in key or ".downsample.1." in key}
        assert len(frozen) == 2 * 104  # scale and shift of every batch norm


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    sign, file = tmp_path / "was-run", tmp_path / "evil.pth"
    state = {"conv1.weight": torch.ones(1), "payload": Malice(f"touch {sign}")}
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"evil.pth: refused, and nothing in it was run.*system"):
        convert_checkpoint(file)
    assert not sign.exists()
    torch.load(file, weights_only=False)  # the attack works if it is loaded unsafely
    assert sign.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a checkpoint", "refused|not a checkpoint"),
        (b"", "not a checkpoint of PyTorch"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a.pth: ({message})"):
        read_checkpoint(tmp_path / "a.pth")


def test_what_holds_no_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"expected tensors by name.*got dict with \['epoch'\]"):
        read_checkpoint(tmp_path / "a.pth")
    torch.save({0: torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"expected tensors by name.*got dict with \[0\]"):
        read_checkpoint(tmp_path / "a.pth")
    with pytest.raises(FileNotFoundError, match=r"none.pth: no such file"):
        read_checkpoint(tmp_path / "none.pth")
