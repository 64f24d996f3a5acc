"""Words one by one: are they where they were said, and is their confidence what it says?

Predicted words are those of the segments of a row (`ark-asr batch --segments`, with words); spoken
ones are those of the manifest's key ``words``. Both are in seconds of the recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ark_asr.batch.records import as_number
from ark_asr.errors import OptionError
from ark_asr.evaluation import text as steps
from ark_asr.evaluation.alignment import align
from ark_asr.evaluation.reliability import Bin, calibration_error, reliability
from ark_asr.evaluation.rows import Scored

_NEAR = (0.05, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class TimeErrors:
    """How far words are from where they were said, over the words that are right.

    Attributes:
        words: How many they are.
        start: Mean distance of starts in seconds.
        end: Mean distance of ends in seconds.
        start_shift: Mean of predicted minus spoken start: positive if late.
        near: Share of starts within 50, 100 and 200 ms.
    """

    words: int
    start: float
    end: float
    start_shift: float
    near: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether words of confidence 0.8 are right eight times in ten.

    Attributes:
        words: With a confidence, in rows with a reference.
        right: Share of them that is right.
        error: Expected calibration error: mean distance of confidence and share that is right.
        bins: The reliability diagram.
    """

    words: int
    right: float
    error: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word as a row or a manifest has it.

    Attributes:
        confidence: ``None`` where there is none.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None


def time_errors(scored: Sequence[Scored]) -> TimeErrors | None:
    """Compare word times; ``None`` where nothing can be compared.

    Raises:
        OptionError: Words of the manifest or of a prediction are not in the documented form.
    """
    pairs = [pair for one in scored for pair in _same_words(one)]
    if not pairs:
        return None
    shift = np.array([said.start - spoken.start for spoken, said in pairs])
    end = np.array([said.end - spoken.end for spoken, said in pairs])
    near = tuple(float(np.mean(np.abs(shift) <= limit + 1e-9)) for limit in _NEAR)
    return TimeErrors(
        words=len(pairs),
        start=float(np.abs(shift).mean()),
        end=float(np.abs(end).mean()),
        start_shift=float(shift.mean()),
        near=(near[0], near[1], near[2]),
    )


def calibration(scored: Sequence[Scored]) -> Calibration | None:
    """Compare the words' confidence with whether they are right; ``None`` where there is none.

    Raises:
        OptionError: Words of a prediction are not in the documented form.
    """
    confidence, right = [], []
    for one in scored:
        if not one.record.text.strip():
            continue
        said = predicted_words(one)
        hits = _hits(steps.words(steps.plain(one.record.text)), said)
        for word, hit in zip(said, hits, strict=True):
            if word.confidence is not None:
                confidence.append(word.confidence)
                right.append(hit is not None)
    if not confidence:
        return None
    values, truths = np.array(confidence, np.float32), np.array(right)
    return Calibration(
        words=len(confidence),
        right=float(truths.mean()),
        error=calibration_error(values, truths),
        bins=tuple(reliability(values, truths)),
    )


def spoken_words(one: Scored) -> list[TimedWord]:
    """The words of the manifest, with their times; empty where it has none."""
    where = f"line {one.record.number} of the input"
    return list(_read(one.field("words"), where))


def predicted_words(one: Scored) -> list[TimedWord]:
    """The words of a prediction; empty where it has none."""
    where = f"the prediction of {one.record.audio}"
    segments = dict(one.predicted.row).get("segments")
    words: list[TimedWord] = []
    for segment in segments if isinstance(segments, list) else []:
        words += _read(segment.get("words") if isinstance(segment, dict) else None, where)
    return words


def confidence_of(one: Scored) -> float | None:
    """Confidence of a prediction: that of its segments, by their length; ``None`` without one."""
    segments = dict(one.predicted.row).get("segments")
    total = weight = 0.0
    for segment in segments if isinstance(segments, list) else []:
        value = as_number(segment.get("confidence")) if isinstance(segment, dict) else None
        if value is not None:
            length = max(len(str(segment.get("text", ""))), 1)
            total += value * length
            weight += length
    return total / weight if weight else None


def _same_words(one: Scored) -> Iterator[tuple[TimedWord, TimedWord]]:
    spoken = spoken_words(one)
    if not spoken:
        return
    tokens = [(token, word) for word in spoken for token in steps.words(steps.plain(word.text))]
    said = predicted_words(one)
    hits = _hits([token for token, _ in tokens], said)
    for word, hit in zip(said, hits, strict=True):
        if hit is not None:
            yield tokens[hit][1], word


def _hits(reference: Sequence[str], said: Sequence[TimedWord]) -> list[int | None]:
    """For each word that was predicted, the place of its first token in the reference, if right."""
    tokens = [steps.words(steps.plain(word.text)) for word in said]
    places: list[int | None] = []
    here = 0
    for pair in align(reference, [token for word in tokens for token in word]):
        if pair.hypothesis:
            places.append(here if pair.right else None)
        here += bool(pair.reference)
    hits: list[int | None] = []
    at = 0
    for word in tokens:
        found = places[at : at + len(word)]
        hits.append(None if not found or None in found else found[0])
        at += len(word)
    return hits


def _read(value: object, where: str) -> Iterator[TimedWord]:
    if value is None:
        return
    for item in value if isinstance(value, list) else [value]:
        found: Any = item if isinstance(item, dict) else {}
        text = found.get("text")
        start, end, sure = (as_number(found.get(key)) for key in ("start", "end", "confidence"))
        if not isinstance(text, str) or start is None or end is None:
            raise OptionError(
                f"{where}: words must be objects with text, start and end, not {item!r:.60}"
            )
        yield TimedWord(text, start, end, sure)
