"""References and predictions side by side, and the rows of a scored set."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ark_asr.batch.records import Record, check_values, parse_json, time_of
from ark_asr.errors import OptionError
from ark_asr.evaluation.alignment import Formatted, formatted
from ark_asr.evaluation.languages import primary
from ark_asr.evaluation.schemes import RowScore, Scheme


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a run wrote for one record.

    Attributes:
        row: All keys of its line, in order.
    """

    text: str
    error: str | None
    row: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """One record with its prediction and their comparison.

    Attributes:
        formatted: Compared with case and punctuation.
    """

    record: Record
    predicted: Predicted
    score: RowScore
    formatted: Formatted

    def field(self, key: str) -> Any:  # noqa: ANN401 - whatever the manifest holds
        """A value of the manifest; ``None`` where it has none."""
        return self.record.audio if key == "audio" else self.record.field(key)


def read_predictions(path: Path, records: Sequence[Record]) -> list[Predicted]:
    """The predictions of a batch output, in the order of the records.

    They are found by recording and times, so the file may have another order and more rows.

    Raises:
        OptionError: It cannot be read, a line is not a row of a batch output, or a record has no
            prediction.
    """
    found: defaultdict[tuple[str, float, float], deque[Predicted]] = defaultdict(deque)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    key, predicted = _read(line, f"{path}: line {number}")
                    found[key].append(predicted)
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror or error})") from None
    there = set(found)
    missing = []
    predictions = []
    for record in records:
        waiting = found[record.audio, record.begin, record.end]
        if waiting:
            predictions.append(waiting.popleft())
        else:
            missing.append(record)
    if missing:
        one = missing[0]
        again = (one.audio, one.begin, one.end) in there
        raise OptionError(
            f"{path}: has no prediction for {len(missing)} of {len(records)} records, such as "
            f"{one.audio} (line {one.number} of the input"
            + (
                ", where it stands again: each line takes a prediction of its own)"
                if again
                else ")"
            )
        )
    return predictions


def score_all(
    records: Sequence[Record],
    predictions: Sequence[Predicted],
    scheme: Scheme,
    *,
    language: str = "",
    language_field: str = "language",
) -> list[Scored]:
    """Compare each prediction with its reference.

    Args:
        records: The test set.
        predictions: As many, in the same order.
        scheme: How to compare.
        language: Tag of those records that do not name theirs.
        language_field: Where a record names it.

    Raises:
        OptionError: A record is of another language than the scheme is for.
    """
    return [
        _score(record, predicted, scheme, _language(record, language_field) or language)
        for record, predicted in zip(records, predictions, strict=True)
    ]


def _score(record: Record, predicted: Predicted, scheme: Scheme, language: str) -> Scored:
    if scheme.language and language and primary(language) != scheme.language:
        raise OptionError(
            f"line {record.number} of the input is {language!r}, but the scheme {scheme.name!r} is "
            f"for {scheme.language!r} only; take --scheme basic, or leave such lines out"
        )
    return Scored(
        record,
        predicted,
        scheme.score(record.text, predicted.text, language),
        formatted(record.text, predicted.text),
    )


def _language(record: Record, key: str) -> str:
    found = dict(record.extra).get(key)
    return found if isinstance(found, str) else ""


def worst_first(scored: Sequence[Scored]) -> list[Scored]:
    """By character errors; equal ones stay in the order of the input."""
    return sorted(scored, key=lambda one: -one.score.cer_errors)


def render(scored: Sequence[Scored]) -> str:
    """JSON lines: the prediction's own keys, then those of the published evaluation."""
    return "".join(_render(one) + "\n" for one in scored)


def _render(one: Scored) -> str:
    row = dict(one.predicted.row)
    error = row.pop("error", None)
    row |= {
        "ref_text": one.record.text,
        "ref_text_clean": one.score.reference,
        "pred_text_clean": one.score.hypothesis,
        "cer_errors": one.score.cer_errors,
        "wer_errors": one.score.wer_errors,
        "ref_words": one.score.ref_words,
        "ref_chars": one.score.ref_chars,
    }
    if error is not None:
        row["error"] = error
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def _read(line: bytes, where: str) -> tuple[tuple[str, float, float], Predicted]:
    try:
        row = parse_json(line)
    except OptionError as error:
        raise OptionError(f"{where} {error}") from None
    audio, text = (row.get(k) for k in ("audio", "pred_text")) if isinstance(row, dict) else (0, 0)
    if not isinstance(audio, str) or not isinstance(text, str):
        raise OptionError(f"{where} is no row of a batch output: it needs audio and pred_text")
    try:
        begin, end = (time_of(row, key) for key in ("begin_time", "end_time"))
        check_values(row)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    failed = row.get("error")
    predicted = Predicted(text, None if failed is None else str(failed), tuple(row.items()))
    return (audio, begin, end), predicted
