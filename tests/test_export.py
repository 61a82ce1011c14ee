"""Exported networks compute the same as the network, also at other sizes and batch sizes."""

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from depthaware_uda import SegDepthOutput
from depthaware_uda.export import export_onnx, export_program
from depthaware_uda.labels import get_label_space
from depthaware_uda.models import resize_output
from tests.test_examples import load
from tests.tiny import few_layers, tiny_model, weights

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
pytest.importorskip("onnxscript", reason="needs the extra 'export'")


def trained_like() -> nn.Module:
    """A network in training mode whose statistics and outputs differ from the initial ones."""
    model = few_layers()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(2, 3, 64, 64))
        for parameter in model.parameters():
            parameter.mul_(1.1)
    return model


class Small(nn.Module):
    """One convolution with stride 2, without depth; odd sides are padded, as in timm."""

    label_space = get_label_space("common7")

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 7, 2, stride=2)

    def forward(self, image: Tensor) -> SegDepthOutput:
        down, right = (2 * math.ceil(side / 2) - side for side in image.shape[-2:])
        return SegDepthOutput(self.convolution(nn.functional.pad(image, (0, right, 0, down))), None)


def run(path: Path, image: Tensor) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"image": image.numpy()})


def test_onnx_computes_the_same_at_any_size_and_leaves_the_model_alone(tmp_path: Path) -> None:
    model = trained_like()
    before = weights(model)
    path = export_onnx(model, tmp_path / "model.onnx", (64, 96))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    model.eval()
    for shape in ((1, 3, 64, 96), (3, 3, 96, 64), (2, 3, 97, 129)):
        image = torch.rand(shape)
        with torch.no_grad():
            logits, inverse_depth = model(image)
        found = run(path, image)
        np.testing.assert_allclose(found[0], logits, atol=1e-4)
        np.testing.assert_allclose(found[1], inverse_depth, atol=1e-4)


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch 2.6 cannot put the resize into ONNX")
def test_onnx_says_what_it_is(tmp_path: Path) -> None:
    path = export_onnx(Small(), tmp_path / "model.onnx", (64, 64), full_size=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits"]
    assert session.get_outputs()[0].shape[1] == 7
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["label_space"])["name"] == "common7"
    assert facts["input"].startswith("RGB in 0..1")
    assert run(path, torch.rand(1, 3, 70, 90))[0].shape == (1, 7, 70, 90)


def test_a_program_goes_to_a_file_and_back(tmp_path: Path) -> None:
    model = Small()
    export_program(model, (64, 64), tmp_path / "model.pt2", full_size=True)
    program = torch.export.load(tmp_path / "model.pt2")
    for shape in ((1, 3, 64, 64), (2, 3, 97, 128)):
        image = torch.rand(shape)
        with torch.no_grad():
            expected = resize_output(model.eval()(image), shape[-2:])
            found = program.module()(image)
        assert len(found) == 1
        torch.testing.assert_close(found[0], expected.logits, atol=1e-4, rtol=0)


def test_what_the_file_format_cannot_say_is_refused(tmp_path: Path) -> None:
    class Cropped(Small):
        """Uses an operation on its size that the file format does not support."""

        def forward(self, image: Tensor) -> SegDepthOutput:
            return SegDepthOutput(image[..., : math.ceil(image.shape[3] / 1.5)], None)

    with pytest.raises(ValueError, match=r"model\.pt2: .*but not saved so; pass dynamic_size=False"):
        export_program(Cropped(), (64, 64), tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_goes_other_ways_at_other_sizes_is_refused() -> None:
    class Even(Small):
        """Drops a row if the number of rows is odd."""

        def forward(self, image: Tensor) -> SegDepthOutput:
            return super().forward(image[..., 1:, :] if image.shape[2] % 2 else image)

    with pytest.raises(ValueError, match=r"cannot be traced with free sizes: at 97 x 81: .*; pass dynamic_size=False"):
        export_program(Even(), (64, 64))


def test_a_fixed_size_stays_fixed() -> None:
    program = export_program(Small(), (64, 64), dynamic_size=False)
    assert program.module()(torch.rand(3, 3, 64, 64))[0].shape == (3, 7, 32, 32)
    with pytest.raises(Exception, match="64"):
        program.module()(torch.rand(1, 3, 96, 64))


@pytest.mark.slow
def test_families_go_out_at_any_size() -> None:
    """A transformer whose images are enlarged to whole patches, and a network that pads as TensorFlow does."""
    found = load("benchmarks/export").main(["--families", "dinov2", "convnext"])
    assert all(way == {"sizes": "any"} for ways in found.values() for way in ways.values())


@pytest.fixture(scope="module")
def in_onnx() -> object:
    """torch's conversion of `Small`, which is the slow part."""
    return torch.onnx.export(export_program(Small(), (64, 64)), input_names=["image"], dynamo=True, verbose=False)


@pytest.fixture
def _converted(in_onnx: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: in_onnx)


@pytest.mark.usefixtures("_converted")
def test_what_differs_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"onnxruntime and the model differ by .*no file was written"):
        export_onnx(Small(), tmp_path / "model.onnx", (64, 64), tolerance=-1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_converted")
def test_other_shapes_at_other_sizes_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        """A runtime whose maps always have the size at which the network was traced."""

        def __init__(self, path: Path, providers: list[str]) -> None:
            pass

        def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.zeros((len(inputs["image"]), 7, 4, 6), np.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    with pytest.raises(ValueError, match=r"differ by inf.*no file was written; try dynamic_size=False"):
        export_onnx(Small(), tmp_path / "model.onnx", (64, 64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(4, 64), (64,), (64, 64, 3), 64, (64.0, 64.0), ("64", "64")])
def test_sizes_are_checked(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"both at least 8, the network's stride; got {re.escape(repr(size))}"):
        export_onnx(tiny_model(), tmp_path / "model.onnx", size)


def test_a_program_is_not_traced_for_a_name_that_torch_does_not_want(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.bin: torch\.export\.save writes \.pt2 files"):
        export_program(_Branching(), (8, 8), tmp_path / "model.bin")


def test_what_cannot_be_traced_is_refused() -> None:
    with pytest.raises(ValueError, match=r"(?s)could not be traced at .*it cannot be exported"):
        export_program(_Branching(), (8, 8), dynamic_size=False)


def test_a_network_that_returns_something_else_is_named() -> None:
    with pytest.raises(TypeError, match="Conv2d returned Tensor, expected SegDepthOutput"):
        export_program(nn.Conv2d(3, 7, 1), (8, 8))


class _Branching(nn.Module):
    """Branches on a pixel value, which no tracer can follow."""

    def forward(self, image: Tensor) -> SegDepthOutput:
        return SegDepthOutput(image if image.mean() > 0.5 else -image, None)


def test_without_onnx_the_error_tells_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthaware_uda.export.onnx._MODULES", ("onnx", "onnxruntime_that_nobody_has"))
    with pytest.raises(
        ImportError, match=r"needs onnxruntime_that_nobody_has: pip install onnxruntime_that_nobody_has"
    ):
        export_onnx(tiny_model(), tmp_path / "model.onnx", (64, 64))
    assert "depthaware_uda.export" in sys.modules


def test_what_torch_cannot_turn_into_onnx_is_a_value_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("no such operation")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ValueError, match=r"into ONNX: no such operation; try dynamic_size=False"):
        export_onnx(Small(), tmp_path / "model.onnx", (64, 64))
    assert list(tmp_path.iterdir()) == []
