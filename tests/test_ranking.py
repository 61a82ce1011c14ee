"""Ranking target images by depth-aware entropy and splitting them in two."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from depthaware_uda import (
    DepthAwareFusion,
    EntropyRanker,
    Ranking,
    SegDepthOutput,
    TargetSplit,
    load_pretrained,
    ranking,
)
from depthaware_uda.data import Selected
from depthaware_uda.inference import predict_batches
from depthaware_uda.labels import LabelSpace
from depthaware_uda.losses import self_information
from depthaware_uda.ranking import rare_class_weight
from depthaware_uda.types import Sample, SampleDataset
from tests.tiny import Changed, Listed, Oracle, Scenes, assert_same_weights, numbered, scenes_of_two_sizes, tiny_model

SCORES = {"c": 0.3, "a": 0.1, "d": 0.3, "b": 0.2, "e": 0.3}


def sure(confidence: float, *, classes: int = 2, depth: float = 1.0) -> SegDepthOutput:
    """Class 0 with this probability everywhere, the others equal; this inverse depth everywhere."""
    p = torch.full((1, classes, 4, 4), (1 - confidence) / (classes - 1))
    p[:, 0] = confidence
    return SegDepthOutput(p.log(), torch.full((1, 1, 4, 4), depth))


def test_scores_ascend_and_equal_ones_keep_their_order() -> None:
    ranking = Ranking.from_scores(SCORES)
    assert ranking.names == ("a", "b", "c", "d", "e")
    assert ranking.scores == (0.1, 0.2, 0.3, 0.3, 0.3)


@pytest.mark.parametrize(
    ("fraction", "easy"), [(0.2, 1), (0.39, 1), (0.4, 2), (0.66, 3), (0.8, 4), (0.99, 4), (None, 3)]
)
def test_the_first_int_of_n_times_fraction_are_easy(fraction: float | None, easy: int) -> None:
    split = Ranking.from_scores(SCORES, fraction=0.66).split(fraction)
    assert split == TargetSplit(("a", "b", "c", "d", "e")[:easy], ("a", "b", "c", "d", "e")[easy:])


@settings(max_examples=50, deadline=None)
@given(
    scores=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30),
    fraction=st.floats(0.01, 0.99),
)
def test_a_split_keeps_every_image_once_and_easy_ones_score_no_higher(scores: list[float], fraction: float) -> None:
    by_name = {str(i): score for i, score in enumerate(scores)}
    ranking = Ranking.from_scores(by_name)
    if not int(len(scores) * fraction):
        with pytest.raises(ValueError, match="easy side of the split is empty"):
            ranking.split(fraction)
        return
    split = ranking.split(fraction)
    assert sorted(split.easy + split.hard) == sorted(by_name)
    assert len(split.easy) == int(len(scores) * fraction)
    assert max(by_name[name] for name in split.easy) <= min(by_name[name] for name in split.hard)


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the easy side of the split is empty.*choose another fraction"):
        Ranking.from_scores(SCORES).split(0.19)
    with pytest.raises(ValueError, match="the hard side of the split is empty"):
        TargetSplit(("a",), ())


def test_a_split_of_lists_is_that_of_its_names(tmp_path: Path) -> None:
    split = TargetSplit(["a.png"], ["b.png"])  # type: ignore[arg-type]
    split.save(tmp_path)
    assert split == TargetSplit.load(tmp_path) == TargetSplit(("a.png",), ("b.png",))


def test_a_ranking_of_lists_is_the_one_that_comes_back(tmp_path: Path) -> None:
    ranking = Ranking(["a.png", "b.png"], [1.0, 2.0])  # type: ignore[arg-type]
    ranking.save(tmp_path / "ranking.json")
    assert ranking == Ranking.load(tmp_path / "ranking.json")


def test_a_file_is_no_split(tmp_path: Path) -> None:
    EntropyRanker(tiny_model()).rank(Scenes(2)).save(tmp_path / "ranking.json")
    with pytest.raises(FileNotFoundError, match=r"ranking.json: expected a folder with easy.txt and hard.txt"):
        TargetSplit.load(tmp_path / "ranking.json")


def test_the_name_of_a_map_is_refused() -> None:
    with pytest.raises(TypeError, match=r"fusion must be a module such as DepthAwareFusion.*got 'entropy'"):
        EntropyRanker(tiny_model(), "entropy")  # type: ignore[arg-type]


def test_an_image_on_both_sides_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 images are both easy and hard, for instance \['b'\]"):
        TargetSplit(("a", "b"), ("b", "c"))


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, math.nan])
def test_a_fraction_that_leaves_a_side_empty_is_refused(fraction: float) -> None:
    for build in (
        lambda: Ranking.from_scores(SCORES).split(fraction),
        lambda: Ranking.from_scores(SCORES, fraction=fraction),
        lambda: EntropyRanker(tiny_model(), fraction=fraction),
    ):
        with pytest.raises(ValueError, match="fraction must lie between 0 and 1"):
            build()


@pytest.mark.parametrize(
    ("names", "scores", "message"),
    [
        (("a",), (0.1, 0.2), "1 names but 2 scores"),
        (("a", "a"), (0.1, 0.2), "2 names, but only 1 different ones"),
        (("a", "b"), (0.2, 0.1), "scores must ascend"),
        (("a", "b"), (0.2, math.nan), "the score of 'b' is not finite"),
        (("a", "b"), (-math.inf, 0.1), "the score of 'a' is not finite"),
    ],
)
def test_a_ranking_of_something_else_is_refused(
    names: tuple[str, ...], scores: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Ranking(names, scores)


@pytest.mark.parametrize("damage", [math.nan, math.inf])
def test_a_damaged_network_is_noticed(damage: float) -> None:
    ranker = EntropyRanker(Oracle([sure(0.9), sure(0.9, depth=damage)]))
    with pytest.raises(ValueError, match="the score of 'image/1' is not finite; the model's output is damaged"):
        ranker.rank(Listed(numbered(2, (4, 4))))


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_ranking_comes_back_from_its_file(tmp_path: Path) -> None:
    ranking = Ranking.from_scores({"ü/b 1.png": 0.1 + 0.2, "日本/a.png": -1e-17}, fraction=0.5)
    ranking.save(tmp_path / "ida" / "ranking.json")
    assert Ranking.load(tmp_path / "ida" / "ranking.json") == ranking


def test_a_split_is_text_with_one_name_a_line_and_comes_back(tmp_path: Path) -> None:
    split = TargetSplit(("aachen/ü 1.png", "日本/a.png"), (" leading and trailing .png ", "z"))
    split.save(tmp_path / "split")
    text = (tmp_path / "split" / "easy.txt").read_text(encoding="utf-8")
    assert text == "aachen/ü 1.png\n日本/a.png\n"
    assert {path.name for path in (tmp_path / "split").iterdir()} == {"easy.txt", "hard.txt", "split.sha256"}
    assert TargetSplit.load(tmp_path / "split") == split


@settings(max_examples=50, deadline=None)
@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\ufeff"), min_size=1))
def test_any_name_of_one_line_comes_back(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "one-line"
    split = TargetSplit((name,), (f"{name}-hard",))
    split.save(folder)
    assert TargetSplit.load(folder) == split


@pytest.mark.parametrize("name", ["two\nlines.png", "two\rlines.png", "\udcff.png"])
def test_names_that_no_list_holds_are_refused(name: str, tmp_path: Path) -> None:
    for split in (TargetSplit(("a",), (name,)), TargetSplit((name,), ("a",))):
        with pytest.raises(ValueError, match=r"cannot be a line of (easy|hard)\.txt.*rename the file") as raised:
            split.save(tmp_path)
        assert repr(name) in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_lists_of_ones_own_need_no_digests(tmp_path: Path) -> None:
    (tmp_path / "easy.txt").write_text("b\na")
    (tmp_path / "hard.txt").write_text("c\n")
    assert TargetSplit.load(tmp_path) == TargetSplit(("b", "a"), ("c",))


# Scores ---------------------------------------------------------------------------------------------------------------


def test_scores_by_hand() -> None:
    # Two classes: -sum p log2 p / 2 is the mean over classes of the information; times the inverse depth.
    def half_entropy(p: float) -> float:
        return -(p * math.log2(p) + (1 - p) * math.log2(1 - p)) / 2

    oracle = Oracle([sure(0.9, depth=3.0), sure(0.75), sure(0.5, depth=0.5)])
    ranking = EntropyRanker(oracle).rank(Listed(numbered(3, (4, 4))))
    assert ranking.names == ("image/2", "image/1", "image/0")
    expected = (0.25, half_entropy(0.75), 3 * half_entropy(0.9))
    assert ranking.scores == pytest.approx(expected, rel=1e-5)
    assert ranking.fraction == 0.66


def test_the_entropy_mode_ranks_by_mean_self_information() -> None:
    images, model = Scenes(4), tiny_model()
    expected = {
        batch["name"][0]: self_information(output.logits).mean().item()
        for batch, output in predict_batches(model, images)
    }
    ranking = EntropyRanker(model, DepthAwareFusion(mode="entropy"), 0.5).rank(images)
    assert dict(zip(ranking.names, ranking.scores, strict=True)) == pytest.approx(expected, rel=1e-6)
    assert ranking.fraction == 0.5
    assert len(set(ranking.scores)) == 4


def test_the_default_is_the_depth_aware_map() -> None:
    images, model = Scenes(4), tiny_model()
    ours = EntropyRanker(model).rank(images)
    assert ours == EntropyRanker(model, DepthAwareFusion("depth_aware", 1)).rank(images)
    assert ours.scores != EntropyRanker(model, DepthAwareFusion(mode="entropy")).rank(images).scores


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"num_workers": 2}])
@pytest.mark.parametrize("images", [Scenes(5), scenes_of_two_sizes()], ids=["one size", "two sizes"])
def test_batches_and_workers_change_no_rank(images: SampleDataset, options: dict[str, int]) -> None:
    model = tiny_model()
    one, many = EntropyRanker(model).rank(images), EntropyRanker(model, **options).rank(images)
    assert many.names == one.names
    assert many.scores == pytest.approx(one.scores, rel=1e-5)


def test_labels_and_depth_of_the_target_are_not_looked_at() -> None:
    model = tiny_model()
    assert EntropyRanker(model).rank(Scenes(3)) == EntropyRanker(model).rank(Scenes(3, labels=False, depth=False))


def test_ranking_leaves_the_network_in_its_mode() -> None:
    model = tiny_model().train()
    EntropyRanker(model).rank(Scenes(2))
    assert all(module.training for module in model.modules())


def test_half_of_a_split_over_an_older_one_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = ranking._write_names

    def killed_before_the_second_list(path: Path, names: tuple[str, ...]) -> None:
        if path.name == "hard.txt":
            raise KeyboardInterrupt
        write(path, names)

    TargetSplit(("a",), ("b",)).save(tmp_path)
    monkeypatch.setattr(ranking, "_write_names", killed_before_the_second_list)
    with pytest.raises(KeyboardInterrupt):
        TargetSplit(("b",), ("a",)).save(tmp_path)
    assert (tmp_path / "easy.txt").read_text() == "b\n"
    with pytest.raises(ValueError, match="damaged"):
        TargetSplit.load(tmp_path)


def test_the_split_selects_images_of_the_data_set() -> None:
    images = Scenes(4)
    split = EntropyRanker(tiny_model(), fraction=0.5).rank(images).split()
    assert [Selected(images, split.hard)[i]["name"] for i in range(2)] == list(split.hard)


def test_a_network_without_depth_needs_the_entropy_mode() -> None:
    model = tiny_model(depth_head=None)
    with pytest.raises(ValueError, match="needs inverse_depth"):
        EntropyRanker(model).rank(Scenes(2))
    assert len(EntropyRanker(model, DepthAwareFusion(mode="entropy")).rank(Scenes(2)).names) == 2


def test_a_split_and_a_model_share_a_folder(tmp_path: Path) -> None:
    split = TargetSplit(("a",), ("b",))
    tiny_model().save_pretrained(tmp_path)
    split.save(tmp_path)
    assert_same_weights(load_pretrained(tmp_path).state_dict(), tiny_model().state_dict())
    assert TargetSplit.load(tmp_path) == split


def test_a_text_is_no_list_of_names() -> None:
    with pytest.raises(TypeError, match=r"hard must be a list of sample names, got the text 'b\.png'"):
        TargetSplit(("a.png",), "b.png")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"names must be a list of sample names, got the text 'a\.png'"):
        Selected(Scenes(1), "a.png")


@pytest.mark.parametrize(
    ("options", "message"), [({"batch_size": 0}, "batch_size must be"), ({"num_workers": None}, "num_workers must be")]
)
def test_loading_is_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EntropyRanker(tiny_model(), **options).rank(Scenes(1))


def test_names_must_be_unique() -> None:
    with pytest.raises(ValueError, match="names must be unique"):
        EntropyRanker(tiny_model()).rank(Listed([Scenes(1)[0], Scenes(1)[0]]))


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match="data set is empty"):
        EntropyRanker(tiny_model()).rank(Scenes(0))


# Rare classes ---------------------------------------------------------------------------------------------------------


def test_the_rare_class_weight_by_hand() -> None:
    # Four rare classes 1, 3, 4, 6; the images show none, one, two (one of them twice) and all of them.
    prediction = torch.tensor([[0, 2, 5, 5], [1, 0, 2, 2], [3, 3, 6, 0], [1, 3, 4, 6]]).view(4, 2, 2)
    assert rare_class_weight(prediction, (1, 3, 4, 6)).tolist() == [1.5, 1.25, 1.0, 0.5]


def test_rare_classes_make_an_image_easier() -> None:
    def shows(index: int) -> SegDepthOutput:
        """Class `index` with probability 3/4 everywhere, of three."""
        p = torch.full((1, 3, 4, 4), 0.125)
        p[:, index] = 0.75
        return SegDepthOutput(p.log(), torch.ones(1, 1, 4, 4))

    space = LabelSpace("three", ("road", "pole", "rider"), ((0, 0, 0),) * 3, rare=("pole", "rider"))
    images = Listed(numbered(2, (4, 4)), space)
    oracle = Oracle([shows(0), shows(2)])
    plain = EntropyRanker(oracle).rank(images)
    assert plain.scores[0] == pytest.approx(plain.scores[1])
    weighted = EntropyRanker(oracle, rare_class_weighting=True).rank(images)
    assert weighted.names == ("image/1", "image/0")
    assert weighted.scores == pytest.approx((plain.scores[0] * 1.0, plain.scores[0] * 1.5))
    roads = LabelSpace("three", space.classes, space.palette, rare=("road",))
    asked = EntropyRanker(oracle, rare_class_weighting=True, label_space=roads).rank(images)
    assert asked.names == ("image/0", "image/1")


def test_labels_and_depth_are_not_looked_at() -> None:
    ranker = EntropyRanker(tiny_model())
    for key in ("label", "depth"):
        assert ranker.rank(Changed(key, lambda value: "a text")) == ranker.rank(Scenes(2))


@pytest.mark.parametrize("where", ["argument", "data", "model"])
def test_rare_classes_are_found_where_a_label_space_is_known(where: str) -> None:
    def ranker(space: str | None) -> EntropyRanker:
        model = tiny_model(label_space="common7" if where == "model" else None)
        return EntropyRanker(model, rare_class_weighting=True, label_space=space)

    images = Scenes(2, space="common7" if where == "data" else None)
    assert len(ranker("common7" if where == "argument" else None).rank(images).names) == 2


def test_rare_classes_that_nobody_names_are_refused() -> None:
    ranker = EntropyRanker(tiny_model(label_space=None), rare_class_weighting=True)
    with pytest.raises(ValueError, match="needs a label_space"):
        ranker.rank(Scenes(2, space=None))
    common = LabelSpace("all common", tuple("abcdefg"), ((0, 0, 0),) * 7)
    with pytest.raises(ValueError, match="label space 'all common' names no rare class"):
        ranker.rank(Scenes(2, space=common))


def test_the_map_may_be_any_module() -> None:
    class Depth(torch.nn.Module):
        def forward(self, logits: Tensor, inverse_depth: Tensor) -> Tensor:
            return inverse_depth

    oracle = Oracle([sure(0.9, depth=3.0), sure(0.6, depth=2.0)])
    ranking = EntropyRanker(oracle, Depth()).rank(Listed(numbered(2, (4, 4))))  # type: ignore[arg-type]
    assert ranking.scores == (2, 3)


def test_samples_without_a_name_are_an_error_that_says_what_to_do() -> None:
    scenes = [Sample(image=torch.rand(3, 32, 32))]
    with pytest.raises(ValueError, match="samples have no name; give every sample its path"):
        EntropyRanker(tiny_model()).rank(scenes)  # type: ignore[arg-type]
