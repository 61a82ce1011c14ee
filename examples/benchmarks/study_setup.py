"""Shared by all runs of the study: data, network, augmentation and settings, at every size."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from depthaware_uda import create_model
from depthaware_uda.data import (
    CachedDataset,
    CamVid,
    InMemory,
    MiniCity,
    RandomView,
    Unlabelled,
    cached,
    class_weights,
    strong_augmentation,
)
from depthaware_uda.depth import MAX_METRES
from depthaware_uda.files import read_json, write_json
from depthaware_uda.labels import get_label_space
from depthaware_uda.models import DepthSegmenter
from depthaware_uda.precision import fast_half
from depthaware_uda.trainers import Augmentation
from depthaware_uda.types import Sample, SampleDataset

LABELS, CLASSES = "common7", 7
HALF = "bfloat16" if fast_half() else "auto"
"""Precision of the sizes that also suit CPUs; processors that multiply in bfloat16 take half the time."""
READERS = 6 if torch.cuda.is_available() else 0
"""Processes that read samples for a GPU; without one, they would compete with the network for the CPU."""


@dataclass(frozen=True)
class Scale:
    """One size of the study: pictures, network, and length of training."""

    size: tuple[int, int]
    """Height and width of every picture."""
    renders: int
    network: dict[str, Any]
    """Arguments of `create_model`."""
    first_steps: int
    """Steps on the source, shared by all methods of a seed."""
    stage_steps: int
    """Steps of each later stage; the control trains for three stages."""
    validate_every: int
    first_batch: int
    batch: int
    precision: str
    num_workers: int = READERS
    window: tuple[int, int] | None = None
    """Height and width of training inputs; None: `size`."""
    magnification: float = 1.0
    """Factor by which a picture is larger than one that just fills the training window."""
    learning_rate: float = 5e-4
    """Learning rate of every stage after the first."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Further settings of every trainer."""

    def view(self, smallest: float, largest: float) -> dict[str, Any]:
        """Arguments of an augmentation: training inputs are cut out of pictures this many times as large."""
        zoom = (smallest * self.magnification, largest * self.magnification)
        return {"size": self.window or self.size, "zoom": zoom}


SMALL_NETWORK: dict[str, Any] = {
    "name": "timm/resnet10t",
    "backbone_arguments": {"channels": (32, 64, 96, 128), "stem_width": 16},
    "dilations": (1, 2, 4, 8),
}
SCALES = {
    "small": Scale(
        size=(120, 160),
        renders=1500,
        network=SMALL_NETWORK,
        first_steps=1200,
        stage_steps=240,
        validate_every=120,
        first_batch=8,
        batch=4,
        precision=HALF,  # of the convolutions
    ),
    "larger": Scale(  # continues a network of the small size: see study_larger.py
        size=(240, 320),
        renders=3000,
        network=SMALL_NETWORK,
        first_steps=0,
        stage_steps=300,
        validate_every=100,
        first_batch=8,
        batch=4,
        precision=HALF,
    ),
    "pretrained": Scale(  # starts from ImageNet weights, as the published network does
        size=(240, 320),
        renders=3000,
        network={  # 3.5 M parameters
            "name": "timm/tf_efficientnet_lite0",
            "output_stride": 16,
            "dilations": (1, 2, 4),
            "pretrained_backbone": True,
        },
        first_steps=400,
        stage_steps=150,
        validate_every=150,
        first_batch=4,
        batch=4,
        precision=HALF,
        trainer={"backbone_lr_multiplier": 0.2},
    ),
    "windows": Scale(  # continues a network of size "pretrained", on windows of photographs at full size
        size=(360, 480),
        renders=1800,
        network={},
        first_steps=0,
        stage_steps=300,
        validate_every=150,
        first_batch=4,
        batch=4,
        precision=HALF,
        window=(240, 320),
        magnification=1.3,
        learning_rate=1e-3,
        trainer={"backbone_lr_multiplier": 0.2},
    ),
    "medium": Scale(  # hours on two CPU cores, minutes on a GPU
        size=(240, 320),
        renders=3000,
        network={  # 2.4 M parameters
            "name": "timm/resnet18",
            "backbone_arguments": {"channels": (32, 64, 128, 192), "stem_width": 16},
            "dilations": (1, 2, 4, 8),
        },
        first_steps=1800,
        stage_steps=300,
        validate_every=150,
        first_batch=8,
        batch=4,
        precision=HALF,
    ),
    "full": Scale(
        size=(360, 480),
        renders=12_000,
        network={"name": "timm/resnet34"},  # 22 M parameters with its heads
        first_steps=20_000,
        stage_steps=6_000,
        validate_every=1_000,
        first_batch=16,
        batch=8,
        precision="auto",
    ),
}


@dataclass(frozen=True)
class FarSky:
    """Renders whose sky has the farthest depth, as in SYNTHIA's files; in MiniCity it is unknown."""

    renders: SampleDataset

    def __len__(self) -> int:
        return len(self.renders)

    def __getitem__(self, index: int) -> Sample:
        sample = self.renders[index]
        sky = sample["label"] == get_label_space(LABELS).index("sky")
        return {**sample, "depth": sample["depth"].masked_fill(sky, MAX_METRES)}


class Study:
    """Data and settings of one seed at one size; data are read on first use."""

    def __init__(
        self,
        scale: str,
        camvid: Path,
        out: Path,
        seed: int,
        *,
        device: str | None,
        workers: int,
        backbone: str | None = None,
        far_sky: bool = False,
    ) -> None:
        self.scale = SCALES[scale]
        if backbone is not None:
            self.scale = replace(self.scale, network={**self.scale.network, "name": backbone})
        self.camvid, self.seed, self.workers, self.far_sky = camvid, seed, workers, far_sky
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.cache = out / "cache"
        self.folder = out / scale / f"seed{seed}"

    @cached_property
    def renders(self) -> CachedDataset:
        """Rendered streets; the same for every seed."""
        scenes = MiniCity(self.scale.renders, size=self.scale.size, labels=LABELS)
        return cached(scenes, self.cache, num_workers=self.workers, progress=False)

    @cached_property
    def source(self) -> SampleDataset:
        """The renders, with a far sky if `far_sky` is set."""
        return FarSky(self.renders) if self.far_sky else self.renders

    @cached_property
    def target(self) -> SampleDataset:
        """Photographs without labels."""
        return Unlabelled(self.labelled_target)

    @cached_property
    def labelled_target(self) -> SampleDataset:
        """Photographs with labels, used only by the upper bound and for measuring."""
        return InMemory(CamVid(self.camvid, "train", labels=LABELS, size=self.scale.size), progress=False)

    @cached_property
    def val(self) -> SampleDataset:
        """Held-out photographs with labels."""
        return InMemory(CamVid(self.camvid, "val", labels=LABELS, size=self.scale.size), progress=False)

    @cached_property
    def augment(self) -> Augmentation:
        """The augmentation, the same for every method and domain."""
        return strong_augmentation(**self.scale.view(0.8, 1.7))

    @cached_property
    def view(self) -> Augmentation:
        """The augmentation of photographs for the mean teacher: it changes only the geometry."""
        return RandomView(**self.scale.view(1.0, 1.5), aspect=(3 / 4, 4 / 3), flip=0.5)

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """Class weights of the source's cross-entropy; kept beside its cache, since that reads all renders."""
        cache = self.renders.folder
        file = cache.with_name(f"{cache.name}-weights.json")
        if not file.is_file():
            write_json(file, class_weights(self.renders, CLASSES))
        return tuple(read_json(file))

    def model(self, **changes: Any) -> DepthSegmenter:
        """The untrained network of this seed."""
        settings = {**self.scale.network, "image_size": min(self.scale.size), **changes}
        return create_model(num_classes=CLASSES, label_space=LABELS, seed=self.seed, **settings)

    def first(self) -> dict[str, Any]:
        """Settings of training from scratch."""
        return {
            **self._shared(),
            "batch_size": self.scale.first_batch,
            "learning_rate": 2e-3,
            "warmup_steps": self.scale.first_steps // 20,
            "max_steps": self.scale.first_steps,
            "validate_every": self.scale.first_steps // 4,
        }

    def later(self, stages: float = 1) -> dict[str, Any]:
        """Settings of every stage after the first: one constant learning rate, so that no schedule restarts."""
        return {
            **self._shared(),
            "batch_size": self.scale.batch,
            "learning_rate": self.scale.learning_rate,
            "poly_power": 0.0,
            "warmup_steps": 20,
            "ema_decay": 0.98,  # half the weight is on the last 35 steps: steady, with little lag
            "ema_ramp": False,
            "max_steps": round(stages * self.scale.stage_steps),
            "schedule_steps": None,
            "validate_every": self.scale.validate_every,
        }

    def _shared(self) -> dict[str, Any]:
        return {
            "optimizer": "adamw",
            "weight_decay": 0.01,
            "head_lr_multiplier": 1.0,
            "depth_weight": 5e-3,
            "class_weights": self.weights,
            "ema_decay": 0.99,
            "precision": self.scale.precision,
            "num_workers": self.scale.num_workers,
            "seed": self.seed,
            "checkpoint_every": self.scale.validate_every,
            "keep_checkpoints": 1,
            **self.scale.trainer,
        }

    def options(self) -> dict[str, Any]:
        """Keyword arguments of every trainer."""
        return {"val": self.val, "augment": self.augment, "device": self.device, "progress": False}
