"""What trainers refuse before their first step."""

from collections.abc import Callable
from typing import Any

import pytest

from depthaware_uda import (
    DAFConfig,
    TargetSplit,
)
from tests.tiny import Scenes, assert_same_weights, tiny_model, weights
from tests.trainers import QUICK, batch, daf, ida, isl


class Sixteen(Scenes):
    """Scenes of another label space, of sixteen classes."""

    def __init__(self) -> None:
        super().__init__(2, space="cityscapes16")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: daf(tiny_model(), source=Scenes(0)), "source is empty: it needs at least one sample"),
        (lambda: daf(tiny_model(), target=Scenes(0)), "target is empty"),
        (lambda: daf(tiny_model(), val=Scenes(0)), "val is empty"),
        (lambda: isl(tiny_model(), target=Scenes(0)), "target is empty"),
        (lambda: isl(tiny_model(), source=Scenes(0)), "source is empty"),
        (
            lambda: daf(tiny_model(), source=Sixteen()),
            "source has the 16 classes of .*, but the model predicts 7; create",
        ),
        (lambda: daf(tiny_model(), target=Sixteen()), "target has the 16 classes of label space 'cityscapes16'"),
        (lambda: isl(tiny_model(), val=Sixteen()), "val has the 16 classes"),
        (
            lambda: ida(tiny_model(), target=Sixteen(), split=TargetSplit(("street/0.png",), ("street/1.png",))),
            "16 cla",
        ),
        (lambda: daf(tiny_model(), val=Scenes(1, labels=False)), "val has no labels"),
        (lambda: daf(tiny_model(), source=Scenes(1, labels=False)), "source has no labels; the source domain is the"),
        (lambda: daf(tiny_model(), source=Scenes(1, depth=False)), "source has no depth.*or set depth_weight=0"),
        (lambda: isl(tiny_model(), source=Scenes(1, labels=False)), "source has no labels"),
        (lambda: ida(tiny_model(), source=Scenes(1, depth=False)), "source has no depth"),
        (
            lambda: daf(tiny_model(depth_head=None)),
            "fusion='depth_aware' multiplies by predicted depth.*fusion='entropy'",
        ),
        (lambda: ida(tiny_model(depth_head=None)), "fusion='depth_aware'"),
        (lambda: daf(tiny_model(), target=Scenes(1, (31, 64))), "images of 31 x 64 are smaller than the 32 pixels"),
        (lambda: daf(tiny_model(), source=Scenes(1, (64, 24))), "images of 64 x 24 are smaller than the 32 pixels"),
        (lambda: ida(tiny_model(), target=Scenes(4, (64, 24))), "images of 64 x 24"),
        (lambda: daf(tiny_model(), DAFConfig(class_weights=(1.0,) * 6)), "class_weights has 6 weights for 7 classes"),
        (
            lambda: ida(tiny_model(), split=TargetSplit(("street/0.png",), ("street/9.png",))),
            "not in the data set.*9.png",
        ),
    ],
)
def test_trainers_name_what_does_not_fit(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_what_a_setting_leaves_out_is_not_asked_for() -> None:
    daf(tiny_model(), DAFConfig(**QUICK, depth_weight=0), source=Scenes(1, depth=False))
    daf(tiny_model(depth_head=None), DAFConfig.advent(**QUICK), source=Scenes(1, depth=False))
    daf(tiny_model(), DAFConfig.minent(**QUICK), target=Scenes(1, (24, 24)))
    daf(tiny_model(), target=Scenes(1, labels=False, depth=False))
    isl(tiny_model(depth_head=None), target=Scenes(1, (24, 24), labels=False, depth=False))
    daf(tiny_model(), augment=lambda sample: sample, target=Scenes(1, space=None), source=Scenes(1, space=None))


@pytest.mark.parametrize("domains", [{"source"}, {"source", "target", "hard"}, {"easy", "hard"}, set()])
def test_a_step_on_other_domains_is_refused(domains: set[str]) -> None:
    trainer = daf(tiny_model())
    before = weights(trainer.model)
    with pytest.raises(TypeError, match=r"step expects the batches \['source', 'target'\], got \["):
        trainer.step(**{domain: batch(Scenes(1), 0) for domain in domains})
    assert_same_weights(weights(trainer.model), before)
    assert trainer.step_count == 0
