"""A whole batch: records in, durable rows out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol

from ark_asr.batch.predict import Settings, predict
from ark_asr.batch.records import Prediction, Record, render_row
from ark_asr.errors import OptionError
from ark_asr.models.store import resolve
from ark_asr.pipeline import usable_cores

_BATCHES_IN_CHUNK = 4


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a batch is.

    Attributes:
        rows: Rows in the output, those of an earlier run included.
        failed: Those of them that have an error.
        total: Rows when all is done.
        fresh: Rows of this run.
        audio: Seconds of sound that this run has written down.
        elapsed: Seconds of wall clock since the model was asked for.
        stopped: Why this run stopped early; ``None`` if it did not.
    """

    rows: int
    failed: int
    total: int
    fresh: int = 0
    audio: float = 0.0
    elapsed: float = 0.0
    stopped: str | None = None

    @property
    def rtfx(self) -> float:
        """Seconds of sound per second of wall clock."""
        return self.audio / self.elapsed if self.elapsed else 0.0

    @property
    def left(self) -> float | None:
        """Estimated seconds until the end, going by rows."""
        if not self.fresh:
            return None
        return (self.total - self.rows) * self.elapsed / self.fresh


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run a batch.

    Attributes:
        workers: Processes; 1 without a memory limit is this process itself.
        memory: Bytes of private memory for each worker process; ``None`` for no limit.
        fail_fast: Stop at the first record that cannot be written down; it gets no row.
        segments: Write the segments into the rows.
    """

    settings: Settings
    workers: int = 1
    memory: int | None = None
    fail_fast: bool = False
    segments: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            OptionError: Names the option.
        """
        if self.workers < 1:
            raise OptionError(f"workers is {self.workers}; it must be at least 1")
        if self.memory is not None and self.memory < 1:
            raise OptionError("the memory limit must be positive")
        most = self.settings.max_audio_seconds
        if most is not None and not most > 0:
            raise OptionError(f"max_audio_seconds is {most:g}; it must be positive")


class Rows(Protocol):
    """Where rows go: a `RowFile` or `ShardFolder`."""

    @property
    def done(self) -> int:
        """Rows that are there and stay."""

    @property
    def failed(self) -> int:
        """Those that were there before and have an error."""

    @property
    def todo(self) -> Sequence[Record]:
        """Records that have no row yet, in the order in which rows are to come."""

    def append(self, rows: Iterable[str]) -> None:
        """Take rows."""


@dataclass(frozen=True, slots=True)
class Written:
    """Rows of some records that follow each other.

    Attributes:
        lines: Without newlines.
        failed: How many of them have an error.
        complaints: One line for each recording that is damaged or cannot be used.
        stopped: Why there is no row for the record after them; ``None`` if nothing stopped.
    """

    lines: tuple[str, ...]
    failed: int
    complaints: tuple[str, ...]
    stopped: str | None


def write_rows(records: Sequence[Record], predictions: Sequence[Prediction], plan: Plan) -> Written:
    """The rows of records whose predictions are there."""
    lines: list[str] = []
    complaints: list[str] = []
    failed, stopped = 0, None
    for record, prediction in zip(records, predictions, strict=True):
        complaints += prediction.warnings
        if prediction.error is not None:
            complaints.append(f"line {record.number}: {prediction.error}")
            if plan.fail_fast:
                stopped = complaints[-1]
                break
            failed += 1
        lines.append(render_row(record, prediction, segments=plan.segments))
    return Written(tuple(lines), failed, tuple(complaints), stopped)


def run_batch(
    records: Sequence[Record],
    rows: Rows,
    plan: Plan,
    *,
    report: Callable[[Tally], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Write a row for every record that has none yet.

    Args:
        records: The whole input.
        rows: The output.
        plan: How to do it.
        report: Called as it goes on.
        warn: Called with one line for each recording that is damaged or cannot be used.

    Raises:
        ModelError: The model cannot be used.
        OptionError: An option makes no sense, or the output cannot be written.
    """
    tally = Tally(rows.done, rows.failed, len(records))
    todo = rows.todo
    if not todo:
        return tally
    began = time.perf_counter()

    def heard(seconds: float) -> None:
        nonlocal tally
        elapsed = time.perf_counter() - began
        tally = replace(tally, audio=tally.audio + seconds, elapsed=elapsed)
        report(tally)

    with ExitStack() as stack:
        position = 0
        for group in _groups(todo, plan, heard, stack):
            written = write_rows(todo[position : position + len(group)], group, plan)
            position += len(group)
            for line in written.complaints:
                warn(line)
            if written.lines:
                rows.append(written.lines)
            tally = replace(
                tally,
                rows=rows.done,
                failed=tally.failed + written.failed,
                fresh=tally.fresh + len(written.lines),
                elapsed=time.perf_counter() - began,
                stopped=written.stopped,
            )
            report(tally)
            if written.stopped is not None:
                break
    return tally


def chunk_size(plan: Plan, records: int) -> int:
    """How many of so many records a process is given at a time."""
    most = _BATCHES_IN_CHUNK * plan.settings.options.batch_size
    fair = -(-records // (2 * plan.workers))
    return max(min(most, fair), 1)


def _groups(
    records: Sequence[Record], plan: Plan, heard: Callable[[float], None], stack: ExitStack
) -> Iterator[list[Prediction]]:
    if plan.workers == 1 and plan.memory is None:
        recognizer = stack.enter_context(plan.settings.load())
        return predict(recognizer, records, plan.settings, heard)
    from ark_asr.batch.workers import Workers

    resolve(plan.settings.model)  # before any process is started
    # More threads than cores only get into each other's way.
    threads = plan.settings.threads or max(usable_cores() // plan.workers, 1)
    settings = replace(plan.settings, threads=threads)
    workers = stack.enter_context(Workers(settings, plan.workers, memory=plan.memory, heard=heard))
    return workers.predict(records, chunk_size(plan, len(records)))
