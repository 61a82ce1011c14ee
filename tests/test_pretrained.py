"""Registered names, packaged weights, single files, model cards, and configurations that ask for too much."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from depthaware_uda import EvaluationResult, create_model, evaluate, list_pretrained, load_pretrained
from depthaware_uda.data import MiniCity
from depthaware_uda.files import read_json, sha256
from depthaware_uda.hub import get_record, model_card, registry, weights_record
from depthaware_uda.hub.loading import build_model
from depthaware_uda.labels import LabelSpace, get_label_space, list_label_spaces
from depthaware_uda.models import DepthSegmenter
from tests.tiny import assert_same_weights, tiny_model, weights

NAMES = ["daf-ida-minicity", "daf-ida-synthia", "daf-ida-synthia-7", "daf-ida-synthia-mapillary-7", "daf-synthia"]
PACKAGED = [record for record in list_pretrained() if record.packaged]


def test_the_registry_lists_its_names() -> None:
    assert [record.name for record in list_pretrained()] == NAMES
    assert [record.name for record in list_pretrained("daf-ida-synthia*")] == NAMES[1:4]
    assert list_pretrained("nothing") == []
    with pytest.raises(ValueError, match=r"'daf-ida-sintia'; did you mean one of \['daf-ida-synthia'"):
        get_record("daf-ida-sintia")
    with pytest.raises(FrozenInstanceError):
        list_pretrained()[0].name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("record", list_pretrained(), ids=lambda record: record.name)
def test_a_record_says_no_more_than_is_true(record: registry.PretrainedRecord) -> None:
    assert record.label_space in list_label_spaces()
    assert 0 < record.miou < 1
    assert "Depth Guidance" in record.citation
    assert record.published == (record.sha256 is not None) == (record.file_size is not None)
    assert record.published or "reported in the paper" in record.miou_source
    assert record.repository == f"depthaware-uda/{record.name}"


def test_the_parameters_of_unpublished_weights_are_those_of_their_network() -> None:
    records = list_pretrained("*synthia*")
    assert {record.architecture for record in records} == {"deeplabv2_resnet101"}
    parameters = {}
    for space in ("cityscapes16", "common7"):
        with torch.device("meta"):
            model = create_model("deeplabv2_resnet101", len(get_label_space(space)))
        parameters[space] = sum(parameter.numel() for parameter in model.parameters())
    assert [record.parameters for record in records] == [parameters[record.label_space] for record in records]


def test_weights_of_minicity_are_in_the_package() -> None:
    assert [record.name for record in PACKAGED] == ["daf-ida-minicity"]


@pytest.mark.parametrize("record", PACKAGED, ids=lambda record: record.name)
def test_packaged_weights_are_those_of_the_record(record: registry.PretrainedRecord) -> None:
    file = record.folder / "model.safetensors"
    assert file.stat().st_size == record.file_size
    assert file.stat().st_size <= 12_000_000
    assert sha256(file) == record.sha256
    model = load_pretrained(record.name, local_files_only=True)
    assert sum(parameter.numel() for parameter in model.parameters()) == record.parameters
    assert model.label_space is not None
    assert model.config is not None
    assert (model.config["name"], model.label_space.name) == (record.architecture, record.label_space)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("record", PACKAGED, ids=lambda record: record.name)
def test_packaged_weights_see_streets(record: registry.PretrainedRecord) -> None:
    check = read_json(record.folder / "check.json")
    height, width = check["size"]
    images = MiniCity(check["images"], style="real", size=(height, width), seed=check["seed"], labels="common7")
    miou = evaluate(load_pretrained(record.name), images).miou
    assert miou == pytest.approx(check["miou"], abs=0.01)
    assert miou > 0.4  # an untrained network has less than 0.1


def test_damaged_packaged_weights_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = get_record("daf-ida-minicity")
    folder = tmp_path / record.name
    folder.mkdir()
    for file in record.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    monkeypatch.setattr(registry, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(ValueError, match=rf"SHA-256 of '{record.name}' should be {record.sha256}"):
        load_pretrained(record.name)


def test_a_slip_in_a_name_gets_a_hint() -> None:
    with pytest.raises(FileNotFoundError, match=r"registered names like it: \['daf-ida-minicity'"):
        load_pretrained("daf-ida-minicty")


def test_a_folder_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "daf-ida-minicity").mkdir()  # a folder of something else
    assert load_pretrained("daf-ida-minicity").label_space is not None
    tiny_model(seed=5).save_pretrained("daf-synthia")
    assert_same_weights(weights(load_pretrained("daf-synthia")), weights(tiny_model(seed=5)))


def test_a_weights_file_loads_alone(tmp_path: Path) -> None:
    model = tiny_model(seed=5)
    model.save_pretrained(tmp_path / "model")
    alone = (tmp_path / "model" / "model.safetensors").rename(tmp_path / "alone.safetensors")
    back = load_pretrained(alone)
    assert_same_weights(weights(back), weights(model))
    assert back.label_space == model.label_space

    save_file(load_file(alone), alone)  # without its configuration
    with pytest.raises(FileNotFoundError, match=r"config.json is missing: expected config.json beside a weights file"):
        load_pretrained(alone)
    (tmp_path / "model" / "config.json").rename(tmp_path / "config.json")
    assert_same_weights(weights(load_pretrained(alone)), weights(model))


def test_other_files_are_sent_to_the_converter(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a.pth: expected .*; convert_checkpoint reads other checkpoints"):
        load_pretrained(tmp_path / "a.pth")


def test_half_precision_halves_the_file_and_loads_in_single(tmp_path: Path) -> None:
    model = tiny_model(seed=5)
    model.save_pretrained(tmp_path / "full")
    model.save_pretrained(tmp_path / "half", dtype=torch.float16)
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("full", "half")]
    assert 0.5 < sizes[1] / sizes[0] < 0.55
    key, statistic = "classifier.branches.0.weight", "depth_head.merge.1.running_var"
    stored = load_file(tmp_path / "half" / "model.safetensors")
    assert (stored[key].dtype, stored[statistic].dtype) == (torch.float16, torch.float32)
    back = load_pretrained(tmp_path / "half").state_dict()
    assert {value.dtype for value in back.values()} == {torch.float32, torch.int64}
    assert torch.equal(back[key], model.state_dict()[key].half().float())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_can_be_asked_for(tmp_path: Path, dtype: torch.dtype) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    tensors = load_pretrained(tmp_path / "model", dtype=dtype).state_dict()
    assert {value.dtype for value in tensors.values()} == {dtype, torch.int64}


def test_what_is_loaded_can_be_trained_and_saved_onto_its_own_file(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    back = load_pretrained(tmp_path / "model").train()
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    back(torch.rand(2, 3, 40, 40)).logits.sum().backward()
    with torch.no_grad():
        for parameter in back.parameters():
            parameter.sub_(1.0)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
    back.save_pretrained(tmp_path / "model")
    assert_same_weights(weights(load_pretrained(tmp_path / "model")), weights(back))


def test_tables_that_are_not_in_the_file_are_computed() -> None:
    small = {"img_size": 64, "window_size": 2, "embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8)}
    swin = "timm/swin_tiny_patch4_window7_224"
    model = create_model(swin, 3, output_stride=None, backbone_arguments=small, seed=0).eval()
    assert model.config is not None
    back = build_model(model.config, model.state_dict()).eval()
    expected = dict(model.named_buffers())
    assert set(expected) - set(model.state_dict())  # otherwise this network tests nothing
    assert all(torch.equal(buffer, expected[key]) for key, buffer in back.named_buffers())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(back(image).logits, model(image).logits)


@pytest.mark.parametrize(
    "change",
    [
        {"pretrained_backbone": True},
        {"backbone_arguments": {"pretrained": True}},
        {"backbone_arguments": {"checkpoint_path": "evil.pth"}},
    ],
)
def test_a_configuration_must_not_fetch_weights_of_its_own(tmp_path: Path, change: dict[str, object]) -> None:
    tiny_model().save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ValueError, match=r"config.json: refused, its configuration asks for weights from elsewhere"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "SHA256SUMS"])
def test_every_flipped_bit_of_a_saved_model_is_found(tmp_path: Path, name: str) -> None:
    tiny_model().save_pretrained(tmp_path)
    file = tmp_path / name
    content = file.read_bytes()
    for position in range(0, len(content), max(1, len(content) // 25)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        file.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"(config\.json|model\.safetensors|SHA256SUMS)"):
            load_pretrained(tmp_path)
    file.write_bytes(content)
    load_pretrained(tmp_path)


def test_sizes_are_looked_at_before_anything_is_parsed(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    weights_file = tmp_path / "model.safetensors"
    weights_file.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match=r"model.safetensors: .* its header claims 1099511627776 bytes"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(" " * (1 << 20) + "{}")
    with pytest.raises(ValueError, match=r"config.json: larger than 1048576 bytes"):
        load_pretrained(tmp_path)


def test_the_class_loads_too(tmp_path: Path) -> None:
    tiny_model(seed=5).save_pretrained(tmp_path)
    assert_same_weights(weights(DepthSegmenter.from_pretrained(tmp_path)), weights(tiny_model(seed=5)))


def test_a_model_card_tells_what_is_known(tmp_path: Path) -> None:
    model = tiny_model()
    assert model.label_space is not None
    confusion = torch.eye(7, dtype=torch.int64) * 3 + 1
    confusion[6] = 0  # no label shows a vehicle
    scores = EvaluationResult.from_confusion(confusion, model.label_space.classes)
    card = model_card(
        model, "Streets", protocol="three steps", scores=scores, measured_on="two photographs", license="apache-2.0"
    )
    metadata, text = card.removeprefix("---\n").split("\n---\n", 1)
    assert "license: apache-2.0" in metadata.splitlines()
    assert "library_name: depthaware-uda" in metadata.splitlines()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    for part in (
        "# Streets",
        f"`timm/resnet10t`, {parameters / 1e6:.2f} M parameters",
        "`common7`, 7 classes: flat, construction",
        "three steps",
        "Percent, on two photographs.",
        f"| mIoU | {100 * scores.miou:.1f} |",
        f"| sky | {100 * scores.iou['sky']:.1f} |",
        "Depth Guidance and Intra-Domain Adaptation",
    ):
        assert part in text
    assert "nan" not in text
    model.save_pretrained(tmp_path, card=card)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == card
    assert "Not measured." in model_card(model, "Streets")
    assert 'load_pretrained("me/streets")' in model_card(model, "Streets", repository="me/streets")


def test_a_model_card_of_a_network_without_depth_does_not_speak_of_it() -> None:
    card = model_card(tiny_model(depth_head=None), "Flat")
    assert "depth head: none" in card
    assert "depth-estimation" not in card
    assert "depth branch" not in card


def test_a_record_names_the_label_space(tmp_path: Path) -> None:
    space = LabelSpace("mine", tuple("abcdefg"), ((1, 2, 3),) * 7)
    scores = EvaluationResult.from_confusion(torch.eye(7, dtype=torch.int64), space.classes)
    facts: dict[str, Any] = {"scores": scores, "measured_on": "seven pixels", "protocol": "none"}
    model = tiny_model(label_space=space)
    model.save_pretrained(tmp_path)
    assert weights_record(model, tmp_path, **facts).label_space == "mine"
    with pytest.raises(ValueError, match="a record needs a model built by create_model with a label_space"):
        weights_record(tiny_model(label_space=None), tmp_path, **facts)
