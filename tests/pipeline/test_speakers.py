"""Turns joined to words: the rule word by word, and what no rule may do to a transcript."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ark_asr.pipeline.speakers import NEAREST, Speakers, SpeakerTurn, letter, with_letters
from ark_asr.types import Alternative, Segment, Word

few = settings(max_examples=40)  # each transcript is a long example
seconds = st.integers(0, 400).map(lambda tenths: tenths / 10)


def turn(start, end, speaker="A"):
    return SpeakerTurn(start, end, speaker)


def segment(start, end, text, words=(), **more):
    given = {"raw_text": text, "confidence": 0.5, "tokens": 9, **more}
    return Segment(start, end, text, words=tuple(words), **given)


def spoken(text, *bounds):
    """A segment whose words lie between the bounds, one after the other."""
    words = text.split()
    return segment(
        bounds[0],
        bounds[-1],
        text,
        [Word(*bounds[i : i + 2], word, 0.5) for i, word in enumerate(words)],
    )


@st.composite
def turns(draw):
    found = st.tuples(seconds, seconds, st.sampled_from("ABC"))
    return [turn(min(a, b), max(a, b), who) for a, b, who in draw(st.lists(found, max_size=8))]


@st.composite
def transcripts(draw):
    """Segments that follow each other, with or without words, with or without spaces."""
    times = sorted(draw(st.lists(seconds, min_size=2, max_size=24)))
    found, at = [], 0
    while at + 1 < len(times):
        count = draw(st.integers(1, 5))
        bounds = times[at : at + count + 1]
        at += count + 1
        texts = draw(
            st.lists(st.text("aé你.", min_size=1, max_size=3), min_size=1, max_size=len(bounds) - 1)
            if len(bounds) > 1
            else st.just([])
        )
        words = [Word(bounds[i], bounds[i + 1], t, 0.5) for i, t in enumerate(texts)]
        text = draw(st.sampled_from([" ", ""])).join(texts)
        timed = draw(st.booleans())
        found.append(segment(bounds[0], bounds[-1], text, words if timed else ()))
    return found


def bare(words):
    return [replace(word, speaker=None) for word in words]


@few
@given(transcripts(), turns())
def test_no_word_is_lost_moved_or_changed_in_time(segments, turns):
    found = list(Speakers(turns).label(segments))
    before = [word for one in segments for word in one.words]
    assert bare(word for one in found for word in one.words) == bare(before)
    assert "".join("".join(one.text.split()) for one in found) == "".join(
        "".join(one.text.split()) for one in segments
    )
    assert sum(one.tokens for one in found) == sum(one.tokens for one in segments)
    assert [one.raw_text for one in found if one.raw_text] == [
        one.raw_text for one in segments if one.raw_text
    ]


@few
@given(transcripts(), turns())
def test_parts_lie_in_their_segment_in_order(segments, turns):
    for one in segments:
        found = list(Speakers(turns).label([one]))
        times = [time for part in found for time in (part.start, part.end)]
        assert times == sorted(times)
        assert (times[0], times[-1]) == (one.start, one.end)
        for part in found:
            assert all(part.start <= word.start <= word.end <= part.end for word in part.words)


@few
@given(transcripts(), turns())
def test_neighbouring_parts_have_different_speakers_who_said_their_words(segments, turns):
    for one in segments:
        found = list(Speakers(turns).label([one]))
        assert all(a.speaker != b.speaker for a, b in pairwise(found))
        for part in found:
            assert {word.speaker for word in part.words} <= {part.speaker, None}


@few
@given(transcripts(), turns())
def test_labelling_again_changes_nothing(segments, turns):
    speakers = Speakers(turns)
    once = list(speakers.label(segments))
    assert list(speakers.label(once)) == once


@few
@given(turns(), seconds, seconds)
def test_who_speaks_does_not_depend_on_the_order_of_turns(turns, first, second):
    start, end = sorted((first, second))
    expected = Speakers(turns).at(start, end)
    assert Speakers(reversed(turns)).at(start, end) == expected
    assert Speakers(turns + turns).at(start, end) == expected


@few
@given(turns(), seconds, seconds)
def test_the_rule_against_plain_arithmetic(turns, first, second):
    """Largest overlap, counted in ticks of 0.1 s; gaps by distance."""
    start, end = sorted((first, second))
    ticks = range(round(start * 10), round(end * 10))
    shares = {
        who: sum(
            any(round(t.start * 10) <= i < round(t.end * 10) for t in turns if t.speaker == who)
            for i in ticks
        )
        for who in {t.speaker for t in turns}
    }
    found = Speakers(turns).at(start, end)
    if most := max(shares.values(), default=0):
        assert shares[found] == most
        return
    gaps = [max(t.start - end, start - t.end, 0.0) for t in turns]
    if not gaps or min(gaps) > NEAREST + 1e-9:
        assert found is None
    elif min(gaps) < NEAREST - 1e-9:
        near = {t.speaker for t, gap in zip(turns, gaps, strict=True) if gap < min(gaps) + 1e-6}
        assert found in near


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([], None),
        ([turn(0, 9)], "A"),
        ([turn(0, 4.4, "A"), turn(4.4, 9, "B")], "B"),
        # Two short turns of one speaker count together.
        ([turn(4, 4.4, "A"), turn(4.6, 5, "A"), turn(4.4, 4.9, "B")], "A"),
        # A turn that is there twice does not count twice.
        ([turn(4, 4.4, "A"), turn(4, 4.4, "A"), turn(4.4, 5, "B")], "B"),
        # Both speak during the whole word: who began first has the floor.
        ([turn(3.5, 6, "A"), turn(2, 6, "B")], "B"),
        ([turn(0, 4 - NEAREST)], "A"),
        ([turn(0, 3.4)], None),
        ([turn(5.25, 6, "A"), turn(3, 3.75, "B")], "B"),
        ([turn(5.1, 6, "A"), turn(3, 3.7, "B")], "A"),
    ],
)
def test_who_speaks_from_4_to_5(turns, expected):
    assert Speakers(turns).at(4, 5) == expected


def test_a_word_without_length_has_the_speaker_around_it():
    assert Speakers([turn(0, 2), turn(2, 5, "B")]).at(3, 3) == "B"


def test_a_segment_is_cut_where_the_speaker_changes():
    one = replace(
        spoken("how are you? fine, thanks", 1, 1.5, 2, 2.4, 3, 4),
        raw_text=". how  are",
        flags=("loop",),
        alternatives=(Alternative("x", 0.1),),
    )
    found = list(Speakers([turn(0, 2.5), turn(2.5, 9, "B")]).label([one]))
    assert [(part.start, part.end, part.text, part.speaker) for part in found] == [
        (1, 2.4, "how are you?", "A"),
        (2.4, 4, "fine, thanks", "B"),
    ]
    assert [(part.raw_text, part.tokens, len(part.alternatives)) for part in found] == [
        (". how  are", 9, 1),
        ("", 0, 0),
    ]
    assert [(part.confidence, part.flags) for part in found] == [(0.5, ("loop",))] * 2


def test_text_without_spaces_is_cut_between_characters():
    words = [Word(0, 1, "你", 0.5), Word(1, 2, "好。", 0.5), Word(2, 3, "是", 0.5)]
    one = segment(0, 3, "你好。是", words)
    found = list(Speakers([turn(0, 2), turn(2, 3, "B")]).label([one]))
    assert [part.text for part in found] == ["你好。", "是"]


def test_a_word_that_nobody_is_near_to_does_not_cut():
    one = spoken("well um yes no", 0, 1, 5, 6, 7)
    found = list(Speakers([turn(0, 1), turn(5, 6), turn(6, 9, "B")]).label([one]))
    assert [(part.text, part.speaker) for part in found] == [("well um yes", "A"), ("no", "B")]
    (whole,) = Speakers([turn(50, 60)]).label([one])
    assert (whole.speaker, {word.speaker for word in whole.words}) == (None, {None})


@pytest.mark.parametrize("words", [(), (Word(0, 4, "something", 0.5),)])
def test_without_words_that_spell_it_a_segment_stays_whole(words):
    one = segment(0, 4, "two people spoke", words)
    (found,) = Speakers([turn(0, 1), turn(1, 4, "B")]).label([one])
    assert (found.text, found.speaker) == (one.text, "B")


def test_nobody_speaks_in_an_empty_segment():
    one = segment(0, 4, "", flags=("empty",))
    assert list(Speakers([turn(0, 4)]).label([one])) == [one]


def test_labels_are_letters_in_order_of_first_speech():
    given = [turn(5, 6, "bob"), turn(0, 1, "eve"), turn(2, 3, "bob"), turn(7, 8, "eve")]
    assert [one.speaker for one in with_letters(given)] == [
        f"Speaker {name}" for name in ("A", "B", "B", "A")
    ]


def test_letters_do_not_end():
    names = [letter(number) for number in range(26 + 26**2 + 1)]
    assert len(set(names)) == len(names)
    assert [names[at] for at in (0, 25, 26, 51, 52, 701, 702)] == [
        f"Speaker {name}" for name in ("A", "Z", "AA", "AZ", "BA", "ZZ", "AAA")
    ]
