import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset
from torchvision import tv_tensors

from depthaware_uda.data import (
    Augmented,
    CamVid,
    InMemory,
    SegmentationFolder,
    Selected,
    Unlabelled,
    cached,
    check_dataset,
    sample_names,
)
from depthaware_uda.data.contract import known_label_space, known_names, looks, source_files
from depthaware_uda.types import Sample

from .conftest import ListDataset, make_sample, save


@pytest.fixture
def dataset() -> ListDataset:
    return ListDataset([make_sample(name) for name in ("a", "b", "c")])


def test_sample_names_are_the_attribute_or_are_read(camvid_copy: Path, dataset: ListDataset) -> None:
    camvid = CamVid(camvid_copy)
    assert sample_names(camvid) == camvid.names
    assert sample_names(dataset) == ["a", "b", "c"]
    assert sample_names(Subset(camvid, [2, 0])) == [camvid.names[2], camvid.names[0]]  # type: ignore[arg-type]


def test_names_of_parts_are_told_without_reading(camvid_copy: Path, dataset: ListDataset) -> None:
    train, val = CamVid(camvid_copy), CamVid(camvid_copy, "val")
    shutil.rmtree(camvid_copy)
    joined = ConcatDataset([Subset(Unlabelled(train), [2, 0]), val])  # type: ignore[list-item]
    assert known_names(joined) == sample_names(joined)  # type: ignore[arg-type]
    assert sample_names(joined) == [train.names[2], train.names[0], *val.names]  # type: ignore[arg-type]
    for unknown in (Subset(dataset, [1]), ConcatDataset([val, dataset])):  # type: ignore[arg-type,list-item]
        assert known_names(unknown) is None
    assert sample_names(Subset(dataset, [1])) == ["b"]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"occur more than once.*from a common parent folder"):
        sample_names(ConcatDataset([val, val]))  # type: ignore[arg-type,list-item]


def test_classes_of_parts_are_known(camvid_copy: Path, dataset: ListDataset) -> None:
    train, val = CamVid(camvid_copy), CamVid(camvid_copy, "val")
    joined = ConcatDataset([Subset(train, [2, 0]), val])  # type: ignore[list-item,arg-type]
    for parts in (Subset(train, [1]), joined, Augmented(joined, dict), Subset(Augmented(joined, dict), [0])):  # type: ignore[arg-type]
        assert known_label_space(parts) is train.label_space
    assert Unlabelled(joined).label_space is train.label_space
    assert InMemory(joined, progress=False).label_space is train.label_space
    assert check_dataset(joined, progress=False).classes[0].name == "flat"  # type: ignore[arg-type]
    dataset.label_space = "common7"
    assert known_label_space(ConcatDataset([Augmented(dataset, dict), val])) is train.label_space  # type: ignore[list-item]
    del dataset.label_space
    # Unknown if one part has no label space, or another one.
    for other in (dataset, CamVid(camvid_copy, labels="camvid11")):
        assert known_label_space(ConcatDataset([train, other])) is None  # type: ignore[list-item]


def test_files_are_told_for_parts_of_data_sets_and_by_whoever_has_them_in_order(
    camvid_copy: Path, dataset: ListDataset
) -> None:
    camvid = CamVid(camvid_copy)
    files = [[one.image, one.label] for one in camvid.files]
    assert source_files(ConcatDataset([Augmented(camvid, dict), camvid])) == [*files, *files]  # type: ignore[arg-type,list-item]
    chosen = Unlabelled(Selected(InMemory(camvid, progress=False), camvid.names))
    assert source_files(chosen) == []  # not even of the selected samples
    for part in (Subset(camvid, [2, 0]), Selected(camvid, [camvid.names[2], camvid.names[0]])):  # type: ignore[arg-type]
        assert source_files(part) == [files[2], files[0]]
    for listed, expected in (
        ([Path("a"), Path("b"), Path("c")], [[Path("a")], [Path("b")], [Path("c")]]),
        ([(Path("a"), "x", None), [Path("b")], (Path("c"),)], [[Path("a")], [Path("b")], [Path("c")]]),
        (["a", "b", "c"], []),
        ([("a",), ("b",), ("c",)], []),
        ([Path("a")], []),
        (dataset.__len__, []),
    ):
        dataset.files = listed  # type: ignore[attr-defined]
        assert source_files(dataset) == expected


def test_sample_names_must_be_there_once(dataset: ListDataset) -> None:
    with pytest.raises(ValueError, match=r"must be unique, 1 occur more than once: \['a'\]"):
        sample_names(ListDataset([*dataset.samples, make_sample("a")]))
    with pytest.raises(ValueError, match="sample 0 has no name"):
        sample_names(ListDataset([Sample(image=torch.zeros(3, 1, 1))]))
    dataset.names = ["a"]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="3 samples but 1 names"):
        sample_names(dataset)


@pytest.mark.parametrize("workers", [0, 1])
def test_in_memory_gives_back_what_was_read(camvid_copy: Path, workers: int) -> None:
    camvid = CamVid(camvid_copy)
    kept = InMemory(camvid, num_workers=workers, progress=False)
    assert len(kept) == 3
    assert kept.names == camvid.names
    assert kept.label_space == camvid.label_space
    for index in range(3):
        ours, theirs = kept[index], camvid[index]
        assert isinstance(ours["image"], tv_tensors.Image)
        assert isinstance(ours["label"], tv_tensors.Mask)
        assert ours["image"].dtype == torch.float32
        assert ours["label"].dtype == torch.int64
        assert torch.equal(ours["image"], theirs["image"])
        assert torch.equal(ours["label"], theirs["label"])
        assert ours["name"] == theirs["name"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"image": torch.full((3, 8, 12), 200, dtype=torch.uint8)},
            r"image of 'a' is torch.uint8 in 200\.\.200, expected",
        ),
        (
            {"image": torch.full((3, 8, 12), 200.0)},
            r"image of 'a' is torch.float32 in 200\.\.200.*divide 8 bits by 255",
        ),
        ({"image": torch.full((3, 8, 12), -2.0)}, "leave normalising to the model"),
        ({"image": torch.full((3, 8, 12), torch.nan)}, r"in nan\.\.nan"),
        ({"image": torch.zeros(3, 0, 12)}, "image of 'a' has no pixels"),
        (
            {"label": torch.full((8, 12), 300)},
            r"label of 'a' holds 300\.\.300, expected class indices in 0\.\.254, or 255",
        ),
        ({"label": torch.full((8, 12), -100)}, r"holds -100\.\.-100"),
    ],
)
def test_what_8_bits_do_not_hold_is_refused(tmp_path: Path, wrong: dict, message: str) -> None:
    dataset = ListDataset([Sample(**{**make_sample("a"), **wrong})])  # type: ignore[typeddict-item]
    with pytest.raises(ValueError, match=message):
        InMemory(dataset, progress=False)
    with pytest.raises(ValueError, match=message):
        cached(dataset, tmp_path, progress=False)


def test_in_memory_keeps_depth_apart_from_what_users_do_to_it(dataset: ListDataset) -> None:
    dataset.samples[0]["depth"][0, 0, 0] = torch.nan
    kept = InMemory(dataset, progress=False)
    kept[0]["depth"].zero_()
    assert kept[0]["depth"].isnan().sum() == 1
    assert kept[0]["depth"][0, 3, 4] == 5
    assert kept.names == ["a", "b", "c"]
    assert not hasattr(kept, "label_space")


def test_in_memory_keeps_what_a_data_set_reads_into_one_buffer_after_the_other() -> None:
    class Buffered(ListDataset):
        def __getitem__(self, index: int) -> Sample:
            self.samples[0]["depth"].fill_(index)
            self.samples[0]["label"].fill_(index)
            return self.samples[0]

        def __len__(self) -> int:
            return 3

    buffer = make_sample("a")
    buffer["label"] = buffer["label"].to(torch.uint8)
    kept = InMemory(Buffered([buffer]), progress=False)
    assert [int(kept[index][key][..., 0, 0]) for key in ("depth", "label") for index in range(3)] == [0, 1, 2, 0, 1, 2]  # type: ignore[literal-required]


def test_in_memory_works_without_names() -> None:
    kept = InMemory(ListDataset([Sample(image=torch.full((3, 1, 1), 0.5))]), progress=False)
    assert kept[0]["image"].flatten().tolist() == pytest.approx([128 / 255] * 3)
    assert list(kept[0]) == ["image"]
    assert not hasattr(kept, "names")


def test_in_memory_leaves_the_global_generator_alone(camvid_copy: Path) -> None:
    before = torch.get_rng_state()
    InMemory(CamVid(camvid_copy), num_workers=1, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_in_memory_shows_progress(dataset: ListDataset, capsys: pytest.CaptureFixture[str]) -> None:
    InMemory(dataset)
    assert "reading" in capsys.readouterr().err
    InMemory(dataset, progress=False)
    assert capsys.readouterr().err == ""


def test_in_memory_errors(dataset: ListDataset) -> None:
    with pytest.raises(ValueError, match="num_workers must be a whole number of at least 0, got -1"):
        InMemory(dataset, num_workers=-1)
    with pytest.raises(ValueError, match="at least one sample, got an empty data set"):
        InMemory(ListDataset([]))


def test_augmented_transforms_after_reading(dataset: ListDataset) -> None:
    augmented = Augmented(dataset, lambda sample: Sample(name=sample["name"] * 2))
    assert [augmented[index]["name"] for index in range(len(augmented))] == ["aa", "bb", "cc"]


def test_unlabelled_drops_label_and_depth(dataset: ListDataset) -> None:
    assert sorted(Unlabelled(dataset)[0]) == ["image", "name"]
    assert list(Unlabelled(ListDataset([Sample(image=torch.zeros(3, 1, 1))]))[0]) == ["image"]


def test_labels_that_nobody_wants_are_not_read(camvid_copy: Path) -> None:
    camvid = CamVid(camvid_copy)
    for path in (camvid_copy / "train" / "labels").iterdir():
        path.write_bytes(b"no label")
    for dataset in (camvid, Selected(camvid, camvid.names[1:])):
        unlabelled = Unlabelled(dataset)
        assert unlabelled.names == dataset.names
        assert sorted(unlabelled[1]) == ["image", "name"]
        assert unlabelled[1]["name"] == dataset.names[1]
        assert unlabelled.label_space is camvid.label_space
    joined = ConcatDataset([camvid, Subset(camvid, [1])])  # type: ignore[list-item]
    for part in (Subset(camvid, [1]), joined):  # type: ignore[arg-type]
        assert sorted(Unlabelled(part)[0]) == ["image", "name"]
        with pytest.raises(ValueError, match=r"cannot be read"):
            part[0]  # it still has labels itself
    assert Unlabelled(joined)[3]["name"] == camvid.names[1]
    with pytest.raises(ValueError, match=r"000\.png: cannot be read"):
        camvid[0]
    # The data set's own transform may read the label, so its input keeps it.
    with pytest.raises(ValueError, match=r"000\.png: cannot be read"):
        Unlabelled(CamVid(camvid_copy, transform=dict))[0]


def test_a_data_set_that_reads_in_a_way_of_its_own_keeps_its_labels_for_it(camvid_copy: Path) -> None:
    class Masked(CamVid):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            return {**sample, "image": sample["image"] * (sample["label"] == 3)}

    masked = Masked(camvid_copy)
    assert torch.equal(Unlabelled(masked)[1]["image"], masked[1]["image"])
    assert sorted(Unlabelled(masked)[1]) == ["image", "name"]


def test_looks_are_spread_from_the_first_sample_to_the_last() -> None:
    assert looks(range(100)) == [0, 14, 28, 42, 56, 70, 84, 99]  # type: ignore[arg-type]
    assert set(looks(range(3))) == {0, 1, 2}  # type: ignore[arg-type]


def test_depth_is_kept_where_it_is_wanted(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / "labels" / "a.png", np.zeros((2, 3), np.uint8))
    save(tmp_path / "depth" / "a.png", np.full((2, 3), 250, np.uint16))
    folder = SegmentationFolder(*(tmp_path / name for name in ("images", "labels", "depth")), label_space="common7")
    assert sorted(Unlabelled(folder)[0]) == ["image", "name"]
    assert Unlabelled(folder, depth=True)[0]["depth"].unique().tolist() == [2.5]
    assert sorted(Unlabelled(folder, depth=True)[0]) == ["depth", "image", "name"]
    assert sorted(folder[0]) == ["depth", "image", "label", "name"]


@pytest.mark.parametrize("use", [InMemory, check_dataset, lambda data: cached(data, "nowhere"), sample_names])
def test_a_path_in_place_of_a_data_set_is_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"the data set is a str, expected a data set: .* SegmentationFolder reads"):
        use("photos")


def test_selected_keeps_the_order_of_the_names(camvid_copy: Path) -> None:
    camvid = CamVid(camvid_copy)
    chosen = Selected(camvid, [camvid.names[2], camvid.names[0]])
    assert len(chosen) == 2
    assert [chosen[index]["name"] for index in range(2)] == chosen.names == [camvid.names[2], camvid.names[0]]
    assert chosen.label_space is camvid.label_space


def test_selected_errors(dataset: ListDataset) -> None:
    with pytest.raises(ValueError, match="at least one sample name, got none"):
        Selected(dataset, [])
    with pytest.raises(ValueError, match="2 names were given, 1 of them different"):
        Selected(dataset, ["a", "a"])
    unknown = [str(number) for number in range(7)]
    with pytest.raises(ValueError, match=r"7 of 8 are not in the data set of 3 samples: \['0', '1', '2', '3', '4'\]"):
        Selected(dataset, ["a", *unknown])


def test_wrappers_travel_to_other_processes_and_nest(camvid_copy: Path) -> None:
    camvid = CamVid(camvid_copy)
    nested = Unlabelled(Augmented(Selected(InMemory(camvid, progress=False), camvid.names[1:]), dict))
    copied = pickle.loads(pickle.dumps(nested))
    assert copied.names == camvid.names[1:]
    assert copied.label_space == camvid.label_space
    assert sorted(copied[1]) == ["image", "name"]


def test_a_wrapper_lists_names_only_if_its_data_set_does(camvid_copy: Path, dataset: ListDataset) -> None:
    train = CamVid(camvid_copy)
    assert Unlabelled(Augmented(train, dict)).names == train.names
    with pytest.raises(AttributeError, match="names: the ListDataset does not list the names of its samples"):
        print(Augmented(dataset, dict).names)
    assert sample_names(Augmented(dataset, dict)) == ["a", "b", "c"]


def test_a_wrapper_has_a_label_space_only_if_its_data_set_has(dataset: ListDataset) -> None:
    assert not hasattr(Unlabelled(dataset), "label_space")
