from pathlib import Path

import pytest
import torch
from torch.utils.data import ConcatDataset, Subset

from depthaware_uda.data import CamVid, Selected, class_pixels, class_weights
from depthaware_uda.self_training import RareClassSampled
from depthaware_uda.types import Sample

from .conftest import ListDataset


def labelled(*values: object) -> ListDataset:
    return ListDataset([Sample(label=torch.as_tensor(value), name=f"{i}.png") for i, value in enumerate(values)])


def test_pixels_are_counted_over_all_samples() -> None:
    assert class_pixels(labelled([[0, 2], [2, 255]], [[255, 0]]), 4).tolist() == [2, 0, 2, 0]


def test_images_are_not_read_for_counting(camvid_copy: Path) -> None:
    train, val = CamVid(camvid_copy), CamVid(camvid_copy, "val")
    joined = ConcatDataset([Subset(train, [2, 0]), Selected(val, val.names)])  # type: ignore[list-item,arg-type]
    classes = len(train.label_space)
    one_by_one = [class_pixels([joined[index]], classes) for index in range(len(joined))]  # type: ignore[arg-type]
    moved = CamVid(camvid_copy, transform=lambda sample: {**sample, "label": torch.zeros(1, 1)})
    for image in camvid_copy.glob("*/images/*"):
        image.write_bytes(b"")
    assert torch.equal(class_pixels(joined, classes), torch.stack(one_by_one).sum(0))  # type: ignore[arg-type]
    assert len(RareClassSampled(joined, classes).shown) == classes  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{train.files[0].image}"):
        class_pixels(moved, classes)  # its transform may look at the image


def test_weights_by_hand() -> None:
    # Shares 0.8 and 0.2 to the power -1/2, and a class that does not occur, with the weight of the rarest one.
    weights = class_weights(labelled([[0] * 8 + [1] * 2]), 3)
    assert weights[1] / weights[0] == pytest.approx(2)
    assert weights[2] == weights[1]
    assert 0.8 * weights[0] + 0.2 * weights[1] == pytest.approx(1)
    assert class_weights(labelled([[0, 0, 1]]), 2, power=0) == (1, 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[0, 7]], r"labels of '1\.png' hold \[7\], expected integers in 0\.\.2, or 255 to ignore"),
        ([[0, -1]], r"hold \[-1\]"),
        ([[300, 256]], r"hold \[256, 300\]"),
        ([[0.5]], r"hold torch\.float32"),
    ],
)
def test_labels_outside_of_the_classes_are_named(value: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_pixels(labelled([[0]], value), 3)


def test_what_cannot_be_weighed() -> None:
    with pytest.raises(ValueError, match=r"'a' has no label to count"):
        class_pixels(ListDataset([Sample(name="a")]), 3)
    with pytest.raises(ValueError, match="labels no pixel"):
        class_weights(labelled([[255]]), 3)
    for power in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"power must be 0 or more, got {power}"):
            class_weights(labelled([[0]]), 3, power=power)
    with pytest.raises(ValueError, match="num_classes must be above 0, got 0"):
        class_pixels(labelled([[0]]), 0)
