import copy
import json
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from depthaware_uda.labels import (
    IGNORE_INDEX,
    LabelSpace,
    UnmappedIdsError,
    choose_label_map,
    get_label_space,
    id_map,
    id_names,
    list_label_spaces,
    load_label_map,
    remap,
    save_label_map,
)

TWO = LabelSpace("two", ("left", "right"), ((1, 2, 3), (4, 5, 6)), subsets={"one": ("right",)})


def test_the_published_spaces() -> None:
    assert list_label_spaces() == ["camvid11", "cityscapes16", "cityscapes19", "common7"]
    sixteen = get_label_space("cityscapes16")
    assert (len(sixteen), len(get_label_space("common7"))) == (16, 7)
    # mIoU* excludes wall, fence and pole.
    assert set(sixteen.classes) - set(sixteen.subsets["13"]) == {"wall", "fence", "pole"}
    assert sixteen.indices(("road", "sky", "bicycle")) == (0, 9, 15)


def test_a_space_is_returned_as_it_is() -> None:
    assert get_label_space(TWO) is TWO


def test_a_space_can_be_copied_and_sent_to_other_processes() -> None:
    space = get_label_space("cityscapes16")
    assert pickle.loads(pickle.dumps(space)) == copy.deepcopy(space) == space


def test_an_unknown_space_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown label space \['cat', 'dog'\]; known: .*or pass a LabelSpace"):
        get_label_space(["cat", "dog"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown label space 'pets'; known: \['camvid11', 'cityscapes16'"):
        get_label_space("pets")


def test_an_unknown_class_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'two' has no class 'up'; it has \['left', 'right'\]"):
        TWO.index("up")


def test_a_space_needs_a_colour_for_every_class() -> None:
    with pytest.raises(ValueError, match="expected 2 colours, got 1"):
        LabelSpace("bad", ("a", "b"), ((0, 0, 0),))


@pytest.mark.parametrize("colour", [(300, 0, 0), (0, -1, 0), (1, 2), (0.5, 0.5, 0.5)])
def test_a_colour_is_three_bytes(colour: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"expected \(red, green, blue\) in 0\.\.255, got \("):
        LabelSpace("bad", ("a",), (colour,))


@pytest.mark.parametrize("classes", [(), [], "road"])
def test_classes_are_one_or_more_names(classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"classes of label space 'bad' must be one or more names"):
        LabelSpace("bad", classes, ())


@pytest.mark.parametrize(("name", "classes"), [("own", (1, 2)), (None, ("road", "sky"))])
def test_names_are_texts(name: str, classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"names of label space .* must be strings, got \[(1, 2|None)\]"):
        LabelSpace(name, classes, ((0, 0, 0), (1, 1, 1)))


def test_a_space_of_lists_is_the_same_after_a_file() -> None:
    lists = LabelSpace("two", ["left", "right"], [[1, 2, 3], [4, 5, 6]], subsets={"one": ["right"]})  # type: ignore
    assert lists == TWO == LabelSpace.from_dict(json.loads(json.dumps(lists.to_dict())))
    assert hash(lists) == hash(TWO)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"rare": ("c",)}, r"rare of .* \['c'\]"), ({"subsets": {"x": ("d",)}}, r"x of .* \['d'\]")],
)
def test_rare_and_subsets_name_known_classes(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSpace("bad", ("a",), ((0, 0, 0),), **arguments)


def test_colorize_paints_ignored_pixels_black() -> None:
    painted = TWO.colorize(np.array([[0, 1, IGNORE_INDEX]]))
    assert painted.tolist() == [[[1, 2, 3], [4, 5, 6], [0, 0, 0]]]
    assert painted.dtype == np.uint8


def test_camvid_maps_to_the_seven_common_classes() -> None:
    names = ("sky", "construction", "object", "flat", "flat", "nature", "object", "construction", "vehicle")
    names += ("human", "human")
    space = get_label_space("common7")
    mapped = remap(np.arange(12), id_map("camvid", "common7"))
    assert mapped.tolist() == [space.index(name) for name in names] + [IGNORE_INDEX]


def test_minicity_keeps_the_sixteen_and_groups_them_into_seven() -> None:
    assert remap(np.arange(16), id_map("minicity", "cityscapes16")).tolist() == list(range(16))
    sixteen, seven = get_label_space("cityscapes16"), get_label_space("common7")
    grouped = {name: seven.classes[id_map("minicity", "common7")[i]] for i, name in enumerate(sixteen.classes)}
    assert grouped["sidewalk"] == "flat"
    assert grouped["fence"] == "construction"
    assert grouped["sign"] == "object"
    assert grouped["rider"] == "human"
    assert grouped["bicycle"] == "vehicle"


def test_an_unknown_map_lists_where_the_data_set_can_go() -> None:
    with pytest.raises(
        ValueError, match=r"no id map from 'camvid' to label space 'cityscapes16'.*\['camvid11', 'common7'\]"
    ):
        id_map("camvid", "cityscapes16")


def test_remap_by_hand() -> None:
    mapped = remap(np.array([[7, 300], [7, 65535]], np.uint16), {7: 1, 300: 0, 65535: IGNORE_INDEX})
    assert mapped.tolist() == [[1, 0], [1, 255]]
    assert mapped.dtype == np.int64


def test_remap_names_the_file_and_the_unknown_ids() -> None:
    message = r"town/1\.png: label ids \[5, 9\] are not in the id map; add them to `label_map`"
    with pytest.raises(UnmappedIdsError, match=message):
        remap(np.array([0, 9, 5, 9]), {0: 0}, name="town/1.png")


@pytest.mark.parametrize(("wrong", "span"), [(-1, "-1..0"), (65536, "0..65536")])
def test_remap_refuses_what_no_label_file_holds(wrong: int, span: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"1.png: label ids must lie in 0..65535, got {span}")):
        remap(np.array([0, wrong]), {0: 0, 65535: 1}, name="1.png")


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
def test_remap_refuses_wide_ids_of_every_type(kind: type) -> None:
    with pytest.raises(ValueError, match=r"1\.png: label ids must lie in 0\.\.65535, got 0\.\.70000"):
        remap(np.array([0, 70000], kind), {0: 0}, name="1.png")


def test_remap_takes_masks_and_no_fractions() -> None:
    assert remap(np.array([False, True]), {0: 1, 1: 0}).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"1\.npy: label ids must be integers, got float64"):
        remap(np.array([0.5]), {0: 0}, name="1.npy")


@pytest.mark.parametrize("table", [[7, 0], {}, {7: 1.0}, {7: [1]}, {"7": 1}, {-1: 0}, {7: 7}])
def test_what_is_no_label_map_is_shown(table: object) -> None:
    with pytest.raises(ValueError, match=r"expected ids 0\.\.65535 to class indices 0\.\.6 of 'common7' or 255, got"):
        choose_label_map("common7", table)  # type: ignore[arg-type]


def test_classes_of_a_label_map_may_be_names() -> None:
    assert choose_label_map("common7", {7: "flat", 8: "sky", 9: 6, 0: "ignore"}).ids == {7: 0, 8: 4, 9: 6, 0: 255}
    with pytest.raises(ValueError, match=r"label space 'common7' has no class 'road'; it has \['flat', "):
        choose_label_map("common7", {7: "road"})


def test_remap_can_ignore_unknown_ids() -> None:
    assert remap(np.array([0, 9]), {0: 3}, unknown="ignore").tolist() == [3, IGNORE_INDEX]
    with pytest.raises(ValueError, match="'error' or 'ignore', got 'drop'"):
        remap(np.array([0]), {0: 0}, unknown="drop")


def test_the_nineteen_hold_the_sixteen_and_the_thirteen() -> None:
    nineteen, sixteen = get_label_space("cityscapes19"), get_label_space("cityscapes16")
    assert set(nineteen.classes) - set(sixteen.classes) == {"terrain", "truck", "train"}
    assert nineteen.subsets["16"] == sixteen.classes
    assert nineteen.subsets["13"] == sixteen.subsets["13"]
    assert len(nineteen.rare) == 11  # the published weighting has eleven
    assert [nineteen.palette[nineteen.index(name)] for name in sixteen.classes] == list(sixteen.palette)


# The published maps, copied from their own page: id to class index.
PUBLISHED = {
    ("synthia", "cityscapes16"): (
        {3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 1: 9, 10: 10, 17: 11, 8: 12, 19: 13, 12: 14, 11: 15}
    ),
    ("synthia", "common7"): {1: 4, 2: 1, 3: 0, 4: 0, 5: 1, 6: 3, 7: 2, 8: 6, 9: 2, 10: 5, 11: 6, 15: 2, 22: 0},
    ("cityscapes", "cityscapes16"): (
        {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 23: 9, 24: 10, 25: 11, 26: 12, 28: 13}
        | {32: 14, 33: 15}
    ),
    ("cityscapes", "common7"): (
        {7: 0, 8: 0, 11: 1, 12: 1, 13: 1, 17: 2, 19: 2, 20: 2, 21: 3, 22: 3, 23: 4, 24: 5, 25: 5}
        | dict.fromkeys(range(26, 34), 6)
    ),
    ("mapillary", "common7"): (
        dict.fromkeys((2, 3, 4, 5, 6, 16, 17, 18), 1)
        | dict.fromkeys((*range(7, 16), 23, 24, 29), 0)
        | dict.fromkeys((19, 20, 21, 22), 5)
        | {27: 4, 30: 3}
        | dict.fromkeys(range(43, 51), 2)
        | dict.fromkeys(range(52, 63), 6)
    ),
}


@pytest.mark.parametrize(("dataset", "space"), PUBLISHED)
def test_published_maps(dataset: str, space: str) -> None:
    table = id_map(dataset, space)
    assert {key: value for key, value in table.items() if value != IGNORE_INDEX} == PUBLISHED[dataset, space]
    # Classes outside the protocol are known and ignored, not unknown ids.
    assert set(table) == set(id_names(dataset))


def test_ids_have_names() -> None:
    synthia, mapillary = id_names("synthia"), id_names("mapillary")
    assert (len(synthia), synthia[0], synthia[13], synthia[22]) == (23, "void", "parking slot", "lane marking")
    assert (len(mapillary), mapillary[13], mapillary[55], mapillary[65]) == (66, "road", "car", "unlabeled")
    assert (id_names("cityscapes")[7], id_names("cityscapes")[33]) == ("road", "bicycle")
    with pytest.raises(ValueError, match="unknown data set 'kitti'; known:"):
        id_names("kitti")


def test_camvid_keeps_its_eleven() -> None:
    assert remap(np.arange(12), id_map("camvid", "camvid11")).tolist() == [*range(11), IGNORE_INDEX]


def test_a_label_map_is_shared_as_a_file(tmp_path: Path) -> None:
    path, table = tmp_path / "map.json", {7: 0, 300: 6, 0: IGNORE_INDEX}
    save_label_map(path, table, "common7")
    assert json.loads(path.read_text()) == {
        "label_space": "common7",
        "ids": {"0": "ignore", "7": "flat", "300": "vehicle"},
    }
    loaded = load_label_map(path)
    assert loaded.ids == table
    assert loaded.label_space is get_label_space("common7")


def test_a_space_of_your_own_is_written_along(tmp_path: Path) -> None:
    save_label_map(tmp_path / "map.json", {5: 1}, TWO)
    assert load_label_map(tmp_path / "map.json") == ({5: 1}, TWO)


def test_ignore_is_no_class_where_maps_speak_of_classes_by_name(tmp_path: Path) -> None:
    space = LabelSpace("odd", ("ignore", "road"), ((0, 0, 0), (1, 1, 1)))
    assert choose_label_map(space, {0: 0, 1: 1}).ids == {0: 0, 1: 1}  # here an id can only be a class index
    with pytest.raises(ValueError, match=r"label space 'odd' has a class 'ignore', .*rename the class"):
        save_label_map(tmp_path / "map.json", {0: 0, 1: 1}, space)
    with pytest.raises(ValueError, match=r"label space 'odd' has a class 'ignore', .*rename the class"):
        choose_label_map(space, {0: "ignore", 1: "road"})


def test_a_label_map_in_toml(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text('label_space = "common7"\n[ids]\n0 = "ignore"\n7 = "flat"\n26 = "vehicle"\n')
    if sys.version_info < (3, 11):
        with pytest.raises(ValueError, match=r"map\.toml: reading TOML needs Python 3\.11"):
            load_label_map(path)
    else:
        assert load_label_map(path).ids == {0: 255, 7: 0, 26: 6}
        path.write_text("ids = [")
        with pytest.raises(ValueError, match=r"map\.toml: not a TOML file"):
            load_label_map(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file"),
        ("[1]", "expected a table with 'label_space' and 'ids'"),
        ('{"ids": {}}', "expected a table with 'label_space' and 'ids'"),
        ('{"label_space": "pets", "ids": {}}', "unknown label space 'pets'"),
        ('{"label_space": {"name": "x"}, "ids": {}}', "'classes'"),
        ('{"label_space": "common7", "ids": {"7": "street"}}', "'common7' has no class 'street'"),
        ('{"label_space": "common7", "ids": {"-1": "flat"}}', r"whole numbers from 0 to 65535, got '-1'"),
        ('{"label_space": "common7", "ids": {"7": 0}}', "expected names of classes or 'ignore', got 0"),
        ('{"label_space": "common7", "ids": {"70000": "flat"}}', r"expected ids 0\.\.65535"),
    ],
)
def test_what_is_wrong_in_a_label_map_is_said(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(ValueError, match=rf"map\.json: .*{message}"):
        load_label_map(tmp_path / "map.json")


def test_label_maps_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such label map file"):
        load_label_map(tmp_path / "map.json")
    (tmp_path / "map.yaml").touch()
    with pytest.raises(ValueError, match=r"expected a label map in a \.json or \.toml file"):
        load_label_map(tmp_path / "map.yaml")
    with pytest.raises(ValueError, match=r"written as JSON; choose a name that ends in \.json"):
        save_label_map(tmp_path / "map.toml", {}, "common7")


def test_choosing_a_label_map(tmp_path: Path) -> None:
    assert choose_label_map("common7", None).ids == {**{index: index for index in range(7)}, 255: 255}
    assert choose_label_map("common7", None, dataset="camvid").ids == id_map("camvid", "common7")
    save_label_map(tmp_path / "map.json", {5: 1}, TWO)
    assert choose_label_map(None, tmp_path / "map.json") == ({5: 1}, TWO)
    with pytest.raises(ValueError, match=r"map\.json: maps to label space 'two', but 'common7' was requested"):
        choose_label_map("common7", str(tmp_path / "map.json"))
    with pytest.raises(ValueError, match="label_space: name the classes"):
        choose_label_map(None, {7: 0})


@pytest.mark.parametrize(
    ("classes", "message"),
    [(("road", "sky", "road"), "must have different names"), (tuple(map(str, range(256))), "has 256 classes, but")],
)
def test_classes_that_could_not_be_told_apart_are_refused(classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSpace("own", classes, ((0, 0, 0),) * len(classes))
    assert len(LabelSpace("own", tuple(map(str, range(255))), ((0, 0, 0),) * 255)) == 255
