"""From records to predictions, on the road of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from ark_asr.batch.places import recording
from ark_asr.batch.records import Prediction, Record
from ark_asr.errors import ArkError
from ark_asr.pipeline import Recognizer, Task
from ark_asr.pipeline.many import BATCH_SECONDS
from ark_asr.types import TranscribeOptions, Transcript


@dataclass(frozen=True, slots=True)
class Settings:
    """How to predict; the same in every process.

    Attributes:
        max_audio_seconds: Take only so much of each recording; ``None`` for all of it, in as many
            segments as it needs.
    """

    model: str | None = None
    engine: str | None = None
    threads: int | None = None
    options: TranscribeOptions = field(default_factory=lambda: TranscribeOptions(vad=None))
    batch_seconds: float = BATCH_SECONDS
    max_audio_seconds: float | None = None

    def load(self) -> Recognizer:
        """The model; errors are those of `Recognizer.load`."""
        return Recognizer.load(self.model, engine=self.engine, threads=self.threads)


def predict(
    recognizer: Recognizer,
    records: Iterable[Record],
    settings: Settings,
    heard: Callable[[float], None] | None = None,
) -> Iterator[list[Prediction]]:
    """Predictions in the order of the records, in groups that have become ready together."""
    for group in recognizer.transcribe_many(
        _tasks(records, settings.max_audio_seconds),
        settings.options,
        batch_seconds=settings.batch_seconds,
        heard=heard,
    ):
        yield [_prediction(result) for result in group]


def _tasks(records: Iterable[Record], most: float | None) -> Iterator[Task]:
    """A recording has been read when the next one is asked for; what was fetched can go then."""
    for record in records:
        begin = max(record.begin, 0.0)
        end = min(record.end if record.end >= 0 else inf, inf if most is None else begin + most)
        with recording(record.path) as source:
            yield Task(source, begin or None, None if end == inf else end)


def _prediction(result: Transcript | ArkError) -> Prediction:
    if isinstance(result, ArkError):
        return Prediction(error=str(result))
    return Prediction(
        text=result.text,
        raw_text=" ".join(segment.raw_text for segment in result.segments if segment.raw_text),
        segments=result.segments,
        seconds=result.duration,
        warnings=result.warnings,
    )
