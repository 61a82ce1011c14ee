"""The label spaces and the ids of every data set, as data.

Sources: the class definitions published with Cityscapes, SYNTHIA-RAND-CITYSCAPES, Mapillary Vistas v1.2 and CamVid (the
edition with 11 classes), and the id maps of the published protocols.
"""

from __future__ import annotations

from collections.abc import Mapping

from depthaware_uda.labels.space import IGNORE_INDEX, LabelSpace

__all__ = ["GROUPS", "ID_NAMES", "SPACES"]

_Groups = Mapping[str, tuple[int, ...]]

_COLOURS = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "light": (250, 170, 30),
    "sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
_NINETEEN = tuple(_COLOURS)
_SIXTEEN = tuple(name for name in _NINETEEN if name not in ("terrain", "truck", "train"))
_THIRTEEN = tuple(name for name in _SIXTEEN if name not in ("wall", "fence", "pole"))
_RARE = ("wall", "fence", "pole", "light", "sign", "rider", "truck", "bus", "train", "motorcycle", "bicycle")

_CITYSCAPES16 = LabelSpace(
    "cityscapes16",
    classes=_SIXTEEN,
    palette=tuple(_COLOURS[name] for name in _SIXTEEN),
    rare=tuple(name for name in _RARE if name in _SIXTEEN),
    subsets={"13": _THIRTEEN},
)
_CITYSCAPES19 = LabelSpace(
    "cityscapes19",
    classes=_NINETEEN,
    palette=tuple(_COLOURS.values()),
    rare=_RARE,
    subsets={"16": _SIXTEEN, "13": _THIRTEEN},
)
_COMMON7 = LabelSpace(
    "common7",
    classes=("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
    palette=(
        *((128, 64, 128), (70, 70, 70), (153, 153, 153), (107, 142, 35)),
        *((70, 130, 180), (220, 20, 60), (0, 0, 142)),
    ),
    rare=("object", "human"),
)
_CAMVID11 = LabelSpace(
    "camvid11",
    classes=(
        *("sky", "building", "pole", "road", "pavement", "tree"),
        *("sign", "fence", "car", "pedestrian", "bicyclist"),
    ),
    palette=(
        *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192), (128, 128, 0)),
        *((192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
    ),
    rare=("pole", "sign", "fence", "pedestrian", "bicyclist"),
)
SPACES = {space.name: space for space in (_CAMVID11, _CITYSCAPES16, _CITYSCAPES19, _COMMON7)}
"""The label spaces by name."""


def _numbered(*rows: str) -> dict[int, str]:
    return dict(enumerate(name for row in rows for name in row.split(", ")))


ID_NAMES: dict[str, dict[int, str]] = {
    # MiniCity renders the 16 classes under their own indices.
    "minicity": {**dict(enumerate(_SIXTEEN)), IGNORE_INDEX: "unlabeled"},
    "synthia": _numbered(
        "void, sky, building, road, sidewalk, fence, vegetation, pole, car, traffic sign, pedestrian, bicycle",
        "motorcycle, parking slot, road work, traffic light, terrain, rider, truck, bus, train, wall, lane marking",
    ),
    # License plates have the id -1, which an 8-bit image stores as 255.
    "cityscapes": {
        **_numbered(
            "unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, road, sidewalk",
            "parking, rail track, building, wall, fence, guard rail, bridge, tunnel, pole, polegroup, traffic light",
            "traffic sign, vegetation, terrain, sky, person, rider, car, truck, bus, caravan, trailer, train",
            "motorcycle, bicycle",
        ),
        255: "license plate",
    },
    "mapillary": _numbered(
        "bird, ground animal, curb, fence, guard rail, barrier, wall, bike lane, crosswalk (plain), curb cut",
        "parking, pedestrian area, rail track, road, service lane, sidewalk, bridge, building, tunnel, person",
        "bicyclist, motorcyclist, other rider, lane marking (crosswalk), lane marking (general), mountain, sand, sky",
        "snow, terrain, vegetation, water, banner, bench, bike rack, billboard, catch basin, cctv camera",
        "fire hydrant, junction box, mailbox, manhole, phone booth, pothole, street light, pole, traffic sign frame",
        "utility pole, traffic light, traffic sign (back), traffic sign (front), trash can, bicycle, boat, bus, car",
        "caravan, motorcycle, on rails, other vehicle, trailer, truck, wheeled slow, car mount, ego vehicle",
        "unlabeled",
    ),
    "camvid": {**dict(enumerate((*_CAMVID11.classes, "void"))), IGNORE_INDEX: "void"},
}
"""Every id that the label files of a data set may hold, with its name."""

_CITYSCAPES_IDS: _Groups = {
    **{name: (i,) for i, name in ID_NAMES["cityscapes"].items() if name in _NINETEEN},
    "light": (19,),
    "sign": (20,),
}
_SYNTHIA_IDS: _Groups = {
    **{name: (i,) for i, name in ID_NAMES["synthia"].items() if name in _NINETEEN},
    "light": (15,),
    "sign": (9,),
    "person": (10,),
}

GROUPS: dict[tuple[str, str], _Groups] = {
    ("minicity", "cityscapes16"): {name: (i,) for i, name in enumerate(_SIXTEEN)},
    ("minicity", "cityscapes19"): {name: (i,) for i, name in enumerate(_SIXTEEN)},
    ("minicity", "common7"): {
        "flat": (0, 1),
        "construction": (2, 3, 4),
        "object": (5, 6, 7),
        "nature": (8,),
        "sky": (9,),
        "human": (10, 11),
        "vehicle": (12, 13, 14, 15),
    },
    ("synthia", "cityscapes16"): {name: _SYNTHIA_IDS[name] for name in _SIXTEEN},
    ("synthia", "cityscapes19"): _SYNTHIA_IDS,
    # As in the published protocol, walls, riders, buses and motorcycles are not among the seven.
    ("synthia", "common7"): {
        "flat": (3, 4, 22),
        "construction": (2, 5),
        "object": (7, 9, 15),
        "nature": (6,),
        "sky": (1,),
        "human": (10,),
        "vehicle": (8, 11),
    },
    ("cityscapes", "cityscapes16"): {name: _CITYSCAPES_IDS[name] for name in _SIXTEEN},
    ("cityscapes", "cityscapes19"): _CITYSCAPES_IDS,
    ("cityscapes", "common7"): {
        "flat": (7, 8),
        "construction": (11, 12, 13),
        "object": (17, 19, 20),
        "nature": (21, 22),
        "sky": (23,),
        "human": (24, 25),
        "vehicle": (26, 27, 28, 29, 30, 31, 32, 33),
    },
    # As in the published protocol, lane markings, crosswalks and terrain are flat, and curbs are construction.
    ("mapillary", "common7"): {
        "flat": (7, 8, 9, 10, 11, 12, 13, 14, 15, 23, 24, 29),
        "construction": (2, 3, 4, 5, 6, 16, 17, 18),
        "object": (43, 44, 45, 46, 47, 48, 49, 50),
        "nature": (30,),
        "sky": (27,),
        "human": (19, 20, 21, 22),
        "vehicle": (52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62),
    },
    ("camvid", "camvid11"): {name: (i,) for i, name in enumerate(_CAMVID11.classes)},
    ("camvid", "common7"): {
        "flat": (3, 4),
        "construction": (1, 7),
        "object": (2, 6),
        "nature": (5,),
        "sky": (0,),
        "human": (9, 10),
        "vehicle": (8,),
    },
}
"""Which ids of a data set make up the classes of a label space. Ids that are in no class are ignored."""
