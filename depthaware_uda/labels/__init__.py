"""Label spaces: tables of class names, palettes, rare classes, evaluation subsets and id maps.

The spaces are those of the published protocols (SYNTHIA -> Cityscapes with 16 classes, its subset of 13, and the
7 categories shared by SYNTHIA, Cityscapes, Mapillary Vistas and CamVid), the 19 classes of Cityscapes, and the 11 of
CamVid. The label 255 is ignored everywhere.
"""

from depthaware_uda.labels.maps import (
    LabelMap,
    UnmappedIdsError,
    check_label_map,
    choose_label_map,
    load_label_map,
    remap,
    save_label_map,
)
from depthaware_uda.labels.registry import get_label_space, id_map, id_names, list_label_spaces
from depthaware_uda.labels.space import IGNORE_INDEX, LabelSpace

__all__ = [
    "IGNORE_INDEX",
    "LabelMap",
    "LabelSpace",
    "UnmappedIdsError",
    "check_label_map",
    "choose_label_map",
    "get_label_space",
    "id_map",
    "id_names",
    "list_label_spaces",
    "load_label_map",
    "remap",
    "save_label_map",
]
