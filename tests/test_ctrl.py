"""CTRL: depth bins, the joint space and the refined head."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    EntropyRanker,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    TargetSplit,
    evaluate,
    load_pretrained,
    predict,
)
from depthaware_uda.data import collate
from depthaware_uda.depth import to_inverse_depth
from depthaware_uda.losses import berhu, cross_entropy, domain_loss
from depthaware_uda.models import DepthSegmenter, JointSpace, RefinedSegmentationHead, depth_bin_logits, resize
from tests.tiny import Scenes, assert_same_weights, tiny_model, weights


def test_bins_lie_evenly_in_logarithm_between_1_and_655_metres() -> None:
    # Bin 0 of 15 lies at 655.36 ** (1 / 30) = 1.2413 m, bin 7 in the middle at 25.6 m, bin 14 at 527.96 m.
    metres = torch.tensor([1.2413, 25.6, 527.96])
    logits = depth_bin_logits(to_inverse_depth(metres).view(1, 1, 1, 3))
    assert logits.shape == (1, 15, 1, 3)
    assert logits[0, :, 0].argmax(0).tolist() == [0, 7, 14]
    np.testing.assert_allclose(logits[0, [0, 7, 14], 0, [0, 1, 2]], 0, atol=1e-3)
    # Depth grows by a constant factor from bin to bin.
    places = np.sqrt(-depth_bin_logits(torch.zeros(1, 1, 1, 1, dtype=torch.float64)).numpy().ravel())
    depths = 655.36 / places - 0.01
    np.testing.assert_allclose(depths[1:] / depths[:-1], 655.36 ** (1 / 15), rtol=1e-9)


def test_the_probability_of_a_bin_by_hand() -> None:
    inverse_depth = torch.tensor(26.0).view(1, 1, 1, 1)
    probability = depth_bin_logits(inverse_depth, bins=2).softmax(1).flatten()
    near, far = (655.36 / (655.36**power + 0.01) for power in (0.25, 0.75))
    scores = [math.exp(-((26 - near) ** 2)), math.exp(-((26 - far) ** 2))]
    assert probability[0] == pytest.approx(scores[0] / sum(scores))
    half = torch.tensor(600.0, dtype=torch.float16).view(1, 1, 1, 1)  # its square is infinite in half precision
    assert torch.equal(depth_bin_logits(half), depth_bin_logits(half.float()))


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
    with pytest.raises(ValueError, match="bins must be a whole number of at least 2, got 1"):
        JointSpace(1)
    with pytest.raises(ValueError, match=r"bins must be a whole number of at least 2, got 2\.5"):
        JointSpace(2.5)  # type: ignore[arg-type]
    assert JointSpace(2).channels(7) == 16
    with pytest.raises(ValueError, match=r"differ in height or width: \[\(4, 5\), \(8, 10\)\]; resize"):
        JointSpace()(torch.zeros(1, 7, 4, 5), torch.zeros(1, 1, 8, 10), torch.zeros(1, 7, 4, 5))


def test_the_refined_head_sees_features_times_depth() -> None:
    head = RefinedSegmentationHead(6, 3, dilations=(1, 2))
    features, inverse_depth = torch.randn(2, 6, 8, 9), 60 * torch.rand(2, 1, 4, 5)
    expected = head.classifier(features * resize(inverse_depth, (8, 9)))
    torch.testing.assert_close(head(features, inverse_depth), expected)


def joint_model(**options: Any) -> DepthSegmenter:
    return tiny_model(depth_head="dada", refined_head=True, **options)


def test_a_network_with_the_refined_head_predicts_as_without_it_and_comes_back_with_it(tmp_path: Path) -> None:
    model = joint_model().eval()
    plain = tiny_model(depth_head="dada").eval()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("refined.")})
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs, joint = model(image), plain(image), model.joint(image)
    for output in (ours, joint):
        torch.testing.assert_close(output.logits, theirs.logits)
        torch.testing.assert_close(output.inverse_depth, theirs.inverse_depth)
    assert joint.refined_logits.shape == joint.logits.shape
    assert model.refined.classifier.branches[0].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert evaluate(model, Scenes(2)).images == 2
    assert predict(model, image[0]).label_space.name == "common7"

    model.save_pretrained(tmp_path)
    again = load_pretrained(tmp_path)
    assert_same_weights(weights(again), weights(model))
    with torch.no_grad():
        torch.testing.assert_close(again.eval().joint(image).refined_logits, joint.refined_logits)


def test_what_the_refined_head_needs_is_named() -> None:
    with pytest.raises(ValueError, match="refined_head multiplies features by predicted depth"):
        tiny_model(depth_head=None, refined_head=True)
    with pytest.raises(ValueError, match=r"no refined head; create_model\(..., refined_head=True\)"):
        tiny_model().joint(torch.rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match="a refined head needs a depth_head"):
        DepthSegmenter(tiny_model().backbone, torch.nn.Identity(), refined=torch.nn.Identity())
    with pytest.raises(ValueError, match=r"fusion='joint' aligns a refined segmentation too.*refined_head=True"):
        DAFTrainer(tiny_model(), Scenes(1), Scenes(1), DAFConfig.ctrl(), device="cpu")


def test_ctrl_steps_replayed_longhand() -> None:
    config = DAFConfig.ctrl(max_steps=3, learning_rate=0.01, momentum=0.0, weight_decay=0.0, head_lr_multiplier=1.0)
    config = replace(config, adversarial_weight=0.5, depth_weight=0.01, refined_weight=0.7, discriminator_channels=4)
    config = replace(config, class_weights=(1, 2, 3, 4, 5, 6, 7))
    model, source, target = joint_model().double(), Scenes(3), Scenes(4, seed=1)
    trainer = DAFTrainer(model, source, target, config, device="cpu", progress=False)
    assert trainer.discriminator[0].weight.shape[1] == 2 * 7 + 15
    copied, judge, space = copy.deepcopy(model), copy.deepcopy(trainer.discriminator), JointSpace()
    labelled, aligned = ({**collate([scenes[1], scenes[2]])} for scenes in (source, target))
    for batch in (labelled, aligned):
        batch.update(image=batch["image"].double(), depth=batch["depth"].double())

    ours = trainer.step(source=labelled, target={"image": aligned["image"], "name": aligned["name"]})

    copied.train()
    weight = torch.arange(1.0, 8.0).double()
    logits, depth, refined = (resize(maps, (32, 40)) for maps in copied.joint(labelled["image"]))
    losses = {
        "segmentation": cross_entropy(logits, labelled["label"], class_weight=weight),
        "depth": berhu(depth, to_inverse_depth(labelled["depth"])),
        "refined": cross_entropy(refined, labelled["label"], class_weight=weight),
    }
    map_target = space(*(resize(maps, (32, 40)) for maps in copied.joint(aligned["image"])))
    losses["adversarial"] = domain_loss(judge(map_target), 0)
    factors = {"segmentation": 1, "depth": 0.01, "refined": 0.7, "adversarial": 0.5}
    sum(factors[name] * loss for name, loss in losses.items()).backward()  # type: ignore[union-attr]
    with torch.no_grad():
        for parameter in copied.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    losses["discriminator_source"] = domain_loss(judge(space(logits, depth, refined).detach()), 0)
    losses["discriminator_target"] = domain_loss(judge(map_target.detach()), 1)
    expected = {name: loss.item() for name, loss in losses.items()}
    assert {name: loss.item() for name, loss in ours.items()} == pytest.approx(expected)
    torch.testing.assert_close(weights(model), weights(copied), rtol=1e-7, atol=1e-10)


def test_ctrl_from_start_to_end(tmp_path: Path) -> None:
    """The joint space in the first and last stages; the stages between them need only the logits."""
    quick: dict[str, Any] = {"max_steps": 2, "schedule_steps": 2, "learning_rate": 0.01}
    target, given = Scenes(4, seed=1), {"device": "cpu", "progress": False}
    model = joint_model()
    config = DAFConfig.ctrl(**quick, discriminator_channels=4)
    result = DAFTrainer(model, Scenes(3), target, config, tmp_path, val=Scenes(2, seed=2), **given).fit()
    assert result.history[0]["refined"] > 0
    assert load_pretrained(tmp_path / "model").refined is not None
    ISLTrainer(model, target, ISLConfig(**quick), **given).fit()
    split = EntropyRanker(model).rank(target).split()
    before = weights(model.refined)
    ida = IDAConfig(**quick, fusion="joint", discriminator_channels=4)
    final = IDATrainer(model, target, split, ida, source=Scenes(3), **given).fit()
    assert {"refined", "source_refined", "segmentation", "source_segmentation"} <= final.history[0].keys()
    assert not torch.equal(before["classifier.branches.0.weight"], model.refined.classifier.branches[0].weight)


def test_the_refined_head_learns_pseudo_labels() -> None:
    config = IDAConfig(max_steps=1, fusion="joint", refined_weight=0.7, adversarial_weight=0)
    easy, split = collate([Scenes(2)[0]]), TargetSplit(("street/0.png",), ("street/1.png",))
    model = joint_model()
    copied = copy.deepcopy(model).train()
    trainer = IDATrainer(model, Scenes(2), split, config, device="cpu", progress=False)
    trainer.step(easy=easy, hard=collate([Scenes(2)[1]]))
    (0.7 * cross_entropy(resize(copied.joint(easy["image"]).refined_logits, (32, 40)), easy["label"])).backward()
    for ours, theirs in zip(model.refined.parameters(), copied.refined.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pseudo_class_weights", [False, True])
def test_class_weights_weigh_pseudo_labels_only_if_asked(pseudo_class_weights: bool) -> None:
    given = {"max_steps": 1, "fusion": "joint", "discriminator_channels": 4}
    weighed = {**given, "class_weights": (1, 2, 3, 4, 5, 6, 7), "pseudo_class_weights": pseudo_class_weights}
    target, split = Scenes(2), TargetSplit(("street/0.png",), ("street/1.png",))
    batches = {"easy": collate([target[0]]), "hard": collate([target[1]])}
    plain, ours = (
        IDATrainer(joint_model(), target, split, IDAConfig(**settings), device="cpu", progress=False).step(**batches)
        for settings in (given, weighed)
    )
    for name in ("segmentation", "refined"):
        assert (float(ours[name]) == float(plain[name])) != pseudo_class_weights
