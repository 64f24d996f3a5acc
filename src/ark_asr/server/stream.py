"""One live session among others on the shared engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Self

import numpy as np
import soxr

from ark_asr.audio import SAMPLE_RATE
from ark_asr.pipeline import LiveSession
from ark_asr.server.desk import Service
from ark_asr.server.host import Loaded
from ark_asr.server.problems import Problem, invalid
from ark_asr.server.wanted import listening_for
from ark_asr.types import FloatArray, LiveEvent, LiveOptions, TranscribeOptions

# Longer looks would let other sessions wait; shorter ones cost more than they bring.
_LOOK_SECONDS = 0.5
# Who sends faster than the machine can follow is stopped before memory is.
_MOST_WAITING = 60.0
_BYTES = 2
_FLOAT = 4


class Stream:
    """Sound that comes in, and its events; a context manager.

    Args:
        service: Whose engine hears it.
        loaded: The model; it is used until the end.
        rate: Hz of the samples, which are 16-bit little-endian mono.
        options: How to caption.
        transcribe: How utterances are written down.

    Raises:
        Problem: 429: too many sessions; 400: no such rate.
    """

    def __init__(
        self,
        service: Service,
        loaded: Loaded,
        rate: int,
        options: LiveOptions,
        transcribe: TranscribeOptions | None = None,
    ) -> None:
        if not 8_000 <= rate <= 192_000:
            raise invalid("rate", f"{rate} Hz; it must be between 8,000 and 192,000")
        self._loaded = loaded
        self._rate = rate
        self._scheduler = service.host.scheduler
        self._metrics = service.metrics
        self._most = service.settings.max_live
        self._idle = service.settings.live_idle
        self._options = options
        self._transcribe = transcribe or TranscribeOptions()
        self._session: LiveSession | None = None
        self._resampler = (
            None
            if rate == SAMPLE_RATE
            else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
        )
        self._half = b""
        self._waiting = bytearray()  # float32: messages of any size, and many, are one piece
        self._more = asyncio.Event()
        self._begun = self._ended = False

    def __enter__(self) -> Self:
        if self._scheduler.live >= self._most:
            message = f"{self._most} live sessions are open already; try again later"
            raise Problem(429, message, None, "too_many_sessions")
        self._scheduler.live += 1
        self._loaded.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._scheduler.live -= 1
        self._loaded.__exit__()

    @property
    def lag(self) -> float:
        """Seconds of sound that wait."""
        return len(self._waiting) / _FLOAT / SAMPLE_RATE

    def listen_for(self, words: Sequence[str]) -> None:
        """Hot words of the whole session.

        Raises:
            Problem: One is none, or there was sound before them.
        """
        if self._begun:
            raise invalid("hotwords", "they come before the first sound")
        self._transcribe = listening_for(words, self._transcribe, "hotwords")

    def feed(self, data: bytes) -> None:
        """More samples; a half one waits for its other byte.

        Raises:
            Problem: Too much is waiting, or the session is over; these are not taken.
        """
        if self._ended:
            raise self._idled()
        self._begun = True
        if self.lag + len(data) / _BYTES / self._rate > _MOST_WAITING:
            message = f"more than {_MOST_WAITING:g} s of sound are waiting"
            raise Problem(429, message, None, "too_fast")
        data = self._half + data
        whole = len(data) // _BYTES * _BYTES
        self._half = data[whole:]
        samples = np.frombuffer(data[:whole], "<i2").astype(np.float32) * np.float32(2**-15)
        self._take(samples, last=False)

    def finish(self) -> None:
        """No more sound comes; that it has ended may have been found out already."""
        if self._ended:
            return
        self._take(np.empty(0, np.float32), last=True)
        self._ended = True

    async def events(self) -> AsyncIterator[LiveEvent]:
        """What becomes known, until the end of the sound.

        Raises:
            ArkError: The session cannot be begun, or the engine failed.
            Problem: No sound came for so long that the place is needed for others; what was heard
                before has been told.
        """
        idle = False
        while not (self._ended and not self._waiting):
            try:
                async with asyncio.timeout(self._idle):
                    await self._more.wait()
            except TimeoutError:
                idle = True
                self.finish()
            self._more.clear()
            while self._waiting:
                samples = self._next()
                for event in await self._in_engine(samples, self.lag):
                    yield event
        for event in await self._in_engine(None, 0.0):
            yield event
        if idle:
            raise self._idled()

    def _idled(self) -> Problem:
        message = f"no sound came for {self._idle:g} s; the live session is over"
        return Problem(408, message, None, "session_idle")

    def _take(self, samples: FloatArray, *, last: bool) -> None:
        if self._resampler is not None:
            samples = np.asarray(self._resampler.resample_chunk(samples, last=last), np.float32)
        self._waiting += samples.tobytes()
        self._more.set()

    def _next(self) -> FloatArray:
        most = round(_LOOK_SECONDS * SAMPLE_RATE) * _FLOAT
        samples = np.frombuffer(bytes(self._waiting[:most]), np.float32)
        del self._waiting[:most]
        return samples

    async def _in_engine(self, samples: FloatArray | None, lag: float) -> list[LiveEvent]:
        """Feed the session in the engine's own thread; ``None`` finishes it."""

        def work() -> list[LiveEvent]:
            if self._session is None:
                self._session = self._loaded.recognizer.live(self._options, self._transcribe)
            if samples is None:
                return self._session.finish()
            return self._session.feed(samples, waiting=lag)

        seconds = 0.0 if samples is None else len(samples) / SAMPLE_RATE
        events = await asyncio.wrap_future(self._scheduler.call(work, seconds))
        self._metrics.audio_seconds.inc(seconds)
        for event in events:
            self._metrics.lag.observe(event.lag)
        return events
