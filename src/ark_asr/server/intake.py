"""From an upload to pieces in the queue: starts a process that hears it, and reads what it says."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext

from ark_asr.errors import AudioDecodeError, AudioError
from ark_asr.server import ear
from ark_asr.server.ear import Order
from ark_asr.server.problems import Problem
from ark_asr.server.ticket import Ticket

_PATIENCE = 0.2  # seconds between two looks whether anybody still waits


class Hearing:
    """One upload that is being heard; `run` it in a thread of its own.

    Args:
        upload: The file's bytes.
        order: How to hear it.
        ticket: Who waits for the pieces.
        stall: Seconds without progress after which the file is given up.

    Attributes:
        heard: Seconds of sound decoded so far.
        warnings: One line per damaged place.
        pid: Of the process, once it is there.
    """

    def __init__(self, upload: bytes, order: Order, ticket: Ticket, stall: float) -> None:
        self.heard = 0.0
        self.warnings: list[str] = []
        self.pid: int | None = None
        self._upload = upload
        self._order = order
        self._ticket = ticket
        self._stall = stall

    def run(self) -> None:
        """Hand all pieces to the ticket, or the error that ended them."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            self._ticket.finish(error)
        else:
            self._ticket.finish()

    def _run(self) -> None:
        name = self._order.name
        if not self._upload:
            raise AudioError(f"{name}: is empty (0 bytes)")
        ours, theirs = multiprocessing.Pipe()
        process = _context().Process(target=ear.hear, args=(theirs, self._order), daemon=True)
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
            self._read(ours)
        except (EOFError, ConnectionError):
            raise AudioDecodeError(f"{name}: the decoder crashed on it, so it is damaged") from None
        finally:
            watchdog.cancel()
            theirs.close()
            ours.close()
            if self.pid is not None:
                process.kill()
                process.join()
                process.close()

    def _read(self, pipe: Connection) -> None:
        while message := self._next(pipe):
            kind = message[:1]
            if kind == ear.PIECE:
                self._ticket.put(ear.read_piece(message))
            elif kind == ear.HEARD:
                (self.heard,) = ear.SECOND.unpack_from(message, 1)
            elif kind == ear.WARNING:
                self.warnings.append(message[1:].decode(errors="replace"))
            elif kind == ear.REFUSED:
                raise AudioError(message[1:].decode(errors="replace"))
            elif kind == ear.TOO_LONG:
                raise Problem(
                    413,
                    f"{self._order.name}: has more than {self._order.max_duration:g} s of sound; "
                    "cut it into parts",
                    "file",
                    "audio_too_long",
                )
            else:
                return

    def _next(self, pipe: Connection) -> bytes:
        """The next message; empty when nobody waits for it any more."""
        patience = time.monotonic() + self._stall
        while not pipe.poll(_PATIENCE):
            if self._ticket.gone:
                return b""
            if time.monotonic() > patience:
                raise AudioDecodeError(
                    f"{self._order.name}: no sound came out of it for {self._stall:g} s"
                )
        return b"" if self._ticket.gone else pipe.recv_bytes()


def warm_up() -> None:
    """Start the process that the others are forked from: the first upload need not wait."""
    process = _context().Process(target=_nothing)
    process.start()
    process.join()
    process.close()


def _context() -> SpawnContext | ForkServerContext:
    """Processes that share nothing with the server but what they are given."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Forked from one that has imported everything: 0.2 s and 10 MB for each upload.
    context.set_forkserver_preload(["__main__", ear.__name__])
    return context


def _nothing() -> None:
    """What the first process does."""
