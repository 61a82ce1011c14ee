"""Several networks as one: their mean computed by hand, and use wherever one network is accepted."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from depthaware_uda import EntropyRanker, create_model, evaluate, predict, write_pseudo_labels
from depthaware_uda.models import Ensemble
from depthaware_uda.types import SegDepthOutput
from tests.tiny import Oracle, Scenes, few_layers, tiny_model


def test_probabilities_and_depths_are_averaged_at_the_finest_stride() -> None:
    fine, coarse = tiny_model(seed=1, output_stride=8).eval(), tiny_model(seed=2, output_stride=16).eval()
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        output = Ensemble([coarse, fine])(image)
        outputs = coarse(image), fine(image)
    logits = [F.interpolate(each.logits, (8, 12), mode="bilinear", align_corners=True) for each in outputs]
    torch.testing.assert_close(output.logits.exp(), (logits[0].softmax(1) + logits[1].softmax(1)) / 2)
    size = outputs[1].inverse_depth.shape[-2:]
    depths = [F.interpolate(each.inverse_depth, size, mode="bilinear", align_corners=True) for each in outputs]
    torch.testing.assert_close(output.inverse_depth, (depths[0] + depths[1]) / 2)


def test_one_network_is_its_own_ensemble() -> None:
    model, image = tiny_model().eval(), torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        output, own = Ensemble([model])(image), model(image)
    torch.testing.assert_close(output.logits.softmax(1), own.logits.softmax(1))
    torch.testing.assert_close(output.inverse_depth, own.inverse_depth)


def test_depth_is_that_of_the_members_which_predict_it() -> None:
    image = torch.rand(1, 3, 32, 40)
    deep, flat = tiny_model().eval(), tiny_model(depth_head=None, gate=False).eval()
    with torch.no_grad():
        assert torch.equal(Ensemble([flat, deep])(image).inverse_depth, deep(image).inverse_depth)
        assert Ensemble([flat, flat])(image).inverse_depth is None


def test_a_class_that_no_member_thinks_of_has_a_finite_score() -> None:
    sure = Oracle([SegDepthOutput(torch.tensor([0.0, -1e4, -1e4]).view(1, 3, 1, 1).expand(1, 3, 4, 4), None)])
    logits = Ensemble([sure, sure])(torch.zeros(1, 3, 8, 8)).logits
    assert logits.isfinite().all()
    assert logits[0, 0, 0, 0] == 0


def test_a_class_that_one_member_masks_out_is_left_to_the_others() -> None:
    masked = torch.zeros(1, 3, 2, 2)
    masked[:, 2] = -torch.inf
    coarse, fine = (Oracle([SegDepthOutput(logits, None)]) for logits in (masked, torch.zeros(1, 3, 4, 4)))
    shares = Ensemble([coarse, fine])(torch.zeros(1, 3, 8, 8)).logits.exp()
    torch.testing.assert_close(shares[0, :, 1, 2], torch.tensor([5 / 12, 5 / 12, 1 / 6]))


def test_it_goes_where_a_network_goes(tmp_path: Path) -> None:
    scenes = Scenes(4)
    ensemble = Ensemble([tiny_model(seed=1, image_size=32), tiny_model(seed=2, image_size=32)])
    assert ensemble.label_space is not None
    assert ensemble.label_space.name == "common7"
    assert (ensemble.image_size, ensemble.stride) == (32, 8)
    assert next(iter(evaluate(ensemble, scenes).iou)) == "flat"
    assert len(EntropyRanker(ensemble).rank(scenes).names) == 4
    assert predict(ensemble, scenes[0]["image"]).label.shape == (32, 40)
    labels = write_pseudo_labels(ensemble, scenes, tmp_path, threshold=0)
    with torch.no_grad():
        logits = ensemble.eval()(scenes[0]["image"][None]).logits
    expected = F.interpolate(logits, (32, 40), mode="bilinear", align_corners=True).argmax(1)[0]
    assert torch.equal(labels.read(scenes.names[0]), expected)


def test_networks_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one network"):
        Ensemble([])
    with pytest.raises(ValueError, match="different classes: cityscapes16, common7"):
        Ensemble([tiny_model(), create_model("timm/resnet10t", 16, label_space="cityscapes16")])
    with pytest.raises(TypeError, match="str is not a Module"):
        Ensemble(["daf-ida-minicity"])  # type: ignore[list-item]
    three, four = (Oracle([SegDepthOutput(torch.zeros(1, classes, 4, 4), None)]) for classes in (3, 4))
    with pytest.raises(ValueError, match=r"same classes, but have \[3, 4\]"):
        Ensemble([three, four])(torch.zeros(1, 3, 8, 8))
    assert Ensemble([few_layers(), tiny_model(image_size=32)]).image_size is None
