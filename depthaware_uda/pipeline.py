"""The whole method on a protocol: DAF, ISL, ranking and IDA in turn, each evaluated and restartable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from depthaware_uda.data import Unlabelled, cached
from depthaware_uda.digests import check_sums
from depthaware_uda.distributed import from_writer, is_writer
from depthaware_uda.evaluation import EvaluationResult, evaluate
from depthaware_uda.files import expecting, read_json, write_json
from depthaware_uda.models import DepthAwareFusion
from depthaware_uda.models.pretrained import MODEL_FILES, WEIGHTS_FILE
from depthaware_uda.protocols import AdaptationProtocol, get_protocol
from depthaware_uda.ranking import DEFAULT_FRACTION, EntropyRanker, Ranking
from depthaware_uda.tensors import read_tensors
from depthaware_uda.trainers import (
    Callback,
    DAFConfig,
    DAFTrainer,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    Trainer,
)
from depthaware_uda.trainers.run.run_folder import RUN_FILE
from depthaware_uda.trainers.run.streams import Augmentation
from depthaware_uda.types import SampleDataset

__all__ = ["run_protocol"]

PROTOCOL_FILE = "protocol.json"
KeptWeights = Literal["last", "best"]
_MADE = ("daf/run.json", "daf.json", "isl/run.json", "isl.json", "ranking.json", "ida/run.json", "ida.json")
"""Files of the stages, in order; each stage builds on the one before."""


def run_protocol(
    model: nn.Module,
    protocol: str | AdaptationProtocol,
    output_dir: str | Path,
    roots: Mapping[str, str | Path] | None = None,
    *,
    daf: DAFConfig | None = None,
    isl: ISLConfig | None = None,
    ida: IDAConfig | None = None,
    rank_by: DepthAwareFusion | None = None,
    fraction: float = DEFAULT_FRACTION,
    keep: KeptWeights = "last",
    augment: Augmentation | None = None,
    cache: str | Path | None = None,
    num_workers: int = 0,
    device: str | torch.device | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
) -> dict[str, EvaluationResult]:
    """Adapt a model on a protocol, by default with the published settings, and evaluate it after every stage.

    Each stage has a folder below `output_dir` and resumes where it was interrupted; a finished stage is not repeated.
    ``daf.json``, ``isl.json`` and ``ida.json`` there are the results, ``ranking.json`` is the ranking of the target,
    ``protocol.json`` holds the settings that the stages share.

    Args:
        model: The network, trained in place.
        protocol: Name of a protocol (`list_protocols`), or an `AdaptationProtocol`.
        output_dir: Folder of all results.
        roots: Folder of each data set that the protocol reads, by name.
        daf: Settings of the first stage; by default ``DAFConfig.reference()``, those of the authors' code.
        isl: Settings of self-learning; by default ``ISLConfig.reference()``.
        ida: Settings of intra-domain adaptation; by default ``IDAConfig.reference()``.
        rank_by: The map whose mean ranks the target images; by default depth-aware entropy, or plain entropy for a
            model without depth.
        fraction: Share of the target images that are easy.
        keep: Whether a stage passes on its ``"last"`` weights, or those that were ``"best"`` on validation data. The
            authors pass on the best ones, which uses labels of the target; that needs `validate_every`.
        augment: Called with every training sample.
        cache: Folder for decoded source and target images (`cached`); without it, every sample is decoded each time.
        num_workers: Processes that decode the cache.
        device: Where to train; by default CUDA if available.
        progress: Show progress bars.
        callbacks: Called at the moments of `Callback`, in every stage.

    Returns:
        Results by stage: ``"daf"``, ``"isl"``, ``"ida"``.

    Raises:
        ValueError: An argument is invalid, a root is missing, or `output_dir` holds another run, or results of a stage
            whose folder was removed (nothing is overwritten).
    """
    if keep not in get_args(KeptWeights):
        raise ValueError(f"keep must be one of {get_args(KeptWeights)}, got {keep!r}")
    chosen, out = get_protocol(protocol), Path(output_dir)
    source, target, val = chosen.source_data(roots), chosen.target_data(roots), chosen.validation_data(roots)
    target = Unlabelled(target)
    if cache is not None:
        source = cached(source, cache, num_workers=num_workers, progress=progress and is_writer())
        target = cached(target, cache, num_workers=num_workers, progress=progress and is_writer())
    shared: dict[str, Any] = {"val": val, "augment": augment, "device": device, "progress": progress}
    shared["callbacks"] = callbacks
    results: dict[str, EvaluationResult] = {}

    def finish(name: str, trainer: Trainer[Any]) -> Trainer[Any]:
        trainer.fit()
        if keep == "best":
            check_sums(out / name / "best", MODEL_FILES)
            model.load_state_dict(read_tensors(out / name / "best" / WEIGHTS_FILE))
        results[name] = _evaluated(model, val, chosen, out / f"{name}.json")
        return trainer

    first = DAFTrainer(model, source, target, daf or DAFConfig.reference(), out / "daf", **shared)
    fusion = rank_by or DepthAwareFusion("depth_aware" if first.has_depth else "entropy")
    ranker = EntropyRanker(model, fusion, fraction, progress=progress)
    _claim(out, {"protocol": chosen.name, "keep": keep, "rank_by": str(fusion), "fraction": fraction})
    finish("daf", first)
    learned = finish("isl", ISLTrainer(model, target, isl or ISLConfig.reference(), out / "isl", **shared))
    ranking = _ranked(ranker, learned.readable(target), out / "ranking.json")
    split = ranking.split()
    if is_writer():
        split.save(out / "split")
    finish("ida", IDATrainer(model, target, split, ida or IDAConfig.reference(), out / "ida", **shared))
    return results


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings that all stages of a folder share, or compare them with those in the folder."""
    if orphans := from_writer(_orphans(folder)):
        raise ValueError(
            f"{folder} has {', '.join(orphans)}, but not the folder of the stage that made them; choose another "
            "output_dir, or remove these files too, and all of them are made again"
        )
    file = folder / PROTOCOL_FILE
    if not from_writer(file.is_file()):
        if is_writer():
            write_json(file, settings)
        return
    with expecting("the settings of run_protocol", file):
        found = dict(read_json(file))
    differing = [
        f"{key} (was {found.get(key)}, is {value})" for key, value in settings.items() if value != found.get(key)
    ]
    if differing:
        raise ValueError(
            f"{folder} holds another run, nothing was overwritten. It differs in: {', '.join(differing)}. "
            "Choose another output_dir, or remove it to start anew"
        )


def _orphans(folder: Path) -> list[str]:
    """Files that depend on a stage whose folder no longer exists."""
    there = [(folder / name).is_file() for name in _MADE]
    gone = [place for place, name in enumerate(_MADE) if name.endswith(RUN_FILE) and not there[place]]
    return [name for place, name in enumerate(_MADE) if gone and place > gone[0] and there[place]]


def _evaluated(model: nn.Module, val: SampleDataset, protocol: AdaptationProtocol, path: Path) -> EvaluationResult:
    """The result in a file; without one, evaluate the model and write the file."""
    if from_writer(path.is_file()):
        return EvaluationResult.load(path)
    result = evaluate(model, val, protocol=protocol)
    if is_writer():
        result.save(path)
    return result


def _ranked(ranker: EntropyRanker, target: SampleDataset, path: Path) -> Ranking:
    """The ranking in a file; without one, rank the target and write the file."""
    if from_writer(path.is_file()):
        return Ranking.load(path)
    ranking = ranker.rank(target)
    if is_writer():
        ranking.save(path)
    return ranking
