"""A whole evaluation: records and predictions in, scored rows and their summary out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ark_asr.batch.records import Record
from ark_asr.errors import readable
from ark_asr.evaluation.confusions import find_mistakes
from ark_asr.evaluation.fields import require
from ark_asr.evaluation.machine import Model, this_machine
from ark_asr.evaluation.rows import Predicted, Scored, read_predictions, score_all
from ark_asr.evaluation.schemes import get_scheme
from ark_asr.evaluation.summary import Speed, Summary, breakdown, compare, rates
from ark_asr.evaluation.wordtimes import calibration, time_errors


@dataclass(frozen=True, slots=True)
class Scoring:
    """How to score.

    Attributes:
        scheme: One of `ark_asr.evaluation.schemes.SCHEMES`.
        language: Tag of the records that do not name theirs.
        language_field: Field of the manifest that names it.
        by: Fields of the manifest to break the rates down by.
        resample_by: Field whose values are drawn for the intervals; ``None`` for utterances.
    """

    scheme: str = "basic"
    language: str = ""
    language_field: str = "language"
    by: tuple[str, ...] = ()
    resample_by: str | None = None


def check(records: Sequence[Record], scoring: Scoring, other: Path | None = None) -> None:
    """Refuse now what `evaluate` would refuse after hours of listening: score empty predictions.

    Args:
        records: The test set.
        scoring: How to score.
        other: A second output, to compare in pairs.

    Raises:
        OptionError: As for `evaluate`.
        MissingExtraError: As for `evaluate`.
    """
    scored = _score(records, [Predicted("", None, ())] * len(records), scoring)
    for key in (*scoring.by, *filter(None, (scoring.resample_by,))):
        require(scored, key)
    time_errors(scored)  # reads the words of the manifest
    if other is not None:
        read_predictions(other, records)


def evaluate(
    source: str,
    records: Sequence[Record],
    predictions: Path,
    scoring: Scoring,
    *,
    other: Path | None = None,
    speed: Speed | None = None,
    model: Model | None = None,
) -> tuple[list[Scored], Summary]:
    """Score predictions.

    Args:
        source: What the records were read from.
        records: The test set.
        predictions: Output of a batch over it.
        scoring: How to score.
        other: A second output, to compare in pairs.
        speed: How fast the predictions were made, if known.
        model: What made them, if known.

    Raises:
        OptionError: A field or scheme is not known, or a file does not fit the records.
        MissingExtraError: The scheme or a language needs a package that is not installed.
    """
    scheme = get_scheme(scoring.scheme)
    scored = _score(records, read_predictions(predictions, records), scoring)
    second = None if other is None else _score(records, read_predictions(other, records), scoring)
    by = scoring.resample_by
    if by is not None:
        require(scored, by)
    summary = Summary(
        input=readable(source),
        predictions=readable(str(predictions)),
        scheme=scheme.name,
        scheme_version=scheme.version,
        resampled_by=by or "utterances",
        rates=rates(scored, by),
        by=breakdown(scored, scoring.by, by),
        comparison=None if second is None else compare(readable(str(other)), scored, second, by),
        mistakes=find_mistakes(scored),
        word_times=time_errors(scored),
        calibration=calibration(scored),
        speed=speed,
        model=model,
        machine=this_machine(),
    )
    return scored, summary


def _score(
    records: Sequence[Record], predictions: Sequence[Predicted], scoring: Scoring
) -> list[Scored]:
    return score_all(
        records,
        predictions,
        get_scheme(scoring.scheme),
        language=scoring.language,
        language_field=scoring.language_field,
    )
