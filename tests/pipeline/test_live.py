"""Live captions of real speech through the embedded model, and the rules with scripted parts."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ark_asr import LiveOptions, OptionError, Recognizer, TranscribeOptions, load
from ark_asr.audio import SAMPLE_RATE, WINDOW, load_audio
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.errors import AudioError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline.live import LiveSession


def still():
    """A clock for which the machine is infinitely fast, so that only the sound decides."""
    return 0.0


class Loudness:
    """Takes whatever is not digital silence for speech."""

    def __init__(self):
        self.reset()

    def reset(self):
        self._rest = np.empty(0, np.float32)

    def feed(self, samples):
        joined = np.concatenate([self._rest, samples])
        count = len(joined) // WINDOW
        self._rest = joined[count * WINDOW :]
        windows = joined[: count * WINDOW].reshape(count, WINDOW)
        return (np.abs(windows).max(axis=1) > 0).astype(np.float32)


class Counting(ScriptedEngine):
    """Always says the same, and counts how often it is asked."""

    def __init__(self, config, answer):
        super().__init__(config, [answer])
        self.asked = 0

    def embed_audio(self, mels):
        self._heard = 0
        self.asked += 1
        return super().embed_audio(mels)


@pytest.fixture(scope="module")
def tokenizer(byte_checkpoint):
    return Tokenizer.load(byte_checkpoint)


@pytest.fixture(scope="module")
def scripted(tokenizer):
    def make(text="hello there you", options=LiveOptions(), clock=still):  # noqa: B008 - frozen
        engine = Counting(tokenizer.config, tokenizer.encode(text))
        session = LiveSession(
            engine, tokenizer, options, TranscribeOptions(), detector=Loudness(), clock=clock
        )
        return session, engine

    return make


@pytest.fixture(scope="module")
def mini():
    with load(threads=1) as recognizer:
        yield recognizer


@pytest.fixture(scope="module")
def numbers(root):
    return load_audio(root / "samples" / "numbers.flac").samples


def speech(seconds):
    return np.full(round(seconds * SAMPLE_RATE), 0.1, np.float32)


def silence(seconds):
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def hear_only(session, samples, size=1600):
    chunks = [samples[first : first + size] for first in range(0, len(samples), size)]
    return [event for chunk in chunks for event in session.feed(chunk)]


def hear(session, samples, size=1600):
    return hear_only(session, samples, size) + session.finish()


def real(mini, samples, size=1600, options=LiveOptions()):  # noqa: B008 - frozen
    session = LiveSession(mini._engine, mini.tokenizer, options, TranscribeOptions(), clock=still)
    return hear(session, samples, size)


@settings(max_examples=15)
@given(sizes=st.lists(st.integers(0, 20_000), min_size=1, max_size=12))
def test_the_size_of_chunks_changes_nothing(scripted, sizes):
    sound = np.concatenate([silence(0.5), speech(1.3), silence(0.7), speech(0.8)])
    session, _ = scripted()
    events = []
    for first, last in pairwise(np.cumsum([0, *sizes, len(sound)])):
        events += session.feed(sound[first:last])
    events += session.finish()
    assert events == hear(scripted()[0], sound)


@pytest.mark.parametrize("size", [160, 48_000])
def test_the_size_of_chunks_changes_nothing_of_real_speech(mini, numbers, size):
    assert real(mini, numbers, size) == real(mini, numbers)


@pytest.mark.parametrize("windows", range(1, 12))
def test_what_may_still_be_a_noise_has_no_caption(scripted, windows):
    # A cough is followed by quiet that still counts as speech until it has lasted long enough.
    sound = np.concatenate([silence(1), speech(windows * WINDOW / SAMPLE_RATE), silence(1)])
    events = hear(scripted(options=LiveOptions(step=0.03))[0], sound)
    ended = {event.utterance for event in events if event.kind == "final"}
    assert {event.utterance for event in events if event.kind == "partial"} == ended


def test_events_of_real_speech(mini, numbers):
    twice = np.concatenate([numbers, silence(1), numbers])
    events = real(mini, twice)
    finals = [event for event in events if event.kind == "final"]
    assert [event.utterance for event in finals] == list(range(1, len(finals) + 1))
    assert all(a.end <= b.start for a, b in pairwise(finals))
    for number, group in groupby(
        (event for event in events if event.kind != "silence"), lambda event: event.utterance
    ):
        *partials, final = group
        assert final.kind == "final", f"utterance {number} was reopened"
        assert {event.kind for event in partials} <= {"partial"}
        for before, after in pairwise(partials):
            assert after.settled.startswith(before.settled)
        assert any(event.settled for event in partials)
    words = " ".join(event.text for event in finals).split()
    offline = mini.transcribe(twice, source_rate=SAMPLE_RATE).text.split()
    assert set(words) & set(offline)


def test_a_final_is_what_transcribing_its_span_gives(mini, numbers):
    finals = [event for event in real(mini, numbers) if event.kind == "final"]
    assert finals
    for event in finals:
        first, last = (round(time * SAMPLE_RATE) for time in (event.start, event.end))
        alone = mini.transcribe(
            numbers[first:last], TranscribeOptions(vad=False), source_rate=SAMPLE_RATE
        )
        assert event.settled == alone.text
        assert event.segments[0].start == event.start


class Plain:
    """A model that cannot verify drafts; counts its steps."""

    def __init__(self, engine):
        self._engine, self.steps = engine, 0
        self.output_ids, self.max_positions = engine.output_ids, engine.max_positions
        self.embed_audio, self.start = engine.embed_audio, engine.start

    def step(self, state, token_ids):
        self.steps += 1
        return self._engine.step(state, token_ids)

    def close(self):
        self._engine.close()


class Verifying(Plain):
    """One that can."""

    def __init__(self, engine):
        super().__init__(engine)
        self.verify, self.rewind = engine.verify, engine.rewind


def test_what_a_look_has_found_is_not_decoded_again_step_by_step(mini, numbers):
    heard, steps = [], []
    for engine in (Plain(mini._engine), Verifying(mini._engine)):
        session = LiveSession(
            engine, mini.tokenizer, LiveOptions(), TranscribeOptions(), clock=still
        )
        events = hear(session, numbers)
        heard.append([(event.kind, event.end, event.settled, event.pending) for event in events])
        steps.append(engine.steps)
    assert heard[0] == heard[1]
    assert steps[1] < steps[0] / 2


def test_nothing_is_computed_in_silence(scripted):
    session, engine = scripted()
    events = hear(session, silence(21))
    assert engine.asked == 0
    assert {event.kind for event in events} == {"silence"}
    assert [event.end for event in events] == pytest.approx([5, 10, 15, 20], abs=0.07)


def test_an_utterance_is_written_down_before_its_pause_is_over(scripted):
    rare = LiveOptions(step=60.0, pause=0.4)  # no looks but the first
    said = np.concatenate([silence(0.5), speech(1.0)])
    session, engine = scripted(options=rare)
    hear_only(session, np.concatenate([said, silence(0.2)]))
    looks = engine.asked
    hear_only(session, silence(0.15))
    assert engine.asked == looks + 1
    (final,) = hear_only(session, silence(0.2))
    assert (final.kind, engine.asked) == ("final", looks + 1)
    # Who goes on makes that useless, but not wrong.
    session, engine = scripted(options=rare)
    hear_only(session, np.concatenate([said, silence(0.3), speech(0.5), silence(0.1)]))
    assert engine.asked == looks + 1
    (final,) = session.finish()
    assert (final.start, final.end) == pytest.approx((0.35, 2.4), abs=0.06)
    assert engine.asked == looks + 2


def test_a_slow_machine_does_not_write_in_advance(scripted):
    times = iter(range(0, 10_000, 5))
    session, engine = scripted(options=LiveOptions(pause=0.4), clock=lambda: float(next(times)))
    hear_only(session, np.concatenate([silence(0.5), speech(1.0), silence(0.37)]))
    looks = engine.asked
    (final,) = hear_only(session, silence(0.2))
    assert (final.kind, engine.asked) == ("final", looks + 1)


def test_what_is_said_settles_but_for_the_newest_word(scripted):
    session, _ = scripted("hello there you")
    partials = [e for e in hear(session, speech(1.5)) if e.kind == "partial"]
    assert partials[0].settled == ""
    assert partials[1].settled == "hello there"
    assert partials[1].pending.startswith(" you")


def test_looks_are_as_far_apart_as_asked(scripted):
    session, engine = scripted(options=LiveOptions(step=1.0))
    partials = [e for e in hear(session, speech(5)) if e.kind == "partial"]
    assert np.diff([event.end for event in partials]) == pytest.approx(1.0, abs=0.05)
    assert engine.asked == len(partials) + 1


def test_one_look_after_each_window_is_all_that_is_spent(scripted):
    session, engine = scripted(options=LiveOptions(step=1e6))
    assert session.look() == []
    session.feed(speech(1.0))  # the very first look comes by itself
    asked = engine.asked
    for _ in range(3):
        assert session.feed(speech(1.0)) == []
        (event,) = session.look()
        assert event.kind == "partial"
        assert event.end == pytest.approx(session.position, abs=WINDOW / SAMPLE_RATE)
        assert session.look() == [], "nothing new was said"
    assert engine.asked == asked + 3


def test_a_look_that_is_asked_for_keeps_to_its_share(scripted):
    ticks = iter(range(10**6))
    options = LiveOptions(step=1e6, share=0.1, max_lag=1e9)
    session, engine = scripted(options=options, clock=lambda: next(ticks) / 10)
    for _ in range(8):
        session.feed(speech(0.5))
        session.look()
    assert engine.asked < 6


def test_a_slow_machine_looks_less_often(scripted):
    ticks = iter(range(10**6))
    # Every question to the clock takes a tenth of a second: a look costs that much.
    options = LiveOptions(step=0.2, share=0.1, max_lag=1e6)
    session, slow = scripted(options=options, clock=lambda: next(ticks) / 10)
    hear(session, speech(8))
    session, fast = scripted(options=options)
    hear(session, speech(8))
    assert slow.asked < fast.asked / 3


def test_captions_that_fall_behind_come_per_utterance_and_say_so(scripted):
    session, engine = scripted()
    late = session.feed(np.concatenate([speech(3), silence(1)]), waiting=60.0)
    assert [event.kind for event in late] == ["final"]
    assert late[0].behind
    assert late[0].lag == pytest.approx(60.0)
    assert engine.asked == 1
    on_time = session.feed(np.concatenate([speech(3), silence(1)]), waiting=0.0)
    assert "partial" in {event.kind for event in on_time}
    assert not on_time[-1].behind


def test_endless_speech_is_cut(scripted):
    session, _ = scripted(options=LiveOptions(max_utterance=6.0))
    finals = [event for event in hear(session, speech(20)) if event.kind == "final"]
    assert max(event.end - event.start for event in finals) <= 6.0 + 1e-6
    assert sum(event.end - event.start for event in finals) == pytest.approx(20, abs=0.01)


def test_finishing_in_the_middle_of_a_word_loses_nothing(scripted):
    session, _ = scripted()
    session.feed(speech(1.234))
    (final,) = session.finish()
    assert final.end == pytest.approx(1.234, abs=1e-3)
    assert session.finish() == []


def test_memory_does_not_grow(scripted):
    session, _ = scripted()
    some = np.concatenate([speech(1), silence(1)] * 2)
    session.feed(some)
    tracemalloc.start()
    try:
        session.feed(some)
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(4):
            session.feed(some)
        grown = tracemalloc.get_traced_memory()[0] - first
    finally:
        tracemalloc.stop()
    assert grown < 50_000  # the sound alone would be a million


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(10, np.int16),
        np.zeros((2, 10), np.float32),
        np.array([0.0, np.nan], np.float32),
        np.array([0.0, 1e30], np.float32),
        [0.0, 0.1],
        b"\0\0",
    ],
)
def test_sound_that_is_no_sound_is_refused(scripted, bad):
    session, _ = scripted()
    with pytest.raises(AudioError, match="live sound"):
        session.feed(bad)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"step": 0.0}, "step"), ({"share": 2.0}, "share"), ({"pause": 0.1}, "pause"),
     ({"max_lag": float("nan")}, "max_lag"),
     ({"lead": -0.1}, "lead is -0.1; it must be a number of seconds, 0 or more"),
     ({"share": 0}, "share is 0; it is a part of the time, above 0, at most 1"),
     ({"threshold": -1}, "threshold is -1; it is a probability, 0 or more, at most 1"),
     ({"threshold": 1.5}, "threshold"), ({"lead": 6.0}, "lead is .* at most half a clip")],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(scripted, change, named):
    with pytest.raises(OptionError, match=named):
        scripted(options=replace(LiveOptions(), **change))


def test_a_closed_recognizer_cannot_caption(tokenizer):
    recognizer = Recognizer(Counting(tokenizer.config, [1]), tokenizer, "scripted")
    recognizer.close()
    with pytest.raises(OptionError, match="closed"):
        recognizer.live()
