"""Numbers and names as they are written: times in milliseconds, probabilities in four digits."""

from __future__ import annotations

from dataclasses import fields, replace

from ark_asr.errors import readable
from ark_asr.types import Alternative, Segment, Timings, Transcript, Word
from ark_asr.writers.timestamps import milliseconds


def rounded(transcript: Transcript) -> Transcript:
    """The same transcript with nothing that a json file would not hold.

    Names of files and folders need not be text: their bytes that are no UTF-8 are spelled out, as
    in messages.

    Raises:
        ValueError: A time is negative or not finite.
    """
    return replace(
        transcript,
        segments=tuple(map(rounded_segment, transcript.segments)),
        duration=_seconds(transcript.duration),
        model=readable(transcript.model),
        source=readable(transcript.source),
        warnings=tuple(map(readable, transcript.warnings)),
        timings=None if transcript.timings is None else _timings(transcript.timings),
    )


def rounded_segment(segment: Segment) -> Segment:
    """The same for one segment."""
    return replace(
        segment,
        start=_seconds(segment.start),
        end=_seconds(segment.end),
        confidence=_probability(segment.confidence),
        words=tuple(map(_word, segment.words)),
        alternatives=tuple(
            Alternative(other.text, _probability(other.confidence))
            for other in segment.alternatives
        ),
    )


def _probability(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _word(word: Word) -> Word:
    return replace(
        word,
        start=_seconds(word.start),
        end=_seconds(word.end),
        confidence=round(word.confidence, 4),
    )


def _timings(timings: Timings) -> Timings:
    values = {field.name: getattr(timings, field.name) for field in fields(timings)}
    return Timings(**{name: value and _seconds(value) for name, value in values.items()})


def _seconds(value: float) -> float:
    return milliseconds(value) / 1000
