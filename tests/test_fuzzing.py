"""Damaged and hostile files: a short run of the fuzzing in `examples/benchmarks/fuzz.py`, and its past findings."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.test_examples import load


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    return load("benchmarks/fuzz")


NAMES = tuple(load("benchmarks/fuzz").readers())


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_read_and_their_mutations_read_or_refused(fuzz: ModuleType, name: str, tmp_path: Path) -> None:
    if name == "label map in TOML" and sys.version_info < (3, 11):
        pytest.skip("TOML is read from Python 3.11 on")
    reader = fuzz.readers()[name]
    first = [fuzz.attempt(reader, tmp_path / str(index), seed) for index, seed in enumerate(reader.seeds)]
    assert "read" in first or name in ("names", "manifest", "model", "model configuration")
    outcome = fuzz.mutate(name, inputs=40, seed=3)
    assert outcome == {"inputs": 40, "refused": outcome["refused"]}


# Found by fuzzing: each of these once raised something other than a ValueError.
FOUND = {
    "depth array": [
        "934e554d505901006d007b276465736372273a20273c6634272c2028"
        + "20" * 90
        + "0a",  # a header that ends in a bracket
    ],
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_refused(fuzz: ModuleType, name: str, tmp_path: Path) -> None:
    for data in FOUND[name]:
        assert fuzz.attempt(fuzz.readers()[name], tmp_path, bytes.fromhex(data)) == "refused"
