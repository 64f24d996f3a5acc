"""Windows of a session: guards, what is to be read, and when."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cf_facts
from ark_asr import LiveEvent, LiveOptions
from ark_asr.integrations import captions
from ark_asr.integrations.captions import Captions

RATE = 16_000


def loud(seconds=1.0):
    return np.full(round(seconds * RATE), 0.1, np.float32)


def partial(text, settled=""):
    return LiveEvent("partial", 1, 0.0, 1.0, settled, text, confidence=0.5)


def final(text):
    return LiveEvent("final", 1, 0.0, 1.0, text, confidence=0.9)


class Live:
    """A live session that says what it is told to, one list of events for each window."""

    def __init__(self, *events):
        self.heard = []
        self._events = list(events)
        self._looked = []

    @property
    def position(self):
        return sum(map(len, self.heard)) / RATE

    def feed(self, samples, *, waiting=0.0):
        self.heard.append(samples)
        events = self._events.pop(0) if self._events else []
        self._looked = [event for event in events if event.kind == "partial"]
        return [event for event in events if event.kind != "partial"]

    def look(self):
        return self._looked

    def finish(self):
        return self._events.pop(0) if self._events else []


def read(*events):
    """What is to be read after each of some loud windows: text, and whether it is final."""
    session = Captions(Live(*events))
    found = [session.hear(loud()) for _ in events]
    return [caption and (caption.text, caption.final) for caption in found]


def test_the_guards_are_those_of_cf_voice():
    assert captions.LEAST_SECONDS == cf_facts.LEAST_SECONDS
    assert captions.LEAST_RMS == cf_facts.LEAST_RMS
    assert captions.MOST_REPEATS == cf_facts.MOST_REPEATS
    assert captions.NO_WORDS == cf_facts.HALLUCINATIONS


def test_only_the_step_is_not_the_usual_one():
    usual = LiveOptions()
    for item in fields(usual):
        same = getattr(captions.OPTIONS, item.name) == getattr(usual, item.name)
        assert same == (item.name != "step")


def test_an_utterance_grows_and_then_stays():
    found = read([partial("so")], [partial("so it", "so it")], [final("so it is")], [])
    assert found == [("so", False), ("so itso it", False), ("so it is", True), None]


def test_what_has_not_changed_is_not_told_again():
    assert read([partial("so")], [partial("so")], [final("so")]) == [
        ("so", False), None, ("so", True),
    ]  # fmt: skip


def test_the_end_of_an_utterance_is_not_hidden_by_the_next_one():
    assert read([final("the end"), partial("and")], [partial("and then")]) == [
        ("the end", True), ("and then", False),
    ]  # fmt: skip
    assert read([final("one"), final("two")]) == [("one two", True)]


@pytest.mark.parametrize("text", ["Um.", "t y", "T-Y", " bye! ", "MHM"])
def test_hallucination_tokens_are_left_out(text):
    assert read([partial(text)], [final(text)], [final(f"{text} well")]) == [
        None, None, (f"{text} well", True),
    ]  # fmt: skip


def test_a_loop_is_cut_off_after_two():
    same = [final("thank you")]
    assert read(same, same, same, same, [final("now")], same) == [
        ("thank you", True), ("thank you", True), None, None, ("now", True), ("thank you", True),
    ]  # fmt: skip
    assert read(same, same, [partial("thank you")], [partial("thank you so")])[2:] == [
        None, ("thank you so", False),
    ]  # fmt: skip


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=20))
def test_short_pieces_wait_for_more_and_nothing_is_lost(sizes):
    live = Live()
    session = Captions(live)
    sound = np.linspace(0.1, 0.2, sum(sizes), dtype=np.float32)
    for last, size in zip(np.cumsum(sizes), sizes, strict=True):
        session.hear(sound[last - size : last])
        assert all(len(piece) >= cf_facts.LEAST_SECONDS * RATE for piece in live.heard)
    session.finish()
    assert np.array_equal(np.concatenate(live.heard), sound)


def test_quiet_windows_are_heard_as_silence_so_that_utterances_end():
    live = Live()
    session = Captions(live)
    session.hear(loud() * 0.049)  # an RMS of 0.0049
    session.hear(loud() * 0.051)
    assert [bool(piece.any()) for piece in live.heard] == [False, True]
    assert [len(piece) for piece in live.heard] == [RATE, RATE]


def test_the_rest_comes_at_the_end():
    live = Live([partial("and")], [], [final("and so on")])
    session = Captions(live)
    session.hear(loud())
    session.hear(loud(0.1))
    caption = session.finish()
    assert (caption.text, caption.final, caption.confidence) == ("and so on", True, 0.9)
    assert session.position == pytest.approx(1.1)
