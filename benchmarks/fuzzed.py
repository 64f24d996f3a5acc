"""Recordings in many containers, and what can go wrong with their bytes.

Everything follows from a seed and a number, so that file 4711 can be made again by itself.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

Bytes = np.ndarray
# Name of a file, FFmpeg's name of the container, codec, Hz.
CONTAINERS = (
    ("pcm.wav", "wav", "pcm_s16le", 16_000),
    ("mulaw.wav", "wav", "pcm_mulaw", 8_000),
    ("adpcm.wav", "wav", "adpcm_ima_wav", 16_000),
    ("a.flac", "flac", "flac", 16_000),
    ("a.mp3", "mp3", "libmp3lame", 16_000),
    ("opus.ogg", "ogg", "libopus", 48_000),
    ("a.m4a", "ipod", "aac", 16_000),
    ("alac.m4a", "ipod", "alac", 16_000),
    ("a.mp4", "mp4", "aac", 44_100),
    ("a.mov", "mov", "pcm_s16le", 16_000),
    ("a.webm", "webm", "libopus", 48_000),
    ("a.mkv", "matroska", "pcm_s16le", 16_000),
    ("a.amr", "amr", "libopencore_amrnb", 8_000),
    ("a.3gp", "3gp", "libopencore_amrnb", 8_000),
    ("a.aac", "adts", "aac", 16_000),
    ("a.ac3", "ac3", "ac3", 48_000),
    ("a.wma", "asf", "libmp3lame", 44_100),
    ("a.aiff", "aiff", "pcm_s16be", 16_000),
    ("a.au", "au", "pcm_mulaw", 8_000),
    ("a.caf", "caf", "pcm_s16le", 16_000),
    ("a.avi", "avi", "mp2", 16_000),
    ("a.ts", "mpegts", "mp2", 48_000),
    ("a.flv", "flv", "libmp3lame", 44_100),
    ("a.wv", "wv", "wavpack", 16_000),
    ("a.tta", "tta", "tta", 16_000),
)
_LIES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE)
_HEAD = 512  # bytes in which most containers keep their header


@dataclass(frozen=True)
class Fuzzed:
    """One file that is no longer what it was.

    Attributes:
        kind: What was done to it.
        was: Name of the valid file.
        name: The name under which it is sent.
    """

    kind: str
    was: str
    name: str
    data: bytes


def valid_files(recording: Path, seconds: float = 2.0) -> dict[str, bytes]:
    """The beginning of a recording in every container that can be written here, by name."""
    from ark_asr.audio import load_audio

    sound = load_audio(recording, end=seconds).samples
    found = {}
    for name, container, codec, rate in CONTAINERS:
        try:
            av.Codec(codec, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        found[name] = encoded(sound, container, codec, rate)
    return found


def encoded(samples: np.ndarray, container: str, codec: str, rate: int) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.layout = "mono"
        resampler = av.AudioResampler(
            stream.codec_context.format, "mono", rate, stream.codec_context.frame_size or None
        )
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "flt", "mono")
        frame.sample_rate = 16_000
        for part in (frame, None):
            for resampled in resampler.resample(part):
                file.mux(stream.encode(resampled))
        file.mux(stream.encode(None))
    return out.getvalue()


def fuzzed(valid: dict[str, bytes], seed: int, number: int) -> Fuzzed:
    """File ``number``: containers take turns, and so does what is done to them."""
    rng = np.random.default_rng([seed, number])
    names, kinds = list(valid), list(KINDS)
    was = names[number % len(names)]
    kind = kinds[number // len(names) % len(kinds)]
    other = names[rng.integers(len(names))]
    data = np.frombuffer(valid[was], np.uint8).copy()
    changed = KINDS[kind](rng, data, np.frombuffer(valid[other], np.uint8))
    return Fuzzed(kind, was, other if kind == "renamed" else was, changed.tobytes())


def _truncated(rng: np.random.Generator, data: Bytes, _: Bytes) -> Bytes:
    return data[: rng.integers(1, len(data))]


def _beheaded(rng: np.random.Generator, data: Bytes, _: Bytes) -> Bytes:
    return data[rng.integers(1, len(data)) :]


def _flipped(rng: np.random.Generator, data: Bytes, _: Bytes) -> Bytes:
    """Single bits anywhere."""
    places = rng.integers(len(data), size=rng.integers(1, 65))
    data[places] ^= np.uint8(1) << rng.integers(8, size=len(places), dtype=np.uint8)
    return data


def _lying(rng: np.random.Generator, data: Bytes, _: Bytes) -> Bytes:
    """Numbers of the header that are nothing, or as large as they can be."""
    for _ in range(rng.integers(1, 5)):
        order = ("little", "big")[rng.integers(2)]
        lie = _LIES[rng.integers(len(_LIES))].to_bytes(4, order)
        _put(data, rng.integers(min(_HEAD, len(data) - 4)), lie)
    return data


def _huge(rng: np.random.Generator, data: Bytes, _: Bytes) -> Bytes:
    """A number of the header that claims eight or nine decimal digits of something."""
    lie = int(rng.integers(1 << 26, 1 << 31)).to_bytes(4, ("little", "big")[rng.integers(2)])
    _put(data, 4 * rng.integers(min(_HEAD, len(data) - 4) // 4), lie)
    return data


def _nonsense(rng: np.random.Generator, data: Bytes, _: Bytes) -> Bytes:
    """Random bytes in the header."""
    first, size = rng.integers(min(_HEAD, len(data))), rng.integers(1, 65)
    _put(data, first, rng.bytes(int(size)))
    return data


def _zeroed(rng: np.random.Generator, data: Bytes, _: Bytes) -> Bytes:
    first = rng.integers(len(data))
    data[first : first + rng.integers(1, len(data))] = 0
    return data


def _shuffled(rng: np.random.Generator, data: Bytes, _: Bytes) -> Bytes:
    """Blocks after the first in another order, some of them lost, some twice."""
    blocks = np.array_split(data, 16)
    return np.concatenate([blocks[0], *(blocks[at] for at in rng.integers(16, size=16))])


def _spliced(rng: np.random.Generator, data: Bytes, other: Bytes) -> Bytes:
    """The beginning of one container, and the end of another."""
    return np.concatenate([data[: rng.integers(1, len(data))], other[rng.integers(len(other)) :]])


def _padded(rng: np.random.Generator, data: Bytes, _: Bytes) -> Bytes:
    """Zeros before or after it."""
    zeros = np.zeros(rng.integers(1, 1 << 16), np.uint8)
    return np.concatenate([zeros, data] if rng.integers(2) else [data, zeros])


def _empty(rng: np.random.Generator, _: Bytes, __: Bytes) -> Bytes:
    """Nothing, or nothing but zeros."""
    return np.zeros(rng.integers(4) * rng.integers(1 << 16), np.uint8)


def _renamed(_: np.random.Generator, data: Bytes, __: Bytes) -> Bytes:
    """Whole, with the name of another container."""
    return data


def _put(data: Bytes, first: int, value: bytes) -> None:
    part = data[first : first + len(value)]
    part[:] = np.frombuffer(value, np.uint8)[: len(part)]


KINDS: dict[str, Callable[[np.random.Generator, Bytes, Bytes], Bytes]] = {
    "truncated": _truncated,
    "lying": _lying,
    "huge": _huge,
    "flipped": _flipped,
    "nonsense": _nonsense,
    "zeroed": _zeroed,
    "shuffled": _shuffled,
    "spliced": _spliced,
    "padded": _padded,
    "beheaded": _beheaded,
    "empty": _empty,
    "renamed": _renamed,
}


def all_fuzzed(valid: dict[str, bytes], seed: int, first: int, count: int) -> Iterator[Fuzzed]:
    """Files ``first`` to ``first + count - 1``."""
    for number in range(first, first + count):
        yield fuzzed(valid, seed, number)
