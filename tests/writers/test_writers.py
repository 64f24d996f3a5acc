"""Each format by what a reader of that format needs of it."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.errors import OptionError
from ark_asr.types import Segment, Timings, Transcript
from ark_asr.writers import FORMATS, get_writer
from ark_asr.writers.cues import CUE_LINES, LINE_CHARACTERS, cues
from ark_asr.writers.plain import TxtWriter

LONG = " ".join(f"word{number}" for number in range(40))


def said(start, end, text, **more):
    return Segment(start, end, text, text + "<|im_end|>", 0.5 if text else None, 3, **more)


TALK = Transcript(
    segments=(
        said(0.25, 2.0, "Hello there."),
        said(2.5, 3.0, ""),
        said(3.0, 4.9996, 'Tom & "Jerry" <b> --> end', flags=("length",)),
    ),
    duration=5.0,
    model="ark-mini",
    source="talk.mp3",
    timings=Timings(audio=5.0, total=0.5, first_text=0.1),
    warnings=("talk.mp3 is damaged at 4.0 s",),
)
EMPTY = Transcript((), 0.0, "ark-mini")


def test_txt():
    assert get_writer("txt").render(TALK) == 'Hello there.\nTom & "Jerry" <b> --> end\n'
    assert TxtWriter().line(TALK.segments[1]) == ""


def test_srt():
    assert get_writer("srt").render(TALK) == (
        "1\n00:00:00,250 --> 00:00:02,000\nHello there.\n\n"
        '2\n00:00:03,000 --> 00:00:05,000\nTom & "Jerry" <b> -> end\n'
    )


def test_vtt():
    assert get_writer("vtt").render(TALK) == (
        "WEBVTT\n\n00:00:00.250 --> 00:00:02.000\nHello there.\n\n"
        '00:00:03.000 --> 00:00:05.000\nTom &amp; "Jerry" &lt;b&gt; --&gt; end\n'
    )


def test_tsv():
    rows = list(csv.reader(io.StringIO(get_writer("tsv").render(TALK)), "excel-tab"))
    assert rows[0] == ["start", "end", "text"]
    assert rows[1] == ["250", "2000", "Hello there."]
    assert rows[2][:2] == ["3000", "5000"]


def test_json_and_jsonl_tell_the_same():
    whole = json.loads(get_writer("json").render(TALK))
    lines = [json.loads(line) for line in get_writer("jsonl").render(TALK).splitlines()]
    assert whole["text"] == TALK.text
    assert [{"source": "talk.mp3", **segment} for segment in whole["segments"]] == lines
    assert whole["segments"][2]["flags"] == ["length"]
    assert whole["timings"]["rtf"] == 0.1


def test_words_of_other_scripts_are_not_escaped():
    text = Transcript((said(0, 1, "größer 你好"),), 1.0, "m")
    for name in FORMATS:
        assert "größer 你好" in get_writer(name).render(text)


@pytest.mark.parametrize("name", FORMATS)
def test_a_silent_recording_makes_a_valid_file(name):
    text = get_writer(name).render(EMPTY)
    assert text in {"", "WEBVTT\n", "start\tend\ttext\n"} or json.loads(text)["segments"] == []
    assert get_writer(name).suffix == name


def test_an_unknown_format_is_refused():
    with pytest.raises(OptionError, match="'doc' is not known; take one of txt, srt"):
        get_writer("doc")


def test_long_segments_become_several_subtitles():
    found = list(cues([said(10, 30, LONG)]))
    assert len(found) > 2
    assert (found[0].start, found[-1].end) == (10, 30)
    assert " ".join(" ".join(cue.lines) for cue in found) == LONG
    # Shared by characters: each is shown as long as its share of the text.
    shares = [sum(map(len, cue.lines)) for cue in found]
    for cue, share in zip(found, shares, strict=True):
        assert cue.end - cue.start == pytest.approx(20 * share / sum(shares))


words = st.lists(st.text("abcdefg-'äß你", min_size=1, max_size=60), max_size=40).map(" ".join)


@given(words, st.floats(0, 40_000), st.floats(0, 60))
def test_subtitles_lose_no_character_and_run_forward(text, start, length):
    found = list(cues([said(start, start + length, text)]))
    shown = "".join("".join(cue.lines) for cue in found)
    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", text)
    assert all(len(cue.lines) <= CUE_LINES for cue in found)
    assert all(0 < len(line) <= LINE_CHARACTERS for cue in found for line in cue.lines)
    bounds = [time for cue in found for time in (cue.start, cue.end)]
    assert bounds == sorted(bounds)
    if found:
        assert (bounds[0], bounds[-1]) == (start, start + length)
