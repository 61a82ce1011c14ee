"""`evaluate` and the loop below it, with networks that return prepared outputs."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Subset

from depthaware_uda import EvaluationResult, SegDepthOutput, evaluate, predict
from depthaware_uda.data import Augmented, InMemory, Unlabelled
from depthaware_uda.depth import to_inverse_depth
from depthaware_uda.inference import evaluating, predict_batches
from depthaware_uda.labels import LabelSpace
from depthaware_uda.metrics import DepthErrors, confusion_matrix
from depthaware_uda.types import Sample, SampleDataset
from tests.tiny import (
    Listed,
    Oracle,
    Scenes,
    assert_same_weights,
    numbered,
    scenes_of_two_sizes,
    tiny_model,
    weights,
)

THREE = LabelSpace(
    "three", ("road", "sky", "car"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)), subsets={"2": ("road", "car"), "1": ("sky",)}
)


def logits_of(label: Tensor, classes: int = 3) -> Tensor:
    """Logits (1, C, H, W) whose argmax is the label."""
    return nn.functional.one_hot(label, classes).permute(2, 0, 1)[None].float()


def two_images() -> tuple[Listed, Oracle]:
    """Eight pixels: 3 of 4 of road and 1 of 2 of sky are right; no label shows a car; one pixel is ignored."""
    labels = [torch.tensor([[0, 0], [1, 255]]), torch.tensor([[0, 0], [1, 255]])]
    answers = [torch.tensor([[0, 0], [1, 2]]), torch.tensor([[0, 1], [2, 0]])]
    samples = numbered(2, (2, 2), label=lambda index: labels[index])
    return Listed(samples, THREE), Oracle([SegDepthOutput(logits_of(answer), None) for answer in answers])


def test_evaluation_by_hand() -> None:
    images, oracle = two_images()
    result = evaluate(oracle, images)
    assert result.confusion == [[3, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert result.iou["road"] == 3 / 4
    assert result.iou["sky"] == pytest.approx(1 / 3)
    assert math.isnan(result.iou["car"])
    assert result.absent == ["car"]
    assert result.miou == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert result.subsets == {"2": 3 / 4, "1": pytest.approx(1 / 3)}
    assert result.pixel_accuracy == 4 / 6
    assert result.images == 2
    assert result.depth is None


def test_the_table_is_in_percent_and_names_what_is_left_out() -> None:
    images, oracle = two_images()
    lines = evaluate(oracle, images).table().splitlines()
    assert [line.split() for line in lines] == [
        ["road", "75.0"],
        ["sky", "33.3"],
        ["mIoU", "54.2"],
        ["mIoU", "(2)", "75.0"],
        ["mIoU", "(1)", "33.3"],
        ["pixel", "accuracy", "66.7"],
        ["not", "in", "the", "labels,", "left", "out:", "car"],
    ]
    errors = DepthErrors(abs_rel=0.1234, rmse=5.678, delta_1_25=0.876, pixels=9)
    with_depth = EvaluationResult.from_confusion(torch.eye(3), THREE.classes, depth=errors)
    assert with_depth.table().splitlines()[-1] == "depth: AbsRel 0.123, RMSE 5.68 m, delta < 1.25 87.6 %"


def test_the_mean_over_a_subset_of_all_classes_is_the_mean() -> None:
    confusion = torch.tensor([[7, 1, 1], [0, 3, 2], [1, 4, 11]])
    result = EvaluationResult.from_confusion(confusion, THREE.classes, subsets={"all": THREE.classes})
    assert result.subsets["all"] == pytest.approx(result.miou, rel=1e-12)


def test_one_confusion_matrix_over_all_images_and_not_a_mean_of_images() -> None:
    # One image has 1 wrong road pixel, the other 3 right ones: 3 / 4 and not (0 + 1) / 2.
    samples = [
        Sample(image=torch.zeros(3, 1, 1), label=torch.tensor([[0]]), name="a"),
        Sample(image=torch.full((3, 1, 3), 1 / 255), label=torch.tensor([[0, 0, 0]]), name="b"),
    ]
    oracle = Oracle([SegDepthOutput(logits_of(torch.tensor(row)), None) for row in ([[1]], [[0, 0, 0]])])
    assert evaluate(oracle, Listed(samples)).iou["0"] == 3 / 4


def test_logits_take_the_size_of_the_label() -> None:
    # One row of logits for class 0: 0, 2 -> 0, 1, 2 with aligned corners; class 1 has 0.9 everywhere.
    logits = torch.tensor([[[0.0, 2.0]], [[0.9, 0.9]]])[None]
    label = torch.tensor([[1, 0, 0]])
    sample = Sample(image=torch.zeros(3, 1, 3), label=label, name="a")
    assert evaluate(Oracle([SegDepthOutput(logits, None)]), Listed([sample])).pixel_accuracy == 1


def test_a_label_larger_than_the_image_is_compared_at_its_own_size() -> None:
    logits = torch.tensor([[[0.0, 2.0]], [[0.9, 0.9]]])[None]
    sample = Sample(image=torch.zeros(3, 1, 2), label=torch.tensor([[1, 0, 0], [1, 0, 0]]), name="a")
    result = evaluate(Oracle([SegDepthOutput(logits, None)]), Listed([sample]))
    assert result.pixel_accuracy == 1
    assert sum(map(sum, result.confusion)) == 6


def test_depth_errors_where_depth_is_known() -> None:
    metres = torch.tensor([[[10.0, torch.nan], [20.0, 200.0]]])
    seen = torch.tensor([[[12.0, 5.0], [20.0, 5.0]]])
    output = SegDepthOutput(torch.zeros(1, 3, 2, 2), to_inverse_depth(seen)[None])
    samples = numbered(1, (2, 2), label=lambda _: torch.zeros(2, 2, dtype=torch.int64), depth=lambda _: metres)
    errors = evaluate(Oracle([output]), Listed(samples)).depth
    assert errors is not None
    assert errors.pixels == 2  # one is unknown, and one is farther than 80 m
    assert errors.abs_rel == pytest.approx(0.1, rel=1e-5)
    assert errors.rmse == pytest.approx(math.sqrt(2), rel=1e-5)
    assert errors.delta_1_25 == 1


def test_no_depth_errors_without_depth_in_the_data() -> None:
    assert evaluate(tiny_model(), Scenes(1, depth=False)).depth is None
    assert evaluate(tiny_model(depth_head=None), Scenes(1)).depth is None
    assert evaluate(tiny_model(), Scenes(1)).depth is not None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda data: data,
        lambda data: InMemory(data, progress=False),
        lambda data: Augmented(data, dict),
        lambda data: Subset(data, [0]),
        lambda data: ConcatDataset([Scenes(1), data]),
    ],
)
def test_relative_depth_is_not_scored_as_metres(wrap: Callable) -> None:
    images = Scenes(1)
    assert evaluate(tiny_model(), wrap(images)).depth is not None
    images.is_metric = False  # type: ignore[attr-defined]
    assert evaluate(tiny_model(), wrap(images)).depth is None


def test_a_model_of_relative_depth_is_not_scored_in_metres() -> None:
    model = tiny_model()
    model.is_metric = False  # type: ignore[assignment]
    assert evaluate(model, Scenes(1)).depth is None


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"batch_size": 5}, {"num_workers": 2}])
@pytest.mark.parametrize("images", [Scenes(5), scenes_of_two_sizes()], ids=["one size", "two sizes"])
def test_batches_and_workers_change_nothing(images: SampleDataset, options: dict[str, int]) -> None:
    model = tiny_model()
    one, many = evaluate(model, images), evaluate(model, images, **options)
    assert many.confusion == one.confusion
    assert many.depth is not None
    assert one.depth is not None
    assert many.depth.to_dict() == pytest.approx(one.depth.to_dict(), rel=1e-6)


def test_evaluation_leaves_the_network_as_it_was() -> None:
    model = tiny_model().train()
    model.backbone.eval()
    model.classifier.branches[0].eval()
    modes = [module.training for module in model.modules()]
    before = weights(model)
    evaluate(model, Scenes(1))
    assert [module.training for module in model.modules()] == modes
    assert_same_weights(weights(model), before)
    assert torch.is_grad_enabled()


def test_evaluation_uses_the_running_statistics() -> None:
    images = Scenes(2)
    model = tiny_model()
    trained, evaluated = evaluate(model.train(), images), evaluate(model.eval(), images)
    assert trained.confusion == evaluated.confusion


def test_after_an_error_the_network_and_gradients_are_as_before() -> None:
    model = tiny_model().train()
    with pytest.raises(ValueError, match="no label") as kept:  # kept alive, as by an interactive prompt
        evaluate(model, Scenes(1, labels=False))
    assert kept.value is not None
    assert model.training
    assert torch.is_grad_enabled()


def test_the_body_of_evaluating_may_fail() -> None:
    model = tiny_model().train()

    def body() -> None:
        with evaluating(model):
            assert not model.backbone.training
            assert not torch.is_grad_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        body()
    assert model.training
    assert model.backbone.training
    assert torch.is_grad_enabled()


def test_predictions_have_the_size_of_the_image_and_come_in_order() -> None:
    images = Scenes(3, (32, 40))
    found = list(predict_batches(tiny_model(), images, batch_size=2))
    assert [name for batch, _ in found for name in batch["name"]] == images.names
    assert [len(output.logits) for _, output in found] == [2, 1]
    for _, output in found:
        assert output.logits.shape[-2:] == output.inverse_depth.shape[-2:] == (32, 40)
        assert not output.logits.requires_grad


def test_between_batches_gradients_and_modes_are_the_callers() -> None:
    model, other = tiny_model(), tiny_model()
    for _ in zip(predict_batches(model, Scenes(2)), predict_batches(other, Scenes(2)), strict=True):
        assert torch.is_grad_enabled()
        assert model.training
        assert other.training
    assert torch.is_grad_enabled()


def test_batches_of_several_sizes_are_divided_and_tell_where_their_images_are() -> None:
    images = scenes_of_two_sizes(5)
    batches = [batch for batch, _ in predict_batches(tiny_model(), images, batch_size=3)]
    assert [batch["index"] for batch in batches] == [[0, 2], [1], [3], [4]]
    for batch in batches:
        assert batch["name"] == [images.names[index] for index in batch["index"]]
        for place, index in enumerate(batch["index"]):
            assert all(torch.equal(batch[key][place], images[index][key]) for key in ("image", "label"))  # type: ignore[literal-required]
    result = evaluate(tiny_model(), images, batch_size=3)
    assert (result.images, result.image_size, result.label_size) == (5, None, None)


def test_a_network_without_weights_can_be_evaluated() -> None:
    class Constant(nn.Module):
        def forward(self, image: Tensor) -> SegDepthOutput:
            return SegDepthOutput(torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(len(image), 2, 4, 4), None)

    sample = Sample(image=torch.zeros(3, 4, 4), label=torch.ones(4, 4, dtype=torch.int64), name="a")
    assert evaluate(Constant(), Listed([sample])).pixel_accuracy == 1


def test_a_float64_network_can_be_evaluated() -> None:
    assert evaluate(tiny_model().double(), Scenes(2)).confusion == evaluate(tiny_model(), Scenes(2)).confusion


def test_missing_labels_are_named() -> None:
    with pytest.raises(ValueError, match=r"street/0.png: the sample has no label"):
        evaluate(tiny_model(), Unlabelled(Scenes(1)))


def test_scores_that_are_nan_are_warned_of() -> None:
    model = tiny_model()
    with pytest.warns(
        RuntimeWarning, match="scores are NaN in 1 of 3 images, such as street/1.png, and count as class 0"
    ):
        evaluate(model, Augmented(Scenes(3), lambda sample: blinded(sample, "street/1.png")), batch_size=2)


def blinded(sample: Sample, name: str) -> Sample:
    return {**sample, "image": torch.full_like(sample["image"], torch.nan)} if sample["name"] == name else sample


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match="data set is empty"):
        evaluate(tiny_model(), Scenes(0))


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="predicts 7 classes, but label space 'three' of the data has 3"):
        evaluate(tiny_model(), Scenes(1, space=THREE))


def test_as_many_classes_in_another_order_are_refused() -> None:
    images, oracle = two_images()
    oracle.label_space = LabelSpace("turned", THREE.classes[::-1], THREE.palette)
    with pytest.raises(ValueError, match=r"the data set has the classes \['road', .* of 'three', .* but not the same"):
        evaluate(oracle, images)
    with pytest.raises(ValueError, match=r"the data set has the classes \['road', .* of 'three', .* but not the same"):
        evaluate(oracle, Subset(images, [0]))  # type: ignore[arg-type]


def test_a_label_that_is_no_class_is_refused() -> None:
    samples = numbered(1, (2, 2), label=lambda _: torch.full((2, 2), 3))
    with pytest.raises(ValueError, match=r"image/0: label holds indices 3\.\.3, but there are 3 classes"):
        evaluate(Oracle([SegDepthOutput(torch.zeros(1, 3, 2, 2), None)]), Listed(samples))


def test_classes_are_named_by_argument_then_data_then_model_then_number() -> None:
    images, oracle = two_images()
    other = LabelSpace("other", ("a", "b", "c"), ((0, 0, 0),) * 3)
    assert list(evaluate(oracle, images, label_space=other).iou) == ["a", "b", "c"]
    assert list(evaluate(oracle, images).iou) == ["road", "sky", "car"]
    del images.label_space
    assert list(evaluate(oracle, images).iou) == ["0", "1", "2"]
    assert evaluate(oracle, images).subsets == {}
    oracle.label_space = other
    assert list(evaluate(oracle, images).iou) == ["a", "b", "c"]


@pytest.mark.parametrize("depth", [False, True])
def test_a_result_comes_back_from_its_file_with_its_gaps(tmp_path: Path, depth: bool) -> None:
    result = evaluate(tiny_model(), Scenes(1, depth=depth)) if depth else evaluate(*reversed(two_images()))
    result.save(tmp_path / "results" / "val.json")
    back = EvaluationResult.load(tmp_path / "results" / "val.json")
    assert back.to_dict() == result.to_dict()
    assert back.table() == result.table()
    assert "NaN" not in (tmp_path / "results" / "val.json").read_text()
    assert back.absent == result.absent == ([] if depth else ["car"])
    assert (back.depth is not None) == depth


def test_a_result_without_any_label_comes_back_too() -> None:
    nothing = EvaluationResult.from_confusion(
        torch.zeros(3, 3, dtype=torch.int64), THREE.classes, subsets=THREE.subsets
    )
    assert nothing.table() == (
        "no label shows any class: there was nothing to compare; look at the labels and their label_map"
    )
    back = EvaluationResult.from_dict(nothing.to_dict())
    assert nothing.to_dict()["miou"] is None
    assert all(
        math.isnan(value) for value in (back.miou, back.pixel_accuracy, *back.iou.values(), *back.subsets.values())
    )


def test_the_network_may_see_another_size_than_the_labels_have() -> None:
    model = tiny_model(image_size=16)
    scenes = Scenes(2, (32, 40))
    result = evaluate(model, scenes, size="auto")
    assert (result.image_size, result.label_size) == ((16, 20), (32, 40))
    shown = [predict(model, scenes[index]["image"].clone(), size=16).label for index in range(2)]
    expected = torch.stack([torch.from_numpy(label) for label in shown])
    labels = torch.stack([scenes[index]["label"] for index in range(2)])
    assert result.confusion == confusion_matrix(expected, labels, 7).tolist()
    assert evaluate(model, scenes).image_size == (32, 40)
    assert evaluate(tiny_model(), scenes, size="auto").image_size == (32, 40)
    with pytest.raises(ValueError, match="size must be pixels of the shorter side"):
        evaluate(model, scenes, size=0)


def test_a_confusion_matrix_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"confusion must be \(C, C\) of 3 classes, got \(2, 2\)"):
        EvaluationResult.from_confusion(torch.eye(2, dtype=torch.int64), ("a", "b", "c"))
