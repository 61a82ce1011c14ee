"""Models are saved to a folder and loaded again, and the authors' names are converted to ours."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from depthaware_uda import create_model, load_pretrained
from depthaware_uda.hub import convert_discriminator_state_dict, convert_state_dict
from depthaware_uda.labels import LabelSpace
from depthaware_uda.models import DepthSegmenter, create_discriminator
from tests.tiny import assert_same_weights, tiny_model, weights


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"depth_head": None, "label_space": None},
        {"depth_head": "dada"},
        {"channel_attention": False, "gate": False, "depth_size": (9, 11), "seed": None, "output_stride": 16},
    ],
)
def test_a_model_comes_back_as_it_was(tmp_path: Path, options: dict[str, object]) -> None:
    model = tiny_model(**options)  # type: ignore[arg-type]
    model(torch.rand(2, 3, 40, 40))  # changes the running statistics
    model.save_pretrained(tmp_path / "deep" / "model")
    back = load_pretrained(tmp_path / "deep" / "model")
    assert_same_weights(weights(back), weights(model))
    assert back.label_space == model.label_space
    assert json.dumps(back.config) == json.dumps(model.config)
    assert not back.training
    image = torch.rand(1, 3, 40, 40)
    for ours, theirs in zip(back(image), model.eval()(image), strict=True):
        assert ours is theirs is None or torch.equal(ours, theirs)


def test_a_model_of_an_own_label_space_comes_back(tmp_path: Path) -> None:
    space = LabelSpace("mine", tuple("abcdefg"), ((1, 2, 3),) * 7, rare=("a",), subsets={"2": ("a", "b")})
    model = tiny_model(label_space=space)
    model.save_pretrained(tmp_path / "model")
    assert load_pretrained(tmp_path / "model").label_space == space


def test_the_folder_holds_safetensors_and_json(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"SHA256SUMS", "config.json", "model.safetensors"}
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["name"] == "timm/resnet10t"
    assert config["num_classes"] == 7
    assert config["label_space"] == "common7"
    assert "seed" not in config


def test_saving_again_replaces_the_model(tmp_path: Path) -> None:
    first, second = tiny_model(seed=1), tiny_model(seed=2)
    first.save_pretrained(tmp_path / "model")
    second.save_pretrained(tmp_path / "model")
    assert_same_weights(weights(load_pretrained(tmp_path / "model")), weights(second))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_saving_into_a_folder_keeps_what_else_lies_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("do not lose me")
    tiny_model().save_pretrained(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "do not lose me"
    assert load_pretrained(tmp_path).label_space is not None


def test_saving_into_the_current_folder_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    tiny_model().save_pretrained(".")
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert names == ["SHA256SUMS", "config.json", "model.safetensors"]


@pytest.mark.parametrize("cut_before", ["weights", "config", "sums"])
def test_a_kill_while_saving_over_another_network_leaves_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_before: str
) -> None:
    old, new = tiny_model(seed=1), tiny_model(depth_head=None, label_space=None)
    old.save_pretrained(tmp_path / "model")
    writers = {"weights": "write_tensors", "config": "write_json", "sums": "write_sums"}

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"depthaware_uda.models.pretrained.{writers[cut_before]}", kill)
    with pytest.raises(KeyboardInterrupt):
        new.save_pretrained(tmp_path / "model")
    back = load_pretrained(str(tmp_path / "model"))
    expected = old if cut_before == "weights" else new
    assert_same_weights(weights(back), weights(expected))
    assert back.label_space == expected.label_space


@pytest.mark.parametrize("dtype", [torch.int8, "float16"])
def test_weights_are_kept_and_read_in_floating_point_alone(tmp_path: Path, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=r"dtype must be a floating-point type, such as torch\.float16, or None"):
        tiny_model().save_pretrained(tmp_path / "model", dtype=dtype)
    assert list(tmp_path.iterdir()) == []
    tiny_model().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="dtype must be a floating-point type"):
        load_pretrained(tmp_path / "model", dtype=dtype)


def test_what_is_on_this_machine_has_no_revision(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    for name in (tmp_path / "model", str(tmp_path / "model"), "daf-ida-minicity"):
        with pytest.raises(ValueError, match=r"revision='v1' is a version of a repository on the hub, but '.*' is /"):
            load_pretrained(name, revision="v1")


def test_the_folder_of_a_run_is_told_from_that_of_its_weights(tmp_path: Path) -> None:
    for name in ("model", "best"):
        tiny_model().save_pretrained(tmp_path / "daf" / name)
    with pytest.raises(FileNotFoundError, match=r"folder of a run, whose weights are in .*daf/model and .*daf/best"):
        load_pretrained(tmp_path / "daf")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"{missing} is missing: expected a folder"):
        load_pretrained(tmp_path / "model")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/config.json is missing"):
        load_pretrained(tmp_path / "nowhere")


def edit(key: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config[key] = value
        (folder / "config.json").write_text(json.dumps(config))

    return change


def drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["gate.conv.bias"]
    save_file(tensors, folder / "model.safetensors")


def cut_short(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit("colour", "red"), "do not fit this library.*colour"),
        (edit("num_classes", 5), "num_classes is 5"),
        (edit("dilations", [1, 2, 3]), "do not fit this library.*classifier.branches.2"),
        (edit("name", "timm/no_such_network"), "knows no model 'no_such_network'"),
        (drop_a_tensor, r"do not fit this library.*gate.conv.bias"),
        (cut_short, "model.safetensors"),
        (lambda folder: (folder / "config.json").write_text("{"), "not a JSON file"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "do not fit this library"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "SHA256SUMS").unlink()  # as from another program; the files themselves are checked
    damage(tmp_path / "model")
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load_pretrained(tmp_path / "model")


def test_a_network_with_a_part_of_ones_own_is_loaded_by_its_maker(tmp_path: Path) -> None:
    def make() -> DepthSegmenter:
        model = tiny_model()
        model.classifier = nn.Conv2d(32, 7, 1)
        return model

    made = make()
    made.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"(?s)replaced after create_model.*take the tensors of .*model.safetensors"):
        load_pretrained(tmp_path)
    again = make()
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert_same_weights(weights(again), weights(made))


def test_converted_keys_by_hand() -> None:
    keys = {
        "conv1.weight": "backbone.conv1.weight",
        "module.layer3.11.bn2.running_var": "backbone.layer3.11.bn2.running_var",
        "layer1.0.downsample.0.weight": "backbone.layer1.0.downsample.0.weight",
        "layer6.conv2d_list.3.bias": "classifier.branches.3.bias",
        "dec4.weight": "gate.conv.weight",
        "att1.1.weight": "depth_head.attention.0.squeeze.weight",
        "att4.3.weight": "depth_head.attention.3.excite.weight",
        "up2.conv1.weight": "depth_head.projections.1.0.weight",
        "up2.bn1.bias": "depth_head.projections.1.1.bias",
        "mff_conv.weight": "depth_head.merge.0.weight",
        "mff_bn.running_mean": "depth_head.merge.1.running_mean",
        "convR0.weight": "depth_head.refine.0.weight",
        "bnR0.weight": "depth_head.refine.1.weight",
        "convR2.bias": "depth_head.predict.bias",
    }
    values = {key: torch.tensor(float(index)) for index, key in enumerate(keys)}
    converted = convert_state_dict(values)
    assert converted == {keys[key]: value for key, value in values.items()}
    assert set(converted) <= set(create_model("deeplabv2_resnet101", 16).state_dict())


def test_converted_discriminator_keys_by_hand() -> None:
    theirs = {f"module.discriminator.{key}": value for key, value in create_discriminator(3).state_dict().items()}
    discriminator = create_discriminator(3)
    discriminator.load_state_dict(convert_discriminator_state_dict(theirs))
    assert torch.equal(discriminator[0].bias, theirs["module.discriminator.0.bias"])
