"""Rare-class sampling of the source (DAFormer, Hoyer et al., 2022): images that show rare classes come more often."""

from __future__ import annotations

import torch
from torch import Tensor

from depthaware_uda.data.contract import known_label_space, sample_names
from depthaware_uda.data.statistics import sample_pixels
from depthaware_uda.types import Sample, SampleDataset

__all__ = ["RareClassSampled", "class_probabilities"]


def class_probabilities(pixels: Tensor, temperature: float) -> Tensor:
    """Probability of drawing each class, softmax((1 - frequency) / temperature); 0 for a class without pixels.

    Args:
        pixels: Number of pixels of each class.
        temperature: Near 0 only the rarest class is drawn; the larger, the more equal the classes.

    Shape:
        (C,) -> (C,), float64.

    Raises:
        ValueError: The temperature is not positive, or there is no pixel at all.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if not pixels.any():
        raise ValueError("no class has a pixel: there is nothing to draw")
    frequency = pixels.double() / pixels.sum()
    return ((1 - frequency) / temperature).masked_fill(pixels == 0, -torch.inf).softmax(0)


class RareClassSampled:
    """A data set that returns a random image for every index: it draws a class, then an image that shows it.

    Draws come from torch's global generator, which the trainers seed for every sample by its position in the run, so
    that a resumed run draws the same images.

    Args:
        dataset: Labelled samples; the labels of all are read once.
        num_classes: Number of classes C.
        temperature: See `class_probabilities`; the paper uses 0.01 for 19 classes.
        min_pixels: Pixels of a class that an image needs to show it; if no image has as many, one pixel is enough.

    Raises:
        TypeError: The data set gives no samples by index.
        ValueError: The data set is empty, a sample has no label or an invalid one (the message names it), or an
            argument is out of range.
    """

    def __init__(
        self, dataset: SampleDataset, num_classes: int, *, temperature: float = 0.01, min_pixels: int = 1
    ) -> None:
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(f"num_classes must be a whole number of at least 1, got {num_classes!r}")
        if not min_pixels >= 1:
            raise ValueError(f"min_pixels must be at least 1, got {min_pixels}")
        self.dataset = dataset
        self.names = sample_names(dataset)
        if not self.names:
            raise ValueError("the data set is empty: there is nothing to draw")
        if (space := known_label_space(dataset)) is not None:
            self.label_space = space
        counts = torch.stack([sample_pixels(dataset, index, num_classes) for index in range(len(self.names))])
        self.probabilities = class_probabilities(counts.sum(0), temperature)
        shown = counts >= min_pixels
        shown = torch.where(shown.any(0), shown, counts > 0)
        self.shown = [column.nonzero().flatten() for column in shown.T]
        """Indices of the images that show each class."""

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.draw()]

    def draw(self) -> int:
        """Draw an image: its index in `dataset`."""
        images = self.shown[int(torch.multinomial(self.probabilities, 1))]
        return int(images[torch.randint(len(images), ())])
