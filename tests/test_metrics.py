"""Metrics against cases computed by hand, TorchMetrics and scikit-image."""

import math

import numpy as np
import pytest
import skimage.metrics
import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_jaccard_index,
)

from depthaware_uda.metrics import DepthErrors, DepthMeter, confusion_matrix, iou_per_class, pixel_accuracy


def random_maps(seed: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randint(classes, (3, 9, 11), generator=generator)
    label = torch.randint(classes, (3, 9, 11), generator=generator)
    label[torch.rand(3, 9, 11, generator=generator) < 0.2] = 255
    return prediction, label


def test_a_confusion_matrix_by_hand() -> None:
    label = torch.tensor([[0, 0, 1, 255], [2, 2, 2, 1]])
    prediction = torch.tensor([[0, 1, 1, 0], [2, 2, 0, 1]])
    assert confusion_matrix(prediction, label, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 2]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 7, 16])
def test_confusion_iou_and_accuracy_equal_those_of_torchmetrics(seed: int, classes: int) -> None:
    prediction, label = random_maps(seed, classes)
    confusion = confusion_matrix(prediction, label, classes)
    options = {"num_classes": classes, "ignore_index": 255}
    assert confusion.tolist() == multiclass_confusion_matrix(prediction, label, **options).tolist()
    judge = multiclass_jaccard_index(prediction, label, average="none", **options)
    torch.testing.assert_close(iou_per_class(confusion).float(), judge)
    accuracy = multiclass_accuracy(prediction, label, average="micro", **options).item()
    assert pixel_accuracy(confusion) == pytest.approx(accuracy, rel=1e-6)


@pytest.mark.parametrize("classes", [128, 129, 300])  # up to 128 classes, 16 bits hold every pair
def test_a_confusion_matrix_of_many_classes(classes: int) -> None:
    last = classes - 1
    confusion = confusion_matrix(torch.tensor([last, 0, 3]), torch.tensor([last, 127, 255]), classes)
    assert confusion.shape == (classes, classes)
    assert confusion.nonzero().tolist() == [[127, 0], [last, last]]


def test_confusion_matrices_add_up_over_batches() -> None:
    prediction, label = random_maps(0, 5)
    parts = sum(confusion_matrix(p, t, 5) for p, t in zip(prediction, label, strict=True))
    assert torch.equal(parts, confusion_matrix(prediction, label, 5))


def test_iou_by_hand() -> None:
    # Class 0: 1 / (1 + 1 + 1); class 1: 2 / (2 + 0 + 1); class 2: 2 / (2 + 1 + 0).
    iou = iou_per_class(torch.tensor([[1, 1, 0], [0, 2, 0], [1, 0, 2]]))
    assert iou.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert iou.dtype == torch.float64


def test_a_class_without_labels_has_no_iou_and_still_costs_the_others() -> None:
    # Four pixels of class 0, one of them predicted as class 1, which does not occur.
    iou = iou_per_class(torch.tensor([[3, 1], [0, 0]])).tolist()
    assert iou[0] == 0.75
    assert math.isnan(iou[1])


def test_a_class_with_labels_that_is_never_right_has_iou_zero() -> None:
    assert iou_per_class(torch.tensor([[0, 2], [0, 3]])).tolist() == [0.0, 0.6]


def test_without_labels_nothing_is_measured() -> None:
    confusion = confusion_matrix(torch.zeros(2, 2, dtype=torch.int64), torch.full((2, 2), 255), 3)
    assert confusion.sum() == 0
    assert iou_per_class(confusion).isnan().all()
    assert math.isnan(pixel_accuracy(confusion))


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([0, 3], [0, 1], r"prediction holds indices 0\.\.3, but there are 3 classes"),
        ([0, -1], [0, 1], r"prediction holds indices -1\.\.0"),
        ([0, 1], [3, 255], r"label holds indices 3\.\.3, but there are 3 classes \(0\.\.2, and 255 to ignore\)"),
        ([0, 1], [-1, 0], r"label holds indices -1\.\.0"),
    ],
)
def test_an_index_that_is_no_class_is_refused(prediction: list[int], label: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrix(torch.tensor(prediction), torch.tensor(label), 3)


def test_predictions_of_ignored_pixels_may_be_anything() -> None:
    assert confusion_matrix(torch.tensor([0, 99]), torch.tensor([1, 7]), 2, ignore_index=7).tolist() == [[0, 0], [1, 0]]


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction \(2, 2\) and label \(4, 4\)"):
        confusion_matrix(torch.zeros(2, 2), torch.zeros(4, 4), 3)


def test_probabilities_are_no_classes() -> None:
    indices = torch.zeros(2, dtype=torch.int64)
    for prediction, label, name in ((indices.float(), indices, "prediction"), (indices, indices.float(), "label")):
        with pytest.raises(ValueError, match=rf"{name} is torch.float32, expected class indices in integers"):
            confusion_matrix(prediction, label, 3)


def test_depth_errors_by_hand() -> None:
    meter = DepthMeter(max_metres=80)
    # 10 m predicted as 12 m, 20 m as 16 m, 40 m as 80 m; unknown, zero and too far are not counted.
    truth = torch.tensor([10, 20, 40, torch.nan, 0, 81])
    meter.update(torch.tensor([12.0, 16, 80, 5, 5, 5]), truth)
    assert meter.compute() == DepthErrors(
        abs_rel=pytest.approx((0.2 + 0.2 + 1) / 3),
        rmse=pytest.approx(math.sqrt((4 + 16 + 1600) / 3)),
        delta_1_25=pytest.approx(1 / 3),  # 12 / 10 = 1.2; 20 / 16 = 1.25 is not below 1.25
        pixels=3,
    )


def test_depth_errors_equal_those_of_scikit_image_and_numpy_over_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, prediction = (1 + 70 * torch.rand(5, 1, 6, 7, generator=generator) for _ in range(2))
    meter = DepthMeter()
    for batch in (slice(0, 2), slice(2, 5)):
        meter.update(prediction[batch], truth[batch])
    errors = meter.compute()
    assert errors is not None
    true, seen = truth.numpy().astype(np.float64), prediction.numpy().astype(np.float64)
    assert errors.rmse == pytest.approx(math.sqrt(skimage.metrics.mean_squared_error(true, seen)))
    assert errors.abs_rel == pytest.approx(np.mean(np.abs(seen - true) / true))
    assert errors.delta_1_25 == pytest.approx(np.mean(np.maximum(seen / true, true / seen) < 1.25))
    assert errors.to_dict()["pixels"] == errors.pixels == 210
    meter.update(torch.ones(3), torch.tensor([80.0, 80.5, 0.0]))  # beyond 80 m and at 0, nothing is compared
    further = meter.compute()
    assert further is not None
    assert further.pixels == 211


def test_a_predicted_depth_of_0_or_below_counts_as_a_millimetre() -> None:
    meter = DepthMeter()
    meter.update(torch.tensor([0.0, -5.0]), torch.tensor([1.0, 1.0]))
    errors = meter.compute()
    assert errors is not None
    assert (errors.abs_rel, errors.rmse, errors.delta_1_25) == pytest.approx((0.999, 0.999, 0))


def test_depths_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"predicted depth \(1, 1, 2, 3\) and true \(1, 2, 3\) differ in shape"):
        DepthMeter().update(torch.ones(1, 1, 2, 3), torch.ones(1, 2, 3))


def test_no_known_depth_gives_no_errors() -> None:
    meter = DepthMeter()
    assert meter.compute() is None
    meter.update(torch.ones(2, 2), torch.full((2, 2), torch.nan))
    assert meter.compute() is None
