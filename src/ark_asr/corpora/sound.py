"""The sound behind records: how long, how loud, of which encoding, and whether two are the same."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO, TypeVar

import numpy as np

from ark_asr.audio import open_audio
from ark_asr.audio.container import open_container
from ark_asr.audio.sources import RAW_RATE, RAW_SUFFIXES
from ark_asr.audio.tracks import find_track
from ark_asr.batch.places import recording
from ark_asr.batch.records import Record
from ark_asr.errors import AudioError, OptionError

_Found = TypeVar("_Found")
_MOST_THREADS = 1024


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a recording is stored, as its file says."""

    container: str
    codec: str
    rate: int
    channels: int

    def __str__(self) -> str:
        return f"{self.container}/{self.codec}, {self.rate} Hz, {self.channels} ch"


@dataclass(frozen=True, slots=True)
class Sound:
    """What was found in a recording, or in the part of it that a record names.

    Attributes:
        seconds: That could be decoded.
        peak: The greatest absolute sample, 1 is full scale.
        digest: Of the decoded samples: the same for the same sound in WAV and FLAC.
        warnings: One line per damaged place.
    """

    seconds: float
    peak: float
    digest: str
    encoding: Encoding
    warnings: tuple[str, ...] = ()


def measure(record: Record) -> float:
    """Seconds of a record's sound, from the file's own header where it says them.

    Raises:
        AudioError: It cannot be read.
    """
    with (
        recording(record.path) as source,
        open_audio(source, begin=_begin(record), end=_end(record)) as stream,
    ):
        if stream.duration is not None:
            return stream.duration
        return sum(block.duration for block in stream)


def listen(record: Record) -> Sound:
    """Decode a record's sound; memory does not grow with its length.

    Raises:
        AudioError: It cannot be read.
    """
    seconds, peak, digest = 0.0, 0.0, hashlib.sha256()
    with recording(record.path) as source:
        with open_audio(source, begin=_begin(record), end=_end(record)) as stream:
            for block in stream:
                seconds += block.duration
                peak = max(peak, float(np.abs(block.samples).max()))
                digest.update(block.samples.tobytes())
        encoding = encoding_of(source)
    return Sound(seconds, peak, digest.hexdigest(), encoding, tuple(stream.warnings))


def encoding_of(source: str | BinaryIO) -> Encoding:
    """What a file says of itself; it has been decoded before, so it can be opened.

    Headerless samples are what `open_audio` takes them for.
    """
    if isinstance(source, str):
        if PurePath(source).suffix.lower() in RAW_SUFFIXES:
            return Encoding("raw", "pcm_s16le", RAW_RATE, 1)
        source = f"file:{source}"
    else:
        source.seek(0)
    with open_container(source) as container:
        stream = find_track(container, str(source), None)
        name = container.format.name.split(",")[0]
        return Encoding(name, stream.codec_context.name, stream.rate, stream.channels)


def all_sounds(
    records: Iterable[Record], what: Callable[[Record], _Found], threads: int | None = None
) -> Iterator[tuple[Record, _Found | AudioError]]:
    """Each record, in order, with what was found in its sound or why that cannot be read.

    Decoding leaves Python's lock, so threads share the cores; a few records at a time are under
    way, however many there are.

    Raises:
        OptionError: There can be no such number of threads.
    """
    if threads is not None and not 1 <= threads <= _MOST_THREADS:
        raise OptionError(f"threads is {threads}; it must be 1 to {_MOST_THREADS}")
    threads = threads or os.cpu_count() or 1

    def look(record: Record) -> _Found | AudioError:
        try:
            return what(record)
        except AudioError as error:
            return error

    ahead: deque[tuple[Record, Future[_Found | AudioError]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for record in records:
            ahead.append((record, pool.submit(look, record)))
            if len(ahead) >= 2 * threads:
                first, found = ahead.popleft()
                yield first, found.result()
        while ahead:
            first, found = ahead.popleft()
            yield first, found.result()


def _begin(record: Record) -> float | None:
    return record.begin if record.begin > 0 else None


def _end(record: Record) -> float | None:
    return record.end if record.end >= 0 else None
