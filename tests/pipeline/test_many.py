"""Many recordings on one road: order, batches, and what goes wrong with one of them."""

from __future__ import annotations

import numpy as np
import pytest

from ark_asr import OptionError, Recognizer, TranscribeOptions
from ark_asr.errors import ArkError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline import Task
from ark_asr.types import Audio, Transcript
from listener import RATE, STEP, Listener, words

WHOLE = TranscribeOptions(vad=None, batch_size=4)


class Watched(Listener):
    """Keeps what it hears."""

    def embed_audio(self, mels):
        self.mels = mels
        return super().embed_audio(mels)


@pytest.fixture
def engine(byte_checkpoint):
    return Watched(Tokenizer.load(byte_checkpoint), clips=700)


@pytest.fixture
def recognizer(engine, byte_checkpoint):
    return Recognizer(engine, Tokenizer.load(byte_checkpoint), "listener")


def sound(steps):
    rng = np.random.default_rng(steps)
    return Audio(rng.normal(0, 0.05, round(steps * STEP * RATE)).astype(np.float32), RATE)


def test_results_come_in_order_however_they_were_batched(recognizer, engine):
    steps = [9, 30, 2, 17, 8, 25, 3, 11, 30, 5] * 4
    tasks = (Task(sound(n)) for n in steps)
    groups = list(recognizer.transcribe_many(tasks, WHOLE))
    assert [one.text for group in groups for one in group] == [words(n) for n in steps]
    # A pool is four batches of four; that its last recording is over is known a moment later.
    assert list(map(len, groups)) == [15, 1, 15, 1, 8]
    assert max(map(len, engine.batches)) == 4
    assert all(batch == sorted(batch, reverse=True) for batch in engine.batches)


def test_it_says_what_one_by_one_says(recognizer):
    recordings = [sound(700), sound(4), sound(1300)]
    options = TranscribeOptions(vad=False, batch_size=3)
    (group,) = recognizer.transcribe_many(map(Task, recordings), options, batch_seconds=1e6)
    for recording, found in zip(recordings, group, strict=True):
        alone = recognizer.transcribe(recording, options)
        assert (found.segments, found.duration) == (alone.segments, alone.duration)


def test_a_recording_that_fails_midway_is_an_error_of_its_own(recognizer, engine):
    engine.fails_on = {12}
    broken = Audio(np.full(RATE, np.nan, np.float32), RATE)
    tasks = [
        Task(sound(5)),
        Task(broken),
        Task(sound(12)),
        Task("no.wav"),
        Task(sound(6), 0.2, 0.3),
    ]
    (group,) = recognizer.transcribe_many(tasks, WHOLE)
    assert [isinstance(one, Transcript) for one in group] == [True, False, False, False, True]
    assert all(isinstance(one, ArkError) for one in group[1:4])
    assert group[4].text == words(2)


def test_what_was_heard_is_reported(recognizer):
    heard = []
    list(recognizer.transcribe_many([Task(sound(n)) for n in (4, 6)], WHOLE, heard=heard.append))
    assert sum(heard) == pytest.approx(10 * STEP)


def test_speech_is_looked_for_only_in_what_is_longer_than_a_clip(recognizer):
    # Noise is no speech: of the long recording nothing is left, the short one is taken whole.
    (group,) = recognizer.transcribe_many([Task(sound(590)), Task(sound(650))], WHOLE)
    assert [len(one.segments) for one in group] == [1, 0]


def test_gain_is_heard(recognizer, engine):
    heard = []
    for gain in (1.0, 0.5):
        options = TranscribeOptions(vad=False, gain=gain)
        recognizer.transcribe(sound(20), options)
        heard.append(engine.mels[0])
    # Whisper's features are log10 of power, divided by four.
    np.testing.assert_allclose(heard[1] - heard[0], np.log10(0.25) / 4, atol=1e-4)


@pytest.mark.parametrize(("name", "value"), [("gain", 0), ("gain", "loud"), ("batch_size", 0)])
def test_senseless_options(recognizer, name, value):
    with pytest.raises(OptionError, match=f"{name} is"):
        recognizer.transcribe_many([], TranscribeOptions(**{name: value}))


def test_senseless_batches(recognizer):
    with pytest.raises(OptionError, match="batch_seconds is 0"):
        recognizer.transcribe_many([], batch_seconds=0)
