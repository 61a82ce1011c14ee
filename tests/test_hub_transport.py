"""The real huggingface_hub client against a hub on loopback, with faults as on real networks."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from huggingface_hub import close_session, constants
from safetensors.torch import load_file

from depthaware_uda import EvaluationResult, load_pretrained
from depthaware_uda.files import sha256, write_json
from depthaware_uda.hub import get_record, model_card, push_to_hub, registry
from depthaware_uda.models import DepthSegmenter
from tests.hub_server import TOKEN, Hub, running_hub
from tests.test_examples import camvid_tree, load
from tests.tiny import assert_same_weights, tiny_model, weights

# huggingface_hub passes bytes to its HTTP library in a deprecated way.
uploads = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that this process uses, with an empty cache, no token, and short waits of the client."""
    with running_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", registry.NAMESPACE_VARIABLE):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        pause = time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: pause(min(seconds, 0.01)))
        close_session()  # an earlier client has other proxy settings
        yield running
        close_session()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny_model(seed=1).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def blob(tmp_path: Path) -> Path:
    """The one weights file in the cache."""
    (file,) = (path for path in (tmp_path / "cache").glob("models--*/snapshots/*/model.safetensors"))
    return file


def test_a_repository_is_downloaded_once(hub: Hub, saved: Path, tmp_path: Path) -> None:
    hub.repository("me/model").commit_folder(saved)
    model = load_pretrained("me/model")
    assert not model.training
    assert model.label_space is not None
    assert_same_weights(weights(model), weights(load_pretrained(saved)))
    assert len(hub.asked("GET", "/blobs/")) == 1

    load_pretrained("me/model")
    assert len(hub.asked("GET", "config.json")) == len(hub.asked("GET", "/blobs/")) == 1
    assert len(hub.asked("HEAD", "config.json")) == 2  # each time, it checks for a new version


def test_weights_and_configuration_are_of_one_commit(hub: Hub, saved: Path) -> None:
    commit = hub.repository("me/model").commit_folder(saved)
    load_pretrained("me/model")
    assert [request.path for request in hub.asked("HEAD", "safetensors")] == [
        f"/me/model/resolve/{commit}/model.safetensors"
    ]


def test_a_new_version_is_noticed_and_a_revision_pins_the_old_one(hub: Hub, saved: Path, tmp_path: Path) -> None:
    repository = hub.repository("me/model")
    first = repository.commit_folder(saved)
    repository.refs["v1"] = first
    load_pretrained("me/model")
    tiny_model(seed=2).save_pretrained(tmp_path / "second")
    repository.commit_folder(tmp_path / "second")

    assert_same_weights(weights(load_pretrained("me/model")), weights(tiny_model(seed=2)))
    for revision in ("v1", first):
        assert_same_weights(weights(load_pretrained("me/model", revision=revision)), weights(tiny_model(seed=1)))
    with pytest.raises(FileNotFoundError, match=r"revision 'v9': the repository exists, but has no such revision"):
        load_pretrained("me/model", revision="v9")


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_offline_the_cache_is_enough(hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    hub.repository("me/model").commit_folder(saved)
    load_pretrained("me/model")
    before = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "variable")
    close_session()
    assert_same_weights(
        weights(load_pretrained("me/model", local_files_only=how == "argument")), weights(tiny_model(seed=1))
    )
    switch = {"argument": "local_files_only=True", "variable": "HF_HUB_OFFLINE"}[how]
    with pytest.raises(FileNotFoundError, match=rf"me/other.*not in the cache, and {switch} forbids the network"):
        load_pretrained("me/other", local_files_only=how == "argument")
    assert len(hub.requests) == before


def test_a_hub_that_fails_is_no_trouble_for_what_is_cached(hub: Hub, saved: Path) -> None:
    hub.repository("me/model").commit_folder(saved)
    load_pretrained("me/model")
    hub.status = 503
    assert_same_weights(weights(load_pretrained("me/model")), weights(tiny_model(seed=1)))


def test_an_interrupted_transfer_is_resumed(
    hub: Hub, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repository("me/model").commit_folder(saved)
    hub.cut_after = 100_000
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 65_536)
    model = load_pretrained("me/model")
    first, second = hub.asked("GET", "/blobs/")
    assert "range" not in first.headers
    assert second.headers["range"] == "bytes=65536-"  # from the end of the last full chunk
    assert sha256(blob(tmp_path)) == sha256(saved / "model.safetensors")
    assert_same_weights(weights(model), weights(tiny_model(seed=1)))


def test_a_transfer_that_breaks_off_for_good_leaves_nothing_half(hub: Hub, saved: Path, tmp_path: Path) -> None:
    hub.repository("me/model").commit_folder(saved)
    hub.cut_after, hub.status_after_cut = 100_000, 503
    with pytest.raises(ConnectionError, match=r"'me/model'.*the transfer failed: .*503.*Two ways on"):
        load_pretrained("me/model")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    with pytest.raises(FileNotFoundError, match="not in the cache, and local_files_only=True forbids the network"):
        load_pretrained("me/model", local_files_only=True)
    hub.status = None
    assert_same_weights(weights(load_pretrained("me/model")), weights(tiny_model(seed=1)))
    assert sha256(blob(tmp_path)) == sha256(saved / "model.safetensors")


def test_the_token_goes_to_the_hub_and_not_to_the_blob_store(hub: Hub, saved: Path) -> None:
    hub.repository("me/model", private=True).commit_folder(saved)
    load_pretrained("me/model", token=TOKEN)
    assert all("authorization" in request.headers for request in hub.asked("HEAD", "/me/model/"))
    assert [request.headers.get("authorization") for request in hub.asked("GET", "/blobs/")] == [None]


@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_a_private_repository_wants_the_right_token(hub: Hub, saved: Path, token: str | None) -> None:
    hub.repository("me/model", private=True).commit_folder(saved)
    with pytest.raises(PermissionError, match=r"(?s)me/model.*revision 'main'.*private.*token=.*Two ways on"):
        load_pretrained("me/model", token=token)


def test_what_does_not_exist_is_said(hub: Hub) -> None:
    hub.repository("me/empty").commit({"notes.txt": b"nothing here"})
    ways = "Two ways on: load_pretrained of a local folder.*convert_checkpoint"
    with pytest.raises(FileNotFoundError, match=f"'me/none' is no folder here.*{hub.url}.*no such repository.*{ways}"):
        load_pretrained("me/none", token=TOKEN)
    with pytest.raises(FileNotFoundError, match=f"has no config.json and model.safetensors.*{ways}"):
        load_pretrained("me/empty")


def test_a_hub_that_cannot_be_reached_is_said(hub: Hub) -> None:
    hub.status = 503
    with pytest.raises(ConnectionError, match=r"could not be reached, and is not in the cache: .*503.*Two ways on"):
        load_pretrained("me/model")


def test_nobody_at_the_address_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    with pytest.raises(ConnectionError, match=r"could not be reached, and is not in the cache: .*[Rr]efused"):
        load_pretrained("me/model")


Registers = Callable[..., None]


@pytest.fixture
def register(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registers]:
    """Replace the records of the package by our own."""

    def write(file: Path, **changes: object) -> None:
        known = asdict(get_record("daf-synthia"))
        values = {**known, "sha256": sha256(file), "file_size": file.stat().st_size, "published": True, **changes}
        registry._records.cache_clear()
        monkeypatch.setattr(registry, "WEIGHTS_FOLDER", tmp_path / "records")
        write_json(tmp_path / "records" / "daf-synthia" / "record.json", values)

    yield write
    registry._records.cache_clear()


def test_a_registered_name_is_downloaded_and_verified(hub: Hub, saved: Path, register: Registers) -> None:
    hub.repository("depthaware-uda/daf-synthia").commit_folder(saved)
    register(saved / "model.safetensors")
    assert_same_weights(weights(load_pretrained("daf-synthia")), weights(tiny_model(seed=1)))


@pytest.mark.parametrize("name", ["depthaware-uda/daf-synthia", "daf-synthia"])
def test_a_corrupted_download_raises_and_deletes_nothing(
    hub: Hub, saved: Path, register: Registers, tmp_path: Path, name: str
) -> None:
    hub.repository("depthaware-uda/daf-synthia").commit_folder(saved)
    hub.corrupt = True
    register(saved / "model.safetensors", sha256=None)
    with pytest.raises(ValueError, match=r"model.safetensors: damaged in the cache or on the way.*Nothing was deleted"):
        load_pretrained(name)
    kept = blob(tmp_path)
    assert kept.stat().st_size == (saved / "model.safetensors").stat().st_size

    hub.corrupt = False  # the remedy that the message names
    kept.resolve().unlink()
    assert_same_weights(weights(load_pretrained(name)), weights(tiny_model(seed=1)))


def test_damage_in_the_cache_is_found_without_the_network(hub: Hub, saved: Path, tmp_path: Path) -> None:
    hub.repository("me/mine").commit_folder(saved)
    load_pretrained("me/mine")
    file = blob(tmp_path).with_name("config.json").resolve()
    content = file.read_bytes()
    for damaged in (content[:-1], content.replace(b"0", b"1", 1), content + b" "):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"config.json: damaged in the cache or on the way"):
            load_pretrained("me/mine", local_files_only=True)
    file.write_bytes(content)
    load_pretrained("me/mine", local_files_only=True)


def test_weights_other_than_the_registered_ones_are_refused(hub: Hub, saved: Path, register: Registers) -> None:
    hub.repository("depthaware-uda/daf-synthia").commit_folder(saved)
    register(saved / "model.safetensors", sha256="0" * 64)
    with pytest.raises(ValueError, match=r"model.safetensors: the SHA-256 .* but is .*Nothing was deleted"):
        load_pretrained("daf-synthia")


def test_a_name_can_stand_for_weights_of_your_own(
    hub: Hub, saved: Path, register: Registers, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repository("me/daf-synthia").commit_folder(saved)
    register(saved / "model.safetensors", published=False, sha256=None)
    with pytest.raises(FileNotFoundError, match=r"not published yet: nothing was looked up.*Two ways on"):
        load_pretrained("daf-synthia")
    assert hub.requests == []
    monkeypatch.setenv(registry.NAMESPACE_VARIABLE, "me")
    assert_same_weights(weights(load_pretrained("daf-synthia")), weights(tiny_model(seed=1)))


def result(model: DepthSegmenter) -> EvaluationResult:
    assert model.label_space is not None
    return EvaluationResult.from_confusion(torch.eye(7, dtype=torch.int64), model.label_space.classes)


@uploads
def test_what_is_pushed_comes_back(hub: Hub) -> None:
    model = tiny_model(seed=3)
    card = model_card(model, "Mine", protocol="three steps", scores=result(model), license="apache-2.0")
    url = model.push_to_hub("me/new", card=card, private=True, token=TOKEN, commit_message="First")
    repository = hub.repositories["me/new"]
    assert url == f"{hub.url}/me/new/commit/{repository.refs['main']}"
    assert repository.private
    files = repository.commits[repository.refs["main"]]
    assert set(files) == {".gitattributes", "README.md", "SHA256SUMS", "config.json", "model.safetensors"}
    assert files["README.md"].decode() == card
    back = DepthSegmenter.from_pretrained("me/new", token=TOKEN)
    assert_same_weights(weights(back), weights(model))


@uploads
def test_half_precision_is_pushed_to_a_branch(hub: Hub, tmp_path: Path) -> None:
    model = tiny_model(seed=3)
    for _ in range(2):  # the second time, repository and branch already exist
        push_to_hub(model, "me/new", dtype=torch.float16, revision="half", token=TOKEN)
    back = load_pretrained("me/new", revision="half")
    assert load_file(blob(tmp_path))["classifier.branches.0.weight"].dtype == torch.float16
    assert torch.equal(
        back.state_dict()["classifier.branches.0.weight"],
        model.state_dict()["classifier.branches.0.weight"].half().float(),
    )
    with pytest.raises(FileNotFoundError, match=r"has no config.json"):
        load_pretrained("me/new")


@uploads
def test_the_script_publishes_a_registered_name(
    hub: Hub, saved: Path, register: Registers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(saved / "model.safetensors", published=False, sha256=None, file_size=None)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    camvid_tree(tmp_path / "camvid", 2)
    options = [
        "--camvid",
        str(tmp_path / "camvid"),
        "--size",
        "32",
        "48",
        "--protocol",
        "none",
        "--record",
        "daf-synthia",
    ]
    load("publish_weights").main([str(saved), "depthaware-uda/daf-synthia", *options])
    record = json.loads((tmp_path / "records" / "daf-synthia" / "record.json").read_text())
    assert record["published"]
    assert record["sha256"] == sha256(saved / "model.safetensors")
    repository = hub.repositories["depthaware-uda/daf-synthia"]
    card = repository.commits[repository.refs["main"]]["README.md"].decode()
    assert f"| mIoU | {100 * record['miou']:.1f} |" in card
    registry._records.cache_clear()
    assert_same_weights(weights(load_pretrained("daf-synthia")), weights(tiny_model(seed=1)))


@uploads
def test_the_card_that_is_pushed_says_how_to_load_it(hub: Hub) -> None:
    push_to_hub(tiny_model(), "me/new", token=TOKEN)
    repository = hub.repositories["me/new"]
    assert 'load_pretrained("me/new")' in repository.commits[repository.refs["main"]]["README.md"].decode()


def test_a_record_that_does_not_exist_is_told_before_the_upload(hub: Hub, saved: Path) -> None:
    with pytest.raises(ValueError, match="no weights are registered as 'daf-sintia'"):
        load("publish_weights").main([str(saved), "me/new", "--protocol", "none", "--record", "daf-sintia"])
    assert hub.requests == []


def test_pushing_to_a_hub_that_cannot_be_reached_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"'me/new' at http://127\.0\.0\.1:9: could not be reached: .*[Rr]efused"):
        push_to_hub(tiny_model(), "me/new", token=TOKEN)
    with pytest.raises(PermissionError, match=r"'me/new'.*Token is required"):
        push_to_hub(tiny_model(), "me/new", token=True)


def test_pushing_without_leave_is_refused(hub: Hub) -> None:
    with pytest.raises(PermissionError, match=r"'me/new'.*status 401; pass a token="):
        push_to_hub(tiny_model(), "me/new", token="hf_wrong")
    hub.status = 500
    with pytest.raises(ConnectionError, match=r"'me/new'.*status 500"):
        push_to_hub(tiny_model(), "me/new", token=TOKEN)
    with pytest.raises(ValueError, match="not a repository id"):
        push_to_hub(tiny_model(), "me/new/deep", token=TOKEN)


def test_a_mirror_serves_a_fresh_interpreter(hub: Hub, saved: Path, tmp_path: Path) -> None:
    hub.repository("me/model").commit_folder(saved)
    code = (
        "import json, depthaware_uda as d\n"
        "model = d.load_pretrained('me/model')\n"
        "print(json.dumps([model.label_space.name, model.training]))"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert json.loads(run.stdout) == ["common7", False]
    assert len(hub.asked("GET", "/blobs/")) == 1
