"""A model card: what a network is, how it was trained, how well it does, and whom to cite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from huggingface_hub import ModelCardData

from depthaware_uda.labels import get_label_space
from depthaware_uda.models.pretrained import PretrainedModel

__all__ = ["CITATION", "Scores", "model_card"]

CITATION = "Depth Guidance and Intra-Domain Adaptation for Semantic Segmentation, 2022"
"""The paper whose method trained the weights."""


class Scores(Protocol):
    """What an `EvaluationResult` knows and a card prints; fractions in 0..1."""

    @property
    def miou(self) -> float:
        """Mean over the classes."""

    @property
    def iou(self) -> Mapping[str, float]:
        """By class name."""

    @property
    def subsets(self) -> Mapping[str, float]:
        """Means over named subsets of the classes."""


def model_card(
    model: PretrainedModel,
    title: str,
    *,
    repository: str = "OWNER/NAME",
    protocol: str | None = None,
    scores: Scores | None = None,
    measured_on: str | None = None,
    license: str | None = None,
    citation: str = CITATION,
) -> str:
    """Text of a card with the metadata that hubs read, for `save_pretrained` and `push_to_hub`.

    Args:
        model: The network; its architecture, parameters and label space go into the card.
        title: Heading.
        repository: What `load_pretrained` will be given, for the example in the card.
        protocol: How it was trained: data, stages, steps, seed.
        scores: Result of `evaluate`.
        measured_on: Data of the scores: which set, which split, which size.
        license: Licence of the weights as hubs write it, such as ``"apache-2.0"``.
        citation: What to cite.

    Raises:
        ValueError: The network was not built by `create_model`.
    """
    if model.config is None:
        raise ValueError("a model card needs a model built by create_model")
    has_depth = model.config["depth_head"] is not None
    data = ModelCardData(
        license=license,
        library_name="depthaware-uda",
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", *(["depth-estimation"] if has_depth else []), "domain-adaptation"],
    )
    example = (
        "from depthaware_uda import load_pretrained, predict\n\n"
        f'model = load_pretrained("{repository}")\npredict(model, "photo.jpg").save("predictions")'
    )
    sections = [
        f"---\n{data.to_yaml()}\n---",
        f"# {title}",
        f"Segmentation network {'with a depth branch, ' if has_depth else ''}for the library `depthaware_uda`.",
        f"```python\n{example}\n```",
        "## Network",
        _network(model, model.config),
        "## Training",
        protocol or "Not told by those who saved it.",
        "## Results",
        _results(scores, measured_on),
        "## Citation",
        citation,
    ]
    return "\n\n".join(sections) + "\n"


def _network(model: PretrainedModel, config: Mapping[str, Any]) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        f"- architecture: `{config['name']}`, {parameters / 1e6:.2f} M parameters",
        f"- depth head: {config['depth_head'] or 'none'}",
        "- input: RGB in 0..1; the model normalises",
    ]
    if config["label_space"] is None:
        lines.append(f"- classes: {config['num_classes']}, without names")
    else:
        space = get_label_space(config["label_space"])
        lines.append(f"- label space: `{space.name}`, {len(space)} classes: {', '.join(space.classes)}")
    return "\n".join(lines)


def _results(scores: Scores | None, measured_on: str | None) -> str:
    if scores is None:
        return "Not measured."
    means = {"mIoU": scores.miou, **{f"mIoU ({name})": value for name, value in scores.subsets.items()}}
    rows = [f"| {name} | {100 * value:.1f} |" for name, value in {**means, **scores.iou}.items() if value == value]
    return f"Percent{f', on {measured_on}' if measured_on else ''}.\n\n| | IoU |\n|---|---|\n" + "\n".join(rows)
