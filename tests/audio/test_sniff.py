"""Containers are told from bare samples: every one that FFmpeg writes, and no speech."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ark_asr.audio import load_audio
from ark_asr.audio.sniff import describes_itself


def encoded(form, codec, rate=16_000, options=None):
    data = io.BytesIO()
    noise = np.random.default_rng(1).normal(0, 3000, (1, rate)).astype(np.int16)
    with av.open(data, "w", format=form, options=options or {}) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise, "s16", "mono")
        frame.rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return data.getvalue()


@pytest.mark.parametrize(
    ("form", "codec", "options"),
    [
        ("wav", "pcm_s16le", None), ("wav", "pcm_mulaw", None), ("w64", "pcm_s16le", None),
        ("flac", "flac", None), ("ogg", "libopus", None),
        ("matroska", "pcm_s16le", None), ("webm", "libopus", None), ("mp4", "aac", None),
        ("adts", "aac", None), ("mp3", "mp3", None), ("mp3", "mp3", {"id3v2_version": "0"}),
        ("mp2", "mp2", None), ("aiff", "pcm_s16be", None), ("au", "pcm_s16be", None),
        ("caf", "pcm_s16le", None), ("asf", "pcm_s16le", None), ("wv", "wavpack", None),
    ],
)  # fmt: skip
def test_every_container_describes_itself(form, codec, options):
    try:
        data = encoded(form, codec, 48_000 if codec == "libopus" else 16_000, options)
    except (ValueError, av.FFmpegError) as error:
        pytest.skip(f"this FFmpeg does not write {form}: {error}")
    assert describes_itself(data)


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
def test_frames_without_tags_of_every_sample_rate(rate):
    """Tags off, and the first frame (which says what encoder it was) cut away."""
    data = encoded("mp3", "mp3", rate, {"id3v2_version": "0", "write_xing": "0"})
    assert data[0] == 0xFF
    assert describes_itself(data)


def test_samples_of_speech_do_not(root):
    for name in ("hello", "numbers", "minute"):
        sound = load_audio(root / "samples" / f"{name}.flac").samples
        pcm = (sound * 32767).astype("<i2").tobytes()
        # Any chunk of it may be the first that somebody sends.
        assert not any(describes_itself(pcm[at : at + 3200]) for at in range(0, len(pcm), 3200))


@given(arrays.arrays(np.int16, st.integers(0, 400)))
def test_nor_do_any_samples(samples):
    assert not describes_itself(samples.astype("<i2").tobytes())


@given(st.integers(0xE0, 0xFF), st.binary(max_size=64))
def test_one_sync_word_is_not_enough(second, rest):
    assert not describes_itself(bytes([0xFF, second]) + b"\x01" + rest)
