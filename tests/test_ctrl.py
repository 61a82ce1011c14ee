"""CTRL: depth bins, the joint space and the refined head."""

import math

import numpy as np
import pytest
import torch

from depthaware_uda import evaluate, predict
from depthaware_uda.depth import to_inverse_depth
from depthaware_uda.losses import berhu, cross_entropy, domain_loss
from depthaware_uda.models import (
    JointSegmenter,
    JointSpace,
    RefinedSegmentationHead,
    create_discriminator,
    depth_bin_logits,
    resize,
)

from .tiny import Scenes, tiny_model


def test_bins_lie_evenly_in_logarithm_between_1_and_655_metres() -> None:
    # Bin 0 of 15 lies at 655.36 ** (1 / 30) = 1.2413 m, bin 7 in the middle at 25.6 m, bin 14 at 527.96 m.
    metres = torch.tensor([1.2413, 25.6, 527.96])
    logits = depth_bin_logits(to_inverse_depth(metres).view(1, 1, 1, 3))
    assert logits.shape == (1, 15, 1, 3)
    assert logits[0, :, 0].argmax(0).tolist() == [0, 7, 14]
    np.testing.assert_allclose(logits[0, [0, 7, 14], 0, [0, 1, 2]], 0, atol=1e-3)
    # From bin to bin depth grows by one factor.
    places = np.sqrt(-depth_bin_logits(torch.zeros(1, 1, 1, 1, dtype=torch.float64)).numpy().ravel())
    depths = 655.36 / places - 0.01
    np.testing.assert_allclose(depths[1:] / depths[:-1], 655.36 ** (1 / 15), rtol=1e-9)


def test_the_probability_of_a_bin_by_hand() -> None:
    inverse_depth = torch.tensor(26.0).view(1, 1, 1, 1)
    probability = depth_bin_logits(inverse_depth, bins=2).softmax(1).flatten()
    near, far = (655.36 / (655.36**power + 0.01) for power in (0.25, 0.75))
    scores = [math.exp(-((26 - near) ** 2)), math.exp(-((26 - far) ** 2))]
    assert probability[0] == pytest.approx(scores[0] / sum(scores))


def test_the_joint_space_stacks_three_maps() -> None:
    logits, refined = torch.randn(2, 2, 7, 4, 5)
    inverse_depth = 60 * torch.rand(2, 1, 4, 5)
    space = JointSpace()
    joint = space(logits, inverse_depth, refined)
    assert joint.shape == (2, space.channels(7), 4, 5) == (2, 29, 4, 5)

    def information(scores: torch.Tensor) -> torch.Tensor:
        p = scores.softmax(1).double()
        return -torch.special.xlogy(p, p) / math.log(scores.shape[1])

    torch.testing.assert_close(joint[:, :7].double(), information(logits), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        joint[:, 7:22].double(), information(depth_bin_logits(inverse_depth)), atol=1e-6, rtol=1e-4
    )
    torch.testing.assert_close(joint[:, 22:].double(), information(refined), atol=1e-6, rtol=1e-5)
    assert space(logits.half(), inverse_depth.half(), refined.half()).dtype == torch.float32


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        JointSpace(1)
    with pytest.raises(ValueError, match=r"differ in height or width: \[\(4, 5\), \(8, 10\)\]; resize"):
        JointSpace()(torch.zeros(1, 7, 4, 5), torch.zeros(1, 1, 8, 10), torch.zeros(1, 7, 4, 5))
    with pytest.raises(ValueError, match="must have a depth head, a gate"):
        JointSegmenter(tiny_model(gate=False))


def test_the_refined_head_sees_features_times_depth() -> None:
    head = RefinedSegmentationHead(6, 3, dilations=(1, 2))
    features, inverse_depth = torch.randn(2, 6, 8, 9), 60 * torch.rand(2, 1, 4, 5)
    expected = head.classifier(features * resize(inverse_depth, (8, 9)))
    torch.testing.assert_close(head(features, inverse_depth), expected)


def test_the_network_predicts_as_without_the_head_and_trains_with_it() -> None:
    network = tiny_model(depth_head="dada")
    model, space = JointSegmenter(network), JointSpace()
    discriminator = create_discriminator(space.channels(7), base_channels=4)
    scenes = Scenes(2, (64, 64))
    image = torch.stack([scenes[i]["image"] for i in range(2)])
    label = torch.stack([scenes[i]["label"] for i in range(2)])
    depth = to_inverse_depth(torch.stack([scenes[i]["depth"] for i in range(2)]))
    logits, inverse_depth, refined = (resize(maps, (64, 64)) for maps in model.joint(image))
    loss = cross_entropy(logits, label) + cross_entropy(refined, label) + 1e-3 * berhu(inverse_depth, depth)
    loss = loss + 1e-3 * domain_loss(discriminator(space(logits, inverse_depth, refined)), 0)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    gradients = [branch.weight.grad for branch in model.refined.classifier.branches]
    assert all(gradient is not None and gradient.any() for gradient in gradients)

    model.eval()
    with torch.no_grad():
        ours, theirs, joint = model(image), network(image), model.joint(image)
    torch.testing.assert_close(ours.logits, theirs.logits)
    torch.testing.assert_close(joint.logits, theirs.logits)
    torch.testing.assert_close(joint.inverse_depth, theirs.inverse_depth)
    assert evaluate(model, scenes).images == 2
    assert predict(model, image[0]).label_space.name == "common7"
