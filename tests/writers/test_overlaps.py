"""Speakers on channels of their own talk at once: what is written stays in order of time."""

from __future__ import annotations

import re

import pytest

from ark_asr.types import Segment, Transcript, Word
from ark_asr.writers import SubtitleOptions, get_writer
from ark_asr.writers.reading import parse_transcripts


def said(start, end, text, speaker):
    words = text.split()
    each = (end - start) / len(words)
    return Segment(
        start,
        end,
        text,
        text,
        0.9,
        len(words),
        words=tuple(
            Word(round(start + i * each, 3), round(start + (i + 1) * each, 3), word, 0.9, speaker)
            for i, word in enumerate(words)
        ),
        speaker=speaker,
    )


@pytest.fixture
def talk():
    long = "so this is what I wanted to say to all of you before we begin with it, thank you"
    return Transcript(
        (
            said(0, 12, long, "Speaker A"),
            said(2, 3, "yes sure", "Speaker B"),
            said(8, 14, "and now me", "Speaker B"),
        ),
        15,
        "scripted",
    )


@pytest.mark.parametrize("highlight", [False, True])
@pytest.mark.parametrize("name", ["srt", "vtt", "lrc"])
def test_cues_begin_in_order(talk, name, highlight):
    options = SubtitleOptions(highlight_words=highlight and name != "lrc")
    text = get_writer(name, options).render(talk)
    pattern = r"^\[(\d\d:\d\d\.\d\d)\](?=.)" if name == "lrc" else r"^(\S+) -->"
    starts = re.findall(pattern, text, re.MULTILINE)
    assert len(starts) >= 4
    assert starts == sorted(starts)


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_overlaps_can_be_read_back(talk, name):
    data = get_writer(name).render(talk).encode()
    assert parse_transcripts(data, name)[0].segments == talk.segments


def test_every_format_takes_them(talk):
    for name in ("txt", "tsv", "csv", "md", "docx"):
        assert get_writer(name).render(talk)
