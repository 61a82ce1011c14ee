"""Ranking of target images by depth-aware entropy, and the split into an easy and a hard domain (IDA)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from depthaware_uda.data.contract import chosen_label_space
from depthaware_uda.data.wrappers import Unlabelled
from depthaware_uda.digests import check_sums, read_sealed, write_sealed, write_sums
from depthaware_uda.distributed import gather_by_index
from depthaware_uda.files import atomic_path, expecting, read_text
from depthaware_uda.inference import batch_names, output_batches
from depthaware_uda.labels import LabelSpace
from depthaware_uda.models.argmax import argmax_resized
from depthaware_uda.models.fusion import DepthAwareFusion
from depthaware_uda.models.resize import size_of
from depthaware_uda.models.slices import row_slices
from depthaware_uda.precision import Precision, check_precision
from depthaware_uda.types import SampleDataset, SegDepthOutput

__all__ = ["EntropyRanker", "Ranking", "TargetSplit", "rare_class_weight"]

DEFAULT_FRACTION = 0.66
_SIDES = ("easy.txt", "hard.txt")
_SUMS_FILE = "split.sha256"  # not that of a model, which may lie in the same folder


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}")


def _check_lines(file: str, names: tuple[str, ...]) -> None:
    for name in names:
        if not name or re.search("[\n\r\ud800-\udfff]", name):
            raise ValueError(
                f"{name!r} cannot be a line of {file}: it is empty, breaks the line or is no Unicode; rename the file"
            )


def _write_names(path: Path, names: tuple[str, ...]) -> None:
    with atomic_path(path) as partial:
        partial.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _read_names(path: Path) -> tuple[str, ...]:
    return tuple(line for line in read_text(path).split("\n") if line)


@dataclass(frozen=True)
class TargetSplit:
    """Names of the target images by difficulty: `easy` is the sub-source domain, `hard` the sub-target one.

    Raises:
        TypeError: A side is a string.
        ValueError: A side is empty, or an image is on both.
    """

    easy: tuple[str, ...]
    hard: tuple[str, ...]

    def __post_init__(self) -> None:
        for side, names in (("easy", self.easy), ("hard", self.hard)):
            if isinstance(names, str):
                raise TypeError(f"{side} must be a list of sample names, got the text {names!r}")
            object.__setattr__(self, side, tuple(names))  # lists do as well
            if not names:
                raise ValueError(f"the {side} side of the split is empty; rank more images or choose another fraction")
        if both := sorted(set(self.easy) & set(self.hard)):
            raise ValueError(f"{len(both)} images are both easy and hard, for instance {both[:3]}")

    def save(self, folder: str | Path) -> None:
        """Write `easy.txt` and `hard.txt`, one name a line, and `split.sha256`, the digests of both.

        Raises:
            ValueError: A name is empty, breaks the line or is no Unicode; nothing was written.
        """
        folder = Path(folder)
        for file, names in zip(_SIDES, (self.easy, self.hard), strict=True):
            _check_lines(file, names)
        for file, names in zip(_SIDES, (self.easy, self.hard), strict=True):
            _write_names(folder / file, names)
        write_sums(folder, _SIDES, _SUMS_FILE)

    @classmethod
    def load(cls, folder: str | Path) -> TargetSplit:
        """Read what `save` wrote, or two lists of your own; names come one a line.

        Raises:
            FileNotFoundError: A list is missing.
            ValueError: A list is damaged, which `split.sha256` beside it tells, or empty.
        """
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"{folder}: expected a folder with {' and '.join(_SIDES)}, one name a line")
        check_sums(Path(folder), _SIDES, _SUMS_FILE)
        easy, hard = (_read_names(Path(folder) / file) for file in _SIDES)
        return cls(easy, hard)


@dataclass(frozen=True)
class Ranking:
    """Target images by ascending score: the first one is the easiest.

    Args:
        names: Sample names, easiest first.
        scores: Their scores, ascending.
        fraction: Share of the images that `split` calls easy unless told otherwise.

    Raises:
        ValueError: Names and scores differ in number, a name comes twice, a score is not finite, scores do not
            ascend, or the fraction does not lie between 0 and 1.
    """

    names: tuple[str, ...]
    scores: tuple[float, ...]
    fraction: float = DEFAULT_FRACTION

    def __post_init__(self) -> None:
        _check_fraction(self.fraction)
        for part in ("names", "scores"):
            object.__setattr__(self, part, tuple(getattr(self, part)))  # lists do as well
        if len(self.names) != len(self.scores):
            raise ValueError(f"{len(self.names)} names but {len(self.scores)} scores")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"{len(self.names)} names, but only {len(set(self.names))} different ones")
        if any(not math.isfinite(score) for score in self.scores):
            bad = next(name for name, score in zip(self.names, self.scores, strict=True) if not math.isfinite(score))
            raise ValueError(f"the score of {bad!r} is not finite; the model's output is damaged")
        if list(self.scores) != sorted(self.scores):
            raise ValueError("scores must ascend; Ranking.from_scores sorts them")

    @classmethod
    def from_scores(cls, scores: dict[str, float], *, fraction: float = DEFAULT_FRACTION) -> Ranking:
        """Sort scores by name; equal scores keep the order they came in."""
        ordered = sorted(scores.items(), key=lambda item: item[1])
        return cls(tuple(name for name, _ in ordered), tuple(score for _, score in ordered), fraction)

    def split(self, fraction: float | None = None) -> TargetSplit:
        """The first int(n * fraction) images are easy, the others hard."""
        fraction = self.fraction if fraction is None else fraction
        _check_fraction(fraction)
        count = int(len(self.names) * fraction)
        return TargetSplit(self.names[:count], self.names[count:])

    def save(self, path: str | Path) -> None:
        """Write names and scores as JSON, with a checksum."""
        write_sealed(path, {"fraction": self.fraction, "names": self.names, "scores": self.scores})

    @classmethod
    def load(cls, path: str | Path) -> Ranking:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is not a ranking, or damaged.
        """
        record = read_sealed(path)
        with expecting("a ranking that Ranking.save wrote", path):
            names, scores, fraction = record["names"], record["scores"], record["fraction"]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise TypeError("names are not a list of texts")
            return cls(tuple(names), tuple(float(score) for score in scores), float(fraction))


def rare_class_weight(prediction: Tensor, rare: tuple[int, ...]) -> Tensor:
    """Factor (R - r) / R + 0.5 for an image in which r of the R rare classes are predicted: 0.5 to 1.5.

    Images that show rare classes become easier, so that those classes have pseudo-labels.

    Shape:
        prediction (N, H, W) -> (N,).
    """
    shown = torch.stack([(prediction == index).flatten(1).any(1) for index in rare]).sum(0)
    return (len(rare) - shown) / len(rare) + 0.5


class EntropyRanker:
    """Score target images by the mean of their depth-aware map, at the image's size.

    Args:
        model: Any module that maps images to `SegDepthOutput`.
        fusion: The map that is averaged; ``DepthAwareFusion(mode="entropy")`` ranks as IntraDA does.
        fraction: Share of the images that the ranking calls easy.
        rare_class_weighting: Multiply the score by `rare_class_weight`.
        label_space: Where the rare classes are named; by default the data set's or the model's.
        batch_size: Images at once, as far as they have one size.
        num_workers: Processes that read samples.
        precision: Of the network's forward pass, as in `evaluate`; scores are float32.
        progress: Show a progress bar.

    Raises:
        TypeError: `fusion` is not a module.
        ValueError: The fraction does not lie between 0 and 1, or the precision is not known.
    """

    def __init__(
        self,
        model: nn.Module,
        fusion: DepthAwareFusion | None = None,
        fraction: float = DEFAULT_FRACTION,
        rare_class_weighting: bool = False,
        *,
        label_space: str | LabelSpace | None = None,
        batch_size: int = 1,
        num_workers: int = 0,
        precision: Precision = "float32",
        progress: bool = False,
    ) -> None:
        _check_fraction(fraction)
        check_precision(precision)
        if fusion is not None and not callable(fusion):
            raise TypeError(f"fusion must be a module such as DepthAwareFusion(mode='entropy'), got {fusion!r}")
        self.model = model
        self.fusion = DepthAwareFusion() if fusion is None else fusion
        self.fraction = fraction
        self.rare_class_weighting = rare_class_weighting
        self.label_space = label_space
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.precision: Precision = precision
        self.progress = progress

    def _rare_classes(self, dataset: SampleDataset) -> tuple[int, ...]:
        space = chosen_label_space(self.label_space, dataset, self.model)
        if space is None:
            raise ValueError("rare_class_weighting needs a label_space that names the rare classes; none is known")
        if not space.rare:
            raise ValueError(f"rare_class_weighting: label space {space.name!r} names no rare class")
        return space.indices(space.rare)

    def _score(self, output: SegDepthOutput, size: tuple[int, int]) -> Tensor:
        """Mean of the map of every image, from the sums of its rows."""
        total, count = torch.zeros((), dtype=torch.float64, device=output.logits.device), 0
        for _, part in row_slices(output, size):
            maps = self.fusion(part.logits, part.inverse_depth).flatten(1)
            total, count = total + maps.sum(1).double(), count + maps.shape[1]
        return total / count

    def rank(self, dataset: SampleDataset) -> Ranking:
        """Rank the images of a data set; labels and depth it may have are not looked at.

        Several processes (`distributed.initialize`) share the images, all of them call this, and each has the ranking.

        Raises:
            TypeError: The model is not a module, or the data set gives no samples by index.
            ValueError: The data set is empty, has two samples of one name, or samples without a name; the map needs
                depth that the model does not predict; or `rare_class_weighting` finds no label space that names rare
                classes.
        """
        rare = self._rare_classes(dataset) if self.rare_class_weighting else ()
        scored: dict[int, tuple[str, float]] = {}
        for batch, output in output_batches(
            self.model,
            Unlabelled(dataset),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            precision=self.precision,
            progress="rank" if self.progress else None,
            shared=True,
        ):
            size = size_of(batch["image"])
            score = self._score(output, size)
            if rare:
                score = score * rare_class_weight(argmax_resized(output.logits, size), rare)
            scored |= zip(batch["index"], zip(batch_names(batch), score.tolist(), strict=True), strict=True)
        pairs = gather_by_index(scored)
        scores = dict(pairs)
        if len(scores) != len(pairs):
            raise ValueError("two samples of the data set share a name; names must be unique")
        return Ranking.from_scores(scores, fraction=self.fraction)
