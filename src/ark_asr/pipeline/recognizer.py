"""A loaded model, and what one does with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from ark_asr.audio import Source
from ark_asr.engines import open_model
from ark_asr.engines.base import AnyEngine, check_threads, closed
from ark_asr.errors import ArkError, OptionError
from ark_asr.kinds import of_kind
from ark_asr.models.calibration import Calibration
from ark_asr.models.store import resolve
from ark_asr.models.tokenizer import TextCodec
from ark_asr.pipeline.journal import (
    Finished,
    Journal,
    Origin,
    describe,
    fingerprint,
    hash_recording,
)
from ark_asr.pipeline.live import LiveSession
from ark_asr.pipeline.many import BATCH_SECONDS, Task, transcribe_many
from ark_asr.pipeline.options import check_options
from ark_asr.pipeline.run import Run
from ark_asr.pipeline.scribe import Scribe
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import LiveOptions, Progress, Segment, TranscribeOptions, Transcript

_DEFAULTS = TranscribeOptions()
_LIVE_DEFAULTS = LiveOptions()


def load(
    model: str | Path | None = None, *, engine: str | None = None, threads: int | None = None
) -> Recognizer:
    """Load a model.

    Args:
        model: A name of `ark-asr models list` or the path of a model folder; ``None`` for the model
            that comes with this package.
        engine: ``onnx`` for packages, ``torch`` (needs the extra ``torch``) for checkpoints;
            ``None`` takes the one that fits the folder. ``vllm`` (extra ``vllm``), or the URL of a
            vLLM server that serves this checkpoint, for many clips at once.
        threads: CPU threads; ``None`` for all physical cores.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelFormatError: A file of it is damaged, or it is not for this engine.
        OptionError: There is no such engine, ``threads`` is not 1 to 1,024, or one of them is of
            another type.
        MissingExtraError: The engine is not installed.
    """
    return Recognizer.load(model, engine=engine, threads=threads)


class Recognizer:
    """A loaded model. Use it as a context manager, or call `close`; one thread at a time.

    A daemon thread must be done (see ``cancelled``) before the program ends: Python stops it in the
    middle of the runtime, which aborts the process.

    Args:
        engine: Where the numbers come from; it is closed with the recognizer.
        tokenizer: Of the same checkpoint.
        name: Of the model, for transcripts.
        folder: Its files; a journal belongs to them.
        calibration: What was measured of the model, if it was.
    """

    def __init__(
        self,
        engine: AnyEngine,
        tokenizer: TextCodec,
        name: str,
        folder: Path | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.name = name
        self._calibration = calibration
        self._folder = folder
        self._engine = engine
        self._tokenizer = tokenizer
        self._closed = False

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        engine: str | None = None,
        threads: int | None = None,
    ) -> Recognizer:
        """See `ark_asr.load`."""
        of_kind("model", model, str | os.PathLike[str] | None)
        of_kind("engine", engine, str | None)
        check_threads(threads)
        found = resolve(model)
        calibration = Calibration.load(found.path)
        return cls(*open_model(found, engine, threads), found.name, found.path, calibration)

    def transcribe(
        self,
        source: Source,
        options: TranscribeOptions = _DEFAULTS,
        *,
        source_rate: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        journal: Journal | None = None,
    ) -> Transcript:
        """Write down what is said in a recording.

        Args:
            source: Path, ``-`` for standard input, bytes, a binary file object, a numpy array with
                its ``source_rate``, or an `Audio`.
            options: How to do it.
            source_rate: Hz of an array.
            progress: Called after every few clips with the segments that have become ready since
                the last call, and once at the end.
            cancelled: Asked between tokens; as soon as it says true, what is there is returned. A
                clip that was being decoded has the flag ``cancelled``.
            journal: What is finished is noted here, and a run that was interrupted goes on from
                there; only for files. It is the caller's to remove when the transcript is safe.

        Raises:
            AudioError: The sound cannot be used; see its subclasses.
            OptionError: An option makes no sense, the recognizer is closed, or the journal is that
                of something else.
            TroubleError: ``strict``, and a clip was not understood.
        """
        origin = journal and self._origin(journal.program, source, options)
        run = self._run(source, options, source_rate, cancelled)
        with closing(run.sound):
            # After the recording was opened: of one that cannot be used nothing is noted.
            earlier = journal.open(origin) if journal and origin else Finished()
            run.go_on(earlier)
            segments: list[Segment] = []
            begin = run.sound.start
            resumed = earlier.segments[-1].end - begin if earlier.segments else 0.0

            def report(batch: tuple[Segment, ...]) -> None:
                segments.extend(batch)
                if progress is not None and batch:
                    done, total = batch[-1].end - begin, run.sound.duration
                    progress(Progress(done, total, run.watch.elapsed, batch, resumed))

            report(earlier.segments)
            for batch in run:
                if journal is not None and not any("cancelled" in one.flags for one in batch):
                    journal.add(Finished(run.clips, tuple(run.neighbours.said), batch))
                report(batch)
        if progress is not None:
            progress(Progress(run.heard, run.heard, run.watch.elapsed, (), resumed))
        return Transcript(
            segments=tuple(segments),
            duration=run.heard,
            model=self.name,
            source=os.fspath(source) if isinstance(source, str | os.PathLike) else "",
            timings=run.watch.timings(run.heard),
            warnings=tuple(run.sound.warnings),
        )

    def stream(
        self,
        source: Source,
        options: TranscribeOptions = _DEFAULTS,
        *,
        source_rate: int | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Generator[Segment, None, None]:
        """The segments of a recording as they become ready; arguments and errors as `transcribe`.

        Who stops before its end can ``close`` it: the recording is given back at once.
        """
        segments = _segments(self._run(source, options, source_rate, cancelled))
        next(segments)
        return segments

    def transcribe_many(
        self,
        tasks: Iterable[Task],
        options: TranscribeOptions = _DEFAULTS,
        *,
        batch_seconds: float = BATCH_SECONDS,
        heard: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Transcript | ArkError, ...]]:
        """Write down many recordings; pieces of similar length are decoded together.

        Args:
            tasks: Recordings and the parts of them that are wanted.
            options: For all of them; each task has its own ``begin`` and ``end``.
            batch_seconds: Most sound of one batch, padding included; bounds memory.
            heard: Called with the seconds of sound that have just been written down.

        Yields:
            The results that have become ready together. There is one per task, in the order of the
            tasks: its transcript (without timings), or the error that kept it from being written
            down. Memory does not grow with their number.

        Raises:
            OptionError: An option makes no sense, or the recognizer is closed.
        """
        check_options(options)
        self._check_open()
        if not of_kind("batch_seconds", batch_seconds, float) > 0:
            raise OptionError(f"batch_seconds is {batch_seconds}; it must be positive")

        def open_run(task: Task) -> Run:
            of_kind("task", task, Task)
            return self._run(
                task.source, replace(options, begin=task.begin, end=task.end), None, None
            )

        return transcribe_many(
            open_run,
            tasks,
            name=self.name,
            batch_size=options.batch_size,
            batch_seconds=batch_seconds,
            in_order=options.context > 0,
            heard=heard,
        )

    def live(
        self,
        options: LiveOptions = _LIVE_DEFAULTS,
        transcribe: TranscribeOptions = _DEFAULTS,
    ) -> LiveSession:
        """Begin captions of sound as it comes in; several sessions can be open in turn.

        Args:
            options: How to caption.
            transcribe: How utterances are written down; what is of whole recordings does not
                matter: times, track and channel, cutting, gain, batch size, context, ``strict``.

        Raises:
            OptionError: An option makes no sense, or the recognizer is closed.
        """
        self._check_open()
        return LiveSession(
            self._engine, self._tokenizer, options, transcribe, calibration=self._calibration
        )

    def scribe(
        self, options: TranscribeOptions = _DEFAULTS, cancelled: Callable[[], bool] | None = None
    ) -> Scribe:
        """What writes pieces of sound down, those of several recordings together.

        For whoever cuts the sound elsewhere, as a server does that decodes it in other processes.

        Args:
            options: How pieces are written down; those that do not matter are those of `live`.
            cancelled: Asked before every token.

        Raises:
            OptionError: An option makes no sense, or the recognizer is closed.
        """
        check_options(options)
        self._check_open()
        return Scribe(
            self._engine,
            self._tokenizer,
            options,
            Stopwatch(),
            cancelled or (lambda: False),
            calibration=self._calibration,
        )

    @property
    def tokenizer(self) -> TextCodec:
        """The tokenizer of the model, with its numbers."""
        return self._tokenizer

    def close(self) -> None:
        """Give back memory and files."""
        if not self._closed:
            self._closed = True
            self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise closed()

    def _origin(self, program: str, source: Source, options: TranscribeOptions) -> Origin:
        model = fingerprint(self.name, self._folder)
        return Origin(program, hash_recording(source), model, describe(options, self._engine))

    def _run(
        self,
        source: Source,
        options: TranscribeOptions,
        source_rate: int | None,
        cancelled: Callable[[], bool] | None,
    ) -> Run:
        self._check_open()
        return Run(
            self._engine,
            self._tokenizer,
            source,
            options,
            source_rate=source_rate,
            cancelled=cancelled,
            calibration=self._calibration,
        )


def _segments(run: Run) -> Generator[Segment, None, None]:
    with closing(run.sound):
        # A generator that has not begun closes nothing; `stream` goes on to here.
        yield cast("Segment", None)
        for batch in run:
            yield from batch
