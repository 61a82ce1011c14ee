"""What is shipped, and whether the commands in the README are those that are run."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

import depthaware_uda

ROOT = Path(__file__).resolve().parents[1]
TEXT_FILES = ("README.md", "CHANGELOG.md", "pyproject.toml", ".mkdocs.yml", ".ci/run", "docs", "examples")
TEXT_SUFFIXES = {".md", ".toml", ".yml", ".py", ""}


def test_the_version_is_said_once_in_each_place() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'^version = "(.+)"$', text, re.MULTILINE) == [depthaware_uda.__version__]


def test_ci_runs_the_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- test -->\n```bash\n(.+?)\n```\n<!-- test -->", readme, re.DOTALL)
    assert len(blocks) == 1
    printed = subprocess.run(
        ["bash", ROOT / ".ci" / "run", "--print"], check=True, capture_output=True, text=True
    ).stdout
    assert printed.strip() == blocks[0].strip()
    assert "tests/check.py" in printed


def test_the_links_of_the_readme_lead_somewhere() -> None:
    """The strict build of the documentation checks the links between its pages, but not these."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", readme)
    assert len(links) > 20
    assert [file for file, _ in links if not (ROOT / file).exists()] == []
    anchors = {(file, anchor) for file, anchor in links if anchor}
    assert anchors
    for file, anchor in anchors:
        headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {slugify(heading, "-") for heading in headings}, f"{file} has no heading for #{anchor}"


def test_no_absolute_paths() -> None:
    files = [file for name in TEXT_FILES for file in [ROOT / name, *(ROOT / name).rglob("*")]]
    texts = {
        file: file.read_text(encoding="utf-8") for file in files if file.suffix in TEXT_SUFFIXES and file.is_file()
    }
    absolute = re.compile(r"(?<![\w.~/])/(home|root|work|opt|tmp|usr)/")
    assert [
        str(file) for file, text in texts.items() if absolute.search(text.removeprefix("#!/usr/bin/env bash"))
    ] == []


def test_the_license_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "limitations under the License." in text


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"depthaware_uda-{depthaware_uda.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "depthaware_uda",
        f"depthaware_uda-{depthaware_uda.__version__}.dist-info",
    }
    sources = [file for file in (ROOT / "depthaware_uda").rglob("*") if file.suffix == ".py" or file.name == "py.typed"]
    assert {file.relative_to(ROOT).as_posix() for file in sources} <= set(names)
    weights = [file for file in (ROOT / "depthaware_uda" / "weights").rglob("*") if file.is_file()]
    assert "daf-ida-minicity/model.safetensors" in {f"{file.parent.name}/{file.name}" for file in weights}
    assert {file.relative_to(ROOT).as_posix() for file in weights} <= set(names)
    assert wheel.stat().st_size < 13_000_000  # weights of at most 12 MB, and the code
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any("__pycache__" in name for name in names)
