"""The examples of docs/formats.md are what the writers write."""

from __future__ import annotations

import re

import pytest

from ark_asr.writers import FORMATS, SubtitleOptions, get_writer, parse_transcripts

OPTIONS = {
    "": SubtitleOptions(),
    "--karaoke": SubtitleOptions(karaoke=True),
    "--highlight-words": SubtitleOptions(highlight_words=True),
}


@pytest.fixture(scope="module")
def parts(root):
    """The page from its first example on: of a run, and with words."""
    page = (root / "docs" / "formats.md").read_text(encoding="utf-8")
    return page.split("## One run in every format")[1].split("## Words, speakers and flags")


def examples(part):
    """Format, option and content of the blocks, and the transcript that all of them show."""
    found = [
        (name, option or "", block)
        for option, name, block in re.findall(
            r"(?:^`\w+ (--[a-z-]+)`[^\n]*\n\n)?^```(\w+)\n(.*?)^```$",
            part,
            re.DOTALL | re.MULTILINE,
        )
    ]
    (transcript,) = parse_transcripts(found[0][2].encode(), "docs/formats.md")
    return found, transcript


@pytest.mark.parametrize("part", [0, 1])
def test_the_examples(parts, part):
    found, transcript = examples(parts[part])
    for name, option, block in found:
        written = get_writer(name, OPTIONS[option]).render(transcript)
        assert written.replace("\r\n", "\n") == block, (name, option)


def test_every_format_and_option_has_one(parts):
    shown = {(name, option) for part in parts for name, option, _ in examples(part)[0]}
    assert {name for name, _ in shown} == {*FORMATS} - {"docx"}
    assert {option for _, option in shown} == set(OPTIONS)
