"""Every container and codec gives the right samples at the right second."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ark_asr.audio import load_audio, open_audio
from ark_asr.errors import AudioWarning
from ark_asr.types import Audio

FORMATS = [
    ("wav", "pcm_s16le", 44_100),
    ("wav", "pcm_u8", 8_000),
    ("wav", "pcm_s24le", 48_000),
    ("wav", "pcm_f32le", 22_050),
    ("wav", "pcm_f64le", 16_000),
    ("wav", "adpcm_ms", 48_000),
    ("wav", "adpcm_ima_wav", 8_000),
    ("w64", "adpcm_yamaha", 44_100),
    ("wav", "g722", 16_000),
    ("aiff", "pcm_s16be", 44_100),
    ("caf", "alac", 44_100),
    ("flac", "flac", 44_100),
    ("ogg", "flac", 22_050),
    ("ogg", "libopus", 48_000),
    ("mp3", "libmp3lame", 44_100),
    ("mp3", "libmp3lame", 16_000),
    ("mp4", "aac", 44_100),
    ("adts", "aac", 44_100),
    ("matroska", "libopus", 48_000),
    ("webm", "libopus", 48_000),
    ("mpegts", "aac", 48_000),
]


@pytest.mark.parametrize(("container", "codec", "rate"), FORMATS)
def test_sound_is_heard_at_its_true_second(container, codec, rate, encode, tone):
    data = encode(tone(rate, 3.0, burst=1.7), rate, container, codec)
    audio = load_audio(data)
    loud = np.flatnonzero(np.abs(audio.samples) > 0.2) / 16_000
    # ADTS and MPEG-TS cannot say that the encoder's first 1,024 samples are to be left out.
    late = 1024 / rate if container in {"adts", "mpegts"} else 0.0
    assert loud[0] == pytest.approx(1.7 + late, abs=0.005)
    assert loud[-1] == pytest.approx(1.8 + late, abs=0.005)
    assert audio.duration == pytest.approx(3.0, abs=0.08)
    assert np.abs(audio.samples).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("container", "codec", "rate"), FORMATS)
def test_a_part_is_what_decoding_all_and_cutting_gives(container, codec, rate, encode, tone):
    # With AAC only its noise substitution differs after a seek; it plays no role in pure tones.
    data = encode(tone(rate, 12.0), rate, container, codec)
    whole = load_audio(data).samples
    for begin, end in ((0.0, 1.5), (3.3, 5.1234), (9.87654, 11.0), (10.0, 11.5)):
        with open_audio(data, begin=begin, end=end) as stream:
            blocks = list(stream)
        part = np.concatenate([block.samples for block in blocks])
        assert blocks[0].start == pytest.approx(begin, abs=1 / 16_000)
        assert stream.duration == pytest.approx(end - begin, abs=1e-3)
        assert stream.warnings == []
        np.testing.assert_allclose(
            part, whole[round(begin * 16_000) : round(end * 16_000)], atol=1e-5
        )


def test_every_file_of_the_evaluation_pack_decodes_to_its_stated_length(speech: Path):
    seen, wrong = set(), []
    for line in (speech / "eval" / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        kind = (Path(item["audio"]).suffix, item["format"], item["sample_rate"], item["channels"])
        if kind in seen:
            continue
        seen.add(kind)
        with open_audio(speech / "eval" / item["audio"]) as stream:
            length, due = 0.0, 0.0
            for block in stream:
                assert block.start == pytest.approx(due, abs=1e-6)
                assert block.samples.dtype == np.float32
                length, due = length + block.duration, block.end
        if abs(length - item["duration"]) > 0.03:
            wrong.append((item["audio"], item["duration"], length))
    assert len(seen) > 30
    assert wrong == []


def test_one_recording_in_many_formats_is_the_same_sound(speech: Path):
    folder = speech / "eval" / "audio" / "formats"
    reference = load_audio(folder / "w64_16k.w64").samples
    for name in ("aac_44k1.m4a", "alac_44k1.caf", "flac_in_ogg.oga", "mp3_44k1_320.mp3",
                 "ogg_vorbis_16k.ogg", "rf64_16k.wav", "wavex_48k_6ch.wav"):  # fmt: skip
        samples = load_audio(folder / name).samples
        length = min(len(samples), len(reference))
        assert np.corrcoef(samples[:length], reference[:length])[0, 1] > 0.98, name


def test_sound_that_starts_after_the_pictures_is_late(encode, tone):
    for container in ("matroska", "mp4"):
        data = encode(
            tone(16_000, 3.0, burst=1.0), 16_000, container, "aac", late=1.5, picture=True
        )
        audio = load_audio(data)
        loud = np.flatnonzero(np.abs(audio.samples) > 0.2) / 16_000
        assert audio.start == 0.0
        assert loud[0] == pytest.approx(2.5, abs=0.01), container
        part = load_audio(data, begin=2.4, end=2.9)
        np.testing.assert_allclose(part.samples, audio.samples[38_400:46_400], atol=1e-5)


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("ogg", "libopus", 48_000), ("ogg", "flac", 16_000), ("flac", "flac", 16_000)],
)
def test_any_part_of_joined_files_is_found(container, codec, rate, encode, tone, tmp_path):
    data = b"".join(encode(tone(rate, 12.0, at), rate, container, codec) for at in (9.0, 5.0))
    (tmp_path / "joined").write_bytes(data)
    for source in (tmp_path / "joined", io.BytesIO(data)):
        for begin in (0.0, 8.0, 13.0, 16.0):
            with open_audio(source, begin=begin) as stream:
                samples = np.concatenate([block.samples for block in stream])
            loud = begin + np.flatnonzero(np.abs(samples) > 0.2) / 16_000
            assert loud[0] == pytest.approx(9.0 if begin < 9 else 17.0, abs=0.01)
            assert loud[-1] == pytest.approx(17.1, abs=0.01)


def test_frames_of_another_rate_follow_each_other(encode, tone):
    parts = [encode(tone(rate, 4.0, 2.0), rate, "adts", "aac") for rate in (16_000, 48_000)]
    audio = load_audio(b"".join(parts))  # a hole between two frames would be a warning
    loud = np.flatnonzero(np.abs(audio.cut(4.2, 9.0).samples) > 0.2) / 16_000
    assert 4.2 + loud[0] == pytest.approx(6.1, abs=0.1)
    assert loud[-1] - loud[0] == pytest.approx(0.1, abs=0.01)


def test_time_starts_with_the_first_sound_where_there_are_no_pictures(encode, tone):
    data = encode(tone(16_000, 3.0, burst=1.0), 16_000, "matroska", "flac", late=7.0)
    audio = load_audio(data)
    assert audio.duration == pytest.approx(3.0, abs=0.01)
    assert np.flatnonzero(np.abs(audio.samples) > 0.2)[0] / 16_000 == pytest.approx(1.0, abs=0.01)


def test_a_hole_in_the_timestamps_is_silence_and_told(encode, tone):
    data = encode(tone(48_000, 8.0, burst=6.0), 48_000, "matroska", "libopus", lose=(2.0, 4.0))
    with pytest.warns(AudioWarning, match=r"second 2\.0 \(2\.0\d s are missing\)"):
        audio = load_audio(data)
    assert audio.duration == pytest.approx(8.0, abs=0.05)
    assert np.flatnonzero(np.abs(audio.samples) > 0.2)[0] / 16_000 == pytest.approx(6.0, abs=0.01)


@pytest.mark.parametrize("stretch", [0.99, 0.999, 1.001, 1.01])
@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_timestamps_that_drift_are_followed(container, stretch, encode, tone):
    sound = tone(16_000, 40.0, burst=38.0)
    data = encode(sound, 16_000, container, "aac", picture=True, stretch=stretch)
    for audio in (load_audio(data), load_audio(data, begin=37.0)):
        loud = np.flatnonzero(np.abs(audio.samples) > 0.2) / 16_000
        assert audio.start + loud[0] == pytest.approx(38.0 * stretch, abs=0.02)


@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]),
    length=st.floats(0.05, 1.5),
    begin=st.floats(0, 1),
    part=st.floats(0.01, 1),
)
@settings(max_examples=60)
def test_any_part_of_an_array_is_the_cut_of_the_whole(rate, length, begin, part):
    samples = np.random.default_rng(0).standard_normal(round(rate * length)).astype(np.float32)
    whole = load_audio(samples, source_rate=rate).samples
    assert len(whole) == pytest.approx(len(samples) * 16_000 / rate, abs=1)
    first = round(begin * length * 16_000)
    last = round((begin * length + part) * 16_000)
    if first >= len(whole) or last <= first:
        return
    audio = load_audio(samples, source_rate=rate, begin=begin * length, end=begin * length + part)
    assert audio.start == first / 16_000
    np.testing.assert_allclose(audio.samples, whole[first:last], atol=1e-5)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_a_tone(rate):
    def sine(at: int) -> np.ndarray:
        return np.sin(2 * np.pi * 440 * np.arange(at) / at).astype(np.float32)

    result = load_audio(sine(rate), source_rate=rate).samples
    assert len(result) == 16_000
    np.testing.assert_allclose(result[800:-800], sine(16_000)[800:-800], atol=1e-3)


def test_other_rates_can_be_asked_for():
    audio = load_audio(np.zeros(16_000, np.float32), source_rate=16_000, sample_rate=24_000)
    assert (audio.sample_rate, len(audio.samples)) == (24_000, 24_000)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_channels_are_averaged_whatever_the_sample_format(codec, encode):
    left, right = np.full(1600, 0.5, np.float32), np.full(1600, -0.25, np.float32)
    samples = load_audio(encode(np.stack([left, right]), 16_000, "wav", codec)).samples
    np.testing.assert_allclose(samples, 0.125, atol=1 / 128)


def test_six_planar_channels_are_averaged(encode):
    channels = np.arange(6, dtype=np.float32)[:, None] / 10 * np.ones(16_000, np.float32)
    samples = load_audio(encode(channels, 16_000, "wav", "pcm_s16le")).samples
    np.testing.assert_allclose(samples, 0.25, atol=1e-3)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full(1600, 0.5), 0.5),
        (np.full(1600, 0.5, np.float16), 0.5),
        (np.full(1600, 16_384, np.int16), 0.5),
        (np.full(1600, 16_384, ">i2"), 0.5),
        (np.full(1600, 2**30, ">i4"), 0.5),
        (np.full(1600, 1 << 30, np.int32), 0.5),
        (np.full(1600, 192, np.uint8), 0.5),
        (np.array([[0.5], [0.1]]) * np.ones(1600), 0.3),
        (np.array([0.5, 0.1]) * np.ones((1600, 1)), 0.3),
    ],
)
def test_arrays_of_every_kind(array, expected):
    audio = load_audio(array, source_rate=16_000)
    assert audio.samples.dtype == np.float32
    np.testing.assert_allclose(audio.samples, np.full(1600, expected), atol=1e-3)


def test_an_audio_keeps_its_own_clock():
    source = Audio(np.arange(16_000, dtype=np.float32) / 16_000, 16_000, start=5.0)
    audio = load_audio(source, begin=5.25, end=5.5)
    assert audio.start == 5.25
    np.testing.assert_array_equal(audio.samples, source.samples[4000:8000])


def test_a_start_that_a_sum_left_just_below_0_is_0():
    assert 0.3 - 0.1 * 3 < 0
    assert load_audio(Audio(np.ones(100, np.float32), 16_000, start=0.3 - 0.1 * 3)).start == 0.0


def test_an_audio_can_be_cut_by_that_clock():
    source = Audio(np.arange(16_000, dtype=np.float32) / 16_000, 16_000, start=5.0)
    for start, end, begins, count in (
        (5.25, 5.5, 5.25, 4000), (0, 5.5, 5, 8000), (5.5, 9, 5.5, 8000), (1, 2, 5, 0), (7, 9, 6, 0),
        (5.5, 5.25, 5.5, 0),
    ):  # fmt: skip
        part = source.cut(start, end)
        assert (part.start, len(part.samples)) == (begins, count)
        np.testing.assert_array_equal(
            part.samples, source.samples[round((begins - 5) * 16_000) :][:count]
        )


def test_headerless_samples_need_a_rate_or_a_telling_name(tmp_path, tone, wav):
    samples = tone(16_000, 1.0)
    raw = wav(samples)[44:]
    path = tmp_path / "a.raw"
    path.write_bytes(raw)
    with pytest.warns(AudioWarning, match="no header"):
        assumed = load_audio(path)
    for audio in (assumed, load_audio(raw, source_rate=16_000)):
        np.testing.assert_allclose(audio.samples, samples, atol=1e-4)
    assert load_audio(path, source_rate=8_000).duration == 2.0


class OnlyRead:
    """A file object as a socket gives it: no seek, few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 1000))


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("matroska", "libopus"),
     ("flac", "flac"), ("mp4", "aac")],
)  # fmt: skip
def test_all_kinds_of_sources_give_the_same_sound(container, codec, encode, tone, tmp_path):
    data = encode(tone(48_000, 2.0), 48_000, container, codec)
    path = tmp_path / "a:b sound"
    path.write_bytes(data)
    expected = load_audio(path).samples
    used = io.BytesIO(data)
    used.read(100)
    with path.open("rb") as file:
        for source in (str(path), data, bytearray(data), memoryview(data), file, used):
            np.testing.assert_array_equal(load_audio(source).samples, expected)
    # Without seeking, an MP3's padding at the end is not known.
    streamed = load_audio(OnlyRead(data)).samples
    assert len(expected) <= len(streamed) <= len(expected) + 800
    np.testing.assert_allclose(streamed[: len(expected) - 100], expected[:-100], atol=1e-6)
    assert not used.closed


@pytest.mark.parametrize(("container", "codec"), [("wav", "pcm_s16le"), ("mp4", "aac")])
def test_standard_input(container, codec, encode, tone):
    data = encode(tone(16_000, 2.0), 16_000, container, codec)
    script = (
        "from ark_asr.audio import load_audio; a = load_audio('-', begin=0.5);"
        "print(a.start, len(a.samples))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=data, capture_output=True, check=True
    )
    start, length = done.stdout.split()
    assert float(start) == 0.5
    assert int(length) == pytest.approx(24_000, abs=1500)
    assert done.stderr == b""


def test_blocks_are_a_few_seconds_and_known_ahead(tone):
    with open_audio(tone(16_000, 30.0), source_rate=16_000) as stream:
        assert stream.duration == 30.0
        assert stream.name == "array"
        blocks = list(stream)
    assert all(1 <= block.duration <= 10 for block in blocks)
    assert [block.start for block in blocks] == [i * blocks[0].duration for i in range(len(blocks))]


def test_a_closed_stream_gives_nothing_more(tone):
    stream = open_audio(tone(16_000, 30.0), source_rate=16_000)
    stream.close()
    assert list(stream) == []


def test_memory_does_not_grow_with_length(tmp_path):
    pytest.importorskip("resource", reason="peak memory is asked of Unix")
    script = """
import resource, sys
from ark_asr.audio import open_audio
with open_audio(sys.argv[1]) as stream:
    seconds = sum(block.duration for block in stream)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(seconds, peak / 1024 if sys.platform == "darwin" else peak)
"""
    peaks = []
    for minutes in (2, 30):
        path = tmp_path / f"{minutes}.wav"
        size = minutes * 60 * 8000
        head = bytes.fromhex("57415645666d74201000000001000100401f0000401f000001000800")
        path.write_bytes(
            b"RIFF" + (36 + size).to_bytes(4, "little") + head + b"data"
            + size.to_bytes(4, "little") + bytes(size)
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, check=True, text=True
        )
        seconds, peak = map(float, done.stdout.split())
        assert seconds == pytest.approx(minutes * 60)
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 8_000  # kB; the sound itself would be 115,000


def test_decoding_is_quiet_and_warnings_are_collected_only(encode, tone):
    data = bytearray(encode(tone(16_000, 10.0), 16_000, "flac", "flac"))
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_audio(bytes(data)) as stream:
            length = math.fsum(block.duration for block in stream)
    assert length == pytest.approx(10.0)
    assert len(stream.warnings) == 1
