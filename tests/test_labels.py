import copy
import pickle

import numpy as np
import pytest

from depthaware_uda.labels import IGNORE_INDEX, LabelSpace, get_label_space, id_map, list_label_spaces, remap

TWO = LabelSpace("two", ("left", "right"), ((1, 2, 3), (4, 5, 6)), subsets={"one": ("right",)})


def test_the_published_spaces() -> None:
    assert list_label_spaces() == ["camvid11", "cityscapes16", "cityscapes19", "common7"]
    sixteen = get_label_space("cityscapes16")
    assert (len(sixteen), len(get_label_space("common7"))) == (16, 7)
    # mIoU* leaves out wall, fence and pole.
    assert set(sixteen.classes) - set(sixteen.subsets["13"]) == {"wall", "fence", "pole"}
    assert sixteen.indices(("road", "sky", "bicycle")) == (0, 9, 15)


def test_a_space_is_returned_as_it_is() -> None:
    assert get_label_space(TWO) is TWO


def test_a_space_can_be_copied_and_sent_to_other_processes() -> None:
    space = get_label_space("cityscapes16")
    assert pickle.loads(pickle.dumps(space)) == copy.deepcopy(space) == space


def test_an_unknown_space_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown label space 'pets'; known: \['camvid11', 'cityscapes16'"):
        get_label_space("pets")


def test_an_unknown_class_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'two' has no class 'up'; it has \['left', 'right'\]"):
        TWO.index("up")


def test_a_space_needs_a_colour_for_every_class() -> None:
    with pytest.raises(ValueError, match="expected 2 colours, got 1"):
        LabelSpace("bad", ("a", "b"), ((0, 0, 0),))


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
    with pytest.raises(ValueError, match=r"town/1\.png: label ids \[5, 9\] are not in the id map"):
        remap(np.array([0, 9, 5, 9]), {0: 0}, name="town/1.png")


def test_remap_can_ignore_unknown_ids() -> None:
    assert remap(np.array([0, 9]), {0: 3}, unknown="ignore").tolist() == [3, IGNORE_INDEX]
    with pytest.raises(ValueError, match="'error' or 'ignore', got 'drop'"):
        remap(np.array([0]), {0: 0}, unknown="drop")
