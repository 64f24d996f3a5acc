from __future__ import annotations

import json

import pytest

from ark_asr.batch.records import Record
from ark_asr.errors import OptionError
from ark_asr.evaluation.compare import show
from ark_asr.evaluation.compare.contenders import parse_one
from ark_asr.evaluation.compare.results import Outcome, settle
from ark_asr.evaluation.compare.run import Broke, Conditions, Ran
from ark_asr.evaluation.compare.weights import Absent, Here
from ark_asr.evaluation.compare.worker import Heard
from ark_asr.evaluation.job import Scoring

TEXTS = ["one two three four", "five six", "seven eight nine", "ten"] * 5
RECORDS = [
    Record(n, f"{n}.wav", f"{n}.wav", text, -1.0, -1.0, (("speaker", n % 4),))
    for n, text in enumerate(TEXTS, 1)
]


def ran(spec, say, error=None, memory=100 << 20):
    heard = tuple(Heard(say(text), 2.0, 0.5, 0.25) for text in TEXTS)
    if error:
        heard = (Heard("", 0.0, 0.0, None, error), *heard[1:])
    return Outcome(parse_one(spec), Ran(Here("here", "an engine"), "int8", 1.5, memory, heard))


@pytest.fixture
def comparison():
    outcomes = [
        Outcome(parse_one("whisper-tiny"), Absent("it is not here", "hf download it")),
        ran("ark-mini", lambda text: text),
        ran("<b>=http://h/v1", lambda text: text.rpartition(" ")[0], error="no such file"),
        Outcome(parse_one("moonshine-tiny"), Broke("it fell over")),
    ]
    return settle("in.jsonl", RECORDS, outcomes, scoring=Scoring(), conditions=Conditions(2),
                  busy=1.25)  # fmt: skip


def test_all_are_scored_alike_and_against_the_first_that_ran(comparison):
    absent, first, second, broke = comparison.rows
    assert comparison.first == "ark-mini"
    assert (first.rates.wer, first.wer) == (0, None)
    # A word less in each of 20 recordings; the first of them failed and lost three more.
    assert second.rates.wer == pytest.approx(23 / 50)
    assert second.wer.difference == pytest.approx(23 / 50)
    assert second.wer.interval.low > 0
    assert (second.failed, first.failed) == (1, 0)
    assert first.rtf == 0.25
    assert first.first == 0.25
    assert [row.status for row in comparison.rows] == ["not run", "ran", "ran", "failed"]
    assert absent.rates is broke.rates is None
    assert comparison.scheme == "basic"


def test_the_order_of_systems_is_that_of_the_user_in_all_forms(comparison):
    data = json.loads(comparison.to_json())
    assert (data["schema"], data["version"]) == ("ark-asr/comparison", 1)
    assert [row["label"] for row in data["rows"]] == [
        "whisper-tiny", "ark-mini", "<b>", "moonshine-tiny",
    ]  # fmt: skip
    assert data["rows"][0]["command"] == "hf download it"
    assert data["conditions"]["threads"] == 2
    text = show.text(comparison)
    lines = text.splitlines()
    assert lines[1].split()[:2] == ["ark-mini", "an"]
    assert "<b> is worse by 46.00 points of WER" in text
    assert "whisper-tiny: not run: it is not here; hf download it" in lines
    assert "moonshine-tiny: failed: it fell over" in lines
    assert "load 1.2 before the start; 2 threads" in text


def test_what_is_not_known_says_so(comparison):
    cells = {row[0]: row for row in show.facts(comparison.rows)}
    assert cells["<b>"][1:5] == ("unknown", "unknown", "unknown", "unknown")
    assert cells["ark-mini"][1:5] == ("Apache-2.0", "en", "no", "no")
    assert cells["whisper-tiny"][2] == "99"


def test_markdown_is_a_table(comparison):
    tables = [line for line in show.markdown(comparison).splitlines() if line.startswith("|")]
    widths = {line.count("|") for line in tables if "ark-mini" in line}
    assert widths == {13, 8}
    assert len({line.count("|") for line in tables}) == 2


def test_the_page_is_one_file_and_names_are_text(comparison):
    page = show.page(comparison)
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count('class="bar"') == 2
    assert "hf download it" in page
    assert "default-src 'none'" in page
    assert "src=" not in page
    assert "href=" not in page


def test_drawn_by_a_field(comparison):
    again = settle("in.jsonl", RECORDS, [ran("ark-mini", str.upper)],
                   scoring=Scoring(resample_by="speaker"), conditions=Conditions(1))  # fmt: skip
    assert again.resampled_by == "speaker"
    assert again.busy is None


def test_none_ran():
    nobody = [Outcome(parse_one("whisper-tiny"), Absent("it is not here", "hf download it"))]
    empty = settle("in.jsonl", RECORDS, nobody, scoring=Scoring(), conditions=Conditions(1))
    assert empty.first is None
    for form in (show.text, show.markdown, show.page):
        assert "hf download it" in form(empty)


def test_one_scheme_for_all_and_only_for_its_language():
    german = [Record(1, "a.wav", "a.wav", "ja", -1.0, -1.0, (("language", "de"),))]
    heard = (Heard("ja", 1.0, 1.0, 1.0),)
    outcome = Outcome(parse_one("ark-mini"), Ran(Here("h", "e"), "", 1.0, None, heard))
    with pytest.raises(OptionError, match="is for 'en' only"):
        settle("in", german, [outcome], scoring=Scoring("english"), conditions=Conditions(1))
