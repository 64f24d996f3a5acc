"""Many recordings on the same road: pieces of several of them share a batch.

Pieces wait in a pool until there are enough of them to make batches of similar length; then the
whole pool is decoded and every recording that is complete is handed out, in the order in which they
were asked for.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

from ark_asr.audio import Source
from ark_asr.errors import ArkError, AudioError, ModelError, OptionError, TroubleError
from ark_asr.pipeline.drift import flag_drift
from ark_asr.pipeline.run import Run
from ark_asr.types import Audio, Segment, Transcript

BATCH_SECONDS = 120.0
# A larger pool sorts better, but holds back more finished rows and more memory (64 kB a second).
_BATCHES_IN_POOL = 4


@dataclass(frozen=True, slots=True)
class Task:
    """A recording, or the part of it between two seconds."""

    source: Source
    begin: float | None = None
    end: float | None = None


@dataclass(slots=True, eq=False)
class _Job:
    """One task on its way.

    Attributes:
        segments: Of each piece, by its number: pieces are decoded in the order of their length.
        reading: Whether more pieces may come.
    """

    task: Task
    run: Run | None = None
    pieces: int = 0
    segments: dict[int, tuple[Segment, ...]] = field(default_factory=dict)
    reading: bool = True
    error: ArkError | None = None

    @property
    def complete(self) -> bool:
        return not self.reading and (self.error is not None or len(self.segments) == self.pieces)

    def result(self, name: str) -> Transcript | ArkError:
        if self.error is not None or self.run is None:
            return self.error or OptionError("nothing was read")
        source = self.task.source
        pieces = [self.segments[number] for number in range(self.pieces)]
        try:
            segments = self.run.checked(tuple(flag_drift(list(chain.from_iterable(pieces)))))
        except TroubleError as error:
            return error
        return Transcript(
            segments=segments,
            duration=self.run.heard,
            model=name,
            source=os.fspath(source) if isinstance(source, str | os.PathLike) else "",
            warnings=tuple(self.run.sound.warnings),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    job: _Job
    run: Run
    number: int
    audio: Audio


def transcribe_many(
    open_run: Callable[[Task], Run],
    tasks: Iterable[Task],
    *,
    name: str,
    batch_size: int,
    batch_seconds: float,
    in_order: bool = False,
    heard: Callable[[float], None] | None = None,
) -> Iterator[tuple[Transcript | ArkError, ...]]:
    """See `Recognizer.transcribe_many`; ``in_order``: the pieces of a recording are not mixed."""
    jobs: deque[_Job] = deque()
    pool: list[_Piece] = []

    def empty_pool() -> Iterator[tuple[Transcript | ArkError, ...]]:
        for batch in batches(pool, batch_size, batch_seconds):
            _decode(batch)
            if heard is not None:
                heard(sum(piece.audio.duration for piece in batch))
        pool.clear()
        ready = []
        while jobs and jobs[0].complete:
            ready.append(jobs.popleft().result(name))
        if ready:
            yield tuple(ready)

    for task in tasks:
        job = _Job(task)
        jobs.append(job)
        if in_order:
            _follow(job, open_run, heard)
            yield from empty_pool()
            continue
        for piece in _read(job, open_run):
            pool.append(piece)
            seconds = sum(piece.audio.duration for piece in pool)
            if seconds >= _BATCHES_IN_POOL * batch_seconds or len(pool) >= (
                _BATCHES_IN_POOL * batch_size
            ):
                yield from empty_pool()
        if not pool:  # silence and errors wait for nothing
            yield from empty_pool()
    yield from empty_pool()


def _read(job: _Job, open_run: Callable[[Task], Run]) -> Iterator[_Piece]:
    """The pieces of one recording; what is wrong with it becomes the job's error."""
    try:
        job.run = open_run(job.task)
        with closing(job.run.sound):
            for audio in job.run.cuts():
                job.pieces += 1
                yield _Piece(job, job.run, job.pieces - 1, audio)
    except (ArkError, OSError) as error:
        job.error = _as_error(job, error)
    job.reading = False


def _follow(
    job: _Job, open_run: Callable[[Task], Run], heard: Callable[[float], None] | None
) -> None:
    """One recording by itself, each piece knowing what was said before it."""
    try:
        job.run = open_run(job.task)
        for segments in job.run:
            job.segments[job.pieces] = segments
            job.pieces += 1
            if heard is not None:
                heard(sum(segment.end - segment.start for segment in segments))
    except Exception as error:  # noqa: BLE001 - an engine's library raises what it likes
        job.error = _as_error(job, error)
    job.reading = False


def _as_error(job: _Job, error: Exception) -> ArkError:
    if isinstance(error, ArkError):
        return error
    if isinstance(error, OSError):
        return AudioError(f"{job.task.source!r}: cannot be read ({error.strerror or error})")
    return ModelError(f"{type(error).__name__}: {error}")


def batches(pool: Sequence[_Piece], size: int, seconds: float) -> Iterator[list[_Piece]]:
    """Pieces of similar length together, the longest first: what is too large shows at once.

    A batch has at most ``size`` pieces and, padding included, at most ``seconds`` of sound; a piece
    that is longer than that is alone.
    """
    batch: list[_Piece] = []
    for piece in sorted(pool, key=lambda piece: -piece.audio.duration):
        if batch and (len(batch) == size or (len(batch) + 1) * batch[0].audio.duration > seconds):
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def _decode(batch: Sequence[_Piece]) -> None:
    batch = [piece for piece in batch if piece.job.error is None]
    if not batch:
        return
    try:
        segments = batch[0].run.transcribe([piece.audio for piece in batch])
    except Exception as error:  # noqa: BLE001 - an engine's library raises what it likes
        if len(batch) > 1:  # who of them is it?
            for piece in batch:
                _decode([piece])
            return
        batch[0].job.error = _as_error(batch[0].job, error)
        return
    for piece, found in zip(batch, segments, strict=True):
        piece.job.segments[piece.number] = found
