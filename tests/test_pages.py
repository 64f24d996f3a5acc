"""The guides lead where they say: links, their headings, and the files that the text names."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "checkpoints/*/*.md", "recipes/**/*.md", "samples/*.md")
    for page in ROOT.glob(pattern)
)


@cache
def prose(page: Path) -> str:
    """Without fenced blocks, in which anything may stand."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)


@cache
def headings(page: Path) -> frozenset[str]:
    """The names that a page's headings have in a link, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", prose(page), re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in found)
    return frozenset(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    here = ROOT / page
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(here)):
        if re.match(r"\w+:", link):
            continue
        path, _, heading = link.partition("#")
        there = (here.parent / path).resolve() if path else here
        if not there.exists() or (heading and heading not in headings(there)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_files_of_the_repository_that_are_named_are_there(page):
    named = re.findall(
        r"(?<![\w./-])((?:benchmarks|deploy|docs|recipes|samples|src|tests)/[\w./-]*\.[a-z]+)\b",
        (ROOT / page).read_text("utf-8"),
    )
    beside = (ROOT / page).parent
    lost = [name for name in named if not (ROOT / name).exists() and not (beside / name).exists()]
    assert lost == []


def test_the_pages_are_found():
    assert {"README.md", "docs/server.md", "checkpoints/ark-mini/README.md"} <= {*PAGES}
