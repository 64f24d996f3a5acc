"""Sound as it happens: a microphone, headerless samples from a pipe, a file at its own pace.

Each gives blocks of float32 ``[n]`` at 16 kHz; `Pump` reads them beside the work, so that it is
known how much sound is waiting.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import soxr

from ark_asr.audio.decode import SAMPLE_RATE, open_audio
from ark_asr.audio.feeds import to_float
from ark_asr.audio.sources import Source
from ark_asr.errors import AudioError, MissingExtraError, OptionError
from ark_asr.types import FloatArray

BLOCK_SECONDS = 0.1
_BYTES = 2  # of a sample of a pipe


def file_blocks(source: Source, *, begin: float | None = None) -> Iterator[FloatArray]:
    """A recording in blocks of a tenth of a second, as fast as it can be decoded."""
    step = round(BLOCK_SECONDS * SAMPLE_RATE)
    with open_audio(source, begin=begin) as sound:
        for block in sound:
            for first in range(0, len(block.samples), step):
                yield block.samples[first : first + step]


def pcm_blocks(pipe: BinaryIO, rate: int) -> Iterator[FloatArray]:
    """Headerless 16-bit little-endian mono samples, as they come.

    Args:
        pipe: Where they come from; read until its end.
        rate: Hz.

    Raises:
        OptionError: The rate makes no sense.
    """
    if not 1_000 <= rate <= 768_000:
        raise OptionError(f"a rate of {rate} Hz; it must be between 1,000 and 768,000")
    resample = _resampler(rate)
    # Below the buffer, which would wait for whole blocks, and whose lock a thread that still waits
    # for sound would hold while the program ends.
    read: Callable[[int], bytes] = getattr(pipe, "raw", pipe).read
    half = b""
    while data := read(round(BLOCK_SECONDS * rate) * _BYTES):
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


class Microphone:
    """The sound card's input, mono; iterate over it, then close it.

    Args:
        device: Number or part of the name, as `Microphone.devices` lists them; ``None`` for the
            system's own choice.

    Raises:
        MissingExtraError: The library for microphones is not installed.
        AudioError: There is no such device, or it cannot be opened.
    """

    def __init__(self, device: str | None = None) -> None:
        cards = _sounddevice()
        wanted = int(device) if device is not None and device.isdecimal() else device
        self._blocks: queue.SimpleQueue[FloatArray | None] = queue.SimpleQueue()
        try:
            rate = float(cards.query_devices(wanted, "input")["default_samplerate"])
            self._resample = _resampler(round(rate))
            self._stream = cards.InputStream(
                device=wanted,
                samplerate=rate,
                channels=1,
                dtype="float32",
                blocksize=round(BLOCK_SECONDS * rate),
                callback=self._take,
            )
            self._stream.start()
        except (ValueError, cards.PortAudioError) as error:
            known = "; ".join(self.devices()) or "no input is known to the system"
            raise AudioError(
                f"the microphone cannot be opened ({error}); inputs: {known}"
            ) from None

    @staticmethod
    def devices() -> list[str]:
        """``number: name`` of every input."""
        found = enumerate(_sounddevice().query_devices())
        return [f"{i}: {card['name']}" for i, card in found if card["max_input_channels"] > 0]

    def __iter__(self) -> Iterator[FloatArray]:
        while (block := self._blocks.get()) is not None:
            yield self._resample(block, False)
        yield self._resample(np.empty(0, np.float32), True)

    def close(self) -> None:
        """Switch it off; iteration ends."""
        self._stream.close()
        self._blocks.put(None)

    def _take(self, samples: Any, *_: object) -> None:  # noqa: ANN401 - sounddevice is not typed
        # Called by the driver's own thread: nothing but a copy may happen here.
        self._blocks.put(samples[:, 0].copy())


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


def _resampler(rate: int) -> Callable[[FloatArray, bool], FloatArray]:
    if rate == SAMPLE_RATE:
        return lambda samples, _last: samples
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    return lambda samples, last: np.asarray(stream.resample_chunk(samples, last=last), np.float32)


def _sounddevice() -> Any:  # noqa: ANN401 - it is not typed
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise MissingExtraError("a microphone", "mic") from None
    except OSError:
        raise AudioError(
            "PortAudio is not installed, which microphones need; on Debian and Ubuntu: "
            "apt install libportaudio2"
        ) from None
    return sounddevice
