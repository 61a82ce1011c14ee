"""Label-free validation: scores that can be checked by hand, and choosing the best weights by them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from depthaware_uda import DAFConfig, DAFTrainer, SegDepthOutput, load_pretrained
from depthaware_uda.label_free import LabelFreeScore, label_free_score
from depthaware_uda.trainers.run.validation import Validation
from depthaware_uda.types import Sample
from tests.tiny import Listed, Scenes, assert_same_weights, tiny_model, weights

IMAGES = Scenes(3, labels=False, depth=False)


class Answers(nn.Module):
    """Class scores that are a function of the image."""

    def __init__(self, kind: str, sureness: float) -> None:
        super().__init__()
        self.kind, self.sureness = kind, sureness

    def forward(self, image: torch.Tensor) -> SegDepthOutput:
        height, width = image.shape[-2:]
        rows = torch.arange(height).view(-1, 1).expand(height, width)
        columns = torch.arange(width).expand(height, width)
        of = {"rows": rows, "columns": columns, "one class": torch.zeros_like(rows)}[self.kind]
        one_hot = nn.functional.one_hot(of % 4, 4).permute(2, 0, 1).float()
        return SegDepthOutput(self.sureness * one_hot.expand(len(image), -1, -1, -1), None)


def test_sure_and_the_same_in_the_mirror_is_best() -> None:
    found = label_free_score(Answers("rows", 50.0), IMAGES)
    assert (found.agreement, found.certainty) == (1.0, pytest.approx(1.0))
    assert found.score == pytest.approx(1.0)


def test_doubt_and_collapse_cost() -> None:
    unsure = label_free_score(Answers("rows", 0.0), IMAGES)
    assert unsure.certainty == pytest.approx(0, abs=1e-6)
    collapsed = label_free_score(Answers("one class", 50.0), IMAGES)
    assert (collapsed.agreement, collapsed.certainty) == (0.25, pytest.approx(1.0))
    # 40 columns of classes 0 1 2 3 0 1 2 3 ...: mirrored, each class lies where another one was.
    assert label_free_score(Answers("columns", 50.0), IMAGES).agreement == 0.0


def test_the_certainty_of_a_coarse_map_is_that_of_all_its_pixels() -> None:
    class Coarse(nn.Module):
        def forward(self, image: torch.Tensor) -> SegDepthOutput:
            return SegDepthOutput(torch.zeros(len(image), 4, 8, 10), None)

    assert label_free_score(Coarse(), IMAGES).certainty == pytest.approx(0, abs=1e-6)


def test_the_score_is_the_geometric_mean_of_agreement_and_certainty() -> None:
    assert LabelFreeScore(0.25, 0.64).score == pytest.approx(0.4)


def test_the_classes_of_the_mirrored_view_are_mirrored_back() -> None:
    class Brightness(nn.Module):
        def forward(self, image: torch.Tensor) -> SegDepthOutput:
            bright = 50 * (image.mean(1, keepdim=True) - 0.5)
            return SegDepthOutput(torch.cat([-bright, bright], 1), None)

    dark_to_the_left = torch.zeros(3, 8, 10)
    dark_to_the_left[:, :, 5:] = 1
    assert label_free_score(Brightness(), Listed([Sample(image=dark_to_the_left, name="a")])).agreement == 1


class Watched(Answers):
    """Keeps the images that it is shown."""

    def __init__(self) -> None:
        super().__init__("rows", 1.0)
        self.images: list[torch.Tensor] = []

    def forward(self, image: torch.Tensor) -> SegDepthOutput:
        self.images.append(image)
        return super().forward(image)


def test_every_image_has_colours_of_its_own_in_any_batch_and_whatever_was_drawn_before() -> None:
    alone, together = Watched(), Watched()
    label_free_score(alone, IMAGES)
    torch.rand(1)
    label_free_score(together, IMAGES, batch_size=2)
    assert torch.equal(torch.cat(alone.images[1::2]), torch.cat(together.images[1::2]))
    changes = [
        other.flip(-1).mean() - plain.mean() for plain, other in zip(alone.images[::2], alone.images[1::2], strict=True)
    ]
    assert len({round(float(change), 4) for change in changes}) == 3


def test_a_score_repeats_and_draws_nothing_from_the_caller() -> None:
    model = tiny_model()
    state = torch.get_rng_state()
    score = label_free_score(model, IMAGES)
    assert label_free_score(model, IMAGES) == score
    together = label_free_score(model, IMAGES, batch_size=2)  # each image has the colours that it has alone
    assert together.agreement == pytest.approx(score.agreement, abs=0.01)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


def test_the_best_weights_are_chosen_without_labels(tmp_path: Path) -> None:
    config = DAFConfig.source_only(
        max_steps=3, validate_every=1, validation="label_free", label_free_images=2, learning_rate=0.01
    )
    target = Scenes(4, seed=1, labels=False)
    trainer = DAFTrainer(tiny_model(), Scenes(), target, config, tmp_path / "run", progress=False)
    result = trainer.fit()
    scores = {record["step"]: record["label_free/score"] for record in result.history if "label_free/score" in record}
    assert len(scores) == 3
    assert result.best_step == max(scores, key=lambda step: scores[step])
    assert (result.best_miou, result.final) == (None, None)
    shown = Scenes(4, seed=1, labels=False)
    shown.names, shown.samples = shown.names[::2], shown.samples[::2]
    assert label_free_score(load_pretrained(tmp_path / "run" / "best"), shown).score == max(scores.values())


def test_the_target_needs_no_names() -> None:
    unnamed: list[Sample] = [{"image": sample["image"]} for sample in Scenes(3, seed=1).samples]
    config = DAFConfig.source_only(max_steps=1, validation="label_free", label_free_images=2)
    model = tiny_model()
    result = DAFTrainer(model, Scenes(), unnamed, config, device="cpu", progress=False).fit()
    # Evenly spaced, two of three images are the first two.
    assert result.history[-1]["label_free/score"] == label_free_score(model, unnamed[:2]).score


def test_with_labels_the_choice_still_does_without_them() -> None:
    config = DAFConfig.source_only(max_steps=2, validation="label_free")
    validation = Validation(config)
    model, val, target = tiny_model(), Scenes(seed=2), Scenes(seed=1)
    values, is_best = validation.run(model, val, target, 1)
    assert is_best
    assert validation.best == (values["label_free/score"], 1)
    assert validation.best_miou == values["val/miou"]
    back = Validation(config)
    back.load_state_dict(validation.state_dict())
    assert (back.best, back.best_miou) == (validation.best, validation.best_miou)
    assert not back.run(model, val, target, 2)[1]  # an equal score is no improvement
    assert_same_weights(weights(model), weights(tiny_model()))


def test_no_images_have_no_score() -> None:
    with pytest.raises(ValueError, match="the data set is empty"):
        label_free_score(tiny_model(), Scenes(0))


def test_validation_is_one_of_two() -> None:
    with pytest.raises(ValueError, match=r"validation must be one of \('oracle', 'label_free'\), got 'entropy'"):
        DAFConfig(validation="entropy")  # type: ignore[arg-type]
