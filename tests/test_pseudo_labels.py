"""Pseudo-labels: which pixels get one, and how they are stored and read back."""

from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from depthaware_uda import EntropyRanker, PseudoLabels, SegDepthOutput, write_pseudo_labels
from depthaware_uda.data import Selected, Unlabelled
from depthaware_uda.files import read_json, sha256, write_json
from depthaware_uda.inference import predict_batches
from depthaware_uda.labels import get_label_space
from depthaware_uda.pseudo_labels import PseudoLabelled, class_thresholds, pseudo_label
from depthaware_uda.types import Sample
from tests.tiny import (
    Changed,
    Listed,
    Oracle,
    Scenes,
    assert_same_weights,
    numbered,
    scenes_of_two_sizes,
    tiny_model,
    weights,
)


def confident(label: list[list[int]], confidence: list[list[float]], classes: int = 3) -> SegDepthOutput:
    """Logits whose most likely class is `label` with probability `confidence`, the rest equally likely."""
    best, p = torch.tensor(label), torch.tensor(confidence, dtype=torch.float64)
    shares = ((1 - p) / (classes - 1)).expand(classes, *p.shape).clone()
    shares.scatter_(0, best[None], p[None])
    return SegDepthOutput(shares.log().float()[None], None)


def four_pixels() -> tuple[Listed, Oracle]:
    """One image: class 0 at 0.95 and 0.6, class 1 at 0.8, class 2 at 0.5."""
    return Listed(numbered(1, (2, 2))), Oracle([confident([[0, 0], [1, 2]], [[0.95, 0.6], [0.8, 0.5]])])


# Which pixels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.0, [0, 0, 1, 2]), (0.55, [0, 0, 1, 255]), (0.9, [0, 255, 255, 255]), (1.0, [255] * 4)],
)
def test_a_pixel_keeps_its_class_where_it_is_sure(threshold: float, expected: list[int]) -> None:
    logits = four_pixels()[1].outputs[0].logits
    label = pseudo_label(logits, threshold)
    assert label.flatten().tolist() == expected
    assert label.dtype == torch.int64
    assert torch.equal(pseudo_label(logits.clone().requires_grad_(), threshold), label)


def test_the_threshold_itself_is_enough() -> None:
    logits = torch.tensor([0.0, 0.0]).view(1, 2, 1, 1)
    assert pseudo_label(logits, 0.5).item() == 0
    assert pseudo_label(logits, 0.5000001).item() == 255


def test_no_number_is_no_label() -> None:
    assert pseudo_label(torch.full((1, 3, 1, 1), torch.nan), 0.0).item() == 255


def test_every_class_may_have_a_threshold_of_its_own() -> None:
    logits = four_pixels()[1].outputs[0].logits
    assert pseudo_label(logits, torch.tensor([0.7, 0.9, 0.4])).flatten().tolist() == [0, 255, 255, 2]


def test_class_thresholds_by_hand() -> None:
    # Ten bins of width 0.1. Class 0 has 4 pixels in the best bin, 4 in the next; class 1 one in each of five bins;
    # class 2 all its pixels in the bin 0.4..0.5.
    histogram = torch.zeros(3, 10, dtype=torch.int64)
    histogram[0, 8:] = 4
    histogram[1, 3:8] = 1
    histogram[2, 4] = 6
    assert class_thresholds(histogram, 0.5).tolist() == pytest.approx([0.9, 0.5, 0.4])
    assert class_thresholds(histogram, 0.625).tolist() == pytest.approx([0.8, 0.4, 0.4])
    with pytest.raises(ValueError, match=r"proportion must lie in 0\.\.1, got 50"):
        class_thresholds(histogram, 50)
    with pytest.raises(ValueError, match=r"histogram must be \(C, bins\), got \(\d+,\)"):
        class_thresholds(histogram[0], 0.5)
    assert class_thresholds(histogram, 0.125).tolist() == pytest.approx([0.9, 0.7, 0.4])
    assert class_thresholds(histogram, 0.5, ceiling=0.6).tolist() == pytest.approx([0.6, 0.5, 0.4])
    assert (class_thresholds(histogram, 1.0) <= torch.tensor([0.8, 0.3, 0.4]) + 1e-9).all()
    # float32 does not tell 2 ** 26 + 1 pixels from 2 ** 26.
    assert class_thresholds(torch.tensor([[1, 2**26]]), 1.0).tolist() == [0]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), sixteenths=st.integers(0, 16), sharpness=st.sampled_from([0.3, 1.0, 4.0]))
def test_at_least_the_share_of_every_class_is_kept_and_no_bin_more_than_needed(
    seed: int, sixteenths: int, sharpness: float
) -> None:
    proportion = sixteenths / 16
    generator = np.random.default_rng(seed)
    histogram = generator.poisson(sharpness * generator.random((4, 20))).astype(np.int64)
    histogram[:, :5] = 0  # the most likely of four classes never has less than 1/4
    thresholds = class_thresholds(torch.from_numpy(histogram), proportion)
    for pixels, threshold in zip(histogram, thresholds.tolist(), strict=True):
        first = round(threshold * 20)
        kept, total = pixels[first:].sum(), pixels.sum()
        if total:
            assert kept >= proportion * total
            if kept:
                above = pixels[first:].nonzero()[0].min() + first + 1  # excluding the lowest bin that has pixels
                assert pixels[above:].sum() <= proportion * total


def test_a_proportion_keeps_the_most_confident_pixels_of_every_class(tmp_path: Path) -> None:
    # Class 0 at 0.95, 0.85, 0.75, 0.65; class 1, of which the network is never confident, at 0.6, 0.55, 0.5, 0.45.
    output = confident([[0] * 4, [1] * 4], [[0.95, 0.85, 0.75, 0.65], [0.6, 0.55, 0.5, 0.45]])
    labels = write_pseudo_labels(Oracle([output]), Listed(numbered(1, (2, 4))), tmp_path, threshold=0.9, proportion=0.5)
    assert labels.read("image/0").tolist() == [[0, 0, 255, 255], [1, 1, 255, 255]]
    assert labels.record["coverage"] == 0.5
    assert labels.record["class_thresholds"] == pytest.approx([0.85, 0.55, 0.9], abs=1e-3)


def test_a_proportion_never_keeps_less_than_the_threshold_does(tmp_path: Path) -> None:
    images, oracle = four_pixels()
    labels = write_pseudo_labels(oracle, images, tmp_path, threshold=0.55, proportion=0.01)
    kept = pseudo_label(oracle.outputs[0].logits, 0.55)[0]
    assert torch.equal(labels.read("image/0")[kept != 255], kept[kept != 255])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), proportion=st.sampled_from([0.1, 0.5, 0.9]))
def test_written_labels_keep_the_share_of_every_class(
    seed: int, proportion: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = [SegDepthOutput(2 * torch.randn(1, 3, 8, 8, generator=generator), None) for _ in range(2)]
    images = Listed(numbered(2, (8, 8)))
    labels = write_pseudo_labels(
        Oracle(outputs), images, tmp_path_factory.getbasetemp() / "share", proportion=proportion
    )
    best = torch.cat([output.logits.argmax(1) for output in outputs])
    kept = torch.stack([labels.read(name) for name in images.names])
    for index in best.unique():
        total, left = (best == index).sum().item(), (kept == index).sum().item()
        assert left >= proportion * total
    assert torch.equal(kept[kept != 255], best[kept != 255])


# Files ----------------------------------------------------------------------------------------------------------------


def test_labels_are_8_bit_images_under_their_names_and_a_record_says_how_they_were_made(tmp_path: Path) -> None:
    images, oracle = four_pixels()
    labels = write_pseudo_labels(oracle, images, tmp_path / "labels", threshold=0.7)
    with Image.open(tmp_path / "labels" / "image" / "0.png") as image:
        assert image.mode == "L"
        assert np.array(image).tolist() == [[0, 255], [1, 255]]
    assert labels.read("image/0").tolist() == [[0, 255], [1, 255]]
    assert labels.read("image/0").dtype == torch.int64
    assert read_json(tmp_path / "labels" / "pseudo_labels.json") == {
        "threshold": 0.7,
        "proportion": None,
        "class_thresholds": None,
        "coverage": 0.5,
        "pixels_per_class": [1, 1],
        "names": ["image/0"],
        "sha256": {"image/0": sha256(tmp_path / "labels" / "image" / "0.png")},
        "checksum": ANY,
    }
    assert PseudoLabels(tmp_path / "labels").names == labels.names == ("image/0",)


def test_names_keep_their_folders_and_suffixes(tmp_path: Path) -> None:
    samples = numbered(2, (2, 2))
    samples[0]["name"], samples[1]["name"] = "a", "a.png"
    oracle = Oracle([confident([[i, i], [i, i]], [[0.9] * 2] * 2) for i in (0, 1)])
    labels = write_pseudo_labels(oracle, Listed(samples), tmp_path)
    assert [int(labels.read(name)[0, 0]) for name in ("a", "a.png")] == [0, 1]
    assert labels.path("a.png") == tmp_path / "a.png.png"


def test_no_pixel_may_be_sure(tmp_path: Path) -> None:
    images, oracle = four_pixels()
    labels = write_pseudo_labels(oracle, images, tmp_path, threshold=1.0)
    assert labels.record["coverage"] == 0
    assert labels.record["pixels_per_class"] == []
    assert (labels.read("image/0") == 255).all()


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"num_workers": 2}, {"proportion": 0.2, "batch_size": 2}])
def test_batches_and_workers_change_no_label(tmp_path: Path, options: dict[str, int]) -> None:
    images, model = Unlabelled(Scenes(4)), tiny_model()
    sure = torch.stack([output.logits.softmax(1).amax(1) for _, output in predict_batches(model, images)])
    threshold = sure.median().item()
    alone = {key: value for key, value in options.items() if key == "proportion"}
    one = write_pseudo_labels(model, images, tmp_path / "one", threshold=threshold, **alone)
    many = write_pseudo_labels(model, images, tmp_path / "many", threshold=threshold, **options)
    assert one.names == many.names == tuple(images.names)
    different = sum(int((one.read(name) != many.read(name)).sum()) for name in one.names)
    assert different <= 4  # of 5120; convolutions on a batch may round differently
    assert 0.4 < one.record["coverage"] < 1


def test_images_of_several_sizes_are_labelled_in_order(tmp_path: Path) -> None:
    images, model = scenes_of_two_sizes(), tiny_model()
    labels = write_pseudo_labels(model, images, tmp_path, threshold=0.0, batch_size=4)
    assert labels.names == tuple(images.names)
    for name, (_, output) in zip(images.names, predict_batches(model, images), strict=True):
        assert (labels.read(name) != output.logits.argmax(1)[0]).sum() <= 1  # as above


def test_writing_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    model = tiny_model().train()
    before = weights(model)
    write_pseudo_labels(model, Scenes(1), tmp_path, proportion=0.5)
    assert_same_weights(weights(model), before)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_classes_that_bytes_cannot_tell_are_refused(tmp_path: Path, threshold: float) -> None:
    model = Oracle([SegDepthOutput(torch.zeros(1, 256, 2, 2), None)])
    with pytest.raises(ValueError, match="8-bit images, with 255 for none: 256 classes are too many"):
        write_pseudo_labels(model, Listed(numbered(1, (2, 2))), tmp_path, threshold=threshold)


class Breaking(Listed):
    """Its fifth sample cannot be read."""

    def __getitem__(self, index: int) -> Sample:
        if index == 4:  # not one that is checked beforehand
            raise OSError("disk failed")
        return super().__getitem__(index)


def test_a_folder_whose_writing_was_cut_off_is_not_accepted(tmp_path: Path) -> None:
    model, images = tiny_model(), Scenes(10)
    with pytest.raises(OSError, match="disk failed"):
        write_pseudo_labels(model, Breaking(images.samples), tmp_path)
    assert (tmp_path / "street" / "0.png.png").exists()
    with pytest.raises(FileNotFoundError, match=r"pseudo_labels.json is missing: .*or their writing was cut off"):
        PseudoLabels(tmp_path)


def test_a_complete_folder_is_not_complete_while_it_is_written_anew(tmp_path: Path) -> None:
    model, images = tiny_model(), Scenes(10)
    write_pseudo_labels(model, images, tmp_path)
    with pytest.raises(OSError, match="disk failed"):
        write_pseudo_labels(model, Breaking(images.samples), tmp_path)
    with pytest.raises(FileNotFoundError):
        PseudoLabels(tmp_path)


def test_no_half_written_label_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Image.Image, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_pseudo_labels(tiny_model(), Scenes(1), tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["pseudo_labels.unfinished"]


@pytest.mark.parametrize(("file", "preview"), [("a.png", None), ("a.color.png", "common7")])
def test_files_that_are_no_pseudo_labels_are_never_replaced(tmp_path: Path, file: str, preview: str | None) -> None:
    images = Listed([Sample(image=torch.rand(3, 32, 40), name=name) for name in ("b", "a")])
    (tmp_path / file).write_bytes(b"a true label")
    for _ in (1, 2):
        with pytest.raises(FileExistsError, match=rf"{file} is there, and .* holds no pseudo-labels that could be"):
            write_pseudo_labels(tiny_model(), images, tmp_path, preview=preview)
        assert [path.name for path in tmp_path.iterdir()] == [file]
        assert (tmp_path / file).read_bytes() == b"a true label"


def test_labels_of_an_earlier_writing_do_not_stay_among_the_new_ones(tmp_path: Path) -> None:
    images = Scenes(4)
    write_pseudo_labels(tiny_model(), images, tmp_path)
    (tmp_path / "street" / "notes.txt").write_text("mine")
    write_pseudo_labels(tiny_model(), Selected(images, images.names[:2]), tmp_path)
    assert sorted(path.name for path in (tmp_path / "street").iterdir()) == ["0.png.png", "1.png.png", "notes.txt"]


def test_labels_whose_writing_was_cut_off_are_replaced(tmp_path: Path) -> None:
    images = Scenes(10)
    with pytest.raises(OSError, match="disk failed"):
        write_pseudo_labels(tiny_model(), Breaking(images.samples), tmp_path)
    assert len(write_pseudo_labels(tiny_model(), images, tmp_path).check().names) == 10
    assert not (tmp_path / "pseudo_labels.unfinished").exists()


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "C:/outside", "a\\b", ""])
def test_names_that_would_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    sample = Sample(image=torch.zeros(3, 2, 2), name=name)
    with pytest.raises(ValueError, match="not a relative path"):
        write_pseudo_labels(four_pixels()[1], Listed([sample]), tmp_path / "labels")
    assert [path.name for path in tmp_path.rglob("*outside*")] == []


def test_two_samples_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unique"):
        write_pseudo_labels(tiny_model(), Listed([Scenes(1)[0], Scenes(1)[0]]), tmp_path)


@pytest.mark.parametrize("asked", [False, True])
def test_previews_are_written_on_request(tmp_path: Path, asked: bool) -> None:
    oracle = Oracle([confident([[0, 6]], [[0.95, 0.5]], classes=7)])
    write_pseudo_labels(oracle, Listed(numbered(1, (1, 2))), tmp_path, preview="common7" if asked else None)
    preview = tmp_path / "image" / "0.color.png"
    assert preview.exists() == asked
    if asked:
        with Image.open(preview) as image:
            colours = np.array(image).tolist()
        assert colours == [[list(get_label_space("common7").palette[0]), [0, 0, 0]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, r"threshold must lie in 0\.\.1, got 1.5"),
        ({"threshold": -0.1}, "threshold must lie"),
        ({"proportion": 2}, r"proportion must lie in 0\.\.1, got 2"),
        ({"preview": "nowhere"}, "unknown label space 'nowhere'"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"num_workers": -1}, "num_workers must be a whole number of at least 0, got -1"),
        ({"threshold": None}, "not supported between instances"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, float], message: str
) -> None:
    folder = tmp_path / "labels"
    kept = write_pseudo_labels(four_pixels()[1], four_pixels()[0], folder)
    with pytest.raises((TypeError, ValueError), match=message):
        write_pseudo_labels(four_pixels()[1], four_pixels()[0], folder, **options)
    with pytest.raises(TypeError, match="model must be"):
        write_pseudo_labels("a name", four_pixels()[0], folder)  # type: ignore[arg-type]
    assert PseudoLabels(folder).record == kept.record


def test_an_empty_data_set_is_refused_and_costs_no_labels(tmp_path: Path) -> None:
    before = write_pseudo_labels(four_pixels()[1], four_pixels()[0], tmp_path)
    with pytest.raises(ValueError, match="data set is empty"):
        write_pseudo_labels(tiny_model(), Scenes(0), tmp_path)
    assert PseudoLabels(tmp_path).record == before.record


def test_a_sample_that_has_no_label_is_named(tmp_path: Path) -> None:
    labels = write_pseudo_labels(four_pixels()[1], four_pixels()[0], tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no pseudo-label of 'image/1'"):
        labels.read("image/1")
    with pytest.raises(ValueError, match="not a relative path"):
        labels.read("../secret")


# As labels of a data set ----------------------------------------------------------------------------------------------


def test_pseudo_labels_replace_labels_and_depth(tmp_path: Path) -> None:
    images = Scenes(3)
    labels = write_pseudo_labels(tiny_model(), images, tmp_path, threshold=0)
    data = PseudoLabelled(images, labels)
    assert len(data) == 3
    assert data.names == images.names
    for index in range(3):
        sample = data[index]
        assert set(sample) == {"image", "label", "name"}
        assert torch.equal(sample["image"], images[index]["image"])
        assert torch.equal(sample["label"].as_subclass(Tensor), labels.read(images.names[index]))
        assert not torch.equal(sample["label"].as_subclass(Tensor), images[index]["label"])


def test_labels_and_depth_are_not_looked_at(tmp_path: Path) -> None:
    for key in ("label", "depth"):
        labels = write_pseudo_labels(tiny_model(), Changed(key, lambda value: "a text"), tmp_path, proportion=0.5)
    assert labels.record == write_pseudo_labels(tiny_model(), Scenes(2), tmp_path, proportion=0.5).record


def test_a_folder_of_pseudo_labels_is_opened_again(tmp_path: Path) -> None:
    scenes = Scenes(2)
    written = PseudoLabelled(scenes, write_pseudo_labels(tiny_model(), scenes, tmp_path, threshold=0.0))
    again = PseudoLabelled(scenes, tmp_path)
    assert all(torch.equal(again[index]["label"], written[index]["label"]) for index in range(2))


def test_every_image_needs_a_pseudo_label(tmp_path: Path) -> None:
    labels = write_pseudo_labels(tiny_model(), Scenes(2), tmp_path)
    with pytest.raises(ValueError, match=r"lacks pseudo-labels of 2 samples, for instance \['street/2.png'"):
        PseudoLabelled(Scenes(4), labels)


def test_a_pseudo_label_of_another_size_is_refused(tmp_path: Path) -> None:
    labels = write_pseudo_labels(tiny_model(), Scenes(1, (32, 32)), tmp_path)
    with pytest.raises(ValueError, match=r"'street/0.png' has size \(32, 32\), its image \(40, 32\)"):
        PseudoLabelled(Scenes(1, (40, 32)), labels)[0]


def test_samples_without_a_name_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    scenes = [Sample(image=torch.rand(3, 32, 32))]
    with pytest.raises(ValueError, match="samples have no name; give every sample its path"):
        write_pseudo_labels(tiny_model(), scenes, tmp_path)  # type: ignore[arg-type]


def test_the_preview_of_one_sample_is_never_the_label_of_another(tmp_path: Path) -> None:
    scenes = Listed([Sample(image=torch.rand(3, 32, 32), name=name) for name in ("town/a", "town/a.color")])
    assert write_pseudo_labels(tiny_model(), scenes, tmp_path / "plain").names == ("town/a", "town/a.color")
    with pytest.raises(ValueError, match=r"preview of 'town/a' and the label of 'town/a\.color' would be one file"):
        write_pseudo_labels(tiny_model(), scenes, tmp_path / "preview", preview="common7")
    with pytest.raises(FileNotFoundError):
        PseudoLabels(tmp_path / "preview")


def test_every_torn_or_flipped_label_is_found(tmp_path: Path) -> None:
    labels = write_pseudo_labels(tiny_model(), Scenes(2), tmp_path)
    file = tmp_path / "street" / "0.png.png"
    content = file.read_bytes()
    cut = [content[:-end] for end in (1, 4, 12, 20, len(content) // 2, len(content))]
    flipped = [
        content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]
        for at in range(0, len(content), max(1, len(content) // 40))
    ]
    for damaged in (*cut, *flipped, content + b"more"):
        file.write_bytes(damaged)
        for look in (lambda: labels.read("street/0.png"), labels.check, PseudoLabels(tmp_path).check):
            with pytest.raises(ValueError, match=r"0\.png\.png: not the pseudo-label that was written"):
                look()
    assert labels.read("street/1.png").shape == (32, 40)
    file.write_bytes(content)
    labels.check()
    file.unlink()
    with pytest.raises(FileNotFoundError, match="holds no pseudo-label of 'street/0"):
        labels.check()


def test_labels_of_before_digests_were_kept_are_read(tmp_path: Path) -> None:
    labels = write_pseudo_labels(tiny_model(), Scenes(1), tmp_path)
    write_json(tmp_path / "pseudo_labels.json", {k: v for k, v in labels.record.items() if k != "sha256"})
    assert torch.equal(PseudoLabels(tmp_path).check().read("street/0.png"), labels.read("street/0.png"))
    file = tmp_path / "street" / "0.png.png"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"0\.png\.png: cannot be read as an image"):
        PseudoLabels(tmp_path).read("street/0.png")


class Rolled(Scenes):
    """Images with a random shift, as in a data set with a random crop."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return Sample(image=sample["image"].roll(int(torch.randint(1, 40, ())), -1), name=sample["name"])


def test_images_that_change_at_every_reading_get_no_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"street/0.png is another image each time it is read"):
        write_pseudo_labels(tiny_model(), Rolled(), tmp_path)
    labels = write_pseudo_labels(tiny_model(), Scenes(), tmp_path)
    with pytest.raises(ValueError, match=r"another image each time it is read, .* a trainer's `augment`"):
        PseudoLabelled(Rolled(), labels)


class Flipped(Scenes):
    """Images that are flipped or not; the first reads are all unflipped."""

    reads = 0

    def __getitem__(self, index: int) -> Sample:
        sample, self.reads = super().__getitem__(index), self.reads + 1
        return {**sample, "image": sample["image"].flip(-1)} if self.reads > 6 and self.reads % 2 else sample


@pytest.mark.parametrize("count", [1, 2, 30])
def test_flips_that_a_few_readings_do_not_show_are_noticed(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match="is another image each time it is read"):
        write_pseudo_labels(tiny_model(), Flipped(count), tmp_path)


def test_a_pixel_without_a_number_for_a_score_has_no_label_at_any_threshold(tmp_path: Path) -> None:
    output = confident([[0, 1, 2]], [[0.9, 0.5, 0.8]])
    output.logits[0, 0, 0, 1] = torch.nan
    images = Listed(numbered(1, (1, 3)))
    choices: list[dict[str, Any]] = [{"threshold": 0.0}, {"threshold": 0.01}, {"proportion": 1.0}]
    for index, choice in enumerate(choices):
        labels = write_pseudo_labels(Oracle([output]), images, tmp_path / str(index), **choice)
        assert labels.read("image/0").tolist() == [[0, 255, 2]]


def test_names_are_texts(tmp_path: Path) -> None:
    images = [Sample(image=torch.rand(3, 32, 40), name=Path("a.png"))]  # type: ignore[typeddict-item]
    for use in (
        lambda: write_pseudo_labels(tiny_model(), images, tmp_path),
        lambda: EntropyRanker(tiny_model()).rank(images),
    ):
        with pytest.raises(ValueError, match=r"the name of a sample is .*Path\('a.png'\), expected a text"):
            use()


def test_thresholds_are_probabilities_one_for_all_or_one_a_class() -> None:
    logits = torch.rand(1, 3, 2, 2)
    assert torch.equal(pseudo_label(logits, torch.tensor(0.4)), pseudo_label(logits, 0.4))
    with pytest.raises(ValueError, match=r"threshold must lie in 0..1, got 90"):
        pseudo_label(logits, 90)
    with pytest.raises(ValueError, match=r"threshold has shape \(4,\), expected one a class of 3"):
        pseudo_label(logits, torch.rand(4))
    with pytest.raises(ValueError, match=r"logits must be \(N, C, H, W\), got \(3, 2, 2\)"):
        pseudo_label(logits[0])
