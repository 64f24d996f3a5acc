"""Bad sources get one clear line; damaged ones give what is left."""

from __future__ import annotations

import errno
import gc
import io
import os
import socket
import struct
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest

from ark_asr.audio import load_audio, open_audio
from ark_asr.errors import (
    AudioDecodeError,
    AudioError,
    AudioNotFoundError,
    AudioWarning,
    OptionError,
)
from ark_asr.types import Audio


def refused(source, error=AudioError, **options) -> str:
    with pytest.raises(error) as caught:
        open_audio(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def picture() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="image2pipe") as output:
        stream = output.add_stream("png", rate=1)
        stream.width = stream.height = 16
        stream.pix_fmt = "rgb24"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        output.mux([*stream.encode(frame), *stream.encode(None)])
    return file.getvalue()


def silent_film() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def test_paths_that_cannot_be_read(tmp_path):
    assert refused(tmp_path / "no.wav", AudioNotFoundError) == f"{tmp_path}/no.wav: no such file"
    assert "no such file" in refused("a\0b.wav", AudioNotFoundError)
    assert f"{tmp_path}: is a directory" in refused(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_audio(tmp_path / "no.wav")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything

        def deny(*_args, **_kwargs):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.open", deny)
    assert refused(path) == f"{path}: not permitted to read it"


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.srt", "notes.txt"])
def test_files_without_sound(tmp_path, name):
    path = tmp_path / name
    path.write_bytes({
        "a.png": picture(),
        "a.mp4": silent_film(),
        "a.srt": b"1\n00:00:01,000 --> 00:00:02,000\nhello\n\n",
        "notes.txt": b"Nothing to hear here.\n" * 50,
    }[name])  # fmt: skip
    assert refused(path) == f"{path}: has no audio stream"


@pytest.mark.parametrize("kind", ["text", "half a header", "noise"])
def test_files_that_nothing_decodes(tmp_path, wav, kind):
    data = {
        "text": b"Nothing to hear here.\n" * 50,
        "half a header": wav(np.zeros(100))[:30],
        "noise": np.random.default_rng(3).integers(0, 256, 5000, np.uint8).tobytes(),
    }[kind]
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    for source, name in ((path, str(path)), (data, "bytes")):
        assert refused(source, AudioDecodeError).startswith(f"{name}: ")


def test_nothing_to_hear(tmp_path, wav):
    empty = tmp_path / "empty.wav"
    empty.touch()
    assert refused(empty) == f"{empty}: is empty (0 bytes)"
    assert refused(b"") == "bytes: is empty (0 bytes)"
    assert refused(io.BytesIO()) == "stream: is empty (0 bytes)"
    assert refused(wav(np.zeros(0))) == "bytes: has no samples"
    assert refused(np.zeros(0), source_rate=16_000) == "array: has no samples"
    assert refused(np.zeros((2, 0)), source_rate=16_000) == "array: has no samples"
    assert refused(Audio(np.zeros(0, np.float32), 16_000)) == "Audio: has no samples"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"begin": 2.0, "end": 1.0}, "end (1 s) must come after begin (2 s)"),
        ({"begin": 1.0, "end": 1.0}, "end (1 s) must come after begin (1 s)"),
        ({"end": 0.0}, "end (0 s) must come after begin (0 s)"),
        ({"begin": 0.5, "end": 0.50001}, "not one sample lies between 0.5 s and end (0.5 s)"),
        ({"begin": -1.0}, "begin is -1 s; it must not be negative"),
        ({"end": -2.5}, "end is -2.5 s; it must not be negative"),
        ({"begin": float("nan")}, "begin is nan; it must be a finite number"),
        ({"end": float("inf")}, "end is inf; it must be a finite number"),
        ({"begin": 3.0}, "begin (3 s) is beyond the end (it is 1.00 s long)"),
        ({"begin": 100.0, "end": 101.0}, "begin (100 s) is beyond the end"),
        ({"begin": 1e300}, "begin (1e+300 s) is beyond the end of any recording"),
    ],
)
def test_times_that_make_no_sense(options, words, wav):
    data = wav(np.zeros(16_000))
    assert words in refused(data, **options)
    assert words in refused(np.zeros(16_000), source_rate=16_000, **options)


def test_arrays_that_make_no_sense():
    assert "source_rate is missing" in refused(np.zeros(10))
    large = np.array([[0.0, 1e30], [0.0, 0.0]])
    assert "sample 1 (0.00 s) is far too large" in refused(large, source_rate=1000)
    holes = np.array([0.0] * 30 + [np.nan, np.inf])
    assert "sample 30 (0.03 s) is not finite" in refused(holes, source_rate=1000)
    assert "dimensions" in refused(np.zeros((2, 2, 2)), source_rate=1000)
    for kind in (bool, complex, np.int64, object):
        assert "use float" in refused(np.zeros(10, kind), source_rate=1000)


NO_RATES = [
    *(0, -1, 1, 16, 999, 768_001, 10**30, 10**5000, 1.5, 44.1, 16_000.5, float("nan")),
    *(float("inf"), np.int32(16), np.float64(1e300), True, "16000", [16_000], b"1"),
]


@pytest.mark.parametrize("rate", NO_RATES, ids=lambda rate: f"{type(rate).__name__}")
def test_rates_that_no_sound_has_are_refused_before_any_work(rate):
    sound = np.zeros(1_000, np.float32)
    wanted = "it must be a whole number of Hz, 1,000 to 768,000"
    lines = [
        refused(sound, source_rate=rate),
        refused(sound, source_rate=16_000, sample_rate=rate),
        refused(Audio(sound, rate)),
    ]
    for line, name in zip(lines, ("source_rate is ", "sample_rate is ", "Audio: "), strict=True):
        assert line.startswith(name)
        assert wanted in line


def test_who_means_kilohertz_is_told_what_to_write():
    for rate, hint in ((16, "for 16 kHz write 16000"), (44.1, "for 44.1 kHz write 44100")):
        assert refused(np.zeros(10), source_rate=rate).endswith(f"; {hint}")
    for rate in (0, -16, 999, 2_000_000, 16_000.5):
        assert "kHz" not in refused(np.zeros(10), source_rate=rate)


@pytest.mark.parametrize("rate", [8_000.0, np.int32(8_000), np.uint16(8_000), np.float32(8_000)])
def test_a_rate_may_be_written_as_any_whole_number(rate):
    sound = np.sin(np.arange(800, dtype=np.float32))
    wanted = load_audio(sound, source_rate=8_000).samples
    for source, given in ((sound, {"source_rate": rate}), (Audio(sound, rate), {})):
        assert np.array_equal(load_audio(source, **given).samples, wanted)
        assert load_audio(source, **given, sample_rate=rate).sample_rate == 8_000


def test_files_that_claim_such_a_rate_are_refused_too(wav):
    assert refused(wav(np.zeros(100), rate=16)) == (
        "bytes: claims a rate of 16 Hz; that of sound is 1,000 to 768,000"
    )
    assert "claims a rate of 2,000,000 Hz" in refused(wav(np.zeros(100), rate=2_000_000))
    with open_audio(wav(np.zeros(1_000), rate=1_000)) as sound:
        assert sound.duration == 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": [0.0]}, "Audio: its samples are no numpy array, but list"),
        ({"start": float("nan")}, "Audio: its start is nan s; no recording has that second"),
        ({"start": -1.0}, "Audio: its start is -1 s; no recording has that second"),
        ({"start": -1e300}, "Audio: its start is -1e+300 s"),
        ({"start": "1"}, "Audio: its start is '1'; it must be a number"),
    ],
)
def test_records_of_sound_that_make_no_sense(change, words):
    whole = {"samples": np.zeros(100, np.float32), "sample_rate": 16_000}
    assert words in refused(Audio(**whole | change), (AudioError, OptionError))


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ({"end": 5.0}, "Audio: starts at 10 s; end (5 s) is before that"),
        (
            {"begin": 12.0},
            "Audio: begin (12 s) is beyond the end (it is 1.00 s long, from 10 s on)",
        ),
        ({"end": 10.0}, "Audio: not one sample lies between 10 s and end (10 s)"),
    ],
)
def test_times_beside_an_audio_that_starts_later(times, words):
    later = Audio(np.zeros(16_000, np.float32), 16_000, start=10.0)
    assert refused(later, **times) == words


def test_names_that_windows_gives_no_file(monkeypatch):
    def invalid(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(Path, "stat", invalid)
    assert refused("what?.wav", AudioNotFoundError) == "what?.wav: no such file"
    assert "addresses are not fetched" in refused("https://h/a.ogg", AudioNotFoundError)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (
            "https://example.org/a.ogg?x=1&y=2",
            "download it first, or pipe it: curl -s 'https://example.org/a.ogg?x=1&y=2' |",
        ),
        (Path("http://h/a.ogg"), "pipe it: curl -s http://h/a.ogg | ark-asr transcribe -"),
        ("HTTP://h/a", "pipe it: curl -s HTTP://h/a | ark-asr transcribe -"),
        ("s3://b/a.wav", "is an address, and addresses are not fetched; download it first and"),
        ("file:///tmp/no%20file.wav", "is an address; give the path of the file: /tmp/no file.wav"),
        ("FILE://localhost/tmp/no%0A.wav", "give the path of the file: /tmp/no\\n.wav"),
        ("file://no.wav", "is an address; give the path of the file"),
        ("talk: one/a.wav", "talk: one/a.wav: no such file"),
        ("a:/b.wav", "a:/b.wav: no such file"),
        ("notes:/b.wav", "notes:/b.wav: no such file"),
    ],
)
def test_addresses_are_told_from_files_that_are_missing(source, line):
    found = refused(source, AudioNotFoundError)
    assert found.startswith(f"{os.fspath(source)}: ")
    assert line in found
    assert ("no such file" in found) == ("no such file" in line)


def test_a_folder_may_be_called_as_an_address_is(tmp_path, monkeypatch, wav):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "https:").mkdir()
    (tmp_path / "https:" / "a.wav").write_bytes(wav(np.zeros(1_600)))
    with open_audio("https://a.wav") as sound:
        assert sound.duration == 0.1


def test_a_rate_for_what_names_its_own_is_refused(tmp_path, wav):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.zeros(100)))
    for source in (path, path.read_bytes()):
        assert "names its own rate" in refused(source, source_rate=8_000)
    audio = Audio(np.zeros(10, np.float32), 16_000)
    assert "16000 Hz" in refused(audio, source_rate=8_000)


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "aac"), ("mp2", "mp2"), ("adts", "aac"), ("caf", "pcm_s16le")],
)
def test_whatever_names_its_own_rate_is_known(container, codec, tmp_path, encode, tone):
    """It would be heard as noise, or the rate that was given be ignored."""
    data = encode(tone(16_000, 1.0), 16_000, container, codec)
    path = tmp_path / "a.raw"
    path.write_bytes(data)
    for source in (data, io.BytesIO(data), path):
        assert "names its own rate" in refused(source, source_rate=8_000)
    assert load_audio(path).duration == pytest.approx(1.0, abs=0.1)
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as end:
        end.write(data[:10_000])
    with os.fdopen(reader, "rb") as pipe:
        assert "names its own rate" in refused(pipe, source_rate=8_000)


def test_samples_that_begin_as_a_frame_does_are_heard_whole_from_a_pipe(encode, tone):
    """The more that is looked at of them is neither lost nor waited for beyond the end."""
    frame = encode(tone(16_000, 1.0), 16_000, "mp2", "mp2")[:4]
    for count in (4, 2_000, 20_000):
        samples = frame + bytes(range(1, 251)) * (count // 125)
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as end:
            end.write(samples)
        with os.fdopen(reader, "rb") as pipe:
            heard = load_audio(pipe, source_rate=16_000).samples
        wanted = np.frombuffer(samples, "<i2").astype(np.float32) / 32768
        np.testing.assert_array_equal(heard, wanted)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize(
    ("kind", "refusal"),
    [("nothing", AudioError), ("no MP4", AudioDecodeError), ("a rate", AudioError), ("mp4", None)],
)
def test_a_named_pipe_is_given_back(kind, refusal, tmp_path, encode, tone):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    film = encode(tone(16_000, 1.0), 16_000, "mp4", "aac")
    data = {"nothing": b"", "no MP4": b"\0\0\0\x18ftypisom" + b"junk" * 99}.get(kind, film)

    def write():
        with suppress(BrokenPipeError):  # who refuses it does not read on
            path.write_bytes(data)

    writer = threading.Thread(target=write, daemon=True)
    gc.collect()  # what earlier tests left is none of this one's
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        writer.start()
        if refusal is None:
            with open_audio(path) as sound:
                assert sum(block.duration for block in sound) == pytest.approx(1.0, abs=0.1)
        else:
            refused(path, refusal, source_rate=8_000 if kind == "a rate" else None)
        writer.join()
        gc.collect()
    assert [one for one in said if one.category is ResourceWarning] == []


def test_a_full_disk_is_one_line(monkeypatch):
    """MP4 through a pipe is first written to a temporary file."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    class Pipe:
        def __init__(self):
            self.left = b"\0\0\0\x18ftypisom" * 9

        def read(self, size):
            found, self.left = self.left[:size], self.left[size:]
            return found

    monkeypatch.setattr("ark_asr.audio.sources.shutil.copyfileobj", full)
    line = "stream: cannot be put into a temporary file (No space left on device)"
    assert refused(Pipe()) == line


def test_things_that_are_no_sound():
    assert "int is no sound" in refused(3)
    assert "mode 'rb'" in refused(io.StringIO("text"))

    class Text:
        def read(self, size: int) -> str:
            return "x" * size

    assert "mode 'rb'" in refused(Text())


@pytest.mark.parametrize("as_file", [True, False])
def test_a_playlist_opens_no_connection(tmp_path, as_file):
    touched, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def listen():
            last = False
            while not last:
                last = over.is_set()  # once more for who came before that
                try:
                    server.accept()[0].close()
                    touched.set()
                except TimeoutError:
                    pass

        listener = threading.Thread(target=listen)
        listener.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9.0,\n{address}\n#EXT-X-ENDLIST\n"
        path = tmp_path / "a.m3u8"
        path.write_text(playlist)
        try:
            refused(path if as_file else playlist.encode())
        finally:
            over.set()
            listener.join()
    assert not touched.is_set()


def test_a_playlist_opens_no_other_file(tmp_path, wav):
    (tmp_path / "secret.wav").write_bytes(wav(np.zeros(16_000)))
    path = tmp_path / "list.txt"
    path.write_text("ffconcat version 1.0\nfile secret.wav\n")
    refused(path)


def damaged(data: bytes, at: float = 0.5, share: float = 0.04) -> bytes:
    """The same file with zeros from the place ``at`` on, as a bad block of a disk leaves it."""
    first, size = round(len(data) * at), max(round(len(data) * share), 1000)
    return data[:first] + bytes(size) + data[first + size :]


@pytest.mark.parametrize(
    ("container", "codec", "rate", "second"),
    [
        ("mp3", "libmp3lame", 16_000, 10.0),
        ("mp3", "libmp3lame", 44_100, 10.0),
        ("flac", "flac", 16_000, 10.0),
        ("ogg", "libopus", 48_000, 9.0),
        ("mp4", "aac", 16_000, 10.0),
        ("adts", "aac", 16_000, 10.0),
        ("matroska", "libopus", 48_000, 10.0),
    ],
)
def test_a_file_damaged_in_the_middle(container, codec, rate, second, encode, tone):
    sound = tone(rate, 20.0) + tone(rate, 20.0, burst=17.0)
    data = encode(sound, rate, container, codec)
    with pytest.warns(AudioWarning, match="damaged at second") as caught:
        audio = load_audio(damaged(data))
    assert len(caught) == 1
    named = float(str(caught[0].message).split("second ")[1].split()[0])
    assert named == pytest.approx(second, abs=1.5)
    # ADTS has no times, and what is lost in it can only be told roughly.
    assert audio.duration == pytest.approx(20.0, abs=1.0 if container == "adts" else 0.15)
    tail = audio.cut(15.5, 20.0)
    loud = np.flatnonzero(np.abs(tail.samples) > 0.4)
    late = 1024 / rate if container == "adts" else 0.0
    expected = 17.0 - tail.start + late
    assert loud[0] / 16_000 == pytest.approx(expected, abs=1.0 if container == "adts" else 0.15)


@pytest.mark.parametrize(("container", "codec"), [("mp4", "alac"), ("matroska", "aac")])
def test_a_start_that_is_damaged_is_no_later_start(container, codec, encode, tone):
    sound = tone(16_000, 12.0, burst=9.0) + tone(16_000, 12.0) / 4
    data = bytearray(encode(sound, 16_000, container, codec))
    with av.open(io.BytesIO(data)) as file:
        (stream,) = file.streams
        for packet in file.demux(stream):
            if packet.pts is not None and packet.pts * packet.time_base < 2:
                at = data.index(bytes(packet), packet.pos)
                data[at : at + packet.size] = bytes(37 * k % 256 for k in range(packet.size))
    for begin in (0.0, 5.0):
        with open_audio(bytes(data), begin=begin) as sound:
            samples = np.concatenate([block.samples for block in sound])
        loud = begin + np.flatnonzero(np.abs(samples) > 0.2) / 16_000
        assert loud[0] == pytest.approx(9.0, abs=0.01)
    with pytest.warns(AudioWarning, match=r"damaged at second 0\.0"):
        load_audio(bytes(data))


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_wherever_an_mp3_is_damaged_later_times_stay_true(rate, encode, tone):
    # Zeros from within a frame's header on, within its sound, behind it: the decoder may find a
    # frame in what is left, or one more in the wreck.
    data = encode(tone(rate, 20.0) + tone(rate, 20.0, burst=17.0), rate, "mp3", "libmp3lame")
    for shift in range(0, 480, 12):
        with pytest.warns(AudioWarning, match=r"damaged at second (9|10)\.") as caught:
            audio = load_audio(damaged(data, 0.5 + shift / len(data)))
        assert len(caught) == 1
        assert audio.duration == pytest.approx(20.0, abs=0.15)


@pytest.mark.parametrize("tag", [b"TAG" + bytes(125), b"APETAGEX" + bytes(800)])
def test_a_tag_behind_an_mp3_is_no_damage(tag, encode, tone):
    assert load_audio(encode(tone(16_000, 2.0), 16_000, "mp3", "libmp3lame") + tag).duration > 1.9


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp3", "libmp3lame"), ("flac", "flac"), ("matroska", "libopus"), ("mpegts", "aac")],
)
def test_a_file_cut_short(container, codec, encode, tone):
    data = encode(tone(48_000, 20.0), 48_000, container, codec)
    with pytest.warns(AudioWarning, match=r"damaged at second (9|1\d)\.\d"):
        audio = load_audio(data[: len(data) // 2])
    assert 8.0 < audio.duration < 12.0


@pytest.mark.parametrize("container", ["wav", "w64", "avi", "matroska"])
def test_a_size_in_the_head_tells_that_the_end_is_missing(container, encode, tone, tmp_path):
    """FFmpeg works the length out from what is left, or does not say that of the sound."""
    sound, pictures = tone(16_000, 20.0), container in {"avi", "matroska"}
    data = encode(sound, 16_000, container, "pcm_s16le", picture=pictures)
    half = data[: len(data) // 2]
    (tmp_path / "half").write_bytes(half)
    for source in (half, tmp_path / "half"):
        line = (
            r"damaged at second (9|10)\.\d \(it ends there, but its header states about (19|20)\.\d"
        )
        with pytest.warns(AudioWarning, match=line):
            load_audio(source)
    with open_audio(half, end=5.0) as stream:
        assert sum(block.duration for block in stream) == pytest.approx(5.0)
    assert stream.warnings == []
    load_audio(data)  # of all of it there is no warning


@pytest.mark.parametrize("size", [0, 0x7FFF_F024, 0x8000_0024, 0xFFFF_FFFF])
def test_a_size_that_nobody_knew_is_none(size, wav):
    """So do programs write that cannot go back: espeak-ng, arecord, FFmpeg into a pipe."""
    data = bytearray(wav(np.zeros(64_000)))
    data[4:8], data[40:44] = struct.pack("<I", size), struct.pack("<I", max(size - 36, 0))
    assert load_audio(bytes(data)).duration == 4.0


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no file that is open")
def test_a_file_that_is_removed_while_it_is_heard(tmp_path, wav):
    (path := tmp_path / "a.wav").write_bytes(wav(np.zeros(320_000)))
    with open_audio(path) as stream:
        path.unlink()
        assert sum(block.duration for block in stream) == 20.0


def test_damage_outside_the_wanted_part_is_not_told(encode, tone):
    data = damaged(encode(tone(16_000, 20.0), 16_000, "flac", "flac"))
    for begin, end in ((0.0, 5.0), (14.0, 19.0)):
        with open_audio(data, begin=begin, end=end) as stream:
            assert sum(block.duration for block in stream) == pytest.approx(5.0)
        assert stream.warnings == []


def test_much_damage_needs_few_lines(encode, tone):
    data = encode(tone(16_000, 120.0), 16_000, "flac", "flac")
    for place in range(5, 95, 3):
        data = damaged(data, place / 100, share=0.0)
    with open_audio(data) as stream:
        assert sum(block.duration for block in stream) == pytest.approx(120.0, abs=0.5)
    assert 10 < len(stream.warnings) <= 20
    assert "more places up to second 11" in stream.warnings[-1]


def test_samples_that_are_not_finite_become_silence(encode):
    samples = np.full(32_000, 0.5, np.float32)
    data = bytearray(encode(samples, 16_000, "wav", "pcm_f32le"))
    data[-64_000:-60_000] = np.full(1000, np.nan, "<f4").tobytes()
    with pytest.warns(AudioWarning, match=r"second 1\.0 \(samples are not finite\)"):
        audio = load_audio(bytes(data))
    assert np.isfinite(audio.samples).all()
    assert np.count_nonzero(audio.samples) == 31_000


@pytest.mark.parametrize(
    ("codec", "kind", "values", "what"),
    [
        ("pcm_f32le", "<f4", (np.inf, -np.inf), "not finite"),  # their mean is no number
        ("pcm_f64le", "<f8", (1e300, 1e300), "far too large"),  # more than a float32 can hold
        ("pcm_f32le", "<f4", (1e30, 0.5), "far too large"),  # a power more than it can hold
    ],
)
def test_samples_beyond_all_measure_become_silence(codec, kind, values, what, encode):
    data = bytearray(encode(np.full((2, 16_000), 0.5, np.float32), 16_000, "wav", codec))
    size = np.dtype(kind).itemsize * 2
    data[-1000 * size :] = np.tile(np.array(values, kind), 1000).tobytes()
    with pytest.warns(AudioWarning, match=f"samples are {what}"):
        audio = load_audio(bytes(data))
    kept = 0.25 if 0.5 in values else 0.0
    assert np.array_equal(audio.samples, np.repeat(np.float32([0.5, kept]), [15_000, 1000]))


def test_a_file_object_that_fails_in_the_middle(wav):
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 200_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.warns(AudioWarning, match=r"damaged at second [67]\."):
        audio = load_audio(Failing(wav(np.zeros(160_000))))
    assert 5.0 < audio.duration < 7.5


def test_a_file_object_that_cannot_be_used_is_named(wav, monkeypatch):
    class LiesAboutSeeking(io.BytesIO):
        def seek(self, *_):
            raise OSError(29, "Illegal seek")

    class OnlyRead:
        def __init__(self, *answers):
            self.answers = list(answers)

        def read(self, size):
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    class Awaited:
        async def read(self, size):
            return b""

    closed = io.BytesIO(b"x")
    closed.close()
    assert "closed file" in refused(closed)
    assert "Illegal seek" in refused(LiesAboutSeeking(b"x"))
    assert "gives text" in refused(OnlyRead(b"x" * 12, "text"))
    assert refused(OnlyRead(bytearray(12))) == "stream: gives bytearray, not bytes"
    head = wav(np.zeros(16_000))[:12]
    assert refused(OnlyRead(head, TimeoutError("timed out"))) == (
        "stream: cannot be read (timed out)"
    )
    assert "must be awaited" in refused(Awaited())  # and no warning that nobody did
    assert refused("", AudioNotFoundError) == "'': no such file"
    monkeypatch.setattr("sys.stdin", None)
    assert refused("-") == "stdin: there is no standard input here; name a file"


def test_more_bytes_than_are_asked_for(wav):
    """PyAV would write them behind its buffer, and the process would end."""
    data = wav(np.random.default_rng(0).uniform(-0.5, 0.5, 160_000).astype(np.float32))

    class WholePipe:
        def __init__(self):
            self.rest = data

        def read(self, size):
            given, self.rest = self.rest, b""
            return given

    class WholeFile(io.BytesIO):
        def read(self, size=-1):
            return super().read()

    expected = load_audio(data).samples
    assert np.array_equal(load_audio(WholePipe()).samples, expected)
    assert refused(WholeFile(data)) == "stream: gives more bytes than it is asked for"


def test_decoding_damage_prints_nothing(encode, tone, tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(damaged(encode(tone(16_000, 10.0), 16_000, "mp3", "libmp3lame")))
    script = (
        "import sys; from ark_asr.audio import open_audio\n"
        "with open_audio(sys.argv[1]) as stream: print(sum(1 for _ in stream))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, check=True
    )
    assert done.stderr == b""
    assert int(done.stdout) > 0
