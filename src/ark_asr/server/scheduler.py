"""One engine, many clients: pieces of sound of different requests are decoded together.

Requests hand in pieces as they are cut; one thread takes the next batch from those who have had
least so far. Work for live sound goes first. Whoever leaves frees his rows before the next token.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Protocol, TypeVar

from ark_asr.errors import ArkError, ModelError
from ark_asr.pipeline.listener import Heard
from ark_asr.pipeline.scribe import Scribe
from ark_asr.server.problems import Problem
from ark_asr.server.ticket import Spoken, Ticket
from ark_asr.types import Audio, TranscribeOptions

# Sound of one batch, padding included; bounds memory as `pipeline.many` does.
_BATCH_SECONDS = 120.0
_SCRIBES = 16
_RECENT = 20
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Model(Protocol):
    """What the scheduler needs of a recognizer."""

    def scribe(self, options: TranscribeOptions) -> Scribe:
        """See `Recognizer.scribe`."""
        ...


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
        self._served: dict[str, float] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._scribes: dict[TranscribeOptions, Scribe] = {}
        self._recent: deque[float] = deque(maxlen=_RECENT)  # seconds that requests took
        self._numbers = 0
        self._closing = False
        self._thread: threading.Thread | None = None
        self.live = 0
        self.busy = 0.0
        self.understood = 0.0

    @property
    def waiting(self) -> int:
        """Requests that are here."""
        return len(self._tickets)

    @property
    def clips(self) -> int:
        """Clips that wait for the engine."""
        return sum(len(ticket.pieces) for ticket in self._tickets)

    def start(self, model: Model) -> None:
        """Begin to work with a loaded model."""
        self._thread = threading.Thread(target=self._work, args=(model,), name="engine")
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

    def admit(self, client: str) -> Ticket:
        """A place in the queue; called before an upload is read, so that waiting ones are few.

        Raises:
            Problem: 429: there is none.
        """
        with self._changed:
            mine = sum(ticket.client == client for ticket in self._tickets)
            if len(self._tickets) >= self._max_queue or mine >= self._max_per_client:
                raise self._full(mine)
            if client not in self._served:
                # A newcomer is not owed the time before he came.
                self._served[client] = min(self._served.values(), default=0.0)
            self._numbers += 1
            ticket = Ticket(self, client, self._numbers)
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
                self._recent.append(ticket.seconds)
            if all(other.client != ticket.client for other in self._tickets):
                self._served.pop(ticket.client, None)
            self._changed.notify_all()

    def _full(self, mine: int) -> Problem:
        typical = sum(self._recent) / len(self._recent) if self._recent else 1.0
        wait = max(round(typical), 1)
        count = len(self._tickets)
        who = f"{count} requests are here" if count >= self._max_queue else f"{mine} are yours"
        return Problem(
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

    def _work(self, model: Model) -> None:
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
                self._decode(model, batch)
                self.understood += sum(piece.duration for _, piece in batch)
            self.busy += time.monotonic() - began
        for call in self._calls:  # whoever waits for them must not wait for ever
            call()

    def _next_batch(self) -> list[tuple[Ticket, Audio]]:
        """Pieces with equal options, each from whoever has had least; called under the lock."""
        batch: list[tuple[Ticket, Audio]] = []
        longest = 0.0
        size = 1 if self.live else self._batch_size
        while len(batch) < size:
            ready = [t for t in self._tickets if t.pieces]
            if batch:
                ready = [t for t in ready if t.options == batch[0][0].options]
            if not ready:
                break
            ticket = min(ready, key=lambda t: (self._served[t.client], t.served, t.number))
            seconds = ticket.pieces[0].duration
            longest = max(longest, seconds)
            if batch and longest * (len(batch) + 1) > _BATCH_SECONDS:
                break
            batch.append((ticket, ticket.pieces.popleft()))
            ticket.served += seconds
            self._served[ticket.client] += seconds
        return batch

    def _decode(self, model: Model, batch: Sequence[tuple[Ticket, Audio]]) -> None:
        try:
            scribe = self._scribe(model, batch[0][0].options)
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
                    self._decode(model, [one])
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

    def _scribe(self, model: Model, options: TranscribeOptions) -> Scribe:
        if options not in self._scribes:
            if len(self._scribes) == _SCRIBES:
                self._scribes.clear()
            self._scribes[options] = model.scribe(options)
        return self._scribes[options]


def _spoken(scribe: Scribe, heard: Heard) -> Spoken:
    hypothesis = heard.hypothesis
    slots = len(heard.embeddings)
    return Spoken(scribe.segment(heard), hypothesis.token_ids, hypothesis.logprobs, slots)
