"""Pseudo-labels on the disk, and a data set with them in place of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depthaware_uda.data.images import read_ids
from depthaware_uda.data.masks import LabelMask
from depthaware_uda.data.wrappers import Unlabelled, check_repeatable, sample_names
from depthaware_uda.digests import read_sealed
from depthaware_uda.files import expecting, safe_join, sha256
from depthaware_uda.types import Sample, SampleDataset

__all__ = ["PseudoLabelled", "PseudoLabels"]

RECORD_FILE = "pseudo_labels.json"


def label_path(folder: Path, name: str) -> Path:
    """Where the label of a sample name lies; ValueError if that would be outside the folder."""
    path = safe_join(folder, name)
    return path.with_name(f"{path.name}.png")


class PseudoLabels:
    """A folder of pseudo-labels that `write_pseudo_labels` wrote; every label is compared with its SHA-256 when read.

    The label of a sample lies under its name with ``.png`` behind it: that of ``town/0001.jpg`` is
    ``town/0001.jpg.png``, so that samples which differ in their suffix alone keep their own.

    Raises:
        FileNotFoundError: The folder is not there, or its writing was not finished.
        ValueError: The record is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        record_file = self.folder / RECORD_FILE
        if not record_file.is_file():
            raise FileNotFoundError(f"{record_file} is missing: no pseudo-labels there, or their writing was cut off")
        self.record: dict[str, Any] = read_sealed(record_file)
        with expecting("the record of pseudo-labels", record_file):
            self.names: tuple[str, ...] = tuple(self.record["names"])
            if not all(isinstance(name, str) for name in self.names):
                raise TypeError("names are not texts")
            # Records of before digests were kept have none.
            self._digests: dict[str, str] = dict(self.record.get("sha256", {}))

    def path(self, name: str) -> Path:
        """Label file of a sample name."""
        return label_path(self.folder, name)

    def read(self, name: str) -> Tensor:
        """Label of a sample name, (H, W) int64 with 255 where the network was not sure.

        Raises:
            FileNotFoundError: It has none.
            ValueError: The file is not the one that was written, or the name would leave the folder.
        """
        return torch.from_numpy(read_ids(self._checked(name)).astype(np.int64))

    def check(self) -> PseudoLabels:
        """Read every file and compare it, without decoding; these pseudo-labels themselves.

        Raises:
            FileNotFoundError: A label has gone.
            ValueError: A file is not the one that was written.
        """
        for name in self.names:
            self._checked(name)
        return self

    def _checked(self, name: str) -> Path:
        """Label file of a sample name, which is as it was written."""
        path, written = self.path(name), self._digests.get(name)
        if not path.is_file():
            raise FileNotFoundError(f"{self.folder} holds no pseudo-label of {name!r}")
        if written is not None and sha256(path) != written:
            raise ValueError(
                f"{path}: not the pseudo-label that was written, its SHA-256 in {RECORD_FILE} differs: it is damaged, "
                "or was changed since. Put the file back, or write the labels anew; a stage that trains on them has to "
                "start anew"
            )
        return path


class PseudoLabelled:
    """A data set whose labels are pseudo-labels; labels and depth of its own are dropped.

    Args:
        dataset: The images.
        labels: Pseudo-labels of every one of them, or their folder.

    Raises:
        FileNotFoundError: The folder holds no pseudo-labels; or, when a sample is read, its file has gone.
        ValueError: An image has none, or is another one each time it is read; or, when a sample is read, its label is
            damaged or of another size.
    """

    def __init__(self, dataset: SampleDataset, labels: PseudoLabels | str | Path) -> None:
        self.dataset = Unlabelled(dataset)
        self.labels = labels = labels if isinstance(labels, PseudoLabels) else PseudoLabels(labels)
        self.names = sample_names(dataset)
        if missing := sorted(set(self.names) - set(labels.names)):
            raise ValueError(
                f"{labels.folder} lacks pseudo-labels of {len(missing)} samples, for instance {missing[:3]}"
            )
        check_repeatable(self.dataset)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        image, name = self.dataset[index]["image"], self.names[index]
        label = self.labels.read(name)
        if label.shape != image.shape[-2:]:
            raise ValueError(
                f"pseudo-label of {name!r} has size {tuple(label.shape)}, its image {tuple(image.shape[-2:])}"
            )
        return {"image": image, "label": LabelMask(label), "name": name}
