"""One channel of several, from files and arrays."""

from __future__ import annotations

import numpy as np
import pytest

from ark_asr.audio import load_audio, open_audio, readable_again
from ark_asr.errors import AudioError
from ark_asr.types import Audio

RATE = 16_000


def sines(count, seconds=1.0):
    """``[count, n]``, each channel a tone of its own."""
    t = np.arange(round(RATE * seconds)) / RATE
    return np.stack([0.4 * np.sin(2 * np.pi * 300 * (k + 1) * t) for k in range(count)]).astype(
        np.float32
    )


@pytest.mark.parametrize("count", [2, 6])
def test_a_file(encode, count):
    sound = sines(count)
    data = encode(sound, RATE, "wav", "pcm_s16le")
    for channel in range(count):
        found = load_audio(data, channel=channel).samples
        np.testing.assert_allclose(found, sound[channel], atol=1e-4)
    np.testing.assert_allclose(load_audio(data).samples, sound.mean(axis=0), atol=1e-4)


def test_from_a_second_on_and_at_another_rate(encode):
    sound = sines(2, 8.0)
    data = encode(sound, RATE, "flac", "flac")
    found = load_audio(data, channel=1, begin=5.5, end=6)
    assert found.start == 5.5
    np.testing.assert_allclose(found.samples, sound[1, 88_000:96_000], atol=1e-4)
    half = load_audio(data, channel=1, sample_rate=8_000).samples
    np.testing.assert_allclose(half[500:-500], sound[1, 1_000:-1_000:2], atol=2e-3)


@pytest.mark.parametrize("kind", [np.float32, np.int16])
def test_an_array_either_way_round(kind):
    sound = (sines(2) * (1 if kind is np.float32 else 32_768)).astype(kind)
    first = load_audio(sound, source_rate=RATE, channel=1)
    second = load_audio(sound.T, source_rate=RATE, channel=1)
    np.testing.assert_array_equal(first.samples, second.samples)
    np.testing.assert_allclose(first.samples, sines(2)[1], atol=1e-4)


def test_how_many_there_are(encode):
    data = encode(sines(6), RATE, "wav", "pcm_s16le")
    for source, rate, count in ((data, None, 6), (sines(2), RATE, 2), (sines(1)[0], RATE, 1)):
        with open_audio(source, source_rate=rate, channel=0) as sound:
            assert sound.channels == count


def test_a_channel_that_is_not_there(encode):
    data = encode(sines(2), RATE, "wav", "pcm_s16le")
    with pytest.raises(AudioError, match=r"bytes: has 2 channels, there is none of number 3"):
        open_audio(data, channel=2)
    for source in (sines(1)[0], Audio(sines(1)[0], RATE)):
        rate = RATE if isinstance(source, np.ndarray) else None
        with pytest.raises(AudioError, match="has one channel, there is none of number 2"):
            open_audio(source, source_rate=rate, channel=1)


def test_what_is_wrong_with_another_channel_does_not_matter(encode):
    sound = sines(2)
    whole = sound[0].copy()
    sound[1, 5] = np.nan
    for source, rate in (
        (sound, RATE),
        (sound.T, RATE),
        (Audio(sound, RATE), None),
        (encode(sound, RATE, "wav", "pcm_f32le"), None),
    ):
        found = load_audio(source, source_rate=rate, channel=0)
        np.testing.assert_array_equal(found.samples, whole)
    for channel in (1, None):
        with pytest.raises(AudioError, match=r"sample 5 \(0.00 s\) is not finite"):
            open_audio(sound, source_rate=RATE, channel=channel)


@pytest.mark.parametrize("channel", [-1, 0.5, True, "left"])
def test_what_is_no_number_of_a_channel(channel):
    with pytest.raises(AudioError, match="whole number, 0 for the first"):
        open_audio(sines(2), source_rate=RATE, channel=channel)


def test_what_can_be_read_again(tmp_path):
    import io
    import os

    path = tmp_path / "a.wav"
    path.touch()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for source in (path, str(path), tmp_path / "none.wav", b"x", io.BytesIO(b"x"), sines(1)):
        assert readable_again(source)
    read, write = os.pipe()
    with os.fdopen(read, "rb") as file:
        os.close(write)
        for source in ("-", pipe, file):
            assert not readable_again(source)
