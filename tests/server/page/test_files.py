"""The page's files: complete, of this server alone, and part of what is installed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ark_asr.server import page
from serving import http

FOLDER = Path(page.__file__).parent
FILES = sorted(
    path for path in FOLDER.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
)
DICTIONARIES = sorted((FOLDER / "js" / "words").glob("*.js"))
# Names in namespaces of XML, which are fetched from nowhere.
NAMESPACES = ("http://www.w3.org/2000/svg", "http://schemas.openxmlformats.org/")


def keys(dictionary):
    """Each key and the values that are put into its words."""
    entries = re.findall(
        r'^  (\w+): "(.*)",$', dictionary.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {key: set(re.findall(r"\{\w+\}", words)) for key, words in entries}


def test_every_file_is_served_with_its_type(served):
    for path in FILES:
        answer = http.get(f"{served.url}/page/{path.relative_to(FOLDER).as_posix()}")
        assert answer.status_code == 200, path
        assert answer.content == path.read_bytes()
    assert http.get(served.url).content == (FOLDER / "index.html").read_bytes()


def test_no_file_names_another_server():
    for path in FILES:
        found = re.findall(r"https?://[^\s\"'`)]*", path.read_text(encoding="utf-8"))
        assert [url for url in found if not url.startswith(NAMESPACES)] == [], path


def test_nothing_is_inline():
    text = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize("path", DICTIONARIES, ids=lambda path: path.stem)
def test_dictionaries_have_the_same_words(path):
    assert keys(path) == keys(FOLDER / "js" / "words" / "en.js")


def test_all_words_of_the_page_are_in_the_dictionary():
    known = keys(FOLDER / "js" / "words" / "en.js").keys()
    markup = (FOLDER / "index.html").read_text(encoding="utf-8")
    scripts = "".join(path.read_text(encoding="utf-8") for path in (FOLDER / "js").glob("*.js"))
    used = set(re.findall(r'data-t(?:-label|-placeholder)?="(\w+)"', markup))
    used |= set(re.findall(r'"((?:error|state|group|format|size|theme)_\w+)"', scripts))
    used |= {
        name
        for call in re.findall(r"\bt\(([^()]*)", scripts)
        for name in re.findall(r'"(\w+)"', call)
    }
    assert used - known == set()


def test_a_wheel_holds_the_page(root):
    builder = pytest.importorskip(
        "hatchling.builders.wheel", reason="wheels are built by hatchling (pip install hatchling)"
    ).WheelBuilder(str(root))
    packed = {file.distribution_path for file in builder.recurse_included_files()}
    wanted = {f"ark_asr/server/page/{path.relative_to(FOLDER).as_posix()}" for path in FILES}
    assert wanted <= packed
    assert len(wanted) > 25


def test_the_files_are_tracked(root):
    listed = subprocess.run(
        ["git", "ls-files", str(FOLDER)], cwd=root, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    tracked = {root / name for name in listed.stdout.splitlines()}
    assert set(FILES) <= tracked
