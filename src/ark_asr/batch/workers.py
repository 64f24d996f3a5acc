"""Several processes, each with its own model, that share the records between them.

Each process is given one chunk of records at a time, and at most twice as many chunks as there are
processes are on their way, so memory does not grow with the input. A process that dies (killed for
its memory, or by a fault in a library) takes nothing with it: its records are tried again one by
one in a fresh process, and only one that kills a process all by itself becomes an error.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Self

from ark_asr.batch.predict import Settings, predict
from ark_asr.batch.records import Prediction, Record
from ark_asr.errors import ArkError, ModelError, OptionError

_CHUNKS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class _Ready:
    """The model is loaded, or why it is not."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Heard:
    seconds: float


@dataclass(frozen=True, slots=True)
class _Answer:
    predictions: list[Prediction]


@dataclass(slots=True, eq=False)
class _Chunk:
    """Records that follow each other, and what is known of them."""

    records: Sequence[Record]
    found: dict[int, Prediction] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.found) == len(self.records)


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """A part of a chunk for one process."""

    chunk: _Chunk
    first: int
    count: int

    @property
    def records(self) -> Sequence[Record]:
        return self.chunk.records[self.first : self.first + self.count]

    def one_by_one(self) -> list[_Work]:
        return [_Work(self.chunk, self.first + i, 1) for i in range(self.count)]


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    work: _Work | None = None


class Workers:
    """A context manager; leaving it ends the processes.

    Args:
        settings: For all of them.
        count: Number of processes.
        memory: Bytes of private memory that each may have; ``None`` for no limit.
        heard: Called with the seconds of sound that have just been written down.

    Raises:
        OptionError: There is no way to limit memory on this system.
    """

    def __init__(
        self,
        settings: Settings,
        count: int,
        *,
        memory: int | None = None,
        heard: Callable[[float], None] | None = None,
    ) -> None:
        if memory is not None:
            _limit(None)
        self._context = multiprocessing.get_context("spawn")
        self._settings = settings
        self._memory = memory
        self._heard = heard or (lambda _: None)
        self._queue: deque[_Work] = deque()
        self._workers: list[_Worker] = []
        self._count = count

    def __enter__(self) -> Self:
        self._workers = [self._start() for _ in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()

    def predict(self, records: Sequence[Record], chunk: int) -> Iterator[list[Prediction]]:
        """Predictions in the order of the records, chunk by chunk.

        Raises:
            ModelError: A process cannot load the model.
        """
        waiting = deque(
            _Chunk(records[first : first + chunk]) for first in range(0, len(records), chunk)
        )
        order: deque[_Chunk] = deque()
        while waiting or order:
            while waiting and len(order) < _CHUNKS_AHEAD * self._count:
                order.append(waiting.popleft())
                self._queue.append(_Work(order[-1], 0, len(order[-1].records)))
            self._hand_out()
            self._listen()
            while order and order[0].complete:
                found = order.popleft().found
                yield [found[position] for position in range(len(found))]

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_main, args=(theirs, self._settings, self._memory), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _hand_out(self) -> None:
        for worker in self._workers:
            if worker.ready and worker.work is None and self._queue:
                worker.work = self._queue.popleft()
                try:
                    worker.pipe.send(list(worker.work.records))
                except OSError:  # it is dead; `_listen` will find its pipe closed
                    continue

    def _listen(self) -> None:
        by_pipe = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(by_pipe)):
            worker = by_pipe[pipe]  # type: ignore[index]
            try:
                self._hear(worker, worker.pipe.recv())
            except (EOFError, OSError):
                self._bury(worker)

    def _hear(self, worker: _Worker, message: object) -> None:
        if isinstance(message, _Heard):
            self._heard(message.seconds)
        elif isinstance(message, _Ready):
            if message.error is not None:
                raise ModelError(message.error)
            worker.ready = True
        elif isinstance(message, _Answer) and worker.work is not None:
            work, worker.work = worker.work, None
            work.chunk.found.update(enumerate(message.predictions, work.first))

    def _bury(self, worker: _Worker) -> None:
        """What to do for a process that has ended."""
        worker.process.join()
        worker.pipe.close()
        code = worker.process.exitcode or 0
        why = f"signal {-code}" if code < 0 else f"exit code {code}"
        if not worker.ready:
            raise ModelError(f"a worker ended while it loaded the model ({why})")
        if worker.work is not None:
            if worker.work.count > 1:
                self._queue.extendleft(reversed(worker.work.one_by_one()))
            else:
                error = f"the process that worked on it ended ({why}); is there enough memory?"
                worker.work.chunk.found[worker.work.first] = Prediction(error=error)
        self._workers[self._workers.index(worker)] = self._start()


def _main(pipe: Connection, settings: Settings, memory: int | None) -> None:
    """One process: load the model, then answer chunks until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        if memory is not None:
            _limit(memory)
        recognizer = settings.load()
    except (ArkError, MemoryError) as error:
        pipe.send(_Ready(str(error) or "the model does not fit into the memory limit"))
        return
    try:
        pipe.send(_Ready())
        while True:
            records = pipe.recv()
            groups = predict(recognizer, records, settings, lambda s: pipe.send(_Heard(s)))
            pipe.send(_Answer([prediction for group in groups for prediction in group]))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent has gone
        return


def _limit(memory: int | None) -> None:
    """Limit this process's private memory; ``None`` only asks whether that is possible."""
    try:
        import resource

        kind = resource.RLIMIT_DATA
    except (ModuleNotFoundError, AttributeError):
        raise OptionError("memory cannot be limited on this system; leave the limit out") from None
    if memory is not None:
        resource.setrlimit(kind, (memory, memory))
