"""Sound as it happens: pipes, pace, and what is waiting."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.audio import SAMPLE_RATE, load_audio
from ark_asr.audio.capture import Pump, file_blocks, paced, pcm_blocks
from ark_asr.errors import AudioError


class Trickle(io.RawIOBase):
    """A pipe that gives as many bytes at a time as it likes."""

    def __init__(self, data, sizes):
        self._data, self._sizes = io.BytesIO(data), iter(sizes)

    def read(self, size=-1):
        return self._data.read(min(size, next(self._sizes, size)))


@given(st.lists(st.integers(1, 999), max_size=40), st.integers(0, 2000))
def test_a_pipe_may_break_samples_apart(sizes, count):
    samples = np.random.default_rng(count).integers(-(2**15), 2**15, count).astype("<i2")
    pipe = Trickle(samples.tobytes(), sizes)
    heard = np.concatenate([np.empty(0, np.float32), *pcm_blocks(pipe, SAMPLE_RATE)])
    assert np.array_equal(heard, samples.astype(np.float32) / 2**15)


def test_another_rate_is_resampled():
    tone = np.sin(np.arange(48_000) * 2 * np.pi * 440 / 48_000)
    pipe = io.BytesIO((tone * 32767).astype("<i2").tobytes())
    heard = np.concatenate(list(pcm_blocks(pipe, 48_000)))
    assert len(heard) == pytest.approx(SAMPLE_RATE, abs=2)
    wanted = np.sin(np.arange(len(heard)) * 2 * np.pi * 440 / SAMPLE_RATE)
    assert np.abs(heard - wanted)[200:-200].max() < 1e-3


def test_a_rate_that_makes_no_sense_is_refused():
    with pytest.raises(AudioError, match=r"rate is 3; .* for 3 kHz write 3000"):
        list(pcm_blocks(io.BytesIO(b"1234"), 3))


def test_a_recording_is_no_pipe_of_samples(root):
    pipe = io.BytesIO((root / "samples" / "hello.flac").read_bytes())
    with pytest.raises(AudioError, match="is a recording, not headerless samples"):
        list(pcm_blocks(pipe, SAMPLE_RATE))


def test_a_file_comes_in_small_blocks(root):
    path = root / "samples" / "hello.flac"
    blocks = list(file_blocks(path))
    assert max(map(len, blocks)) == SAMPLE_RATE // 10
    assert np.array_equal(np.concatenate(blocks), load_audio(path).samples)


def test_no_block_comes_before_its_sound_was_spoken():
    now = [100.0]

    def sleep(seconds):
        now[0] += seconds

    came = []
    for _ in paced([np.zeros(1600, np.float32)] * 3, clock=lambda: now[0], sleep=sleep):
        came.append(now[0])
        now[0] += 0.15 if len(came) == 1 else 0.0  # the work on the first block takes too long
    assert came == pytest.approx([100.1, 100.25, 100.3])


def test_the_pump_knows_what_is_waiting():
    go_on = threading.Event()

    def blocks():
        yield np.zeros(SAMPLE_RATE, np.float32)
        yield np.zeros(SAMPLE_RATE // 2, np.float32)
        go_on.set()

    with Pump(blocks()) as pump:
        assert go_on.wait(60)
        assert [waiting for _, waiting in pump] == [0.5, 0.0]


def test_the_pump_hands_on_what_went_wrong():
    def blocks():
        yield np.zeros(10, np.float32)
        raise AudioError("the cable is out")

    with Pump(blocks()) as pump:
        coming = iter(pump)
        assert len(next(coming)[0]) == 10
        with pytest.raises(AudioError, match="cable"):
            next(coming)
