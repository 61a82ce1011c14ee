"""Files are verified when they are read: every flipped bit and every cut is found, or changes no value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from depthaware_uda import EvaluationResult, Ranking, TargetSplit
from depthaware_uda.digests import read_sealed, write_sealed

RANKING = Ranking(("town/a.png", "town/ü.png", "z"), (0.01234567, 0.5, 3.0), 0.5)
RESULT = EvaluationResult.from_confusion(torch.tensor([[5, 1], [2, 9]]), ("road", "sky"), images=3)
SPLIT = TargetSplit(("town/a.png", "town/b.png"), ("town/c.png", "town/d.png"))

Written = tuple[str, object, Callable[[Path], object], Callable[[Path], object]]
WRITTEN: dict[str, Written] = {
    "ranking": ("ranking.json", RANKING, RANKING.save, Ranking.load),
    "result": ("result.json", RESULT, RESULT.save, EvaluationResult.load),
    "easy": ("easy.txt", SPLIT, lambda path: SPLIT.save(path.parent), lambda path: TargetSplit.load(path.parent)),
    "sums": ("split.sha256", SPLIT, lambda path: SPLIT.save(path.parent), lambda path: TargetSplit.load(path.parent)),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_flipped_bit_and_every_cut_is_found_or_harmless(tmp_path: Path, kind: str) -> None:
    name, value, save, load = WRITTEN[kind]
    file, found, harmless = tmp_path / name, 0, 0
    save(file)
    content = file.read_bytes()
    assert load(file) == value
    cut = [content[:end] for end in range(0, len(content) - 2, 1 + len(content) // 40)]
    flipped = [
        content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]
        for at in range(0, len(content), 1 + len(content) // 150)
    ]
    for damaged in (*cut, *flipped):
        file.write_bytes(damaged)
        try:
            read = load(file)
        except ValueError:
            found += 1
        else:  # in whitespace, or in the key of the checksum itself
            assert read == value
            harmless += 1
    assert found > 4 * harmless


@pytest.mark.parametrize("record", [{}, {"a": 1, "b": [0.1, None, "ü"], "c": {"d": (1, 2)}}])
def test_a_sealed_record_comes_back(tmp_path: Path, record: dict[str, Any]) -> None:
    write_sealed(tmp_path / "a.json", record)
    assert list(read_sealed(tmp_path / "a.json")) == list(record)
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace(" ", "").replace("\n", ""))  # whitespace is not a value
    read_sealed(tmp_path / "a.json")


def test_who_changes_a_record_is_told_what_to_do(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", {"a": 1})
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("1,", "2,", 1))
    with pytest.raises(ValueError, match=r'a\.json: not as it was written.*remove "checksum" from it'):
        read_sealed(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"a": 2}')
    assert read_sealed(tmp_path / "a.json") == {"a": 2}
