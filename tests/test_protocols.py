"""Protocols: their figures are consistent, their data sets have the stated sizes, and evaluation follows them."""

import copy
import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from depthaware_uda import (
    AdaptationProtocol,
    EvaluationResult,
    SegDepthOutput,
    evaluate,
    get_protocol,
    list_protocols,
)
from depthaware_uda.data import write_miniature
from depthaware_uda.labels import get_label_space
from tests.tiny import Listed, Oracle, Scenes, numbered, tiny_model

PUBLISHED = [name for name in list_protocols() if get_protocol(name).published]


@pytest.mark.parametrize("name", list_protocols())
def test_protocols_are_copied_and_sent_to_other_processes(name: str) -> None:
    protocol = get_protocol(name)
    assert pickle.loads(pickle.dumps(protocol)) == copy.deepcopy(protocol) == protocol
    assert json.loads(json.dumps(asdict(protocol)))["name"] == name


def test_the_protocols() -> None:
    names = ["ep1", "ep2-320x640", "ep2", "ep3-320x640", "ep3", "minicity", "minicity-camvid"]
    assert list_protocols() == names
    assert names[:5] == PUBLISHED
    assert get_protocol("ep1").roots == ("synthia", "cityscapes")
    assert get_protocol("minicity").roots == ()
    assert get_protocol("minicity-camvid").roots == ("camvid",)
    with pytest.raises(ValueError, match=r"unknown protocol 'ep4'; known: \['ep1'"):
        get_protocol("ep4")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_means_are_the_means_of_the_published_classes(name: str) -> None:
    protocol = get_protocol(name)
    assert [row.miou for row in protocol.published] == sorted(row.miou for row in protocol.published)
    assert protocol.published[-1].method == "DAF + IDA"
    for row in protocol.published:
        assert set(row.iou) <= set(protocol.classes.classes)
        assert set(row.subsets) == set(protocol.classes.subsets)
        if row.iou:
            assert sum(row.iou.values()) / len(protocol.classes) == pytest.approx(row.miou, abs=6e-4)
            for subset, value in row.subsets.items():
                members = protocol.classes.subsets[subset]
                assert sum(row.iou[member] for member in members) / len(members) == pytest.approx(value, abs=6e-4)


def small(name: str) -> AdaptationProtocol:
    return replace(get_protocol(name), source_size=(24, 40), target_size=(24, 32))


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    for name in ("synthia", "cityscapes", "mapillary"):
        write_miniature(root / name, name, 2, size=(48, 80))
    return {name: root / name for name in ("synthia", "cityscapes", "mapillary")}


@pytest.mark.parametrize(
    ("name", "label_size"),
    # Cityscapes keeps 48 x 80; Mapillary's label is filled up to the aspect 3 : 4; at 320 x 640 all have one size.
    [("ep1", (48, 80)), ("ep2", (48, 80)), ("ep3", (60, 80)), ("ep2-320x640", (24, 32)), ("ep3-320x640", (24, 32))],
)
def test_data_sets_have_the_sizes_and_classes_of_the_protocol(
    roots: dict[str, Path], name: str, label_size: tuple[int, int]
) -> None:
    protocol = small(name)
    source, target, val = protocol.source_data(roots), protocol.target_data(roots), protocol.validation_data(roots)
    assert source[0]["image"].shape == (3, 24, 40)
    assert source[0]["depth"].shape == (1, 24, 40)
    assert target[0]["image"].shape == val[0]["image"].shape == (3, 24, 32)
    assert val[0]["label"].shape == label_size
    for dataset in (source, target, val):
        assert dataset.label_space == protocol.classes  # type: ignore[attr-defined]


def test_minicity_needs_no_folder_and_shares_no_scene() -> None:
    protocol = replace(get_protocol("minicity"), source_size=(16, 16), target_size=(16, 16))
    datasets = [protocol.source_data(), protocol.target_data(), protocol.validation_data()]
    assert [len(dataset) for dataset in datasets] == [600, 300, 100]
    names = [name for dataset in datasets for name in dataset.names]  # type: ignore[attr-defined]
    assert len(set(names)) == 1000


def test_camvid_is_read_by_its_protocol(camvid_copy: Path) -> None:
    protocol = get_protocol("minicity-camvid")
    val = protocol.validation_data({"camvid": camvid_copy})
    assert val[0]["image"].shape == (3, 120, 160)
    assert val[0]["label"].shape == (120, 160)
    assert len(protocol.target_data({"camvid": camvid_copy})) == 3


def test_missing_roots_and_wrong_names_are_told() -> None:
    with pytest.raises(ValueError, match=r"'ep1' needs roots=\{'synthia': FOLDER, 'cityscapes': FOLDER\}, got"):
        get_protocol("ep1").validation_data({"synthia": "x"})
    with pytest.raises(ValueError, match="source and target must be one of"):
        replace(get_protocol("ep1"), target="kitti")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown label space"):
        replace(get_protocol("ep1"), label_space="nine")


def test_evaluation_by_a_protocol_prints_beside_the_published_rows(roots: dict[str, Path], tmp_path: Path) -> None:
    model = tiny_model()
    protocol = small("ep2")
    result = evaluate(model, protocol=protocol, roots=roots)
    assert result.confusion == evaluate(model, protocol.validation_data(roots)).confusion
    assert (result.protocol, result.image_size, result.label_size) == ("ep2", (24, 32), (48, 80))
    assert result.versions["torch"] == torch.__version__
    lines = result.table().splitlines()
    assert lines[0].startswith(
        "EP2: SYNTHIA to Cityscapes, 7 classes, full resolution; 1 images of 24 x 32, compared at"
    )
    assert lines[1].split() == ["this", "AdvEnt", "DADA", "CTRL", "DAF", "DAF", "+", "IDA"]
    rows = {line[:14].strip(): line.split() for line in lines[2:]}
    assert rows["flat"][1:] == [f"{100 * result.iou['flat']:.1f}", "-", "-", "-", "-", "94.0"]
    assert rows["mIoU"][1:] == [f"{100 * result.miou:.1f}", "67.2", "69.2", "71.3", "73.5", "74.0"]
    assert "not as in the protocol, which shows the network images of 512 x 1024" in lines
    assert "not as in the protocol" not in replace(result, image_size=(512, 1024)).table()
    assert "not as in the protocol" not in replace(result, image_size=None, label_size=None).table()
    resized = replace(result, image_size=(512, 1024), label_size=(512, 1024))
    assert "not as in the protocol, which compares at the labels' own size" in resized.table()
    low = replace(resized, protocol="ep2-320x640", image_size=(320, 640))
    assert "not as in the protocol, which compares at the size of the images" in low.table()
    assert "not as the protocol" not in replace(low, label_size=(320, 640)).table()
    result.save(tmp_path / "ep2.json")
    back = EvaluationResult.load(tmp_path / "ep2.json")
    assert back.to_dict() == result.to_dict()
    assert back.image_size == (24, 32)
    assert back.table() == result.table()


def test_logits_are_resized_once_to_the_label() -> None:
    # 0 and 2 at the ends of a row of five labels: 0, 0.5, 1, 1.5, 2 with aligned corners. Via the image's three columns
    # (0, 1, 2), or via two (0, 2), it would be the same, but not without aligned corners.
    logits = torch.tensor([[[0.0, 2.0]], [[1.25, 1.25]]])[None]
    samples = numbered(1, (1, 3), label=lambda _: torch.tensor([[1, 1, 1, 0, 0]]))
    assert evaluate(Oracle([SegDepthOutput(logits, None)]), Listed(samples)).pixel_accuracy == 1


def test_a_data_set_may_stand_for_the_protocols() -> None:
    images = Scenes(2)
    result = evaluate(tiny_model(), images, protocol="ep2")
    assert (result.protocol, result.images) == ("ep2", 2)
    with pytest.raises(ValueError, match="'ep1' has the classes of 'cityscapes16', the data those of 'common7'"):
        evaluate(tiny_model(), images, protocol="ep1")
    with pytest.raises(TypeError, match="needs a data set, or the name of a protocol"):
        evaluate(tiny_model())


def _result(confusion: Tensor, **about: object) -> EvaluationResult:
    space = get_label_space("common7")
    return replace(EvaluationResult.from_confusion(confusion, space.classes), **about)  # type: ignore[arg-type]


def test_two_results_side_by_side() -> None:
    good = torch.eye(7, dtype=torch.int64) * 10
    poor = good.clone()
    poor[0, 0], poor[0, 1] = 5, 5
    one, other = _result(good, images=3), _result(poor, images=2, protocol="ep2")
    lines = one.compare(other, name="DAF", other_name="source only").splitlines()
    assert lines[0].split() == ["DAF", "source", "only", "difference"]
    # Of flat, 5 of 10 are right; of construction, all 10 and 5 false positives: 10 / 15.
    assert lines[1].split() == ["flat", "100.0", "50.0", "+50.0"]
    assert lines[2].split() == ["construction", "100.0", "66.7", "+33.3"]
    assert lines[8].split() == ["mIoU", "100.0", "88.1", "+11.9"]
    assert lines[-2:] == [
        "not measured alike: protocol is None here and ep2 there",
        "not measured alike: images is 3 here and 2 there",
    ]
    assert "not measured alike" not in one.compare(one)
    with pytest.raises(ValueError, match="results of different classes cannot be compared"):
        one.compare(EvaluationResult.from_confusion(torch.eye(2, dtype=torch.int64), ("a", "b")))


def test_results_of_before_protocols_can_be_read() -> None:
    record = _result(torch.eye(7, dtype=torch.int64)).to_dict()
    for key in ("protocol", "image_size", "label_size", "versions"):
        del record[key]
    assert EvaluationResult.from_dict(record).protocol is None
