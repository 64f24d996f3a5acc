"""One engine, many clients: pieces of sound of different requests are decoded together.

Requests hand in pieces as they are cut; one thread takes the next batch from those who have had
least so far. Work for live sound goes first, long jobs go last. Whoever leaves frees his rows
before the next token.
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
from ark_asr.server.ticket import Account, Spoken, Ticket
from ark_asr.types import Audio

# Sound of one batch, padding included; bounds memory as `pipeline.many` does.
_BATCH_SECONDS = 120.0
_RECENT = 20
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Scheduler:
    """The queue before the engine, and the thread that empties it.

    Args:
        batch_size: Pieces that are decoded together.
        max_queue: Requests that are here at once.
        max_per_client: Those of one client.

    Attributes:
        live: Live sessions, which must not wait for long.
        busy: Seconds that the engine has worked.
        understood: Seconds of sound in the batches that it was given.
    """

    def __init__(self, batch_size: int, max_queue: int, max_per_client: int) -> None:
        self._batch_size = batch_size
        self._max_queue = max_queue
        self._max_per_client = max_per_client
        self._changed = threading.Condition()
        self._tickets: list[Ticket] = []
        self._served: dict[Account, float] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._recent: deque[float] = deque(maxlen=_RECENT)  # seconds that requests took
        self._numbers = 0
        self._closing = False
        self._thread: threading.Thread | None = None
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
        self._thread = threading.Thread(target=self._work, name="engine")
        self._thread.start()

    def close(self) -> None:
        """Drop what is here and end the thread."""
        with self._changed:
            self._closing = True
            for ticket in self._tickets:
                ticket.gone = True
                ticket.answer(Problem(503, "the server is being stopped", None, "shutting_down"))
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

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

    def call(self, work: Callable[[], _T]) -> Future[_T]:
        """Run something in the engine's thread, before any batch."""
        future: Future[_T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - it belongs to who waits for the future
                future.set_exception(error)

        with self._changed:
            if self._closing:
                raise Problem(503, "the server is being stopped", None, "shutting_down")
            self._calls.append(run)
            self._changed.notify_all()
        return future

    def put(self, ticket: Ticket, piece: Audio) -> bool:
        """See `Ticket.put`."""
        with self._changed:
            self._changed.wait_for(lambda: ticket.gone or len(ticket.pieces) < 2 * self._batch_size)
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
            began = time.monotonic()
            if call is not None:
                call()
            else:
                self._decode(batch)
                self.understood += sum(piece.duration for _, piece in batch)
            self.busy += time.monotonic() - began
        for call in self._calls:  # whoever waits for them must not wait for ever
            call()

    def _next_batch(self) -> list[tuple[Ticket, Audio]]:
        """Pieces with equal options, each from whoever has had least; called under the lock."""
        batch: list[tuple[Ticket, Audio]] = []
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
            batch.append((ticket, ticket.pieces.popleft()))
            ticket.served += seconds
            self._served[ticket.account] += seconds
            ready = [t for t in ready if t.pieces and t.ask == ticket.ask]
        return batch

    def _decode(self, batch: Sequence[tuple[Ticket, Audio]]) -> None:
        try:
            scribe = batch[0][0].ask.scribe()
            found = scribe.mender.hear(
                [piece for _, piece in batch],
                cancelled=[partial(getattr, ticket, "gone") for ticket, _ in batch],
            )
            answers = [
                () if ticket.gone else tuple(_spoken(scribe, heard) for heard in parts)
                for (ticket, _), parts in zip(batch, found, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - an engine's library raises what it likes
            if len(batch) > 1:  # who of them is it?
                for one in batch:
                    self._decode([one])
                return
            if not isinstance(error, ArkError):
                _log.exception("a clip could not be decoded")
                error = ModelError(f"the engine failed ({type(error).__name__})")
            batch[0][0].answer(error)
            self._closed(batch[0][0])
            return
        for (ticket, _), answer in zip(batch, answers, strict=True):
            ticket.answer(answer)
            self._closed(ticket)


def _spoken(scribe: Scribe, heard: Heard) -> Spoken:
    hypothesis = heard.hypothesis
    slots = len(heard.embeddings)
    return Spoken(scribe.segment(heard), hypothesis.token_ids, hypothesis.logprobs, slots)
