"""Documents for people: md and docx."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given, settings

from ark_asr.errors import OptionError
from ark_asr.writers import DocumentOptions, get_writer
from ark_asr.writers.outline import outline
from transcripts import EMPTY, TALK, said, spoken, transcripts

docx = pytest.importorskip("docx", reason="python-docx (extra 'docx') is not installed")

ABOUT = (
    "0:00:05 of sound, transcribed by ark-mini. "
    "Marked words may be wrong: their confidence is below 0.5."
)
DOUBTED = spoken("two", 9.0, confidence=0.2)
LESSON = replace(
    TALK,
    segments=(
        spoken("First part. And", speaker="Ann"),
        spoken("so on.", 2.0, speaker="Ann", flags=("length",)),
        spoken("What?", 3.0, speaker="Bob"),
        spoken("Part", 8.0),
        DOUBTED,
    ),
)


def test_md():
    assert get_writer("md").render(LESSON) == (
        "# talk\n\n"
        f"{ABOUT}[^1]\n\n"
        "## 0:00:00\n\n"
        "**Ann** (0:00:00) First part. And so on.[^2]\n\n"
        "**Bob** (0:00:03) What?\n\n"
        "## 0:00:08\n\n"
        "(0:00:08) Part two[?]\n\n"
        "[^1]: talk.mp3 is damaged at 4.0 s\n\n"
        "[^2]: 0:00:02 to 0:00:02: length\n"
    )


def test_md_quotes_what_would_be_markup():
    text = "*a* _b_ <i> [x](y) `c` # 1 & $2"
    written = get_writer("md").render(replace(TALK, segments=(said(0, 1, text),)))
    assert r"\*a\* \_b\_ \<i\> \[x\](y) \`c\` \# 1 \& \$2" in written


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("1. Lecture.mp3", r"1\. Lecture.mp3"),
        ("2) b.mp3", r"2\) b.mp3"),
        ("- c.mp3", r"\- c.mp3"),
        ("10.mp3", "10.mp3"),
    ],
)
def test_a_note_of_md_is_no_list(name, written):
    odd = replace(TALK, segments=(), warnings=(f"{name}: damaged",))
    assert f"[^1]: {written}: damaged\n" in get_writer("md").render(odd)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"heading_pause": -1}, "heading_pause is -1; it must be 0 or more"),
        ({"paragraph_duration": float("nan")}, "paragraph_duration is nan; it must be 0 or more"),
        ({"doubt_below": 50}, "doubt_below is 50; it must be 0 to 1"),
    ],
)
def test_layouts_that_make_no_sense(values, line):
    with pytest.raises(OptionError, match=line):
        DocumentOptions(**values)


def test_long_speech_is_cut_at_full_stops():
    text = "This is a sentence of words. " * 40
    options = DocumentOptions(paragraph_duration=20.0)
    found = outline(replace(TALK, segments=(spoken(text),)), options).paragraphs
    assert len(found) > 3
    for paragraph in found:
        assert paragraph.words[-1][0].text == "words."
        assert paragraph.words[-1][0].end - paragraph.start < 25
    assert [paragraph.heading for paragraph in found] == [True] + [False] * (len(found) - 1)


def test_notes_before_any_word_stand_at_the_top():
    whole = outline(replace(TALK, segments=TALK.segments[1:]), DocumentOptions())
    assert [note.text for note in whole.notes] == [
        "talk.mp3 is damaged at 4.0 s", "0:00:02 to 0:00:03: cancelled"
    ]  # fmt: skip
    assert [note.number for note in whole.all_notes] == [1, 2, 3]


@settings(max_examples=25)
@given(transcripts())
def test_every_word_is_in_one_paragraph(transcript):
    found = outline(transcript, DocumentOptions()).paragraphs
    written = "".join(piece.text for paragraph in found for piece, _ in paragraph.words)
    assert written == re.sub(r"\s", "", "".join(it.text for it in transcript.segments))
    for paragraph in found:
        assert len({piece.speaker for piece, _ in paragraph.words}) == 1


def test_docx_says_what_md_says():
    document = docx.Document(io.BytesIO(get_writer("docx").render(LESSON)))
    assert [(line.style.name, line.text) for line in document.paragraphs] == [
        ("Title", "talk"),
        ("Normal", f"{ABOUT}1"),
        ("Heading 1", "0:00:00"),
        ("Normal", "Ann (0:00:00) First part. And so on.2"),
        ("Normal", "Bob (0:00:03) What?"),
        ("Heading 1", "0:00:08"),
        ("Normal", "(0:00:08) Part two"),
        ("Heading 1", "Notes"),
        ("Normal", "1 talk.mp3 is damaged at 4.0 s"),
        ("Normal", "2 0:00:02 to 0:00:02: length"),
    ]
    runs = [run for line in document.paragraphs for run in line.runs]
    assert [run.text for run in runs if run.font.highlight_color] == ["two"]
    assert [run.text for run in runs if run.bold] == ["Ann ", "Bob "]
    assert [run.text for run in runs if run.font.superscript] == ["1", "2", "1", "2"]


def test_docx_is_the_same_at_any_time(monkeypatch):
    first = get_writer("docx").render(LESSON)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert get_writer("docx").render(LESSON) == first
    with zipfile.ZipFile(io.BytesIO(first)) as packed:
        assert {entry.date_time for entry in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"1980-01-01T00:00:00Z" in packed.read("docProps/core.xml")


def test_docx_runs_from_right_to_left_where_the_text_does():
    both = replace(TALK, segments=(said(0, 1, "مرحبا بكم"), said(9, 10, "Hello")))
    document = docx.Document(io.BytesIO(get_writer("docx").render(both)))
    arabic, latin = (line for line in document.paragraphs if "(0:00:0" in line.text)
    assert "<w:bidi/>" in arabic._p.xml
    assert "<w:bidi/>" not in latin._p.xml
    assert arabic.runs[-1].font.rtl


def test_docx_leaves_out_what_xml_cannot_hold():
    odd = replace(TALK, segments=(said(0, 1, "be\x00fore\x07 after"),))
    document = docx.Document(io.BytesIO(get_writer("docx").render(odd)))
    assert "before after" in "\n".join(line.text for line in document.paragraphs)


def test_an_empty_docx_opens():
    document = docx.Document(io.BytesIO(get_writer("docx").render(EMPTY)))
    assert document.paragraphs[0].text == "Transcript"
    assert document.core_properties.author == "ark-asr"
