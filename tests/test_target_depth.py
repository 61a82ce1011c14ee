"""Depth pseudo-labels of the target: files of a monocular network, read, compared up to scale and shift, trained on."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from depthaware_uda import DAFConfig, DAFTrainer
from depthaware_uda.data import SegmentationFolder, collate
from depthaware_uda.depth import to_inverse_depth
from depthaware_uda.losses import scale_shift_invariant
from depthaware_uda.models import resize
from tests.tiny import Scenes, tiny_model

QUIET: dict[str, Any] = {"device": "cpu", "progress": False}


@pytest.fixture
def photographs(tmp_path: Path) -> SegmentationFolder:
    """Four photographs whose lower half is near, in the 8 bits of an unknown unit: 30 far, 200 near."""
    rng = np.random.default_rng(0)
    for folder in ("images", "depth"):
        (tmp_path / folder).mkdir()
    for index in range(4):
        ramp = np.linspace(30, 200, 32).astype(np.uint8)[:, None].repeat(40, 1)
        image = np.stack([ramp, ramp, rng.integers(0, 256, (32, 40), np.uint8)], -1)
        Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(ramp).save(tmp_path / "depth" / f"{index}.png")
    return SegmentationFolder(
        tmp_path / "images", None, tmp_path / "depth", label_space="common7", depth_encoding="relative_inverse"
    )


def test_the_network_learns_the_order_of_the_targets_depth(photographs: SegmentationFolder) -> None:
    config = DAFConfig.source_only(
        max_steps=30, optimizer="adamw", learning_rate=3e-3, batch_size=2, target_depth_weight=1.0, depth_weight=1e-4
    )
    model = tiny_model()
    trainer = DAFTrainer(model, Scenes(3), photographs, config, **QUIET)
    history = [float(trainer.step(source=pair(Scenes(3)), target=pair(photographs))["target_depth"]) for _ in range(30)]
    assert np.mean(history[-5:]) < 0.6 * np.mean(history[:5])
    model.eval()
    with torch.no_grad():
        inverse_depth = model(photographs[0]["image"][None]).inverse_depth[0, 0]
    assert inverse_depth[-1].mean() > inverse_depth[0].mean()  # the lower part is near


def pair(dataset: Any) -> Any:
    return collate([dataset[0], dataset[1]])


def test_a_step_says_the_loss_of_the_prediction_it_made(photographs: SegmentationFolder) -> None:
    model = tiny_model()
    trainer = DAFTrainer(
        model, Scenes(3), photographs, DAFConfig(target_depth_weight=0.5, discriminator_channels=4), **QUIET
    )
    batch = pair(photographs)
    model.train()
    with torch.no_grad():
        expected = scale_shift_invariant(
            resize(model(batch["image"]).inverse_depth, (32, 40)), to_inverse_depth(batch["depth"])
        )
    losses = trainer.step(source=pair(Scenes(3)), target=batch)
    assert losses["target_depth"] == pytest.approx(expected.item(), rel=1e-5)
    assert set(losses) >= {"segmentation", "depth", "adversarial", "discriminator_target"}


def test_the_loss_is_weighed(photographs: SegmentationFolder) -> None:
    model, batch = tiny_model(), pair(photographs)
    copied = copy.deepcopy(model).train()
    # Nothing else teaches the last layer of the depth head.
    config = DAFConfig(target_depth_weight=0.5, adversarial_weight=0, depth_weight=0)
    DAFTrainer(model, Scenes(3), photographs, config, **QUIET).step(source=pair(Scenes(3)), target=batch)
    inverse_depth = resize(copied(batch["image"]).inverse_depth, (32, 40))
    (0.5 * scale_shift_invariant(inverse_depth, to_inverse_depth(batch["depth"]))).backward()
    torch.testing.assert_close(model.depth_head.predict.weight.grad, copied.depth_head.predict.weight.grad)


def test_fit_reads_the_files_and_keeps_labels_away(photographs: SegmentationFolder, tmp_path: Path) -> None:
    config = DAFConfig(max_steps=2, target_depth_weight=0.1, discriminator_channels=4)
    trainer = DAFTrainer(tiny_model(), Scenes(3), photographs, config, tmp_path / "run", **QUIET)
    assert set(trainer.datasets()["target"][0]) == {"image", "depth", "name"}
    result = trainer.fit()
    assert result.history[-1]["target_depth"] > 0
    labelled = DAFTrainer(tiny_model(), Scenes(3), Scenes(2), config, **QUIET)
    assert set(labelled.datasets()["target"][0]) == {"image", "depth", "name"}


def test_what_is_missing_is_named() -> None:
    config = DAFConfig.advent(target_depth_weight=0.1)
    with pytest.raises(ValueError, match="its samples do not have; load it with files of a monocular network"):
        DAFTrainer(tiny_model(), Scenes(1), Scenes(1, depth=False), config, **QUIET)
    with pytest.raises(ValueError, match="target_depth_weight teaches depth, which this model does not predict"):
        DAFTrainer(tiny_model(depth_head=None), Scenes(1), Scenes(1), config, **QUIET)
    with pytest.raises(ValueError, match="target_depth_weight must not be negative"):
        DAFConfig(target_depth_weight=-1)
