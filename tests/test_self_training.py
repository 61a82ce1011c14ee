"""Class-mix and confidence by numbers that a person can check."""

import pytest
import torch

from depthaware_uda.self_training import class_mask, confident_share, mix, nearer


def test_half_of_the_classes_are_chosen_whole_and_unlabelled_pixels_never() -> None:
    label = torch.tensor([[[0, 0, 3], [4, 255, 6]], [[2, 2, 2], [2, 2, 255]]])
    seen = set()
    for _ in range(30):
        mask = class_mask(label)
        chosen = set(label[0][mask[0]].tolist())
        assert len(chosen) == 2
        assert not chosen & set(label[0][~mask[0]].tolist())
        assert not mask[label == 255].any()
        assert mask[1].sum() == 5
        seen |= chosen
    assert seen == {0, 3, 4, 6}


def test_a_label_without_classes_pastes_nothing() -> None:
    assert not class_mask(torch.full((1, 2, 3), 255)).any()


def test_images_labels_and_depth_are_mixed_by_one_mask() -> None:
    mask = torch.tensor([[[True, False]]])
    assert mix(mask, torch.tensor([[[1, 2]]]), torch.tensor([[[3, 4]]])).tolist() == [[[1, 4]]]
    mixed = mix(mask, torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2))
    assert mixed.tolist() == [[[[1.0, 0.0]]] * 3]
    with pytest.raises(ValueError, match="one size first"):
        mix(mask, torch.ones(1, 3, 1, 2), torch.ones(1, 3, 1, 3))


def test_only_what_is_nearer_is_pasted() -> None:
    mask = torch.tensor([[[True, True, True, False]]])
    source = torch.tensor([[[[5.0, 1.0, torch.nan, 9.0]]]])
    assert nearer(mask, source, torch.full((1, 1, 1, 4), 2.0)).tolist() == [[[True, False, False, False]]]


def test_the_confident_share_counts_sure_pixels_of_each_image() -> None:
    sure, unsure = [9.0, 0.0], [0.0, 0.0]
    logits = torch.tensor([[sure, unsure, unsure, unsure], [sure, sure, sure, unsure]]).permute(0, 2, 1)[..., None]
    assert confident_share(logits).tolist() == [0.25, 0.75]
    with pytest.raises(ValueError, match=r"lie in 0\.\.1"):
        confident_share(logits, 1.5)
