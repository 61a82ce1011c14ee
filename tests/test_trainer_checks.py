"""Inputs that trainers refuse before their first step."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    EntropyRanker,
    ISLConfig,
    SegDepthOutput,
    TargetSplit,
    evaluate,
    predict,
    write_pseudo_labels,
)
from depthaware_uda.data import Unlabelled, collate
from depthaware_uda.data.transforms import flip_and_crop
from depthaware_uda.labels import LabelSpace, get_label_space
from depthaware_uda.models import Ensemble
from depthaware_uda.trainers import Callback, Trainer, TrainerConfig
from depthaware_uda.types import Batch, Sample, SampleDataset
from tests.tiny import Changed, Scenes, assert_same_weights, tiny_model, weights
from tests.trainers import PLAIN, QUICK, batch, daf, ida, isl


class InTurn(IterableDataset[Sample]):
    """Gives samples one after the other, and says how many."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[Sample]:
        return iter(Scenes(2).samples)


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


@pytest.mark.parametrize("workers", [0, 1])
def test_a_foreign_label_is_traced_to_its_sample(workers: int) -> None:
    source = Scenes(4)
    source.samples[3]["label"][0, 0] = 9
    trainer = daf(tiny_model(), source=source, config=DAFConfig(**QUICK, num_workers=workers))
    with pytest.raises(ValueError, match=r"'street/3.png' has the labels \[9\], but the model predicts 7 classes"):
        trainer.fit()


def test_a_foreign_label_that_an_augmentation_makes_is_an_error_too() -> None:
    def padded(sample: Sample) -> Sample:
        if "label" in sample:
            sample["label"] = sample["label"].masked_fill(sample["label"] == 255, -1)
        return sample

    with pytest.raises(ValueError, match=r"'street/\d.png' has the labels \[-1\]"):
        daf(tiny_model(), augment=padded).fit()


def bytes_of(image: Tensor) -> Tensor:
    return (255 * image).to(torch.uint8)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        (
            "image",
            bytes_of,
            r"image of the first sample of source is torch.uint8 \(3, 32, 40\), expected RGB.*divide 8 bits by 255",
        ),
        ("image", lambda image: 255 * image, r"values in 0\.\d+..25\d, expected 0..1; the model normalises"),
        ("image", lambda image: (image - 0.5) / 0.25, r"image of the first sample of source has values in -2..2"),
        (
            "image",
            lambda image: image[0],
            r"image of the first sample of source is torch.float32 \(32, 40\), expected .* \(3, H, W\)",
        ),
        ("image", lambda image: image.numpy(), "image of the first sample of source is a ndarray, expected a tensor"),
        ("image", None, "the first sample of source has no 'image'"),
        (
            "label",
            lambda label: label[None],
            r"label of .* is torch.int64 \(1, 32, 40\), expected class indices in integers, \(H, W\)",
        ),
        ("label", lambda label: label.float(), "label of .* is torch.float32 .*, expected class indices"),
        (
            "label",
            lambda label: label + 2 * (label < 255),
            r"has the labels \[7, 8\], but the model predicts 7 classes",
        ),
        ("depth", lambda depth: depth[0], r"depth of .* is torch.float32 \(32, 40\), expected .* \(1, H, W\)"),
        ("depth", lambda depth: depth.nan_to_num().long(), "depth of .* is torch.int64 .*, expected metres"),
    ],
)
def test_samples_that_are_not_what_they_should_be_are_named(
    key: str, change: Callable[[Tensor], Any] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        daf(tiny_model(), source=Changed(key, change))


def test_what_is_not_known_is_left_out_and_not_none() -> None:
    with pytest.raises(ValueError, match="depth of the first sample of source is None; leave out the keys"):
        daf(tiny_model(), source=Changed("depth", lambda depth: None))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("renders", "source is a str, expected a data set"),
        (None, "source is a NoneType, expected a data set"),
        (InTurn(), r"source is a InTurn, expected a data set: len\(\) and samples by index"),
        (DataLoader(Scenes(2), collate_fn=collate), "source is a DataLoader.* pass its `dataset`"),  # type: ignore[arg-type]
        ([(torch.zeros(3, 32, 40), torch.zeros(32, 40))], "the first sample of source is a tuple, expected a dict"),
        (torch.zeros(2, 3, 32, 40), "the first sample of source is a Tensor, expected a dict"),
    ],
)
def test_what_gives_no_samples_is_named(data: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        daf(tiny_model(), source=data)


def test_what_gives_no_samples_is_named_outside_the_trainers(tmp_path: Path) -> None:
    looks: list[Callable[[Any], Any]] = [
        lambda data: evaluate(tiny_model(), data),
        lambda data: EntropyRanker(tiny_model()).rank(data),
        lambda data: write_pseudo_labels(tiny_model(), data, tmp_path),
    ]
    for look in looks:
        with pytest.raises(TypeError, match="the data set is a str, expected a data set"):
            look("photos")
        with pytest.raises(TypeError, match="the data set is a DataLoader, expected a data set: pass its `dataset`"):
            look(DataLoader(Scenes(2), collate_fn=collate))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"sample 0.* is a Tensor, expected a dict with 'image'"):
            look([torch.zeros(3, 32, 40)])
        with pytest.raises(ValueError, match=r"image of 'street/0.png' has values in [\d.]+\.\.2\d\d, expected 0..1"):
            look(Changed("image", lambda image: 255 * image))


def test_a_name_in_place_of_a_network_is_refused() -> None:
    for use in (daf, lambda model: evaluate(model, Scenes(1)), lambda model: EntropyRanker(model).rank(Scenes(1))):
        with pytest.raises(
            TypeError, match=r"model must be a torch.nn.Module, got str; create_model or load_pretrained"
        ):
            use("daf-ida-minicity")  # type: ignore[arg-type]


class Silent(Callback):
    """A hook that is not overridden does nothing."""


@pytest.mark.parametrize("callbacks", [Silent(), [Silent], [print]])
def test_what_is_no_callback_is_refused_before_the_first_step(callbacks: Any) -> None:
    with pytest.raises(TypeError, match="callbacks must be"):
        daf(tiny_model(), callbacks=callbacks)


def test_an_augmentation_that_gives_no_sample_is_named() -> None:
    with pytest.raises(TypeError, match="what `augment` returned is a Image, expected a dict with 'image'"):
        daf(tiny_model(), augment=lambda sample: sample["image"])
    with pytest.raises(TypeError, match="what `augment` returned is a NoneType"):
        isl(tiny_model(), augment=lambda sample: None).fit()


def test_an_augmentation_that_normalises_too_is_named() -> None:
    def normalized(sample: Sample) -> Sample:
        sample["image"] = (sample["image"] - 0.5) / 0.25
        return sample

    message = "image of the first sample of {}, after its augmentation, has values in -.*, expected 0..1; the model"
    for build, first in ((daf, "source"), (isl, "target"), (ida, "easy")):
        with pytest.raises(ValueError, match=message.format(first)):
            build(tiny_model(), augment=normalized)
    with pytest.raises(ValueError, match=message.format("source")):
        daf(tiny_model(), DAFConfig.source_only(), augment=normalized)


def test_the_augmentation_of_a_target_with_pseudo_labels_meets_a_label_from_the_start() -> None:
    seen = []

    def mirrored(sample: Sample) -> Sample:
        seen.append(sample["label"].shape)
        return {**sample, "image": sample["image"].flip(-1), "label": sample["label"].flip(-1)}

    isl(tiny_model(), augment=mirrored)
    assert seen == [(32, 40)]


def test_an_augmentation_of_the_image_alone_is_named() -> None:
    trainer = daf(tiny_model(), augment=lambda sample: {**sample, "image": sample["image"][:, :32, :32]})
    with pytest.raises(
        ValueError, match=r"label of the source batch has 32 x 40 pixels, its images 32 x 32; .*augment"
    ):
        trainer.fit()


def test_a_stage_that_has_nothing_to_learn_from_says_so() -> None:
    def remarks(threshold: float) -> list[str]:
        config = ISLConfig(**PLAIN, threshold=threshold, log_every=4)
        return [record["remark"] for record in isl(tiny_model(), config).fit().history if "remark" in record]

    assert remarks(0.0) == []
    (remark,) = remarks(1.0)
    assert "no pixel of the target is as sure as threshold=1.0" in remark


def test_what_a_batch_of_the_target_knows_beside_its_images_may_be_anything() -> None:
    whole = batch(Scenes(1), 0)
    daf(tiny_model()).step(source=whole, target=Batch(image=whole["image"], label=torch.zeros(1, 64, 80).long()))


def test_what_a_target_knows_beside_its_images_may_be_anything() -> None:
    for key in ("label", "depth"):
        isl(tiny_model(), target=Changed(key, lambda value: "a text")).fit()
        config = DAFConfig(**QUICK, batch_norm="target", validation="label_free")
        daf(tiny_model(), config, target=Changed(key, lambda value: "a text"), augment=flip_and_crop((32, 32))).fit()


def test_classes_may_be_given_by_the_name_of_their_label_space() -> None:
    scenes, model = Scenes(2), tiny_model()
    scenes.label_space = model.label_space = "common7"  # type: ignore[assignment]
    daf(model, source=scenes, val=scenes).fit()
    assert list(evaluate(model, scenes).iou) == list(get_label_space("common7").classes)
    assert Ensemble([model, model]).label_space == get_label_space("common7")
    scenes.label_space = "camvid11"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="source has the 11 classes of label space 'camvid11'"):
        daf(model, source=scenes)


def test_labels_of_two_classes_may_be_true_and_false(tmp_path: Path) -> None:
    ours = [
        daf(
            tiny_model(),
            source=Changed("label", lambda label, kind=kind: (label > 3).to(kind)),
            val=Changed("label", lambda label, kind=kind: (label > 3).to(kind)),
            output_dir=tmp_path / str(kind),
        )
        for kind in (torch.bool, torch.int64)
    ]
    first, second = (trainer.fit().best_miou for trainer in ours)
    assert first == second is not None
    assert_same_weights(*(weights(trainer.model) for trainer in ours))


def test_labels_of_8_bits_teach_what_longer_ones_teach() -> None:
    ours = [
        daf(tiny_model(), source=Changed("label", lambda label, kind=kind: label.to(kind)), val=Scenes(1))
        for kind in (torch.uint8, torch.int64)
    ]
    for trainer in ours:
        trainer.fit()
    assert_same_weights(*(weights(trainer.model) for trainer in ours))


def test_images_in_integers_are_refused_where_a_data_set_is_predicted() -> None:
    for look in (evaluate, lambda model, dataset: EntropyRanker(model).rank(dataset)):
        with pytest.raises(ValueError, match=r"images of the data set are torch.uint8, expected RGB in 0..1"):
            look(tiny_model(), Changed("image", bytes_of))


def test_a_network_that_returns_something_else_is_named() -> None:
    for use in (daf, lambda model: evaluate(model, Scenes(1)), lambda model: EntropyRanker(model).rank(Scenes(1))):
        with pytest.raises(TypeError, match=r"Conv2d returned Tensor, expected SegDepthOutput.*wrap the network"):
            use(nn.Conv2d(3, 7, 1))
        with pytest.raises(TypeError, match="LogitsAlone returned Namespace, expected SegDepthOutput"):
            use(LogitsAlone())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            SegDepthOutput(torch.rand(7, 8, 10), None),
            r"logits of torch.float32 \(7, 8, 10\) for a batch of 1, expected",
        ),
        (SegDepthOutput(torch.rand(2, 7, 8, 10), None), r"logits .*\(2, 7, 8, 10\) for a batch of 1, expected class"),
        (SegDepthOutput(torch.zeros(1, 7, 8, 10).long(), None), r"logits of torch.int64 .* in floating point"),
        (SegDepthOutput(torch.rand(1, 7, 8, 10), torch.rand(1, 8, 10)), r"inverse depth \(1, 8, 10\) .*\(N, 1, h, w\)"),
        (
            SegDepthOutput(torch.rand(1, 7, 8, 10), torch.rand(1, 2, 8, 10)),
            r"inverse depth \(1, 2, 8, 10\) for a batch",
        ),
    ],
)
def test_a_network_whose_maps_have_other_shapes_is_named(output: SegDepthOutput, message: str) -> None:
    for use in (daf, lambda model: evaluate(model, Scenes(1)), lambda model: predict(model, Scenes(1)[0]["image"])):
        with pytest.raises(ValueError, match=f"Fixed gave {message}"):
            use(Fixed(output))


class Fixed(nn.Conv2d):
    """A network that returns the same output for every batch."""

    def __init__(self, output: SegDepthOutput) -> None:
        super().__init__(3, 7, 1)
        self.output = output

    def forward(self, image: Tensor) -> Any:
        return self.output


class LogitsAlone(nn.Conv2d):
    """A network of another library, whose outputs have a field of the same name."""

    def __init__(self) -> None:
        super().__init__(3, 7, 1)

    def forward(self, image: Tensor) -> Any:
        return Namespace(logits=super().forward(image))


def test_weights_in_half_precision_are_not_trained() -> None:
    with pytest.raises(ValueError, match=r"weights are torch.bfloat16, too coarse.*precision='bfloat16'"):
        daf(tiny_model().bfloat16())


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


def test_a_batch_without_what_a_domain_needs_is_refused() -> None:
    whole = batch(Scenes(1), 0)
    for key in ("image", "label"):
        partial = Batch(**{name: value for name, value in whole.items() if name != key})
        with pytest.raises(ValueError, match=f"the source batch has no '{key}'; it has"):
            daf(tiny_model()).step(source=partial, target=whole)
        with pytest.raises(ValueError, match=f"the target batch has no '{key}'"):
            isl(tiny_model()).step(target=partial)
        with pytest.raises(ValueError, match=f"the easy batch has no '{key}'"):
            ida(tiny_model()).step(easy=partial, hard=whole)


@pytest.mark.parametrize("image", [torch.zeros(1, 3, 32, 40, dtype=torch.uint8), torch.zeros(3, 32, 40)])
def test_a_batch_of_images_of_another_type_or_shape_is_refused(image: Tensor) -> None:
    whole = batch(Scenes(1), 0)
    with pytest.raises(ValueError, match=rf"image of the target batch is {image.dtype} \(.*expected RGB in 0..1"):
        daf(tiny_model()).step(source=whole, target=Batch(image=image))


def test_a_ranking_in_place_of_its_split_is_refused() -> None:
    ranking = EntropyRanker(tiny_model()).rank(Scenes(4, seed=1))
    with pytest.raises(TypeError, match=r"split must be a TargetSplit, got Ranking; Ranking.split\(\) gives one"):
        ida(tiny_model(), split=ranking)


def test_a_data_set_that_knows_no_names_is_not_read_for_them(tmp_path: Path) -> None:
    class Nameless:
        """The smallest possible data set of a user, with a counter of reads."""

        def __init__(self) -> None:
            self.read = 0

        def __len__(self) -> int:
            return 50

        def __getitem__(self, index: int) -> Sample:
            self.read += 1
            sample = Scenes(1)[0]
            return Sample(image=sample["image"], label=sample["label"])

    source, target = Nameless(), Nameless()
    config = DAFConfig(**{**QUICK, "max_steps": 2}, depth_weight=0)
    daf(tiny_model(), config, source=source, target=Unlabelled(target), output_dir=tmp_path / "run").fit()
    assert source.read < 10
    assert target.read < 10


@pytest.mark.parametrize("config", [ISLConfig(), {"max_steps": 3}])
def test_the_configuration_of_another_trainer_is_refused(config: Any) -> None:
    message = rf"config of DAFTrainer must be a DAFConfig, got {type(config).__name__}"
    with pytest.raises(TypeError, match=message):
        DAFTrainer(tiny_model(), Scenes(1), Scenes(1), config)


def test_a_depth_of_0_is_not_unknown() -> None:
    with pytest.raises(
        ValueError, match=r"depth of the first sample of source is 0 or below .* NaN where it is not known"
    ):
        daf(tiny_model(), source=Changed("depth", lambda depth: depth.nan_to_num(0.0)))


def test_a_depth_of_0_further_on_is_traced_to_its_sample() -> None:
    source = Scenes(4)
    source.samples[3]["depth"][0, 0, 0] = 0
    with pytest.raises(ValueError, match=r"depth of 'street/3.png' is 0 or below at some pixels"):
        daf(tiny_model(), source=source).fit()
    daf(tiny_model(), DAFConfig(**QUICK, depth_weight=0), source=source).fit()


class TwoSources(Trainer[TrainerConfig]):
    """A method of a user's own, whose labelled domains have other names."""

    domains = labelled_domains = ("renders", "games")

    def __init__(self, games: Scenes) -> None:
        super().__init__(tiny_model(), TrainerConfig(max_steps=2, batch_size=2), device="cpu", progress=False)
        self.games = games
        self.check_inputs()

    def fixed_datasets(self) -> dict[str, SampleDataset]:
        return {"renders": Scenes(2), "games": self.games}

    datasets = fixed_datasets

    def compute(self, renders: Batch, games: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        losses: list[dict[str, Tensor]] = [{}, {}]
        for domain, found in zip((renders, games), losses, strict=True):
            self.backward(self.supervised(self.predict(domain), domain, found))
        return {
            f"{name}_{key}": loss
            for name, found in zip(self.domains, losses, strict=True)
            for key, loss in found.items()
        }


@pytest.mark.parametrize(
    ("games", "message"),
    [
        (Changed("depth", lambda depth: depth.nan_to_num(0.0)), "depth of 'street/.*' is 0 or below at some pixels"),
        (Changed("depth", lambda depth: depth.numpy()), "depth of 'street/.*' is a ndarray, expected a tensor"),
        (Changed("label", lambda label: label.numpy()), "label of 'street/.*' is a ndarray, expected a tensor"),
        (Changed("label", lambda label: label + 3), r"'street/.*' has the labels \[7, 8, 9\b.*\]"),
    ],
)
def test_labelled_domains_of_any_name_are_looked_at(games: Scenes, message: str) -> None:
    assert TwoSources(Scenes(2)).fit().steps == 2
    with pytest.raises(ValueError, match=message):
        TwoSources(games).fit()


def test_an_augmentation_that_drops_depth_or_gives_arrays_is_named() -> None:
    def images_and_labels(sample: Sample) -> Sample:
        return Sample(**{key: value for key, value in sample.items() if key != "depth"})  # type: ignore[typeddict-item]

    def arrays(sample: Sample) -> Sample:
        return Sample(**{**sample, "image": sample["image"].numpy()})  # type: ignore[typeddict-item]

    with pytest.raises(ValueError, match=r"the augmentation drops the depth of source samples"):
        daf(tiny_model(), augment=images_and_labels)
    with pytest.raises(ValueError, match=r"image of the first sample of source, after its augmentation, is a ndarray"):
        daf(tiny_model(), augment=arrays)


def test_the_first_batch_of_a_loop_of_ones_own_is_not_normalised() -> None:
    trainer = daf(tiny_model())
    source, target = batch(Scenes(2), 0), batch(Scenes(2), 1)
    with pytest.raises(ValueError, match=r"the first image of the target batch has values in -.*, expected 0..1"):
        trainer.step(source=source, target={**target, "image": 4 * target["image"] - 2})
    assert trainer.step_count == 0


def test_looking_at_the_data_leaves_the_network_as_it_was() -> None:
    model = tiny_model().train()
    before = weights(model)
    daf(model, val=Scenes(1))
    assert_same_weights(weights(model), before)  # the statistics of batch norm too
    assert all(module.training for module in model.modules())


def test_as_many_classes_of_other_names_are_refused() -> None:
    space = LabelSpace("others", tuple("abcdefg"), ((0, 0, 0),) * 7)
    with pytest.raises(ValueError, match="others"):
        daf(tiny_model(), val=Scenes(1, space=space))
