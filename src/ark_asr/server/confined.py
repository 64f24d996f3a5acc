"""Processes that touch the bytes of an upload: one for each, with bounds.

A codec that crashes, hangs or eats memory takes down its process only. What comes back is plain
bytes, never pickled objects: whoever took over a decoder could otherwise take over the server.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from ark_asr.errors import AudioDecodeError, AudioError
from ark_asr.server import forks
from ark_asr.server.stem import BROKEN

_Order = TypeVar("_Order")
TEXT = 1 << 20  # bytes of the longest line of text that anybody would send
_PATIENCE = 0.2  # seconds between two looks whether anybody still waits
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What such a process may use.

    Attributes:
        memory: Bytes that it may ask for.
        cpu: Seconds of processor time.
    """

    memory: int
    cpu: float

    def enter(self) -> None:
        """Take away from this process what it does not need; there is no way back."""
        if sys.platform == "win32":
            return
        import resource

        # Where the machine's memory is too small for what may be asked for, this process ends, and
        # not the server.
        with suppress(OSError):  # only Linux has it
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
        for limit, value in (
            (resource.RLIMIT_AS, self.memory),
            (resource.RLIMIT_CPU, math.ceil(self.cpu)),
            (resource.RLIMIT_FSIZE, 0),  # not a byte to any disk
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, 64),
        ):
            with suppress(ValueError, OSError):  # a harder limit is there already
                resource.setrlimit(limit, (value, value))


class Confined:
    """One such process.

    Args:
        target: Runs in it: takes its end of a pipe, on which the upload comes, and ``order``.
        order: What it is to do.
        name: Of the upload, for messages.
        upload: The bytes.
        stall: Seconds without a message after which it is given up.
        longest: Bytes of the longest message that is taken: its memory is not the server's.

    Attributes:
        pid: Of the process, once it is there.
    """

    def __init__(
        self,
        target: Callable[[Connection, _Order], None],
        order: _Order,
        name: str,
        upload: bytes,
        stall: float,
        *,
        longest: int = TEXT,
    ) -> None:
        self.pid: int | None = None
        self._target = target
        self._order = order
        self._name = name
        self._upload = upload
        self._stall = stall
        self._longest = longest

    def messages(self, gone: Callable[[], bool]) -> Generator[bytes, None, None]:
        """What it says; close the iterator to end it. None any more once ``gone`` says true.

        Raises:
            AudioError: The upload is empty, or the process crashed on it or hung.
        """
        if not self._upload:
            raise AudioError(f"{self._name}: is empty (0 bytes)")
        pipe, child = forks.start(self._target, self._order)
        self.pid = child.pid
        # A process that stands still does not even take its upload.
        watchdog = threading.Timer(self._stall, child.end)
        try:
            watchdog.start()
            pipe.send_bytes(self._upload)
            watchdog.cancel()
            self._upload = b""
            while self._waits(pipe, gone):
                yield self._next(pipe)
        except (EOFError, OSError):  # the latter also of a message that is too long
            raise AudioDecodeError(
                f"{self._name}: the decoder crashed on it, so it is damaged"
            ) from None
        finally:
            watchdog.cancel()
            child.end()
            pipe.close()

    def _next(self, pipe: Connection) -> bytes:
        message = pipe.recv_bytes(self._longest)
        if message[:1] == BROKEN:
            where = message[1:].decode(errors="replace")
            _log.error("decoder_failed", extra={"where": where})
            raise EOFError
        return message

    def _waits(self, pipe: Connection, gone: Callable[[], bool]) -> bool:
        """Whether a message is there; not when nobody waits for it any more."""
        patience = time.monotonic() + self._stall
        while not pipe.poll(_PATIENCE):
            if gone():
                return False
            if time.monotonic() > patience:
                raise AudioDecodeError(
                    f"{self._name}: no sound came out of it for {self._stall:g} s"
                )
        return not gone()
