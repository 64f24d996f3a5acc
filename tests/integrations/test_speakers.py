"""Words joined to pyannote's turns: who, Multiple, and labels that mean nothing elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cf_facts
from ark_asr import Segment, Word
from ark_asr.integrations import speakers
from ark_asr.integrations.speakers import MULTIPLE, SessionSpeakers, turns_of, with_multiple
from ark_asr.pipeline.speakers import SpeakerTurn


@dataclass(frozen=True)
class Stretch:
    start: float
    end: float


class Annotation:
    """The one method of ``pyannote.core.Annotation`` that is used, with its shape."""

    def __init__(self, *turns):
        self._turns = turns

    def itertracks(self, yield_label=False):
        for number, (start, end, label) in enumerate(self._turns):
            track = (Stretch(start, end), f"track {number}")
            yield (*track, label) if yield_label else track


MEETING = Annotation(
    (0.0, 4.0, "SPEAKER_01"), (3.0, 9.0, "SPEAKER_00"), (8.0, 10.0, "SPEAKER_02"),
    (8.5, 9.5, "SPEAKER_01"),
)  # fmt: skip


def session():
    return SessionSpeakers(turns_of(MEETING))


def test_the_rule_is_that_of_linnet():
    assert (MULTIPLE, speakers.LEAST_AT_ONCE) == (cf_facts.MULTIPLE, cf_facts.SIMULTANEOUS)


@pytest.mark.parametrize(
    ("start", "end", "who"),
    [
        (0.0, 1.0, "Speaker A"), (3.2, 3.6, "Speaker A"),  # two at once: who had the floor
        (5.0, 6.0, "Speaker B"), (8.6, 8.9, MULTIPLE), (8.1, 8.4, "Speaker B"),
        (9.6, 9.9, "Speaker C"), (10.2, 10.4, "Speaker C"),  # near enough
        (30.0, 31.0, "Speaker B"),  # a gap: who speaks most
    ],
)  # fmt: skip
def test_who_speaks(start, end, who):
    assert session().speaker_at(start, end) == who


def test_without_turns_nobody_is_named():
    assert SessionSpeakers([]).speaker_at(0, 1) is None


def test_labels_are_made_anew_for_each_session():
    other = SessionSpeakers([SpeakerTurn(0, 1, "SPEAKER_00")])
    assert other.speaker_at(0, 1) == "Speaker A"
    assert session().speaker_at(5, 6) == "Speaker B"


def test_a_transcript_is_cut_where_the_speaker_changes():
    words = (
        Word(0.5, 1.0, "hello", 0.9), Word(5.0, 5.4, "hi", 0.9), Word(8.55, 8.95, "no", 0.9),
    )  # fmt: skip
    segment = Segment(0.5, 9.0, "hello hi no", "hello hi no", 0.9, 3, words=words)
    parts = [(part.text, part.speaker) for part in session().label([segment])]
    assert parts == [("hello", "Speaker A"), ("hi", "Speaker B"), ("no", MULTIPLE)]


turns = st.builds(
    lambda start, length, who: SpeakerTurn(start, start + length, who),
    st.integers(0, 12), st.integers(1, 8), st.sampled_from("abcde"),
)  # fmt: skip


@settings(max_examples=50)
@given(st.lists(turns, max_size=12))
def test_multiple_is_exactly_where_three_or_more_speak(given_turns):
    found = with_multiple(given_turns)
    for moment in (x + 0.5 for x in range(22)):
        before = {t.speaker for t in given_turns if t.start <= moment < t.end}
        after = {t.speaker for t in found if t.start <= moment < t.end}
        assert after == ({MULTIPLE} if len(before) >= 3 else before)
