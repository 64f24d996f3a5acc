"""Subtitles keep their rules: nothing lost, nothing overlapping, nothing too wide."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ark_asr.errors import OptionError
from ark_asr.writers.cues import cues
from ark_asr.writers.options import SubtitleOptions
from ark_asr.writers.pieces import columns, join, pieces
from transcripts import plain_segments, said, spoken, timed_segments

LONG = " ".join(f"word{number}" for number in range(40))
segments = st.one_of(timed_segments(), plain_segments())


@st.composite
def rules(draw):
    least = draw(st.floats(0, 3))
    return SubtitleOptions(
        max_line_width=draw(st.integers(10, 60)),
        max_line_count=draw(st.integers(1, 4)),
        min_cue_duration=least,
        max_cue_duration=max(0.1, least + draw(st.floats(0, 9))),
        max_chars_per_second=draw(st.floats(5, 40)),
    )


def letters(text):
    return re.sub(r"\s", "", text)


def found_in(segment, options=None, *, labelled=False):
    return list(cues(segment, options or SubtitleOptions(), labelled=labelled))


@settings(max_examples=25)
@given(segments, rules(), st.booleans())
def test_every_word_appears_once_and_in_order(segment, options, labelled):
    shown = [piece for cue in found_in(segment, options, labelled=labelled) for piece in cue.pieces]
    assert "".join(piece.text for piece in shown) == letters(segment.text)
    assert [piece.start for piece in shown] == sorted(piece.start for piece in shown)


@settings(max_examples=25)
@given(segments, rules(), st.booleans())
def test_cues_run_forward_inside_their_segment(segment, options, labelled):
    bounds = [
        time
        for cue in found_in(segment, options, labelled=labelled)
        for time in (cue.start, cue.end)
    ]
    assert [segment.start, *bounds, segment.end] == sorted([segment.start, *bounds, segment.end])


@settings(max_examples=25)
@given(segments, rules(), st.booleans())
def test_cues_keep_width_count_and_duration(segment, options, labelled):
    for cue in found_in(segment, options, labelled=labelled):
        label = f"{cue.speaker}: " if labelled and cue.speaker else ""
        lines = cue.text().split("\n")
        assert len(lines) <= options.max_line_count
        assert all(columns(line) <= options.max_line_width for line in lines[1:])
        # A name may take half a line before it makes its line too wide.
        room = options.max_line_width - min(columns(label), options.max_line_width // 2)
        assert columns(lines[0]) <= room
        assert cue.end - cue.start <= options.max_cue_duration + 1e-6


@settings(max_examples=25)
@given(timed_segments(), rules())
def test_measured_words_are_shown_when_they_are_spoken(segment, options):
    found = found_in(segment, options)
    for cue, following in itertools.zip_longest(found, found[1:]):
        parts = list(cue.pieces)
        assert cue.start == parts[0].start
        assert len({part.speaker for part in parts}) == 1
        # It stays for its last word, and on for as long as reading takes and nothing follows.
        free = following.start if following else segment.end
        reading = columns(join(cue.pieces)) / options.max_chars_per_second
        stays = max(parts[-1].end, cue.start + max(reading, options.min_cue_duration))
        wanted = min(stays, free, cue.start + options.max_cue_duration)
        assert cue.end == pytest.approx(wanted, abs=1e-6)


@given(
    st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=1, max_size=9),
    st.integers(10, 24),
    st.integers(1, 2),
)
def test_as_few_lonely_words_as_the_rules_allow(words, width, count):
    """Against every way to cut the words, tried one by one."""
    segment = spoken(" ".join(words), pace=0.02, pause=0.01)
    options = SubtitleOptions(max_line_width=width, max_line_count=count)

    def lines_needed(group):
        lines, used = 1, -1
        for word in group:
            if used + 1 + len(word) > width:
                lines, used = lines + 1, -1
            used += 1 + len(word)
        return lines

    def lonely(cuts):
        bounds = [0, *cuts, len(words)]
        groups = [words[a:b] for a, b in itertools.pairwise(bounds)]
        if any(lines_needed(group) > count for group in groups):
            return None
        return sum(len(group) == 1 for group in groups) if len(groups) > 1 else 0

    inner = range(1, len(words))
    every = itertools.chain.from_iterable(
        itertools.combinations(inner, size) for size in range(len(words))
    )
    best = min(score for cuts in every if (score := lonely(cuts)) is not None)
    found = found_in(segment, options)
    assert sum(len(list(cue.pieces)) == 1 for cue in found) == (best if len(words) > 1 else 1)


def test_lines_break_at_punctuation_and_are_about_equally_long():
    text = "So the first thing to understand today, is that sound is a change of pressure."
    assert [cue.text() for cue in found_in(spoken(text, pace=0.05))] == [
        "So the first thing to understand today,\nis that sound is a change of pressure."
    ]
    assert [cue.text() for cue in found_in(spoken("one two three four five six seven eight nine"))]
    even = "aaaa bbbb cccc dddd eeee ffff gggg hhhh iiii jjjj"
    (cue,) = found_in(spoken(even, pace=0.02))
    assert [len(line) for line in cue.text().split("\n")] == [24, 24]


def test_no_line_of_one_word_where_there_is_another_way():
    (cue,) = found_in(spoken("This is a line that is just a little too long.", pace=0.02))
    assert all(len(line) > 1 for line in cue.lines)


def test_a_long_pause_and_a_new_speaker_begin_a_cue():
    before, after = spoken("Yes.", 0.0), spoken("And no.", 5.0)
    both = said(0.0, 8.0, "Yes. And no.", words=before.words + after.words)
    assert [(cue.start, cue.text()) for cue in found_in(both)] == [(0.0, "Yes."), (5.0, "And no.")]


def test_without_words_the_time_is_shared_by_width():
    found = found_in(said(10, 30, LONG))
    assert len(found) > 2
    assert (found[0].start, found[-1].end) == (10, 30)
    assert " ".join(cue.text().replace("\n", " ") for cue in found) == LONG
    parts = pieces(said(0, 3, "aa 你"))
    assert [(part.start, part.end) for part in parts] == [(0, 1.5), (1.5, 3)]


def test_wide_characters_count_twice_and_marks_not_at_all():
    assert columns("ab") == 2
    assert columns("你好") == 4
    assert columns("e\u0301") == 1
    assert columns("한국") == 4
    assert columns("مرحبا") == 5


def test_scripts_without_spaces_break_between_characters_and_keep_their_punctuation():
    text = "我们今天学习声音，它不过是空气压力的变化。「声音」可以穿过墙壁。"  # noqa: RUF001
    punctuation = "，。」"  # noqa: RUF001
    options = SubtitleOptions(max_line_width=20, max_line_count=2)
    lines = [line for cue in found_in(said(0, 9, text), options) for line in cue.text().split("\n")]
    assert "".join(lines) == text
    assert all(line[0] not in punctuation and line[-1] != "「" for line in lines)
    assert [part.text for part in pieces(said(0, 1, "a你好b ガー"))] == [
        "a",
        "你",
        "好",
        "b",
        "ガー",
    ]


def test_a_no_break_space_is_kept():
    (part,) = pieces(said(0, 1, "Bonjour\u00a0!"))
    assert part.text == "Bonjour\u00a0!"


def test_a_word_that_is_too_wide_is_cut():
    found = found_in(spoken("x" * 25), SubtitleOptions(max_line_width=10, max_line_count=1))
    assert [cue.text() for cue in found] == ["x" * 10, "x" * 10, "x" * 5]
    assert [round(cue.start, 6) for cue in found] == [0, 1, 2]


@pytest.mark.parametrize(
    "seen",
    [
        "का",  # a sign beside its letter
        "e\u0301",  # one above it
        "\N{REGIONAL INDICATOR SYMBOL LETTER D}\N{REGIONAL INDICATOR SYMBOL LETTER E}",
        "\N{MAN}\u200d\N{GIRL}",
        "\N{WAVING HAND SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}",
    ],
)
@pytest.mark.parametrize("width", [10, 11])
def test_what_is_seen_as_one_character_is_not_cut(seen, width):
    options = SubtitleOptions(max_line_width=width, max_line_count=1)
    lines = [cue.text() for cue in found_in(said(0, 9, seen * 30), options)]
    assert len(lines) > 2
    assert all(line.replace(seen, "") == "" for line in lines)
    assert "".join(lines) == seen * 30


def test_one_character_that_is_wider_than_a_line_is_cut_all_the_same():
    family = "\u200d".join("\N{MAN}\N{WOMAN}\N{GIRL}\N{BOY}\N{BABY}\N{DOG FACE}")
    options = SubtitleOptions(max_line_width=10, max_line_count=1)
    found = found_in(said(0, 9, family), options)
    assert [columns(cue.text()) for cue in found] == [10, 2]


def test_words_that_do_not_spell_the_text_are_not_believed():
    changed = said(0, 9, "What someone typed instead", words=spoken("what the model heard").words)
    assert not any(part.timed for part in pieces(changed))
    assert all(part.timed for part in pieces(spoken("what the model heard")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_line_width": 3}, "max_line_width is 3; it must be 10 or more"),
        ({"max_line_count": 0}, "max_line_count is 0"),
        ({"max_chars_per_second": float("nan")}, "max_chars_per_second is nan"),
        ({"max_cue_duration": float("inf")}, "max_cue_duration is inf"),
        ({"min_cue_duration": 8.0}, "is more than"),
        ({"highlight_words": True, "karaoke": True}, "choose one"),
    ],
)
def test_rules_that_make_no_sense(values, message):
    with pytest.raises(OptionError, match=message):
        SubtitleOptions(**values)
