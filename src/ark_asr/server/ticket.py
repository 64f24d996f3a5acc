"""One request in the queue, and what it gets back."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from ark_asr.pipeline.scribe import Scribe
from ark_asr.types import Audio, Segment, TranscribeOptions

if TYPE_CHECKING:
    from ark_asr.server.scheduler import Scheduler

# Whose time with the engine is counted: a client, and whether it is that of his long jobs.
Account: TypeAlias = tuple[str, bool]


class Model(Protocol):
    """What a request needs of a recognizer."""

    def scribe(self, options: TranscribeOptions) -> Scribe:
        """See `Recognizer.scribe`."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """What is done with pieces; those of which it is equal can share a batch."""

    model: Model
    options: TranscribeOptions

    def scribe(self) -> Scribe:
        """What writes them down."""
        return self.model.scribe(self.options)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A segment, with what only the search knows of it.

    Attributes:
        segment: The segment.
        token_ids: Its tokens.
        logprobs: Natural-log probability of each of them.
        slots: Audio embeddings of its prompt.
    """

    segment: Segment
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    slots: int


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A piece whose turn has come.

    Attributes:
        number: Of the piece within its request, from 0.
    """

    ticket: Ticket
    number: int
    piece: Audio


@dataclass(slots=True, eq=False)
class Ticket:
    """One request from its admission until its answer; a context manager that leaves at its end.

    Attributes:
        client: Who asks; clients share the engine evenly.
        background: It is a long job, which waits for all others.
        ask: How its pieces are written down; set before the first of them.
        gone: Nobody waits for it any more.
        served: Seconds of its sound that have been taken.
        pieces: Those that wait for the engine.
        pending: Pieces without an answer, and one more until no more pieces come.
    """

    scheduler: Scheduler
    client: str
    number: int
    background: bool = False
    ask: Ask = field(init=False)
    gone: bool = False
    served: float = 0.0
    pieces: deque[Audio] = field(default_factory=deque)
    pending: int = 1
    _taken: int = 0
    _told: int = 0
    _early: dict[int, tuple[Spoken, ...]] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _answers: asyncio.Queue[tuple[Spoken, ...] | Exception | None] = field(
        default_factory=asyncio.Queue
    )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.scheduler.leave(self)

    @property
    def account(self) -> Account:
        """Where its time with the engine is counted."""
        return self.client, self.background

    @property
    def seconds(self) -> float:
        """Since it was admitted."""
        return time.monotonic() - self._began

    def put(self, piece: Audio) -> bool:
        """Hand in the next piece; waits while enough of them do. False: nobody wants it."""
        return self.scheduler.put(self, piece)

    def finish(self, error: Exception | None = None) -> None:
        """No more pieces come, perhaps because of an error."""
        if error is not None:
            self.answer(error)
        self.scheduler.finish(self)

    def next_turn(self) -> Turn:
        """The next piece that waits; called under the scheduler's lock."""
        self._taken += 1
        return Turn(self, self._taken - 1, self.pieces.popleft())

    def answer_turn(self, number: int, answer: tuple[Spoken, ...]) -> None:
        """What was said in a piece, told in the order of the pieces; under the same lock."""
        self._early[number] = answer
        while self._told in self._early:
            self.answer(self._early.pop(self._told))
            self._told += 1

    def answer(self, answer: tuple[Spoken, ...] | Exception | None) -> None:
        """Tell the request; called by any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answers.put_nowait, answer)

    async def answers(self) -> AsyncIterator[tuple[Spoken, ...]]:
        """What was said in each piece, in order.

        Raises:
            Exception: What kept it from being written down.
        """
        while (answer := await self._answers.get()) is not None:
            if isinstance(answer, Exception):
                raise answer
            yield answer

    async def __aiter__(self) -> AsyncIterator[Spoken]:
        """What was said, in order; errors as `answers`."""
        async for answer in self.answers():
            for spoken in answer:
                yield spoken
