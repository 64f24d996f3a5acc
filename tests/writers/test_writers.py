"""Each format by what a reader of that format needs of it."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings

from ark_asr.errors import MissingExtraError, OptionError
from ark_asr.types import Transcript, Word
from ark_asr.writers import FORMATS, SubtitleOptions, get_writer
from ark_asr.writers.plain import TxtWriter
from transcripts import EMPTY, HELLO, TALK, said, spoken, timed_segments, transcripts

TEXTS = [name for name in FORMATS if name != "docx"]
PLAIN = replace(TALK, segments=(TALK.segments[2],))


def render(name, transcript, **options):
    return get_writer(name, SubtitleOptions(**options)).render(transcript)


def two_speakers():
    words = spoken("Any questions? Yes, one.").words
    named = [replace(word, speaker=f"Speaker {'AABB'[at]}") for at, word in enumerate(words)]
    return replace(TALK, segments=(said(0, 4, "Any questions? Yes, one.", words=tuple(named)),))


def test_txt():
    assert render("txt", TALK) == (
        'Speaker A: Hello there, Tom.\nTom & "Jerry" <b> --> end\n'
    )  # fmt: skip
    assert TxtWriter().lines(TALK.segments[1]) == ""


def test_txt_begins_a_line_where_the_speaker_changes():
    assert render("txt", two_speakers()) == "Speaker A: Any questions?\nSpeaker B: Yes, one.\n"


def test_srt():
    assert render("srt", TALK) == (
        "1\n00:00:00,250 --> 00:00:01,850\nSpeaker A: Hello there, Tom.\n\n"
        '2\n00:00:03,000 --> 00:00:05,000\nTom & "Jerry" <b> -> end\n'
    )


def test_vtt():
    assert render("vtt", TALK) == (
        "WEBVTT\n\nNOTE talk.mp3 is damaged at 4.0 s\n\n"
        "00:00:00.250 --> 00:00:01.850\n<v Speaker A>Hello there, Tom.\n\n"
        "NOTE 00:00:02.500 to 00:00:03.000: cancelled\n\n"
        "NOTE 00:00:03.000 to 00:00:05.000: length\n\n"
        '00:00:03.000 --> 00:00:05.000\nTom &amp; "Jerry" &lt;b&gt; --&gt; end\n'
    )


def test_speakers_of_one_segment_have_cues_of_their_own():
    srt = render("srt", two_speakers())
    assert [line for line in srt.splitlines() if ":" in line and "-->" not in line] == [
        "Speaker A: Any questions?", "Speaker B: Yes, one."
    ]  # fmt: skip


def test_karaoke_in_vtt():
    vtt = render("vtt", replace(TALK, segments=(HELLO,)), karaoke=True)
    assert vtt.splitlines()[-1] == (
        "<v Speaker A><c>Hello</c> <00:00:00.800><c>there,</c> <00:00:01.450><c>Tom.</c>"
    )


@settings(max_examples=25)
@given(timed_segments())
def test_karaoke_times_grow_inside_their_cue(segment):
    vtt = render("vtt", Transcript((segment,), segment.end, "m"), karaoke=True)
    stamp = r"(\d+:\d\d:\d\d\.\d{3})"
    for start, end, text in re.findall(rf"{stamp} --> {stamp}\n(.*?\n)(?:\n|\Z)", vtt, re.DOTALL):
        times = [start, *re.findall(f"<{stamp}>", text), end]
        assert times == sorted(times)
        assert len(set(times[:-1])) == len(times[:-1])


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_highlighted_words(name):
    text = render(name, replace(TALK, segments=(HELLO,)), highlight_words=True)
    assert re.findall("<u>(.*?)</u>", text) == ["Hello", "there,", "Tom."]
    plain = re.sub("</?u>", "", text)
    shown = [line for line in plain.splitlines() if line.endswith("Hello there, Tom.")]
    # Three words and the two pauses between them, all with the whole line.
    assert len(shown) == text.count("-->") == 5
    times = re.findall(r"\d\d:\d\d:\d\d[.,]\d{3}", text)
    assert times[1:-1:2] == times[2::2]  # each begins where the one before ends


@settings(max_examples=25)
@given(timed_segments())
def test_highlighting_fills_the_same_time_as_without(segment):
    def spans(**options):
        text = render("srt", Transcript((segment,), segment.end, "m"), **options)
        return re.findall(r"(\S+) --> (\S+)", text)

    plain, frames = spans(), spans(highlight_words=True)
    bounds = {time for span in frames for time in span}
    assert {time for span in plain for time in span} <= bounds
    for found in (plain, frames):
        assert all(start < end for start, end in found)
        starts, ends = zip(*found, strict=True) if found else ((), ())
        assert list(starts) == sorted(starts)
        # What lasts no time at all is shown for a millisecond, which may be the next one's.
        assert all(
            milliseconds_of(end) <= milliseconds_of(start) + 1
            for end, start in zip(ends, starts[1:], strict=False)
        )


def milliseconds_of(stamp):
    hours, minutes, seconds = stamp.replace(",", ".").split(":")
    return round(1000 * (3600 * int(hours) + 60 * int(minutes) + float(seconds)))


@pytest.mark.parametrize("options", [{}, {"highlight_words": True}, {"karaoke": True}])
def test_a_cue_without_a_length_is_shown_all_the_same(options):
    moment = said(1, 1, "Oh", words=(Word(1, 1, "Oh", 0.9),))
    text = render("vtt", replace(TALK, segments=(moment,), warnings=()), **options)
    assert "00:00:01.000 --> 00:00:01.001\n" in text
    assert re.sub("<.*?>", "", text).endswith("\nOh\n")


def test_no_text_holds_the_arrow_that_parts_times():
    odd = replace(TALK, segments=(said(0, 1, "a ---> b"),), warnings=("c ----> d",))
    for name in ("srt", "vtt"):
        arrows = [line for line in render(name, odd).splitlines() if "-->" in line]
        assert len(arrows) == 1
        assert arrows[0].startswith("00:00:00")


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("srt", "highlight_words"),
        ("vtt", "highlight_words"),
        ("vtt", "karaoke"),
        ("lrc", "karaoke"),
    ],
)
def test_words_cannot_be_marked_where_none_are_known(name, option):
    with pytest.raises(OptionError, match=r"need word times, and talk\.mp3 was transcribed"):
        render(name, PLAIN, **{option: True})
    render(name, EMPTY, **{option: True})  # nothing is said, so nothing is missing


def test_tsv_has_the_three_columns_of_whisper():
    rows = list(csv.reader(io.StringIO(render("tsv", TALK)), "excel-tab"))
    assert rows[0] == ["start", "end", "text"]
    assert rows[1] == ["250", "1900", "Speaker A: Hello there, Tom."]
    assert rows[2][:2] == ["3000", "5000"]


def test_csv():
    rows = list(csv.DictReader(io.StringIO(render("csv", TALK))))
    assert [row["text"] for row in rows] == ["Hello there, Tom.", "", 'Tom & "Jerry" <b> --> end']
    assert rows[0] == {
        "start": "0.250", "end": "1.900", "speaker": "Speaker A", "text": "Hello there, Tom.",
        "confidence": "0.5", "flags": "",
    }  # fmt: skip
    assert rows[1]["flags"] == "cancelled"


def test_lrc():
    assert render("lrc", TALK) == (
        "[ti:talk]\n[length:00:05]\n[re:ark-asr]\n"
        "[00:00.25]Speaker A: Hello there, Tom.\n[00:01.85]\n"
        '[00:03.00]Tom & "Jerry" <b> --> end\n[00:05.00]\n'
    )
    karaoke = render("lrc", TALK, karaoke=True).splitlines()
    assert karaoke[3] == "[00:00.25]Speaker A: <00:00.25>Hello <00:00.80>there, <00:01.45>Tom."
    late = render("lrc", replace(TALK, segments=(said(5400, 5401, "late"),)))
    assert "[length:90:01]\n" in late
    assert "[90:00.00]late\n" in late


def test_lrc_has_one_line_a_cue():
    lines = render("lrc", replace(TALK, segments=(spoken("word " * 60),))).splitlines()[3:-1]
    assert all(re.fullmatch(r"\[\d\d:\d\d\.\d\d\](word ?)+", line) for line in lines)


def test_json_and_jsonl_tell_the_same():
    whole = json.loads(render("json", TALK))
    lines = [json.loads(line) for line in render("jsonl", TALK).splitlines()]
    assert whole["text"] == TALK.text
    assert [{"source": "talk.mp3", **segment} for segment in whole["segments"]] == lines
    assert whole["segments"][2]["flags"] == ["length"]
    assert whole["segments"][0]["speaker"] == "Speaker A"
    assert whole["segments"][0]["words"][1] == {
        "start": 0.8, "end": 1.4, "text": "there,", "confidence": 0.9, "speaker": None
    }  # fmt: skip
    assert whole["timings"]["rtf"] == 0.1


def test_words_of_other_scripts_are_not_escaped():
    text = Transcript((said(0, 1, "größer 你好 مرحبا"),), 1.0, "m")
    for name in TEXTS:
        assert "größer 你好 مرحبا" in render(name, text)


@pytest.mark.parametrize("name", TEXTS)
def test_a_silent_recording_makes_a_valid_file(name):
    text = render(name, EMPTY)
    assert get_writer(name).suffix == name
    assert text == "" or text.endswith("\n")
    if name == "json":
        assert json.loads(text)["segments"] == []
    else:
        assert len(text.splitlines()) <= 3


@settings(max_examples=25)
@given(transcripts())
def test_every_text_format_can_hold_every_transcript(transcript):
    for name in TEXTS:
        text = render(name, transcript)
        assert text.encode() is not None
        assert text == "" or text.endswith("\n")
    for row in csv.reader(io.StringIO(render("csv", transcript), newline="")):
        assert len(row) == 6
    for line in render("tsv", transcript).split("\n")[:-1]:
        assert line.count("\t") == 2


def test_names_that_are_no_text_are_spelled_out():
    """Linux gives files and folders any bytes; Python reads those that are no UTF-8 so."""
    odd = replace(TALK, source="caf\udce9.wav", model="mod\udce9", warnings=("caf\udce9.wav: x",))
    for name in TEXTS:
        render(name, odd).encode()
    data = json.loads(render("json", odd))
    assert (data["model"], data["source"]) == (r"mod\udce9", r"caf\udce9.wav")


def test_an_unknown_format_is_refused():
    with pytest.raises(OptionError, match="'doc' is not known; take one of txt, srt"):
        get_writer("doc")


def test_docx_without_its_extra_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ark-asr\[docx\]'"):
        get_writer("docx")


def test_times_that_cannot_be_are_refused():
    for bad in (-1.0, float("nan")):
        words = (Word(bad, 1, "a", 0.5),)
        with pytest.raises(ValueError, match="cannot be written"):
            render("srt", Transcript((said(0, 1, "a", words=words),), 1.0, "m"))
