"""What the page saves is what the package writes, and what was changed is in it."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import Phase, given, settings

from ark_asr.types import Transcript
from ark_asr.writers import get_writer, parse_transcripts
from ark_asr.writers.pieces import pieces
from lectures import lecture, record
from transcripts import said, transcripts

SAME = ("txt", "md", "srt", "vtt", "lrc", "tsv", "csv")
FILES = """async (document) => {
  const {file, FORMATS} = await import("/page/js/writers/formats.js");
  const written = async (name) => {
    const blob = file(name, document, document.source);
    return name === "docx" ? [...new Uint8Array(await blob.arrayBuffer())] : blob.text();
  };
  const names = Object.keys(FORMATS);
  const all = names.map(async (name) => [name, await written(name)]);
  return Object.fromEntries(await Promise.all(all));
}"""


@pytest.fixture(scope="module")
def page(browser, served):
    page = browser.new_page()
    page.goto(served.url)
    yield page
    page.close()


def check_formats(page, transcript):
    """Every format as the page makes it, beside that of the package."""
    written = page.evaluate(FILES, record(transcript))
    for name in SAME:
        assert written[name] == get_writer(name).render(transcript)
    assert json.loads(written["json"]) == record(transcript)
    ours = get_writer("jsonl").render(transcript).splitlines()
    assert list(map(json.loads, written["jsonl"].splitlines())) == list(map(json.loads, ours))
    with zipfile.ZipFile(io.BytesIO(bytes(written["docx"]))) as package:
        assert package.testzip() is None
        parts = {name: ET.fromstring(package.read(name)) for name in package.namelist()}
    text = "".join(parts["word/document.xml"].itertext())
    for segment in transcript.segments:
        assert all(piece.text in text for piece in pieces(segment))


@settings(max_examples=25, derandomize=True, phases=[Phase.generate])
@given(transcript=transcripts())
def test_formats_are_those_of_the_package(page, transcript):
    # The page's title is what the package makes of the name of a file.
    check_formats(page, replace(transcript, source="talk 7"))


def test_formats_of_a_lecture(page):
    check_formats(page, replace(lecture(), source="lecture"))


@pytest.mark.parametrize(
    "text",
    [
        "🇩🇪" * 30,
        "👩‍👩‍👧" * 20,
        "👍🏽" * 40,
        "नमस्ते" * 20,
        "e\u0301\u0327" * 60,
        "🇩🇪🇫" * 40,
        "a---> b --> c",
    ],
)
def test_formats_of_what_belongs_together(page, text):
    """Words too long for a line, arrows of subtitles, a segment without a length."""
    notes = ("1. Lecture.mp3: damaged at 1.00 s", "- a ---> b", "2) c", "+d")
    segments = (said(0.0, 4.0, text), said(5.0, 5.0, "oh", flags=("length",)))
    check_formats(page, Transcript(segments, 6.0, "ark-mini", "talk", warnings=notes))


def test_docx_opens_in_python_docx(page):
    docx = pytest.importorskip("docx", reason="needs python-docx (extra docx)")
    written = page.evaluate(FILES, record(lecture()))
    document = docx.Document(io.BytesIO(bytes(written["docx"])))
    styles = [paragraph.style.name for paragraph in document.paragraphs]
    assert styles[0].lower() == "heading 1"
    marked = [run.text for it in document.paragraphs for run in it.runs if run.font.highlight_color]
    assert marked == ["Rome"]


@pytest.fixture(scope="module")
def changed(page):
    """Call a function of the page's document module: ``changed(name, document, *arguments)``."""

    def call(name, *arguments):
        return page.evaluate(
            "async ([name, given]) => (await import('/page/js/document.js'))[name](...given)",
            [name, arguments],
        )

    return call


def spelled(segment):
    return " ".join(word["text"] for word in segment["words"])


def test_words_that_stay_keep_their_times(changed):
    before = record(lecture())
    after = changed("withText", before, 1, "all the roads lead straight to home")
    old, new = before["segments"][1], after["segments"][1]
    assert new["text"] == spelled(new) == "all the roads lead straight to home"
    times = {word["text"]: word["end"] for word in old["words"]}
    kept = {word["text"]: word for word in new["words"]}
    assert all(kept[name]["end"] == times[name] for name in ("roads", "to"))
    assert kept["home"]["start"] == 5.6
    assert kept["home"]["confidence"] == 1
    starts = [moment for word in new["words"] for moment in (word["start"], word["end"])]
    assert starts == sorted(starts)
    assert old["start"] <= starts[0]
    assert starts[-1] <= old["end"]
    assert new["raw_text"] == old["raw_text"]
    assert new["flags"] == ["edited"]
    assert after["segments"][0] == before["segments"][0]
    assert before == record(lecture())


@pytest.mark.parametrize(
    "text",
    [
        "", "Rome", "x y z", "all roads lead to Rome and back", "new all roads", "所有道路 Rome",
        "all all all roads roads",
    ],
)  # fmt: skip
def test_any_edit_can_be_read_back(changed, text):
    after = changed("withText", record(lecture()), 1, text)
    (read,) = parse_transcripts(json.dumps(after).encode(), "edited")
    segment = read.segments[1]
    assert segment.text == text
    assert "".join(word.text for word in segment.words) == text.replace(" ", "")
    moments = [moment for word in segment.words for moment in (word.start, word.end)]
    assert moments == sorted(moments)


def test_an_edit_without_a_change_is_none(changed):
    before = record(lecture())
    assert changed("withText", before, 0, "  Good  morning, everyone ") == before


@pytest.mark.parametrize(
    ("reach", "expected"),
    [("one", ["A", "B", None, "A"]), ("on", ["A", "B", "B", "A"]), ("all", ["A", "B", "B", "A"])],
)
def test_names_reach_as_far_as_was_asked(changed, reach, expected):
    document = record(lecture())
    document["segments"].append({**document["segments"][2], "start": 9.2, "end": 9.6})
    for at in (0, 3):
        document = changed("withSpeaker", document, at, "A", "one")
    document = changed("withSpeaker", document, 1, "B", reach)
    assert [segment["speaker"] for segment in document["segments"]] == expected
    assert changed("speakers", document) == ["A", "B"]
    parse_transcripts(json.dumps(document).encode(), "named")


def test_a_name_can_be_taken_away(changed):
    document = changed("withSpeaker", record(lecture()), 0, "A", "all")
    document = changed("withSpeaker", document, 0, "", "all")
    assert changed("speakers", document) == []
    assert document == record(lecture())
