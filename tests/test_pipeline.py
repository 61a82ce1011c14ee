"""The scripts of the published protocols, run completely on miniature data in the formats of the real data sets."""

import json
import shutil
from pathlib import Path

import pytest
from torch import Tensor, nn

from depthaware_uda import (
    AdaptationProtocol,
    DAFConfig,
    DepthAwareFusion,
    EntropyRanker,
    EvaluationResult,
    IDAConfig,
    ISLConfig,
    Ranking,
    SegDepthOutput,
    get_protocol,
    load_pretrained,
    run_protocol,
)
from depthaware_uda.tensors import read_tensors
from depthaware_uda.trainers import read_log
from tests.tiny import Scenes, assert_same_weights, tiny_model, weights

from .test_examples import EXAMPLES, load


@pytest.mark.parametrize(("target", "protocol", "classes"), [("cityscapes", "ep1", 16), ("mapillary", "ep3", 7)])
def test_the_scripts_run_all_stages_and_go_on_where_they_were(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    target: str,
    protocol: str,
    classes: int,
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    arguments = ["--smoke", "--output", str(tmp_path), "--device", "cpu", "--cache", str(tmp_path / "cache")]
    script = load(f"train_synthia_to_{target}")
    results = script.main(arguments)
    assert list(results) == ["daf", "isl", "ida"]
    assert len(results["ida"].iou) == classes
    assert results["ida"].protocol == protocol
    assert get_protocol(protocol).title in capsys.readouterr().out
    runs = {name: json.loads((tmp_path / name / "run.json").read_text()) for name in results}
    # The settings of the authors' code, except for the number of steps.
    assert [run["config"]["backbone_lr_multiplier"] for run in runs.values()] == [3, 3, 3]
    assert runs["daf"]["config"]["depth_power_target"] == 2
    assert runs["ida"]["config"]["fusion"] == "entropy"
    assert len((tmp_path / "split" / "easy.txt").read_text().split()) == int(0.66 * 4)
    assert len(list((tmp_path / "cache").iterdir())) == 2

    # Only the last stage is missing, so it is run again, from the weights of the previous one.
    before = {name: (tmp_path / name / "log.jsonl").read_bytes() for name in ("daf", "isl")}
    (tmp_path / "ida.json").unlink()
    shutil.rmtree(tmp_path / "ida")
    again = script.main(arguments)
    assert {name: (tmp_path / name / "log.jsonl").read_bytes() for name in before} == before
    assert again["ida"].confusion == results["ida"].confusion
    assert EvaluationResult.load(tmp_path / "ida.json").confusion == results["ida"].confusion


def test_the_scripts_ask_for_the_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    with pytest.raises(SystemExit):
        load("train_synthia_to_mapillary").main(["--synthia", "somewhere"])
    assert "--synthia and --mapillary (folders of the data sets) are required" in capsys.readouterr().err


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep must be one of"):
        run_protocol(tiny_model(), "minicity", tmp_path, keep="first")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="protocol 'ep1' needs roots"):
        run_protocol(tiny_model(), "ep1", tmp_path)


class Small(AdaptationProtocol):
    """A protocol with three random images per data set."""

    def source_data(self, roots: object = None) -> Scenes:
        return Scenes(3)

    def target_data(self, roots: object = None) -> Scenes:
        return Scenes(3, seed=1)

    def validation_data(self, roots: object = None) -> Scenes:
        return Scenes(3, seed=2)


SMALL = Small(
    **{"name": "small", "title": "small", "source": "minicity", "target": "minicity-real", "label_space": "common7"},
    **{"source_size": (32, 40), "target_size": (32, 40)},
)


def test_a_network_without_depth_goes_through_the_baselines(tmp_path: Path) -> None:
    """AdvEnt, ISL, IntraDA: plain entropy ranks the images."""
    quick = {"max_steps": 1, "schedule_steps": 1}
    stages = {"daf": DAFConfig.advent(**quick), "isl": ISLConfig(**quick), "ida": IDAConfig.intrada(**quick)}
    given = {**stages, "device": "cpu", "progress": False}
    model = tiny_model(depth_head=None)
    with pytest.raises(ValueError, match="fraction must lie between 0 and 1"):  # before anything is trained
        run_protocol(model, SMALL, tmp_path, fraction=66, **given)
    assert list(run_protocol(model, SMALL, tmp_path, **given)) == ["daf", "isl", "ida"]
    by_entropy = EntropyRanker(load_pretrained(tmp_path / "isl" / "model"), DepthAwareFusion("entropy"))
    assert Ranking.load(tmp_path / "ranking.json").names == by_entropy.rank(Scenes(3, seed=1)).names
    # Existing results from another ranking, or other weights passed on, are not returned for these settings.
    with pytest.raises(ValueError, match=r"holds another run.* fraction \(was 0\.66, is 0\.5\)"):
        run_protocol(model, SMALL, tmp_path, fraction=0.5, **given)
    with pytest.raises(ValueError, match=r"holds another run.* keep \(was last, is best\)"):
        run_protocol(model, SMALL, tmp_path, keep="best", **given)
    # A stage that is run again has other weights: results from the old weights are not returned either.
    shutil.rmtree(tmp_path / "isl")
    with pytest.raises(ValueError, match=r"has isl\.json, ranking\.json, ida/run\.json, ida\.json, but not the folder"):
        run_protocol(model, SMALL, tmp_path, **given)
    for left in ("isl.json", "ranking.json", "ida.json"):
        (tmp_path / left).unlink()
    shutil.rmtree(tmp_path / "ida")
    assert list(run_protocol(tiny_model(depth_head=None), SMALL, tmp_path, **given)) == ["daf", "isl", "ida"]


class Own(nn.Module):
    """A network not made by `create_model`, with two layers that share weights."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_model()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.second.weight = self.first.weight

    def forward(self, image: Tensor) -> SegDepthOutput:
        output: SegDepthOutput = self.inner(self.second(self.first(image)))
        return output


def test_the_best_weights_of_a_network_of_ones_own_are_handed_on(tmp_path: Path) -> None:
    settings = {"max_steps": 2, "schedule_steps": None, "validate_every": 1, "learning_rate": 0.1}
    stages = {"daf": DAFConfig(**settings), "isl": ISLConfig(**settings), "ida": IDAConfig(**settings)}
    model = Own()
    given = {**stages, "keep": "best", "device": "cpu", "progress": False}
    results = run_protocol(model, SMALL, tmp_path, **given)  # type: ignore[arg-type]
    for name in ("daf", "ida"):
        assert results[name].miou == max(r["val/miou"] for r in read_log(tmp_path / name) if "val/miou" in r)
    kept = read_tensors(tmp_path / "ida" / "best" / "model.safetensors")
    assert_same_weights(kept, weights(model))
    assert read_tensors(tmp_path / "ida" / "model" / "model.safetensors").keys() == kept.keys()
