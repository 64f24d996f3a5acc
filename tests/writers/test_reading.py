"""What was written is read back as it was; anything else is one clear line."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings

from ark_asr.errors import TranscriptError
from ark_asr.types import Word
from ark_asr.writers import get_writer, parse_transcripts, read_transcripts
from ark_asr.writers.rounding import rounded
from transcripts import TALK, said, transcripts

WRITTEN = json.loads(get_writer("json").render(TALK))


def parse(content):
    text = content if isinstance(content, str) else json.dumps(content)
    return parse_transcripts(text.encode(), "talk.json")


@settings(max_examples=25)
@given(transcripts())
def test_json_comes_back_whole(transcript):
    assert parse(get_writer("json").render(transcript)) == (rounded(transcript),)


@settings(max_examples=25)
@given(transcripts())
def test_jsonl_comes_back_with_all_segments(transcript):
    (read,) = parse(get_writer("jsonl").render(transcript))
    assert read.segments == rounded(transcript).segments
    if read.segments:
        assert read.source == transcript.source
        assert read.duration == read.segments[-1].end


@settings(max_examples=25)
@given(transcripts())
def test_rounding_twice_changes_nothing(transcript):
    assert rounded(rounded(transcript)) == rounded(transcript)


def test_jsonl_of_several_recordings():
    both = "".join(get_writer("jsonl").render(replace(TALK, source=name)) for name in "ab")
    assert [read.source for read in parse(both)] == ["a", "b"]


def test_a_word_may_hold_a_no_break_space():
    word = Word(0.0, 1.0, "Bonjour\u00a0!", 0.5, "Mme\u00a0X")
    talk = replace(TALK, segments=(said(0.0, 1.0, word.text, words=(word,)),))
    (read,) = parse(get_writer("json").render(talk))
    assert read.segments[0].words == (word,)
    assert get_writer("srt").render(read).endswith("Mme\u00a0X: Bonjour\u00a0!\n")


def test_files_by_other_hands(tmp_path):
    """A byte order mark, one line, keys of a later release, none of those of an earlier one."""
    data = copy.deepcopy(WRITTEN) | {"novelty": 1}
    for segment in data["segments"]:
        del segment["words"], segment["speaker"]
        segment["novelty"] = 1
    path = tmp_path / "talk.json"
    path.write_text(json.dumps(data), encoding="utf-8-sig")
    (read,) = read_transcripts(path)
    assert [(it.text, it.words, it.speaker) for it in read.segments] == [
        (it.text, (), None) for it in TALK.segments
    ]


def broken(**changes):
    """The json with values changed at paths such as `segments_0_start`."""
    data = copy.deepcopy(WRITTEN)
    for path, value in changes.items():
        *way, last = [int(key) if key.isdigit() else key for key in path.split("__")]
        place = data
        for key in way:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", None),
        ("nonsense", "talk.json is no JSON (line 1, column 1"),
        ('{"source": "a", "start": 1', "is no JSON (line 1"),
        (broken(duration=float("nan")), "'duration' is NaN; it must be a number from 0"),
        ("[" * 100_000, "talk.json is no JSON of ark-asr"),
        ([WRITTEN], "talk.json is no JSON object"),
        ({"text": "of another program"}, "talk.json:1: 'source' is missing; was it written by"),
        (broken(schema="other"), "'schema' is \"other\"; it must be 'ark-asr/transcript'"),
        (broken(version=2), "'version' is 2; it must be at most 1 for this program; update"),
        (broken(model=None), "talk.json: 'model' is missing"),
        (broken(duration=True), "'duration' is true; it must be a number from 0"),
        (broken(duration=-1), "'duration' is -1; it must be a number from 0"),
        (broken(duration=10**400), "it must be a number from 0"),
        (broken(segments={}), "'segments' is {}; it must be a list"),
        (broken(segments__1=3), "talk.json: segments[1] is no JSON object"),
        (broken(segments__0__start="1"), "segments[0]: 'start' is \"1\"; it must be a number"),
        (broken(segments__0__start=99), "segments[0]: 99 to 1.9 s is not a time"),
        (
            broken(segments__0__tokens=1.5),
            "segments[0]: 'tokens' is 1.5; it must be a whole number",
        ),
        (
            broken(segments__0__confidence=1.1),
            "'confidence' is 1.1; it must be a number from 0 to 1",
        ),
        (broken(segments__0__flags=[1]), "'flags' is [1]; it must be a list of texts"),
        (broken(segments__0__text="\ud800"), "'text' is \"\\ud800\"; it must be text"),
        (broken(segments__0__speaker=" A"), "'speaker' is \" A\"; it must be a name or null"),
        (broken(segments__0__speaker="A\tB"), "it must be a name or null"),
        (broken(segments__0__words__1__start=0.3), "segments[0]: words[1]: 0.3 to 1.4 s is not"),
        (broken(segments__0__words__2__end=2), "segments[0]: words[2]: 1.45 to 2 s is not a time"),
        (broken(segments__0__words__0__text=""), "words[0]: 'text' is \"\"; it must be"),
        (broken(timings=[]), "talk.json: 'timings' is no JSON object"),
        (broken(warnings="x"), "'warnings' is \"x\"; it must be a list of texts"),
    ],
)
def test_a_bad_file_is_one_clear_line(content, message):
    if message is None:
        assert parse(content)[0].segments == ()
        return
    with pytest.raises(TranscriptError) as error:
        parse(content)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bad_line_is_named():
    lines = get_writer("jsonl").render(TALK) + '{"source": "talk.mp3", "start": "?"}\n'
    with pytest.raises(TranscriptError, match=r"^talk\.json:4: 'start' is \"\?\""):
        parse(lines)


def test_what_is_no_text_or_no_file(tmp_path):
    with pytest.raises(TranscriptError, match=r"x is no UTF-8 text \(byte 1\)"):
        parse_transcripts(b"{\xff", "x")
    with pytest.raises(TranscriptError, match=r"none\.json cannot be read: No such file"):
        read_transcripts(tmp_path / "none.json")
    with pytest.raises(TranscriptError, match="cannot be read: Is a directory"):
        read_transcripts(tmp_path)
