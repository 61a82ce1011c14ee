"""Mean teacher and its pieces: a step replayed explicitly, pasted pixels, and invalid settings."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depthaware_uda import SelfTrainingConfig, SelfTrainingTrainer
from depthaware_uda.data import class_pixels, collate, resize
from depthaware_uda.depth import to_inverse_depth
from depthaware_uda.losses import berhu, cross_entropy
from depthaware_uda.models.resize import resize_output
from depthaware_uda.self_training import RareClassSampled, class_probabilities
from depthaware_uda.trainers.run.loop import batches_of
from depthaware_uda.trainers.self_training import Lesson
from depthaware_uda.types import Batch, Sample
from tests.tiny import Scenes, assert_same_weights, tiny_model, weights

SOURCE, TARGET = Scenes(4), Scenes(4, seed=1, labels=False, depth=False)


def trainer(model: Any = None, **settings: Any) -> SelfTrainingTrainer:
    options = {key: settings.pop(key) for key in ("augment", "target_augment", "perturb") if key in settings}
    config = SelfTrainingConfig(**{"max_steps": 4, "learning_rate": 0.01, "batch_size": 2, **settings})
    return SelfTrainingTrainer(model or tiny_model(), SOURCE, TARGET, config, device="cpu", progress=False, **options)


def batches() -> dict[str, Batch]:
    return {"source": collate([SOURCE[0], SOURCE[1]]), "target": collate([TARGET[0], TARGET[1]])}


def assert_same_gradients(ours: nn.Module, theirs: nn.Module) -> None:
    for parameter, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-4, atol=1e-6)


def test_a_plain_step_is_the_equation() -> None:
    given, ours = batches(), trainer(confidence="image", threshold=0.17, pseudo_weight=0.5)
    losses = ours.step(**given)

    model = tiny_model()
    teacher = tiny_model().eval()  # before the first step, the average equals the network
    image, label = given["source"]["image"], given["source"]["label"]
    output = resize_output(model.train()(image), image.shape[-2:])
    assert output.inverse_depth is not None
    segmentation = cross_entropy(output.logits, label)
    depth = berhu(output.inverse_depth, to_inverse_depth(given["source"]["depth"]))
    (segmentation + 1e-3 * depth).backward()
    with torch.no_grad():
        taught = resize_output(teacher(given["target"]["image"]), image.shape[-2:]).logits.softmax(1)
    sure, pseudo = taught.max(1)
    student = resize_output(model(given["target"]["image"]), image.shape[-2:]).logits
    each = torch.nn.functional.cross_entropy(student, pseudo, reduction="none")
    share = (sure > 0.17).float().mean((1, 2))
    assert ((share > 0.2) & (share < 0.8)).all()
    expected = (share * each.mean((1, 2))).mean()
    (0.5 * expected).backward()
    assert losses["segmentation"] == pytest.approx(float(segmentation.detach()))
    assert losses["pseudo"] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert losses["trusted"] == pytest.approx(float(share.mean()))
    assert_same_gradients(ours.model, model)


def test_image_label_weight_and_depth_are_pasted_together() -> None:
    ours = trainer(class_mix=True)
    source = batches()["source"]
    size = source["label"].shape
    lesson = Lesson(
        image=torch.full_like(source["image"], -1.0),
        label=torch.full(size, 7),
        weight=torch.full(size, 0.25),
        inverse_depth=None,
    )
    torch.manual_seed(0)
    pasted = ours.paste(source, lesson)
    mask = pasted.label != 7
    assert 0.2 < mask.float().mean() < 0.8
    assert torch.equal(pasted.label[mask], source["label"][mask])
    assert torch.equal(pasted.image[:, 0] == -1, ~mask)
    assert torch.equal(pasted.weight, torch.where(mask, 1.0, 0.25))
    assert pasted.pasted_depth is not None
    known = mask & source["depth"][:, 0].isfinite()
    assert torch.equal(pasted.pasted_depth[:, 0].isfinite(), known)
    torch.testing.assert_close(pasted.pasted_depth[:, 0][known], to_inverse_depth(source["depth"])[:, 0][known])


def test_only_what_is_nearer_is_pasted_onto_the_teachers_depth() -> None:
    ours, source = trainer(class_mix=True, mix_nearer=True), batches()["source"]
    size = source["label"].shape
    below = torch.full((size[0], 1, *size[1:]), 30.0)
    lesson = Lesson(torch.zeros_like(source["image"]), torch.full(size, 7), torch.ones(size), below)
    mask = ours.paste(source, lesson).label != 7
    assert mask.any()
    assert bool((to_inverse_depth(source["depth"])[:, 0][mask] >= 30).all())


def test_the_teacher_sees_the_image_as_it_is_and_the_student_perturbed() -> None:
    seen: list[tuple[str, Tensor]] = []
    ours = trainer(perturb=lambda sample: Sample(image=sample["image"] * 0), adversarial_weight=1e-3)
    assert ours.average is not None
    for name, module in (("student", ours.model), ("teacher", ours.average.module)):
        module.register_forward_pre_hook(lambda _, inputs, name=name: seen.append((name, inputs[0])))
    given = batches()
    ours.step(**given)
    assert [name for name, _ in seen] == ["student", "teacher", "student", "student"]
    assert torch.equal(seen[1][1], given["target"]["image"])
    assert not seen[2][1].any()
    assert not seen[3][1].any()  # whose maps are aligned


def test_each_domain_has_its_augmentation() -> None:
    def dark(sample: Sample) -> Sample:
        return Sample(**{**sample, "image": sample["image"] * 0})  # type: ignore[typeddict-item]

    def bright(sample: Sample) -> Sample:
        return Sample(**{**sample, "image": sample["image"] * 0 + 1})  # type: ignore[typeddict-item]

    both = trainer(augment=dark, target_augment=bright)
    drawn = next(batches_of(both, both.datasets()))
    assert (float(drawn["source"]["image"].max()), float(drawn["target"]["image"].min())) == (0.0, 1.0)
    one = trainer(augment=dark)
    drawn = next(batches_of(one, one.datasets()))
    assert float(drawn["target"]["image"].max()) == 0.0


def test_the_teacher_follows_and_is_what_training_ends_with() -> None:
    ours = trainer(ema_decay=0.9, class_mix=True, confidence="pixel", threshold=0.2, rare_class_temperature=0.1)
    start = weights(tiny_model())["classifier.branches.0.weight"]
    ours.fit()
    assert ours.average is not None
    ended = weights(ours.average.module)["classifier.branches.0.weight"]
    assert not torch.equal(ended, start)
    assert torch.equal(weights(ours.model)["classifier.branches.0.weight"], ended)


def test_rare_classes_are_drawn_as_the_settings_say() -> None:
    drawn = trainer(rare_class_temperature=0.5, rare_class_pixels=170).datasets()["source"]
    assert isinstance(drawn, RareClassSampled)
    torch.testing.assert_close(drawn.probabilities, class_probabilities(class_pixels(SOURCE, 7), 0.5))
    shown = [[int((SOURCE[i]["label"] == index).sum()) >= 170 for i in range(4)] for index in range(7)]
    assert [column.tolist() for column in drawn.shown] == [
        [i for i in range(4) if row[i]] or [0, 1, 2, 3] for row in shown
    ]


def test_labels_below_the_threshold_teach_nothing() -> None:
    lesson = trainer(threshold=1.0).teach(batches()["target"])
    assert bool((lesson.label == 255).all())
    everything = trainer().teach(batches()["target"])
    assert int(everything.label.max()) < 7
    # The share of an image, or the confidence of a pixel, is a weight: all labels are kept.
    for confidence in ("image", "pixel"):
        weighed = trainer(threshold=1.0, confidence=confidence).teach(batches()["target"])
        assert torch.equal(weighed.label, everything.label)
        assert not weighed.weight.any()
    assert bool((everything.weight == 1).all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"confidence": "high"}, "confidence must be one of"),
        ({"teacher_statistics": "source"}, "teacher_statistics must be one of"),
        ({"ema_decay": 0.0}, "the teacher is the average"),
        ({"mix_nearer": True}, "needs class_mix"),
        ({"rare_class_temperature": 0.0}, "rare_class_temperature must be positive"),
        ({"rare_class_pixels": 0}, "rare_class_pixels must be positive"),
        ({"pseudo_weight": -1.0}, "pseudo_weight must not be negative"),
        ({"threshold": 1.5}, r"threshold must lie in 0\.\.1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelfTrainingConfig(**settings)


def test_data_that_do_not_suit_the_pieces() -> None:
    with pytest.raises(ValueError, match="mix_nearer compares depths"):
        trainer(tiny_model(depth_head=None, gate=False), class_mix=True, mix_nearer=True, depth_weight=0.0)
    given = batches()
    given["target"]["image"] = given["target"]["image"][..., :-8]
    with pytest.raises(ValueError, match="give both domains one size"):
        trainer(class_mix=True).step(**given)


def test_a_teacher_may_normalise_by_the_target_images_at_hand() -> None:
    given, ours = batches()["target"], trainer(teacher_statistics="batch")
    assert ours.average is not None
    before = weights(ours.average.module)
    weight = ours.teach(given).label
    model = tiny_model().train()
    with torch.no_grad():
        expected = resize_output(model(given["image"]), given["image"].shape[-2:]).logits.argmax(1)
    assert torch.equal(weight, expected)
    assert not torch.equal(weight, trainer().teach(given).label)
    assert all(torch.equal(value, before[key]) for key, value in weights(ours.average.module).items())


def test_classes_of_pseudo_labels_weigh_as_the_sources_only_if_asked() -> None:
    logits, label = torch.randn(1, 7, 4, 4), torch.randint(7, (1, 4, 4))
    class_weights = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    plain = trainer(class_weights=class_weights).pseudo_supervised(logits, label)
    weighed = trainer(class_weights=class_weights, pseudo_class_weights=True).pseudo_supervised(logits, label)
    assert plain == cross_entropy(logits, label)
    assert weighed == cross_entropy(logits, label, class_weight=torch.tensor(class_weights))
    assert plain != weighed


def test_the_joint_space_is_aligned_and_its_refined_head_trained() -> None:
    model = tiny_model(refined_head=True)
    before = weights(model.refined)
    ours = trainer(model, fusion="joint", adversarial_weight=0.05, refined_weight=0.5, discriminator_channels=4)
    given = batches()
    losses = ours.step(**given)
    copied = tiny_model(refined_head=True).train()
    with torch.no_grad():
        joint = resize_output(copied.joint(given["source"]["image"]), given["source"]["image"].shape[-2:])
    assert float(losses["refined"]) == pytest.approx(
        float(cross_entropy(joint.refined_logits, given["source"]["label"]))
    )
    assert {"adversarial", "discriminator_source", "discriminator_target"} <= losses.keys()
    assert all(not torch.equal(value, before[key]) for key, value in weights(model.refined).items())


def test_images_are_measured_as_their_own_augmentation_leaves_them() -> None:
    small, align = Scenes(2, (16, 20), seed=1, labels=False), SelfTrainingConfig(max_steps=1, adversarial_weight=0.05)
    larger = {"target_augment": resize((32, 40)), "device": "cpu", "progress": False}
    assert SelfTrainingTrainer(tiny_model(), SOURCE, small, align, **larger).fit().steps == 1
    with pytest.raises(ValueError, match="source images of 16 x 20 are smaller than the 32 pixels"):
        SelfTrainingTrainer(tiny_model(), Scenes(2, (16, 20)), TARGET, align, **larger)


def test_looking_more_often_with_target_statistics_does_not_teach_the_teacher() -> None:
    def fitted(validate_every: int) -> dict[str, Tensor]:
        settings = {"batch_norm": "target", "confidence": "pixel", "learning_rate": 0.3, "ema_decay": 0.9}
        ours = trainer(**settings, validate_every=validate_every)
        ours.val = Scenes(1)
        ours.fit()
        return weights(ours.model)

    assert_same_weights(fitted(1), fitted(0))


def test_depth_of_what_was_pasted_is_learnt() -> None:
    given, ours = batches(), trainer(class_mix=True, depth_weight=0.1)
    source, size = given["source"], given["source"]["image"].shape[-2:]
    pasted = to_inverse_depth(source["depth"]).masked_fill(torch.rand(2, 1, *size) < 0.5, torch.nan)
    nothing = torch.full_like(source["label"], 255)
    lesson = Lesson(source["image"].flip(-1), nothing, torch.ones(2, *size), None, pasted)
    ours.paste = lambda source, lesson_of_the_teacher: lesson  # type: ignore[method-assign]
    losses = ours.step(**given)

    model = tiny_model().train()
    output = resize_output(model(source["image"]), size)
    assert output.inverse_depth is not None
    known = berhu(output.inverse_depth, to_inverse_depth(source["depth"]))
    (cross_entropy(output.logits, source["label"]) + 0.1 * known).backward()
    student = resize_output(model(lesson.image), size)
    assert student.inverse_depth is not None
    expected = berhu(student.inverse_depth, pasted)
    (0.1 * expected).backward()
    assert float(losses["pasted_depth"]) == pytest.approx(expected.item())
    assert losses["pseudo"] == 0
    assert_same_gradients(ours.model, model)
