"""The pseudo-labels that ISL and IDA write and train on."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from depthaware_uda import IDAConfig, ISLConfig, PseudoLabels, write_pseudo_labels
from depthaware_uda.data import Selected, Unlabelled, collate
from depthaware_uda.models import Ensemble
from depthaware_uda.pseudo_labels import PseudoLabelled
from depthaware_uda.types import Sample
from tests.tiny import Listed, Scenes, assert_same_weights, tiny_model, weights
from tests.trainers import PLAIN, SPLIT, daf, ida, isl, losses_of


def test_isl_writes_its_labels_anew_with_the_network_of_the_moment(tmp_path: Path) -> None:
    model, target = tiny_model(), Scenes(3, seed=1)
    config = ISLConfig(**{**PLAIN, "max_steps": 5}, refresh_every=2, threshold=0)
    trainer = isl(model, config, target=target, output_dir=tmp_path / "run")
    moments: list[dict[str, Tensor]] = []
    step = trainer.step
    trainer.step = lambda **batches: (moments.append(weights(model)), step(**batches))[1]  # type: ignore
    trainer.fit()
    folders = sorted(path.name for path in (tmp_path / "run" / "pseudo_labels").iterdir())
    assert folders == ["000", "001", "002"]
    for generation, moment in enumerate(moments[::2]):
        teacher = tiny_model()
        teacher.load_state_dict(moment)
        folder = tmp_path / "run" / "pseudo_labels" / folders[generation]
        for index, name in enumerate(target.names):
            with torch.no_grad():
                logits = teacher.eval()(target[index]["image"][None]).logits
            expected = F.interpolate(logits, (32, 40), mode="bilinear", align_corners=True).argmax(1)[0]
            assert torch.equal(PseudoLabels(folder).read(name), expected)


def test_isl_trains_on_the_labels_it_wrote_and_augments_them_with_the_image() -> None:
    seen: list[Sample] = []

    def note(sample: Sample) -> Sample:
        seen.append(sample)
        return sample

    model, target = tiny_model(), Scenes(2, seed=1)
    trainer = isl(model, ISLConfig(**PLAIN, threshold=0), target=target, augment=note)
    teacher = copy.deepcopy(model).eval()
    trainer.fit()
    looked_at, *trained_on = seen
    assert looked_at["label"].unique().tolist() == [255]  # before there were pseudo-labels
    assert len(trained_on) == 4
    for sample in trained_on:
        assert set(sample) == {"image", "label", "name"}
        with torch.no_grad():
            logits = teacher(sample["image"][None].as_subclass(Tensor)).logits
        expected = F.interpolate(logits, (32, 40), mode="bilinear", align_corners=True).argmax(1)[0]
        assert torch.equal(sample["label"].as_subclass(Tensor), expected)


def test_isl_keeps_the_thresholds_of_its_settings(tmp_path: Path) -> None:
    config = ISLConfig(**PLAIN, threshold=0.8, proportion=0.3)
    isl(tiny_model(), config, output_dir=tmp_path / "run").fit()
    record = PseudoLabels(tmp_path / "run" / "pseudo_labels" / "000").record
    assert (record["threshold"], record["proportion"]) == (0.8, 0.3)


def test_isl_learns_the_labels_that_it_is_given(tmp_path: Path) -> None:
    target, models = Scenes(3, seed=1), [tiny_model(seed=seed) for seed in (1, 2)]
    labels = write_pseudo_labels(Ensemble(models), target, tmp_path / "labels", threshold=0)
    model, config = tiny_model(), ISLConfig(**PLAIN, refresh_every=1)
    losses = losses_of(isl(model, config, target=target, labels=labels, output_dir=tmp_path / "run").fit().history)
    assert not (tmp_path / "run" / "pseudo_labels").exists()
    same = tiny_model()
    assert losses_of(isl(same, config, target=target, labels=tmp_path / "labels").fit().history) == losses
    assert_same_weights(weights(same), weights(model))
    learner = tiny_model()
    trainer = isl(learner, config, target=target, labels=labels)
    batch = collate([PseudoLabelled(target, labels)[0]])
    expected = F.cross_entropy(trainer.predict(batch).logits, batch["label"]).detach()
    assert float(trainer.step(target=batch)["segmentation"]) == pytest.approx(float(expected), rel=1e-5)


def test_isl_refuses_labels_that_do_not_fit_or_are_not_those_of_its_run(tmp_path: Path) -> None:
    target, run = Scenes(3, seed=1), tmp_path / "run"
    first, other = (
        write_pseudo_labels(tiny_model(seed=seed), target, tmp_path / str(seed), threshold=0) for seed in (1, 2)
    )
    with pytest.raises(ValueError, match="lacks pseudo-labels of 1 samples"):
        isl(tiny_model(), target=Scenes(4, seed=1), labels=first)
    with pytest.raises(FileNotFoundError, match="no pseudo-labels there"):
        isl(tiny_model(), target=target, labels=run)
    isl(tiny_model(), target=target, labels=first, output_dir=run).fit()
    for labels in (other, None):
        with pytest.raises(ValueError, match=r"another run, .* It differs in: labels"):
            isl(tiny_model(), target=target, labels=labels, output_dir=run).fit()


def test_isl_with_no_confident_pixel_changes_nothing_but_the_decay() -> None:
    model = tiny_model()
    before = weights(model)
    config = ISLConfig(**PLAIN, threshold=1.0, weight_decay=0)
    result = isl(model, config).fit()
    assert {record["segmentation"] for record in losses_of(result.history)} == {0.0}
    trained = weights(model)
    for key, _ in model.named_parameters():
        assert torch.equal(trained[key], before[key])


def test_the_average_of_the_weights_writes_the_labels(tmp_path: Path) -> None:
    target, settings = Scenes(4, seed=1), {**PLAIN, "threshold": 0, "ema_decay": 0.9}
    for trainer in (
        isl(tiny_model(), ISLConfig(**settings), target=target, output_dir=tmp_path / "isl"),
        ida(tiny_model(), IDAConfig(**settings), target=target, output_dir=tmp_path / "ida"),
    ):
        assert trainer.average is not None
        trainer.average.module.load_state_dict(tiny_model(seed=5).state_dict())
        trainer.datasets()
    expected = write_pseudo_labels(tiny_model(seed=5), target, tmp_path / "expected", threshold=0).record["sha256"]
    assert PseudoLabels(tmp_path / "isl" / "pseudo_labels" / "000").record["sha256"] == expected
    easy = PseudoLabels(tmp_path / "ida" / "pseudo_labels").record["sha256"]
    assert easy == {name: expected[name] for name in SPLIT.easy}


def test_ida_writes_labels_of_the_easy_images_alone_and_aligns_the_hard_ones(tmp_path: Path) -> None:
    seen: list[tuple[str, frozenset[str]]] = []
    trainer = ida(tiny_model(), output_dir=tmp_path / "run")

    def note(sample: Sample) -> Sample:
        seen.append((sample["name"], frozenset(sample)))
        return sample

    trainer.augment = note
    trainer.fit()
    labels = PseudoLabels(tmp_path / "run" / "pseudo_labels")
    assert labels.names == SPLIT.easy
    assert labels.record["coverage"] == 1
    assert {name for name, keys in seen if "label" in keys} == set(SPLIT.easy)
    assert {name for name, keys in seen if "label" not in keys} == set(SPLIT.hard)
    assert all("depth" not in keys for _, keys in seen)


def test_ida_learns_the_labels_that_it_is_given(tmp_path: Path) -> None:
    target, own, given = Scenes(4, seed=1), tiny_model(), tiny_model()
    ida(own, target=target, output_dir=tmp_path / "own").fit()
    labels = write_pseudo_labels(tiny_model(), target, tmp_path / "labels", threshold=0)  # also of hard images
    ida(given, target=target, labels=tmp_path / "labels", output_dir=tmp_path / "given").fit()
    assert_same_weights(weights(given), weights(own))  # the first labels of `own` are the same
    assert not (tmp_path / "given" / "pseudo_labels").exists()

    other = write_pseudo_labels(tiny_model(seed=5), target, tmp_path / "other", threshold=0)
    trainer = ida(tiny_model(), target=target, labels=other)
    batch = collate([PseudoLabelled(trainer.easy, other)[0]])
    expected = F.cross_entropy(trainer.predict(batch).logits, batch["label"]).detach()
    hard = collate([Unlabelled(trainer.hard)[0]])
    assert float(trainer.step(easy=batch, hard=hard)["segmentation"]) == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(ValueError, match=r"another run, .* It differs in: labels"):
        ida(tiny_model(), target=target, labels=other, output_dir=tmp_path / "given").fit()
    alone = write_pseudo_labels(tiny_model(), Selected(target, SPLIT.easy), tmp_path / "easy", threshold=0)
    assert ida(tiny_model(), target=target, labels=alone).labels is alone
    few = write_pseudo_labels(tiny_model(), Selected(target, SPLIT.hard), tmp_path / "few", threshold=0)
    with pytest.raises(ValueError, match="lacks pseudo-labels of 2 samples"):
        ida(tiny_model(), target=target, labels=few)
    assert labels.names == tuple(target.names)


def test_domain_names_tell_what_a_step_needs() -> None:
    assert daf(tiny_model()).domains == ("source", "target")
    assert isl(tiny_model()).domains == ("target",)
    assert isl(tiny_model(), source=Scenes(1)).domains == ("target", "source")
    assert ida(tiny_model()).domains == ("easy", "hard")
    assert ida(tiny_model(), source=Scenes(1)).domains == ("easy", "hard", "source")


def test_images_of_several_sizes_are_trained_one_at_a_time() -> None:
    mixed = Listed([*Scenes(2, (32, 40)).samples, *Scenes(2, (48, 32), folder="wide").samples], "common7")
    result = daf(tiny_model(), source=mixed, target=Scenes(2, (40, 40), seed=1), val=mixed).fit()
    assert result.steps == 4
