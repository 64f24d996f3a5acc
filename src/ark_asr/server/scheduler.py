"""One engine, many clients: pieces of sound of different requests are decoded together.

Requests hand in pieces as they are cut; a thread takes the next batch from those who have had least
so far. Work for live sound goes first, long jobs go last. Whoever leaves frees his rows before the
next token. An engine that batches by itself has several threads, each with a piece: so a new piece
need not wait for the longest of a batch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from ark_asr.errors import ArkError, ModelError
from ark_asr.pipeline.listener import Heard
from ark_asr.pipeline.scribe import Scribe
from ark_asr.server.problems import Problem
from ark_asr.server.ticket import Account, Spoken, Ticket, Turn
from ark_asr.types import Audio

# Sound of one batch, padding included; bounds memory as `pipeline.many` does.
_BATCH_SECONDS = 120.0
_RECENT = 20
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Scheduler:
    """The queue before the engine, and the threads that empty it.

    Args:
        batch_size: Pieces that are decoded together.
        max_queue: Requests that are here at once.
        max_per_client: Those of one client.
        lanes: Batches that the engine is given at once; more than one for a `Writer` only.

    Attributes:
        live: Live sessions, which must not wait for long.
        busy: Seconds that the engine has worked, in all lanes together.
        understood: Seconds of sound in the batches and live sessions that it was given.
    """

    def __init__(
        self, batch_size: int, max_queue: int, max_per_client: int, lanes: int = 1
    ) -> None:
        self._batch_size = batch_size
        self._ahead = 2 * batch_size * lanes
        self._max_queue = max_queue
        self._max_per_client = max_per_client
        self._changed = threading.Condition()
        self._tickets: list[Ticket] = []
        self._served: dict[Account, float] = {}
        self._calls: deque[Callable[[], float]] = deque()
        self._recent: deque[float] = deque(maxlen=_RECENT)  # seconds that requests took
        self._numbers = 0
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"engine-{lane}") for lane in range(lanes)
        ]
        self.live = 0
        self.busy = 0.0
        self.understood = 0.0

    @property
    def waiting(self) -> int:
        """Requests that are here; long jobs are none."""
        return sum(not ticket.background for ticket in self._tickets)

    @property
    def jobs(self) -> int:
        """Long jobs that are being done."""
        return len(self._tickets) - self.waiting

    @property
    def clips(self) -> int:
        """Clips that wait for the engine."""
        return sum(len(ticket.pieces) for ticket in self._tickets)

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Drop what is here and end the threads."""
        with self._changed:
            self._closing = True
            for ticket in self._tickets:
                ticket.gone = True
                ticket.answer(Problem(503, "the server is being stopped", None, "shutting_down"))
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        for call in self._calls:  # whoever waits for them must not wait for ever
            call()

    def admit(self, client: str, *, background: bool = False) -> Ticket:
        """A place in the queue; called before an upload is read, so that waiting ones are few.

        Args:
            client: Who asks.
            background: It is a long job: it takes no place, and has the engine when nobody else
                wants it.

        Raises:
            Problem: 429: there is none.
        """
        with self._changed:
            if not background:
                self._check_room(client)
            self._numbers += 1
            ticket = Ticket(self, client, self._numbers, background)
            if ticket.account not in self._served:
                # A newcomer is not owed the time before he came.
                self._served[ticket.account] = min(self._served.values(), default=0.0)
            self._tickets.append(ticket)
            return ticket

    def call(self, work: Callable[[], _T], seconds: float = 0.0) -> Future[_T]:
        """Run something in a thread of the engine, before any batch; it hears so much sound."""
        future: Future[_T] = Future()

        def run() -> float:
            if not future.set_running_or_notify_cancel():
                return 0.0
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - it belongs to who waits for the future
                future.set_exception(error)
            return seconds

        with self._changed:
            if self._closing:
                raise Problem(503, "the server is being stopped", None, "shutting_down")
            self._calls.append(run)
            self._changed.notify_all()
        return future

    def put(self, ticket: Ticket, piece: Audio) -> bool:
        """See `Ticket.put`."""
        with self._changed:
            self._changed.wait_for(lambda: ticket.gone or len(ticket.pieces) < self._ahead)
            if ticket.gone:
                return False
            ticket.pieces.append(piece)
            ticket.pending += 1
            self._changed.notify_all()
            return True

    def finish(self, ticket: Ticket) -> None:
        """See `Ticket.finish`."""
        self._closed(ticket)

    def leave(self, ticket: Ticket) -> None:
        """The request is over, answered or not."""
        with self._changed:
            ticket.gone = True
            ticket.pieces.clear()
            if ticket in self._tickets:
                self._tickets.remove(ticket)
                if not ticket.background:
                    self._recent.append(ticket.seconds)
            if all(other.account != ticket.account for other in self._tickets):
                self._served.pop(ticket.account, None)
            self._changed.notify_all()

    def _check_room(self, client: str) -> None:
        count = self.waiting
        mine = sum(t.client == client and not t.background for t in self._tickets)
        if count < self._max_queue and mine < self._max_per_client:
            return
        typical = sum(self._recent) / len(self._recent) if self._recent else 1.0
        wait = max(round(typical), 1)
        who = f"{count} requests are here" if count >= self._max_queue else f"{mine} are yours"
        raise Problem(
            429,
            f"the queue is full ({who}); you would be number {count + 1}; try again in {wait} s",
            None,
            "queue_full",
            {"Retry-After": str(wait), "X-Queue-Position": str(count + 1)},
        )

    def _closed(self, ticket: Ticket) -> None:
        """One thing less that the ticket waits for."""
        with self._changed:
            ticket.pending -= 1
            if not ticket.pending:
                ticket.answer(None)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closing or self._calls or any(t.pieces for t in self._tickets)
                )
                if self._closing:
                    break
                call = self._calls.popleft() if self._calls else None
                batch = [] if call else self._next_batch()
                self._changed.notify_all()
            began, heard = time.monotonic(), 0.0
            if call is not None:
                heard = call()
            else:
                self._decode(batch)
            with self._changed:
                self.busy += time.monotonic() - began
                self.understood += heard + sum(turn.piece.duration for turn in batch)

    def _next_batch(self) -> list[Turn]:
        """Pieces with equal options, each from whoever has had least; called under the lock."""
        batch: list[Turn] = []
        longest = 0.0
        size = 1 if self.live else self._batch_size
        ready = [t for t in self._tickets if t.pieces]
        # A long job's pieces would make a short request's batch longer.
        ready = [t for t in ready if not t.background] or ready
        while ready and len(batch) < size:
            ticket = min(ready, key=lambda t: (self._served[t.account], t.served, t.number))
            seconds = ticket.pieces[0].duration
            longest = max(longest, seconds)
            if batch and longest * (len(batch) + 1) > _BATCH_SECONDS:
                break
            batch.append(ticket.next_turn())
            ticket.served += seconds
            self._served[ticket.account] += seconds
            ready = [t for t in ready if t.pieces and t.ask == ticket.ask]
        return batch

    def _decode(self, batch: Sequence[Turn]) -> None:
        try:
            scribe = batch[0].ticket.ask.scribe()
            found = scribe.mender.hear(
                [turn.piece for turn in batch],
                cancelled=[partial(getattr, turn.ticket, "gone") for turn in batch],
            )
            answers = [
                () if turn.ticket.gone else tuple(_spoken(scribe, heard) for heard in parts)
                for turn, parts in zip(batch, found, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - an engine's library raises what it likes
            if len(batch) > 1:  # who of them is it?
                for one in batch:
                    self._decode([one])
                return
            if not isinstance(error, ArkError):
                _log.exception("a clip could not be decoded")
                error = ModelError(f"the engine failed ({type(error).__name__})")
            batch[0].ticket.answer(error)
            self._closed(batch[0].ticket)
            return
        for turn, answer in zip(batch, answers, strict=True):
            with self._changed:
                turn.ticket.answer_turn(turn.number, answer)
            self._closed(turn.ticket)


def _spoken(scribe: Scribe, heard: Heard) -> Spoken:
    hypothesis = heard.hypothesis
    slots = len(heard.embeddings)
    return Spoken(scribe.segment(heard), hypothesis.token_ids, hypothesis.logprobs, slots)
