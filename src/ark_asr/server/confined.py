"""Processes that touch the bytes of an upload: one for each, with bounds.

A codec that crashes, hangs or eats memory takes down its process only. What comes back is plain
bytes, never pickled objects: whoever took over a decoder could otherwise take over the server.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import TypeVar

from ark_asr.errors import AudioDecodeError, AudioError

# Imported once, by the process that the others are forked from. Half of the time of a short upload
# would go into importing the last three, which others import only when they are needed.
_PRELOADED = ["__main__", "ark_asr.server.ear", "onnxruntime", "av.subtitles.stream", "resource"]
_Order = TypeVar("_Order")
_PATIENCE = 0.2  # seconds between two looks whether anybody still waits


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
    ) -> None:
        self.pid: int | None = None
        self._target = target
        self._order = order
        self._name = name
        self._upload = upload
        self._stall = stall

    def messages(self, gone: Callable[[], bool]) -> Generator[bytes, None, None]:
        """What it says; close the iterator to end it. None any more once ``gone`` says true.

        Raises:
            AudioError: The upload is empty, or the process crashed on it or hung.
        """
        if not self._upload:
            raise AudioError(f"{self._name}: is empty (0 bytes)")
        ours, theirs = multiprocessing.Pipe()
        process = context().Process(target=self._target, args=(theirs, self._order), daemon=True)
        # A process that stands still does not even take its upload.
        watchdog = threading.Timer(self._stall, process.kill)
        try:
            process.start()
            self.pid = process.pid
            theirs.close()
            watchdog.start()
            ours.send_bytes(self._upload)
            watchdog.cancel()
            self._upload = b""
            while self._waits(ours, gone):
                yield ours.recv_bytes()
        except (EOFError, ConnectionError):
            raise AudioDecodeError(
                f"{self._name}: the decoder crashed on it, so it is damaged"
            ) from None
        finally:
            watchdog.cancel()
            theirs.close()
            ours.close()
            if self.pid is not None:
                process.kill()
                process.join()
                process.close()

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


def context() -> SpawnContext | ForkServerContext:
    """Processes that share nothing with the server but what they are given."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(_PRELOADED)
    return found


def warm_up() -> None:
    """Start the process that the others are forked from: the first upload need not wait."""
    process = context().Process(target=_nothing)
    process.start()
    process.join()
    process.close()


def _nothing() -> None:
    """What the first process does."""
