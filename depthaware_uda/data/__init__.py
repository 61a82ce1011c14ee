"""Data sets, wrappers around them, transforms and collation. Everything yields `depthaware_uda.types.Sample`."""

from depthaware_uda.data.cache import CachedDataset, cache_layout, cached
from depthaware_uda.data.camvid import CamVid
from depthaware_uda.data.check import DatasetReport, check_dataset
from depthaware_uda.data.cityscapes import Cityscapes
from depthaware_uda.data.collate import collate
from depthaware_uda.data.contract import sample_names
from depthaware_uda.data.file_dataset import FileDataset, SampleFiles
from depthaware_uda.data.folder import SegmentationFolder
from depthaware_uda.data.geometry import Geometry
from depthaware_uda.data.in_memory import InMemory
from depthaware_uda.data.mapillary import MapillaryVistas
from depthaware_uda.data.masks import DepthMask, LabelMask, as_tv_tensors
from depthaware_uda.data.miniature import write_miniature
from depthaware_uda.data.minicity import MiniCity
from depthaware_uda.data.statistics import class_pixels, class_weights
from depthaware_uda.data.synthia import Synthia
from depthaware_uda.data.transforms import PhotometricNoise, RandomView, flip_and_crop, resize, strong_augmentation
from depthaware_uda.data.wrappers import Augmented, Selected, Unlabelled

__all__ = [
    "Augmented",
    "CachedDataset",
    "CamVid",
    "Cityscapes",
    "DatasetReport",
    "DepthMask",
    "FileDataset",
    "Geometry",
    "InMemory",
    "LabelMask",
    "MapillaryVistas",
    "MiniCity",
    "PhotometricNoise",
    "RandomView",
    "SampleFiles",
    "SegmentationFolder",
    "Selected",
    "Synthia",
    "Unlabelled",
    "as_tv_tensors",
    "cache_layout",
    "cached",
    "check_dataset",
    "class_pixels",
    "class_weights",
    "collate",
    "flip_and_crop",
    "resize",
    "sample_names",
    "strong_augmentation",
    "write_miniature",
]
