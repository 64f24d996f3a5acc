"""Sound as it happens: headerless samples from a pipe, a file at its own pace.

Each gives blocks of float32 ``[n]`` at 16 kHz; `Pump` reads them beside the work, so that it is
known how much sound is waiting.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import soxr

from ark_asr.audio.decode import SAMPLE_RATE, open_audio
from ark_asr.audio.feeds import hertz, to_float
from ark_asr.audio.sniff import describes_itself
from ark_asr.audio.sources import Source
from ark_asr.errors import AudioError
from ark_asr.types import FloatArray

BLOCK_SECONDS = 0.1
_BYTES = 2  # of a sample of a pipe


def file_blocks(
    source: Source,
    *,
    begin: float | None = None,
    track: int | None = None,
    warn: Callable[[str], object] = lambda _line: None,
) -> Iterator[FloatArray]:
    """A recording in blocks of a tenth of a second, as fast as it can be decoded.

    Args:
        source: As for `Recognizer.transcribe`.
        begin: First second.
        track: As for `TranscribeOptions`.
        warn: Told at the start how it is read, if that needs saying, and at the end one line for
            each damaged place; what could be decoded has come.
    """
    step = round(BLOCK_SECONDS * SAMPLE_RATE)
    with open_audio(source, begin=begin, track=track) as sound:
        for line in sound.notes:
            warn(line)
        for block in sound:
            for first in range(0, len(block.samples), step):
                yield block.samples[first : first + step]
        for line in sound.damage:
            warn(line)


def pcm_blocks(pipe: BinaryIO, rate: int) -> Iterator[FloatArray]:
    """Headerless 16-bit little-endian mono samples, as they come.

    Args:
        pipe: Where they come from; read until its end.
        rate: Hz.

    Raises:
        AudioError: The rate makes no sense; or it is a recording with a header, which would be
            heard as noise or as nothing.
    """
    rate = hertz("rate", rate)
    resample = resampler(rate)
    # Below the buffer, which would wait for whole blocks, and whose lock a thread that still waits
    # for sound would hold while the program ends.
    read: Callable[[int], bytes] = getattr(pipe, "raw", pipe).read
    half, first = b"", True
    while data := read(round(BLOCK_SECONDS * rate) * _BYTES):
        if first and describes_itself(data):
            raise AudioError(
                "standard input: is a recording, not headerless samples; name its file, or send it "
                "through ffmpeg -i - -f s16le -ac 1 -ar 16000 -"
            )
        first = False
        data = half + data
        whole = len(data) // _BYTES * _BYTES
        half = data[whole:]
        yield resample(to_float(np.frombuffer(data[:whole], "<i2").astype(np.int16)), False)
    yield resample(np.empty(0, np.float32), True)


def paced(
    blocks: Iterable[FloatArray],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[FloatArray]:
    """The same blocks, none before the moment at which its sound would have been spoken."""
    began, heard = clock(), 0
    for block in blocks:
        heard += len(block)
        if (early := began + heard / SAMPLE_RATE - clock()) > 0:
            sleep(early)
        yield block


class Pump:
    """Reads blocks in a thread of its own and knows how much sound is waiting.

    Iterating gives each block with the seconds of sound that wait behind it. An error of the source
    is raised where its block would have come.
    """

    def __init__(self, blocks: Iterable[FloatArray]) -> None:
        self._queue: queue.SimpleQueue[FloatArray | BaseException | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._read, args=(blocks,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[FloatArray, float]]:
        while (block := self._queue.get()) is not None and not self._stopped:
            if isinstance(block, BaseException):
                raise block
            with self._lock:
                self._waiting -= len(block)
                waiting = self._waiting / SAMPLE_RATE
            yield block, waiting

    def stop(self) -> None:
        """End the iteration; what waits is dropped. May be called from a signal handler."""
        self._stopped = True
        self._queue.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped = True

    def _read(self, blocks: Iterable[FloatArray]) -> None:
        try:
            for block in blocks:
                if self._stopped:
                    break
                with self._lock:
                    self._waiting += len(block)
                self._queue.put(block)
        except BaseException as error:  # noqa: BLE001 - it is raised where it can be handled
            self._queue.put(error)
        self._queue.put(None)


def resampler(rate: int) -> Callable[[FloatArray, bool], FloatArray]:
    """To 16 kHz, block by block: called with samples, and whether they are the last."""
    if rate == SAMPLE_RATE:
        return lambda samples, _last: samples
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    return lambda samples, last: np.asarray(stream.resample_chunk(samples, last=last), np.float32)
