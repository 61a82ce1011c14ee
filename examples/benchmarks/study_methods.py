"""The runs of the study: each continues the network of another run, or starts from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study_setup import CLASSES, Study
from torch import nn

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    DepthAwareFusion,
    EntropyRanker,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    PseudoLabels,
    SelfTrainingConfig,
    SelfTrainingTrainer,
    load_pretrained,
    write_pseudo_labels,
)
from depthaware_uda.data import class_weights
from depthaware_uda.models import Ensemble
from depthaware_uda.pseudo_labels.folder import RECORD_FILE
from depthaware_uda.trainers import Trainer

Start = Callable[[Study, nn.Module, Path], "Trainer[Any]"]


@dataclass(frozen=True)
class Run:
    """One run: its trainer, and the run whose final network it continues."""

    title: str
    parent: str | None
    start: Start
    network: dict[str, Any]
    """Changes to the network's arguments; a later run inherits those of its parent."""


RUNS: dict[str, Run] = {}
ADVERSARY = {"adversarial_weight": 0.05, "discriminator_learning_rate": 1e-3, "discriminator_channels": 32}
ISL = {"threshold": 0.8, "proportion": 0.5}
LATER = {"batch_norm": "target"}


def add(name: str, title: str, parent: str | None, start: Start, **network: Any) -> None:
    RUNS[name] = Run(title, parent, start, network)


def source_only(stages: int | None = None, **changes: Any) -> Start:
    def start(study: Study, model: nn.Module, out: Path) -> Trainer[Any]:
        settings = study.first() if stages is None else study.later(stages)
        config = DAFConfig.source_only(**{**settings, **changes})
        return DAFTrainer(model, study.source, study.target, config, out, **study.options())

    return start


def supervised(study: Study, model: nn.Module, out: Path) -> Trainer[Any]:
    """The upper bound: trains on the photographs' own labels."""
    weights = class_weights(study.labelled_target, CLASSES)
    config = DAFConfig.source_only(**{**study.later(3), "depth_weight": 0.0, "class_weights": weights})
    return DAFTrainer(model, study.labelled_target, study.target, config, out, **study.options())


def daf(preset: Callable[..., DAFConfig] = DAFConfig, stages: float = 1, **changes: Any) -> Start:
    def start(study: Study, model: nn.Module, out: Path) -> Trainer[Any]:
        config = preset(**{**study.later(stages), **ADVERSARY, **LATER, **changes})
        return DAFTrainer(model, study.source, study.target, config, out, **study.options())

    return start


def isl(stages: float = 1, labels: PseudoLabels | None = None, **changes: Any) -> Start:
    def start(study: Study, model: nn.Module, out: Path) -> Trainer[Any]:
        settings = {**study.later(stages), **ISL, **LATER, "refresh_every": study.scale.stage_steps // 2}
        config = ISLConfig(**{**settings, **changes})
        return ISLTrainer(model, study.target, config, out, source=study.source, labels=labels, **study.options())

    return start


def ensemble_labels(networks: Iterable[nn.Module], study: Study, folder: Path) -> PseudoLabels:
    """Labels of the photographs, predicted by an ensemble of networks and written once."""
    if (folder / RECORD_FILE).is_file():
        return PseudoLabels(folder)
    return write_pseudo_labels(Ensemble(networks), study.target, folder, **ISL)


def isl_of_all(study: Study, model: nn.Module, out: Path) -> Trainer[Any]:
    """ISL on labels from an ensemble of the DAF networks of all seeds trained so far."""
    networks = (
        load_pretrained(folder, device=study.device) for folder in sorted(study.folder.parent.glob("seed*/daf/model"))
    )
    labels = ensemble_labels(networks, study, out.with_name(f"{out.name}-labels"))
    return isl(labels=labels)(study, model, out)


def ida(
    stages: float = 1,
    labels: PseudoLabels | None = None,
    ranked_by: DepthAwareFusion | None = None,
    fraction: float = 0.66,
    **changes: Any,
) -> Start:
    def start(study: Study, model: nn.Module, out: Path) -> Trainer[Any]:
        split = EntropyRanker(model, ranked_by, fraction).rank(study.target).split()
        config = IDAConfig(**{**study.later(stages), **ADVERSARY, **LATER, **changes})
        options = {**study.options(), "source": study.source, "labels": labels}
        return IDATrainer(model, study.target, split, config, out, **options)

    return start


def teacher(stages: float = 2, **changes: Any) -> Start:
    def start(study: Study, model: nn.Module, out: Path) -> Trainer[Any]:
        config = SelfTrainingConfig.recommended(**{**study.later(stages), **changes})
        # The teacher sees unchanged photographs; the student sees the colours and noise of every other method.
        perturb = study.augment.transforms[1]
        options = {**study.options(), "target_augment": study.view, "perturb": perturb}
        return SelfTrainingTrainer(model, study.source, study.target, config, out, **options)

    return start


PLAIN: dict[str, Any] = {"depth_head": None, "gate": False}
ENTROPY = DepthAwareFusion("entropy")

add("source", "source only", None, source_only())
add("source-plain", "source only, no depth", None, source_only(depth_weight=0.0), **PLAIN)
add("control", "control: source only, continued", "source", source_only(3))
add("control-plain", "control, no depth", "source-plain", source_only(3, depth_weight=0.0))
add("advent", "AdvEnt", "source-plain", daf(DAFConfig.advent))
add("advent-isl", "AdvEnt + ISL", "advent", isl(depth_weight=0.0))
add("intrada", "AdvEnt + ISL + IntraDA", "advent-isl", ida(ranked_by=ENTROPY, fusion="entropy", depth_weight=0.0))
add("minent", "MinEnt", "source-plain", daf(DAFConfig.minent, adversarial_weight=0.0, entropy_weight=0.05))
add("source-dada", "source only, DADA's depth head", None, source_only(), depth_head="dada")
add("dada", "DADA", "source-dada", daf(DAFConfig.dada))
add("source-ctrl", "source only, CTRL's heads", None, source_only(), depth_head="dada", refined_head=True)
add("ctrl", "CTRL's joint space", "source-ctrl", daf(DAFConfig.ctrl))
add("advent-depth", "AdvEnt's maps on DAF's network", "source", daf(fusion="entropy"))
add("daf", "DAF", "source", daf())
add("advent-long", "AdvEnt, three times as long", "source-plain", daf(DAFConfig.advent, stages=3))
add("daf-long", "DAF, three times as long", "source", daf(stages=3))
add("advent-stronger", "AdvEnt, lambda 0.2", "source-plain", daf(DAFConfig.advent, adversarial_weight=0.2))
add("daf-gentler", "DAF, lambda 0.01", "source", daf(adversarial_weight=0.01))
add("source-ungated", "source only, features not gated", None, source_only(), gate=False)
add("daf-ungated", "DAF, features not gated", "source-ungated", daf())
add("source-unattended", "source only, no channel attention", None, source_only(), channel_attention=False)
add("daf-unattended", "DAF, no channel attention", "source-unattended", daf())
add("daf-squared", "DAF, depth squared on target maps", "source", daf(depth_power_target=2))
add("daf-scaled", "DAF, inverse depth / 100", "source", daf(depth_scale=0.01))
add("daf-frozen", "DAF, batch norm frozen", "source", daf(batch_norm="frozen"))
add("daf-isl", "DAF + ISL", "daf", isl())
add("daf-isl-ida", "DAF + ISL + IDA", "daf-isl", ida())
add("daf-isl-isl", "DAF + ISL + further ISL", "daf-isl", isl())
add("isl-of-all", "DAF + ISL, labels of all seeds' networks", "daf", isl_of_all)
add("isl-weighted", "DAF + ISL, pseudo-labels with class weights", "daf", isl(pseudo_class_weights=True))
add("ida-confident", "DAF + ISL + IDA, labels from 0.8", "daf-isl", ida(threshold=0.8))
add("ida-half", "DAF + ISL + IDA, half of the images easy", "daf-isl", ida(fraction=0.5))
add("ida-most", "DAF + ISL + IDA, four fifths of the images easy", "daf-isl", ida(fraction=0.8))
add("daf-ida-entropy", "DAF + ISL + IDA, plain entropy maps", "daf-isl", ida(fusion="entropy"))
add("recipe", "DAF + mean teacher (recommended)", "daf", teacher())
add("recipe-unweighted", "recipe without class weights in pseudo-labels", "daf", teacher(pseudo_class_weights=False))
add("recipe-alone", "recipe without DAF's term", "daf", teacher(adversarial_weight=0.0))
add("recipe-unmixed", "recipe without class-mix", "daf", teacher(class_mix=False))
add("recipe-nearer", "recipe, mixed by depth order", "daf", teacher(mix_nearer=True))
add("recipe-rare", "recipe with rare-class sampling", "daf", teacher(rare_class_temperature=0.1))
add("supervised", "supervised on CamVid train", "source", supervised)
