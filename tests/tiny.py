"""A tiny network, tiny scenes in memory, and networks that return the outputs prepared by a test."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from depthaware_uda import SegDepthOutput, create_model
from depthaware_uda.labels import LabelSpace, get_label_space
from depthaware_uda.models import ASPPv2, DadaDepthHead, DepthGate, DepthSegmenter
from depthaware_uda.models.pixels import PixelStatistics
from depthaware_uda.types import Sample

# Maps of 8 x 8 pixels: waiting for a second thread costs more than it saves.
torch.set_num_threads(1)

CLASSES = 7


def tiny_model(seed: int = 0, **options: Any) -> DepthSegmenter:
    """A ResNet of 0.3 M parameters, stages of 8 to 32 channels at strides 4, 8, 8, 8, seven classes."""
    settings: dict[str, Any] = {
        "label_space": "common7",
        "backbone_arguments": {"channels": (8, 16, 24, 32), "stem_width": 8},
        "dilations": (1, 2),
        "output_stride": 8,
        "seed": seed,
    }
    return create_model("timm/resnet10t", CLASSES, **{**settings, **options})


class FewLayers(nn.Module):
    """A backbone of two convolutions, which is fast to export."""

    strides = (4, 8)
    pixels = PixelStatistics((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 4, stride=4), nn.Conv2d(4, 8, 2, stride=2)

    def forward(self, image: Tensor) -> list[Tensor]:
        fine = self.first(image)
        return [fine, self.second(fine)]


def few_layers() -> DepthSegmenter:
    return DepthSegmenter(
        FewLayers(),
        ASPPv2(8, 7, dilations=(1,)),
        depth_head=DadaDepthHead((4, 8)),
        gate=DepthGate(128, 8),
        label_space=get_label_space("common7"),
    )


class Scenes:
    """Random images with labels and depth; one pixel in ten has no label, one in ten no depth."""

    def __init__(
        self,
        count: int = 4,
        size: tuple[int, int] = (32, 40),
        *,
        seed: int = 0,
        labels: bool = True,
        depth: bool = True,
        space: str | LabelSpace | None = "common7",
        folder: str = "street",
        holes: bool = True,
    ) -> None:
        self.names = [f"{folder}/{index}.png" for index in range(count)]
        if space is not None:
            self.label_space = get_label_space(space)
        generator = torch.Generator().manual_seed(seed)
        self.samples = [self._sample(name, size, generator, labels, depth, holes) for name in self.names]

    @staticmethod
    def _sample(
        name: str, size: tuple[int, int], generator: torch.Generator, labels: bool, depth: bool, holes: bool
    ) -> Sample:
        sample = Sample(image=torch.rand(3, *size, generator=generator), name=name)
        classes = torch.randint(CLASSES, size, generator=generator)
        metres = 2 + 58 * torch.rand(1, *size, generator=generator)
        unlabelled, unknown = torch.rand(2, *size, generator=generator) < (0.1 if holes else 0)
        if labels:
            sample["label"] = classes.masked_fill(unlabelled, 255)
        if depth:
            sample["depth"] = metres.masked_fill(unknown, torch.nan)
        return sample

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return Sample(**self.samples[index])


class Changed(Scenes):
    """Scenes as from a user's own data set: one entry of every sample changed or removed."""

    def __init__(self, key: str, change: Callable[[Tensor], Any] | None, count: int = 2) -> None:
        super().__init__(count)
        self.key, self.change = key, change

    def __getitem__(self, index: int) -> Sample:
        sample: dict[str, Any] = dict(super().__getitem__(index))
        value = sample.pop(self.key)
        return Sample(**sample if self.change is None else {**sample, self.key: self.change(value)})


class Oracle(nn.Module):
    """Returns the i-th prepared output for image i of a test; `numbered` images encode their number."""

    def __init__(self, outputs: Sequence[SegDepthOutput]) -> None:
        super().__init__()
        self.outputs = list(outputs)
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, image: Tensor) -> SegDepthOutput:
        chosen = [self.outputs[round(float(one[0, 0, 0]) * 255)] for one in image]
        depths = [output.inverse_depth for output in chosen]
        return SegDepthOutput(
            torch.cat([output.logits for output in chosen]),
            None if depths[0] is None else torch.cat([depth for depth in depths if depth is not None]),
        )


class Listed:
    """Samples in a list, with names, and a label space if one is given."""

    def __init__(self, samples: Sequence[Sample], space: str | LabelSpace | None = None) -> None:
        self.samples = list(samples)
        self.names = [sample["name"] for sample in self.samples]
        if space is not None:
            self.label_space = get_label_space(space)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return Sample(**self.samples[index])


def scenes_of_two_sizes(count: int = 5) -> Listed:
    """Scenes that are alternately wide and high."""
    wide, high = Scenes(count), Scenes(count, (40, 32), seed=1)
    return Listed([(wide, high)[index % 2].samples[index] for index in range(count)], "common7")


def numbered(count: int, size: tuple[int, int], **known: Callable[[int], Any]) -> list[Sample]:
    """Samples whose image is filled with their number, for `Oracle`; `known` gives further keys by number."""
    samples = []
    for index in range(count):
        sample = Sample(image=torch.full((3, *size), index / 255), name=f"image/{index}")
        for key, value in known.items():
            sample[key] = value(index)  # type: ignore[literal-required]
        samples.append(sample)
    return samples


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of everything that a module would save."""
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_same_weights(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Assert that weights are bit-identical."""
    assert ours.keys() == theirs.keys()
    different = [key for key, value in ours.items() if not torch.equal(value, theirs[key])]
    assert not different
