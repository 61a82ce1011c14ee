"""External files: none of their code is run, and none makes a reader use excessive memory."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depthaware_uda.data.images import read_depth_values, read_image
from depthaware_uda.files import safe_join
from depthaware_uda.hub import read_checkpoint
from depthaware_uda.pseudo_labels import PseudoLabels
from depthaware_uda.ranking import Ranking
from depthaware_uda.results import EvaluationResult
from depthaware_uda.trainers import read_log
from depthaware_uda.trainers.run.run_folder import claim_run_folder


def test_an_image_of_too_many_pixels_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"bomb\.png: too many pixels"):
        read_image(tmp_path / "bomb.png")


def test_a_format_that_starts_a_program_is_not_opened(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as an image"):
        read_image(tmp_path / "a.png")


def test_an_array_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    claim = {"descr": "<f4", "fortran_order": False, "shape": (1 << 22, 1 << 22)}
    np.lib.format.write_array_header_1_0(header, claim)
    (tmp_path / "bomb.npy").write_bytes(header.getvalue())
    with pytest.raises(ValueError, match=r"bomb\.npy: cannot be read as a NumPy array"):
        read_depth_values(tmp_path / "bomb.npy")


@pytest.mark.parametrize("content", ["pickle", "zip"])
def test_an_array_file_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        if content == "pickle":
            np.save(file, np.array([{}], object), allow_pickle=True)
        else:
            np.savez(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"a\.npy: cannot be read as a NumPy array"):
        read_depth_values(path)


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(1 << 20))
    with pytest.raises(ValueError, match=r"bomb\.pth: refused, it would unpack to 10485\d\d bytes"):
        read_checkpoint(tmp_path / "bomb.pth")


def test_a_member_of_an_archive_that_would_leave_it_writes_nothing(tmp_path: Path) -> None:
    tensors = io.BytesIO()
    torch.save({"a": torch.ones(2)}, tensors)
    folder = tmp_path / "in" / "side"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(tensors) as sound, zipfile.ZipFile(folder / "evil.pth", "w") as evil:
        for member in sound.infolist():
            evil.writestr(member.filename, sound.read(member))
        for name in ("../../escaped", "/escaped", "archive/../../../escaped", "C:\\escaped"):
            evil.writestr(name, b"x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"evil\.pth: not a checkpoint of PyTorch"):
        read_checkpoint(folder / "evil.pth")
    assert sorted(tmp_path.rglob("*")) == before


RECORDS: dict[str, Callable[[Path], object]] = {
    "ranking": Ranking.load,
    "evaluation": EvaluationResult.load,
    "pseudo_labels": lambda path: PseudoLabels(path.parent),
    "run": lambda path: claim_run_folder(path.parent, {"config": {}}),
}


NO_RECORDS: list[object] = [[], {}, {"names": 3}, None, 1]
NO_SCORES = {"names": ["a"], "scores": ["b"], "fraction": 0.5}  # pseudo-labels need only names


@pytest.mark.parametrize(
    ("kind", "content"),
    [*((kind, content) for kind in RECORDS for content in NO_RECORDS)]
    + [(kind, NO_SCORES) for kind in RECORDS if kind != "pseudo_labels"],
)
def test_records_that_hold_something_else_are_named(tmp_path: Path, kind: str, content: object) -> None:
    path = tmp_path / f"{kind}.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"{kind}\.json: not .*, or damaged"):
        RECORDS[kind](path)


def test_a_damaged_record_of_a_log_is_named_unless_it_is_the_last(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"step": 1}\n{"step": 2}\n\0\0\0\n{"st')
    assert read_log(tmp_path) == [{"step": 1}, {"step": 2}]  # as after a power cut
    log.write_bytes(b'{"step": 1}\n{"stop": 2}\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl, line 2: not a record of a log"):
        read_log(tmp_path)


@pytest.mark.parametrize("name", ["town/C:/a.png", "a/d:b", "\\\\server\\a"])
def test_a_drive_anywhere_in_a_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a relative path"):
        safe_join(tmp_path, name)
