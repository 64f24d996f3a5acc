"""Each channel a speaker: order, overlaps, progress, and real speech on two channels."""

from __future__ import annotations

import wave
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ark_asr import OptionError, Recognizer, TranscribeOptions, load
from ark_asr.audio import load_audio
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline import transcribe_channels

RATE = 16_000
WHOLE = TranscribeOptions(vad=False)


@pytest.fixture
def make(byte_checkpoint):
    tokenizer = Tokenizer.load(byte_checkpoint)

    def make(*answers):
        scripts = [tokenizer.encode(answer) for answer in answers]
        return Recognizer(ScriptedEngine(tokenizer.config, scripts), tokenizer, "scripted")

    return make


def noise(channels, seconds):
    shape = (channels, round(seconds * RATE))
    return np.random.default_rng(0).normal(0, 0.05, shape).astype(np.float32)


def test_the_first_channel_is_speaker_a(make):
    found = transcribe_channels(make("hello", "yes?"), noise(2, 2), WHOLE, source_rate=RATE)
    assert [(one.speaker, one.text) for one in found.segments] == [
        ("Speaker A", "hello"),
        ("Speaker B", "yes?"),
    ]
    assert (found.text, found.duration) == ("hello yes?", 2)


def test_segments_stand_in_order_of_time_and_may_overlap(make):
    words = [f"part{number}" for number in range(30)]
    found = transcribe_channels(make(*words), noise(3, 70), WHOLE, source_rate=RATE)
    starts = [one.start for one in found.segments]
    assert starts == sorted(starts)
    speakers = {one.speaker for one in found.segments}
    assert speakers == {"Speaker A", "Speaker B", "Speaker C"}
    for speaker in speakers:
        own = [one for one in found.segments if one.speaker == speaker]
        assert len(own) > 1
        assert all(a.end <= b.start for a, b in pairwise(own))


def test_progress_counts_all_channels(make):
    reports = []
    found = transcribe_channels(
        make(*["x"] * 20), noise(2, 70), WHOLE, source_rate=RATE, progress=reports.append
    )
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert (done[-1], reports[-1].total) == (140, 140)
    told = [one for report in reports for one in report.segments]
    assert sorted(told, key=lambda one: (one.start, one.end)) == list(found.segments)
    assert found.timings.audio == 70
    assert found.timings.total >= found.timings.decoder > 0


def test_cancelling_stops(make):
    found = transcribe_channels(
        make("x", "x"), noise(2, 2), WHOLE, source_rate=RATE, cancelled=lambda: True
    )
    assert found.segments == ()


def test_one_channel_is_no_conversation(make):
    with pytest.raises(OptionError, match="array: has one channel"):
        transcribe_channels(make("x"), noise(1, 2), WHOLE, source_rate=RATE)


def test_a_pipe_cannot_be_read_twice(make):
    with pytest.raises(OptionError, match="a pipe can be read only once"):
        transcribe_channels(make("x"), "-", WHOLE)


def stereo(path, left, right):
    """A call: two recordings on the channels of one WAV file."""
    length = max(len(left), len(right))
    both = [np.pad(one, (0, length - len(one))) for one in (left, right)]
    samples = (np.stack(both, axis=1) * 32_767).round().astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


def test_real_speech_on_two_channels_is_understood_as_each_alone(root, tmp_path):
    """The channels do not hear each other: each gives the words of its own recording."""
    left, right = (
        load_audio(root / "samples" / f"{name}.flac").samples for name in ("hello", "numbers")
    )
    call = stereo(tmp_path / "call.wav", left, right)
    options = TranscribeOptions()
    with load(threads=1) as model:
        found = transcribe_channels(model, call, options)
        for speaker, sound in (("Speaker A", left), ("Speaker B", right)):
            length = max(len(left), len(right))
            padded = np.pad(sound, (0, length - len(sound)))
            quantised = ((padded * 32_767).round() / 32_768).astype(np.float32)
            alone = model.transcribe(quantised, options, source_rate=RATE).segments
            own = [replace(one, speaker=None) for one in found.segments if one.speaker == speaker]
            assert own == list(alone)
            assert any(one.text for one in own)
