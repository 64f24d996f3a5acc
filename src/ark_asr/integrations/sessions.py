"""Many sessions' captions from one model, which one thread at a time may use."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ark_asr.errors import ArkError, ModelFormatError, OptionError
from ark_asr.integrations.captions import OPTIONS, Caption, Captions
from ark_asr.integrations.sound import RATE
from ark_asr.pipeline import Recognizer
from ark_asr.types import FloatArray, TranscribeOptions

# Linnet ends a session of which nobody has seen anything for so long; nothing tells us of its end.
IDLE_SECONDS = 90.0
MOST_SESSIONS = 16
# Sound beyond that is refused: captions so late are of no use any more.
MOST_WAITING = 15.0


class BusyError(ArkError):
    """There is more to do than can be done; the window is lost."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A caption and when its last word ended, on the clock of whoever sent the sound."""

    caption: Caption
    timestamp: float


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    samples: FloatArray
    timestamp: float

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


class Sessions:
    """Sessions by name; for one event loop.

    A session lives from its first window until none has come for ``idle`` seconds, and with it goes
    all that was kept of it: the sound and words of the utterance that was going on.

    Args:
        recognizer: The model; it stays the caller's.
        words: Give final captions their words, which takes one more pass of the decoder.
        idle: Seconds.
        most: Sessions at once.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        words: bool = False,
        idle: float = IDLE_SECONDS,
        most: int = MOST_SESSIONS,
    ) -> None:
        self._recognizer = recognizer
        self._words = words
        self._idle = idle
        self._most = most
        self._open: dict[str, _Session] = {}
        self._closed = False
        self._engine = ThreadPoolExecutor(1, "ark-asr")

    def __len__(self) -> int:
        return len(self._open)

    async def hear(
        self,
        name: str,
        samples: FloatArray,
        timestamp: float = 0.0,
        *,
        patience: float | None = None,
    ) -> list[Shown]:
        """The next window of a session, and what is to be read since the last call.

        Args:
            name: Of the session.
            samples: float32 ``[n]``, 16 kHz mono.
            timestamp: The second at which the window ended, on the caller's clock.
            patience: Seconds after which the answer is given without this window's captions; they
                come with a later one. ``None``: wait for them.

        Raises:
            BusyError: Too many sessions, or too much sound of this one waits.
            OptionError: They are closed.
            Exception: What the engine failed with; the session begins anew.
        """
        if self._closed:
            raise OptionError("these sessions are closed; load the model again")
        session = self._session(name)
        session.add(_Window(samples, timestamp))
        work = asyncio.get_running_loop().run_in_executor(self._engine, session.work)
        await asyncio.wait([work], timeout=patience)
        try:
            return session.take()
        except Exception:
            if self._open.get(name) is session:  # and not one that has begun anew since
                self.forget(name)
            raise

    async def finish(self, name: str) -> list[Shown]:
        """The end of a session: the rest of what was said."""
        if name not in self._open:
            return []
        session = self._open[name]
        self.forget(name)
        session.add(None)
        await asyncio.get_running_loop().run_in_executor(self._engine, session.work)
        return session.take()

    def forget(self, name: str) -> None:
        """Drop a session and everything of it."""
        if session := self._open.pop(name, None):
            session.timer.cancel()

    async def aclose(self) -> None:
        """Forget all; waits for the work that is going on."""
        self._closed = True
        for name in list(self._open):
            self.forget(name)
        self._engine.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._engine.shutdown)

    def _session(self, name: str) -> _Session:
        # The timers of a loop that has ended (`asyncio.run` for each window) forget nothing.
        now = time.monotonic()
        for other in [key for key, one in self._open.items() if now >= one.latest + self._idle]:
            self.forget(other)
        timer = asyncio.get_running_loop().call_later(self._idle, self.forget, name)
        session = self._open.get(name)
        if session is not None:
            session.timer.cancel()
            session.timer, session.latest = timer, now
            return session
        if len(self._open) >= self._most:
            timer.cancel()
            raise BusyError(f"{self._most} sessions are open already; try again when one has ended")
        session = self._open[name] = _Session(self._begin, timer, now)
        return session

    def _begin(self) -> Captions:
        """In the engine's thread, because words ask it what it can show."""
        if not self._words:
            return Captions(self._recognizer.live(OPTIONS))
        try:
            return Captions(self._recognizer.live(OPTIONS, TranscribeOptions(words=True)))
        except (OptionError, ModelFormatError):  # these files do not show when words were spoken
            guessed = TranscribeOptions(words=True, word_times="estimate")
            return Captions(self._recognizer.live(OPTIONS, guessed))


class _Session:
    """The sound of one session on its way in, and its captions on their way out.

    Attributes:
        timer: Drops it when nothing more comes.
        latest: When its latest window came, in seconds of `time.monotonic`.
    """

    def __init__(
        self, begin: Callable[[], Captions], timer: asyncio.TimerHandle, now: float
    ) -> None:
        self.timer = timer
        self.latest = now
        self._begin = begin
        self._captions: Captions | None = None
        self._origin = 0.0  # second 0 of its sound on the sender's clock
        self._lock = threading.Lock()
        self._windows: deque[_Window | None] = deque()
        self._waiting = 0.0
        self._shown: list[Shown] = []
        self._error: Exception | None = None

    def add(self, window: _Window | None) -> None:
        """The next window; ``None`` is the end.

        Raises:
            BusyError: Too much is waiting.
        """
        seconds = window.seconds if window else 0.0
        with self._lock:
            if seconds and self._windows and self._waiting + seconds > MOST_WAITING:
                raise BusyError(
                    f"{self._waiting:.0f} s of sound are waiting; this computer is too slow for "
                    "the model"
                )
            self._windows.append(window)
            self._waiting += seconds

    def take(self) -> list[Shown]:
        """What has become known.

        Raises:
            Exception: What the engine failed with.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            shown, self._shown = self._shown, []
            return shown

    def work(self) -> None:
        """Hear all that waits; in the engine's thread."""
        while self._windows:
            with self._lock:
                window = self._windows.popleft()
                self._waiting -= window.seconds if window else 0.0
            try:
                shown = self._hear(window, self._waiting)
            except Exception as error:  # noqa: BLE001 - it belongs to who takes the captions
                self._error = error
                return
            if shown is not None:
                with self._lock:
                    self._shown.append(shown)

    def _hear(self, window: _Window | None, waiting: float) -> Shown | None:
        captions = self._captions = self._captions or self._begin()
        if window is None:
            caption = captions.finish()
        else:
            caption = captions.hear(window.samples, waiting=waiting)
            self._origin = window.timestamp - captions.position
        return Shown(caption, self._origin + caption.end) if caption else None
