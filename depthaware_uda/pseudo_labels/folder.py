"""Pseudo-labels on disk, and a data set that has them in place of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depthaware_uda.data.contract import check_repeatable, sample_names
from depthaware_uda.data.images import read_ids
from depthaware_uda.data.masks import LabelMask
from depthaware_uda.data.wrappers import Unlabelled
from depthaware_uda.digests import read_sealed
from depthaware_uda.files import expecting, safe_join, sha256
from depthaware_uda.types import Sample, SampleDataset

__all__ = ["PseudoLabelled", "PseudoLabels"]

RECORD_FILE = "pseudo_labels.json"


def label_path(folder: Path, name: str) -> Path:
    """Path of the label of a sample name; ValueError if it would be outside the folder."""
    path = safe_join(folder, name)
    return path.with_name(f"{path.name}.png")


class PseudoLabels:
    """A folder of pseudo-labels that `write_pseudo_labels` wrote; every label is checked against its SHA-256 when read.

    The file of a label is the sample's name plus ``.png``: that of ``town/0001.jpg`` is ``town/0001.jpg.png``, so that
    samples whose names differ only in their suffix have separate labels.

    Raises:
        FileNotFoundError: The folder is missing, or was not written completely.
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
                raise TypeError("names are not strings")
            # Older records have no digests.
            self._digests: dict[str, str] = dict(self.record.get("sha256", {}))

    def path(self, name: str) -> Path:
        """Path of the label of a sample name."""
        return label_path(self.folder, name)

    def read(self, name: str) -> Tensor:
        """Label of a sample name, (H, W) int64, 255 where the network was not confident.

        Raises:
            FileNotFoundError: The sample has no label.
            ValueError: The file is not the one that was written, or the name leads out of the folder.
        """
        return torch.from_numpy(read_ids(self._checked(name)).astype(np.int64))

    def check(self) -> PseudoLabels:
        """Check every file against its SHA-256, without decoding it; returns `self`.

        Raises:
            FileNotFoundError: A label is missing.
            ValueError: A file is not the one that was written.
        """
        for name in self.names:
            self._checked(name)
        return self

    def _checked(self, name: str) -> Path:
        """Path of the label of a sample name, once its content is checked."""
        path, written = self.path(name), self._digests.get(name)
        if not path.is_file():
            raise FileNotFoundError(f"{self.folder} holds no pseudo-label of {name!r}")
        if written is not None and sha256(path) != written:
            raise ValueError(
                f"{path}: not the pseudo-label that was written, its SHA-256 in {RECORD_FILE} differs: it is damaged, "
                "or was changed since. Put the file back, or write the labels again; a stage that trains on them must "
                "start over"
            )
        return path


class PseudoLabelled:
    """A data set with pseudo-labels as labels; its own labels and depth are dropped.

    Args:
        dataset: The images.
        labels: Pseudo-labels of all images, or their folder.

    Raises:
        FileNotFoundError: The folder holds no pseudo-labels; or, when a sample is read, its file is missing.
        ValueError: An image has no pseudo-label, or differs each time it is read; or, when a sample is read, its label
            is damaged or of another size.
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
