"""Properties over random inputs: label maps, depth encodings, splits, manifests, metrics."""

import string
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depthaware_uda import Ranking, TargetSplit
from depthaware_uda.depth import DepthEncoding, centimetres_to_metres, metres_to_centimetres
from depthaware_uda.labels import get_label_space, load_label_map, remap, save_label_map
from depthaware_uda.metrics import confusion_matrix, iou_per_class, pixel_accuracy
from depthaware_uda.trainers.run.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint

few = settings(max_examples=25, deadline=None)
classes = st.sampled_from([*range(7), 255])
names = st.lists(st.text(string.ascii_letters + "ä/._- 0", min_size=1, max_size=8), min_size=2, max_size=9, unique=True)


@few
@given(table=st.dictionaries(st.integers(0, 65535), classes, min_size=1, max_size=20))
def test_a_label_map_comes_back_from_its_file_and_maps_ids_one_by_one(table: dict[int, int]) -> None:
    space = get_label_space("common7")
    with TemporaryDirectory() as folder:
        save_label_map(Path(folder, "map.json"), table, space)
        loaded = load_label_map(Path(folder, "map.json"))
    assert loaded == (table, space)
    ids = np.array(list(table), np.uint16)
    assert remap(ids, table).tolist() == list(table.values())
    foreign = next(number for number in range(65536) if number not in table)
    assert remap(np.array([foreign]), table, unknown="ignore").tolist() == [255]


@few
@given(values=st.lists(st.integers(0, 65535), min_size=1, max_size=30))
def test_centimetres_survive_the_way_to_metres_and_back(values: list[int]) -> None:
    encoded = np.array(values, np.uint16)
    metres = centimetres_to_metres(encoded)
    assert metres_to_centimetres(metres).tolist() == values
    assert np.array_equal(metres, DepthEncoding.centimetres().decode(encoded), equal_nan=True)
    assert np.isnan(metres).tolist() == [value == 0 for value in values]


@few
@given(
    baseline=st.floats(0.01, 2),
    focal=st.floats(50, 5000),
    values=st.lists(st.integers(0, 65535), min_size=2, max_size=9),
)
def test_larger_disparities_are_nearer_and_unknown_ones_stay_unknown(
    baseline: float, focal: float, values: list[int]
) -> None:
    metres = DepthEncoding.cityscapes(baseline, focal).decode(np.array(sorted(values), np.uint16))
    known = metres[~np.isnan(metres)]
    assert len(known) == sum(value > 1 for value in values)
    assert (known > 0).all()
    assert (np.diff(known) <= 0).all()


@few
@given(names=names, fraction=st.floats(0.05, 0.95), data=st.data())
def test_rankings_and_splits_come_back_from_their_files(names: list[str], fraction: float, data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.floats(-1e9, 1e9), min_size=len(names), max_size=len(names)))
    ranking = Ranking.from_scores(dict(zip(names, scores, strict=True)), fraction=fraction)
    with TemporaryDirectory() as folder:
        ranking.save(Path(folder, "ranking.json"))
        assert Ranking.load(Path(folder, "ranking.json")) == ranking
        if int(len(names) * fraction) == 0:
            with pytest.raises(ValueError, match="easy side of the split is empty"):
                ranking.split()
            return
        split = ranking.split()
        split.save(folder)
        assert TargetSplit.load(folder) == split
    assert (*split.easy, *split.hard) == ranking.names


@settings(max_examples=10, deadline=None)
@given(
    data=st.data(), groups=st.dictionaries(st.sampled_from(["module-a", "optimizer-a", "module-b"]), st.integers(1, 9))
)
def test_a_checkpoint_comes_back_and_no_single_bit_of_it_can_change_unseen(
    data: st.DataObject, groups: dict[str, int]
) -> None:
    tensors = {name: {"weight": torch.randn(size)} for name, size in groups.items()}
    with TemporaryDirectory() as folder:
        written = save_checkpoint(folder, 7, tensors, {"step": 7, "names": list(groups)})
        assert latest_checkpoint(folder) == written
        back, state = load_checkpoint(written)
        assert state == {"step": 7, "names": list(groups)}
        assert back.keys() == tensors.keys()
        assert all(torch.equal(back[name]["weight"], tensors[name]["weight"]) for name in tensors)
        file = data.draw(st.sampled_from([path for path in sorted(written.iterdir()) if path.name != "manifest.json"]))
        content = bytearray(file.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        file.write_bytes(content)
        with pytest.raises(ValueError, match="no checkpoint can be used"):
            latest_checkpoint(folder)


@few
@given(pairs=st.lists(st.tuples(st.sampled_from([0, 1, 2, 255]), st.integers(0, 2)), min_size=1, max_size=60))
def test_metrics_are_what_counting_pixel_by_pixel_gives(pairs: list[tuple[int, int]]) -> None:
    label, prediction = (torch.tensor(column) for column in zip(*pairs, strict=True))
    confusion = confusion_matrix(prediction, label, 3)
    counted = [pair for pair in pairs if pair[0] != 255]
    assert confusion.tolist() == [[counted.count((row, column)) for column in range(3)] for row in range(3)]
    for index, value in enumerate(iou_per_class(confusion).tolist()):
        union = sum(index in pair for pair in counted)
        if not any(true == index for true, _ in counted):
            assert value != value
        else:
            assert value == pytest.approx(counted.count((index, index)) / union)
    accuracy = pixel_accuracy(confusion)
    right = sum(true == predicted for true, predicted in counted)
    assert accuracy == pytest.approx(right / len(counted)) if counted else accuracy != accuracy
