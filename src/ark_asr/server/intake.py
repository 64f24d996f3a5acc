"""From an upload to pieces in the queue: what the process that hears it says."""

from __future__ import annotations

import math
from contextlib import closing

from ark_asr.audio import SAMPLE_RATE
from ark_asr.errors import AudioError
from ark_asr.server import ear
from ark_asr.server.confined import TEXT, Confined
from ark_asr.server.ear import Order
from ark_asr.server.problems import Problem
from ark_asr.server.ticket import Ticket

_SAMPLE_BYTES = 4
# A decoder in its right mind has few and short ones; others must not take the server's memory.
_WARNINGS, _WARNING_BYTES = 32, 1 << 14


class Hearing:
    """One upload that is being heard; `run` it in a thread of its own.

    Args:
        upload: The file's bytes.
        order: How to hear it.
        ticket: Who waits for the pieces.
        stall: Seconds without progress after which the file is given up.

    Attributes:
        total: Seconds of sound that its container claims, if it does.
        heard: Seconds of sound decoded so far.
        warnings: One line for each thing that one should know of how it is read, then one per
            damaged place.
    """

    def __init__(self, upload: bytes, order: Order, ticket: Ticket, stall: float) -> None:
        self.total: float | None = None
        self.heard = 0.0
        self.warnings: list[str] = []
        self._notes = 0
        self._order = order
        self._ticket = ticket
        self._handed = 0.0  # seconds of sound
        longest = TEXT + math.ceil(order.clip_seconds * SAMPLE_RATE) * _SAMPLE_BYTES
        self._process = Confined(ear.hear, order, order.name, upload, stall, longest=longest)

    @property
    def pid(self) -> int | None:
        """Of the process, once it is there."""
        return self._process.pid

    @property
    def damage(self) -> list[str]:
        """The warnings that name a damaged place."""
        return self.warnings[self._notes :]

    def run(self) -> None:
        """Hand all pieces to the ticket, or the error that ended them."""
        try:
            with closing(self._process.messages(lambda: self._ticket.gone)) as messages:
                while (message := next(messages, ear.DONE))[:1] != ear.DONE:
                    self._take(message)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            self._ticket.finish(error)
        else:
            self._ticket.finish()

    def _take(self, message: bytes) -> None:
        kind = message[:1]
        if kind == ear.PIECE:
            piece = ear.read_piece(message)
            self._handed += piece.duration
            # A decoder in its right mind says so itself; one that was taken over does not.
            if self._handed > self._order.max_duration:
                raise self._too_long()
            self._ticket.put(piece)
        elif kind == ear.HEARD:
            (self.heard,) = ear.SECOND.unpack_from(message, 1)
        elif kind == ear.TOTAL:
            (total,) = ear.SECOND.unpack_from(message, 1)
            self.total = total if 0 < total < math.inf else None
        elif kind == ear.NOTES:
            self._notes = message[1]
        elif kind == ear.WARNING:
            number, line = message[1], message[2:_WARNING_BYTES].decode(errors="replace")
            if number < _WARNINGS:
                self.warnings[number : number + 1] = [line]
        elif kind == ear.REFUSED:
            raise AudioError(message[1:].decode(errors="replace"))
        elif kind == ear.TOO_LONG:
            raise self._too_long()

    def _too_long(self) -> Problem:
        return Problem(
            413,
            f"{self._order.name}: has more than {self._order.max_duration:g} s of sound; "
            "cut it into parts",
            "file",
            "audio_too_long",
        )
