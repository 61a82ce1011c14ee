"""Files are replaced completely or not at all, and sample names stay below their root."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthaware_uda.files import atomic_folder, atomic_path, is_partial, read_json, read_text, safe_join, write_json


def everything(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_a_file_is_replaced_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "label.png"
    for content in ("old", "new"):
        with atomic_path(target) as partial:
            partial.write_text(content)
            assert partial.suffix == ".png"  # image writers choose the format by it
            assert partial.parent == target.parent
    assert target.read_text() == "new"
    assert everything(tmp_path) == ["deep", "deep/label.png"]


def test_the_longest_name_that_the_system_takes_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 125 + ".png")
    with atomic_path(target) as partial:
        partial.touch()
        assert is_partial(partial)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_reader_sees_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_path(target) as partial:
        partial.write_text("half")
        assert target.read_text() == "old"


@pytest.mark.parametrize("written", [True, False])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, written: bool) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def interrupted() -> None:
        with atomic_path(target) as partial:
            if written:
                partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert everything(tmp_path) == ["a.txt"]


def test_a_folder_is_replaced_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model"
    for name in ("old", "new"):
        with atomic_folder(target) as partial:
            (partial / name).write_text(name)
            assert everything(tmp_path).count("deep/model") == (name == "new")
    assert everything(tmp_path) == ["deep", "deep/model", "deep/model/new"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with atomic_folder(target) as partial:
        (partial / "old").write_text("old")

    def broken() -> None:
        with atomic_folder(target) as partial:
            (partial / "new").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert everything(tmp_path) == ["model", "model/old"]


def test_json_comes_back_and_stays_readable_when_writing_fails(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "record.json"
    write_json(file, {"names": ["ä/日本.png"], "score": 0.1})
    assert read_json(file) == {"names": ["ä/日本.png"], "score": 0.1}
    with pytest.raises(TypeError):
        write_json(file, {"names": object()})
    assert read_json(file)["score"] == 0.1
    assert everything(tmp_path) == ["deep", "deep/record.json"]


def test_text_of_windows_is_text(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(b"\xef\xbb\xbftown/a.png\r\nb.png\r\n")  # with the byte order mark of Windows editors
    assert read_text(file) == "town/a.png\nb.png\n"
    file.write_bytes(b'\xef\xbb\xbf{"ids": {}}')
    assert read_json(file) == {"ids": {}}


@pytest.mark.parametrize("content", [b'{"half": ', b"\xff\xfe\x00", b""])
def test_a_file_that_is_not_json_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.json: not a (JSON|text) file"):
        read_json(file)


def test_names_join_below_their_root(tmp_path: Path) -> None:
    assert safe_join(tmp_path, "aachen/a b_ü.png") == tmp_path / "aachen" / "a b_ü.png"
    assert safe_join(tmp_path, ".hidden/..name..") == tmp_path / ".hidden" / "..name.."
    assert safe_join(tmp_path, "12:30:05.jpg") == tmp_path / "12:30:05.jpg"  # a time of day, no drive


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../a", "a/../../b", "a/..", ".", "./a", "a//b", "a/", "C:/a", "c:a", "a\\b", "..\\a", "a\0b"],
)
def test_names_that_would_leave_their_root_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"not a relative path with forward slashes .*; rename its file") as error:
        safe_join(tmp_path, name)
    assert repr(name) in str(error.value)


@settings(max_examples=200, deadline=None)
@given(name=st.text(st.sampled_from("ab.:/\\\0 é"), max_size=8))
def test_a_joined_name_is_below_the_root_and_tells_its_name(name: str) -> None:
    root = Path("/data/target")
    try:
        path = safe_join(root, name)
    except ValueError:
        return
    assert path.resolve().is_relative_to(root)
    assert path != root
    assert path.relative_to(root).as_posix() == name


def test_a_name_must_not_leave_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "town").symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match=r"leads out of .* through a symbolic link"):
        safe_join(tmp_path / "root", "town/a.png")


@pytest.mark.parametrize("content", ["[" * 200_000, "1" * 5000], ids=["nesting", "digits"])
def test_json_without_end_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "deep.json").write_text(content)
    with pytest.raises(ValueError, match=r"deep\.json: not a JSON file"):
        read_json(tmp_path / "deep.json")


def test_json_of_absurd_size_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(ValueError, match=r"huge\.json: 67108865 bytes of text"):
        read_json(tmp_path / "huge.json")


def test_json_is_written_with_a_final_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [1])
    text = (tmp_path / "a.json").read_text()
    assert text.endswith("]\n")
    assert json.loads(text) == [1]
