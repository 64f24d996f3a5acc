"""What a scored set says as a whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ark_asr.errors import OptionError
from ark_asr.evaluation.confusions import Mistakes
from ark_asr.evaluation.fields import name_of, split
from ark_asr.evaluation.intervals import Difference, Interval, difference, interval
from ark_asr.evaluation.machine import Machine, Model
from ark_asr.evaluation.rows import Scored
from ark_asr.evaluation.schemes import Edits
from ark_asr.evaluation.wordtimes import Calibration, TimeErrors

SCHEMA = "ark-asr/evaluation"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Rates:
    """Error rates of a set, 0.05 for five in a hundred; ``None`` where there is no reference.

    Attributes:
        scored: Rows with words in their reference.
        empty_predictions: Those of all rows that have no text, failed ones included.
        errors: Rows that could not be written down.
        word_edits: Substitutions, deletions and insertions of words.
        formatted_wer: Of words with their case and punctuation, over the rows whose reference has
            any; ``None`` where none has.
    """

    rows: int
    scored: int
    empty_predictions: int
    errors: int
    ref_words: int
    ref_chars: int
    wer_errors: float
    cer_errors: float
    word_edits: Edits
    wer: float | None
    cer: float | None
    wer_interval: Interval | None
    cer_interval: Interval | None
    formatted_wer: float | None
    formatted_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast the predictions were made, if this run made them."""

    audio_seconds: float
    seconds: float
    rtfx: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A second set of predictions of the same records, under the same scheme.

    Attributes:
        wer: Its rate minus that of the first: negative if it is better.
    """

    predictions: str
    rates: Rates
    wer: Difference | None
    cer: Difference | None


@dataclass(frozen=True, slots=True)
class Summary:
    """All numbers of an evaluation, with all that is needed to make sense of them.

    Attributes:
        by: Field of the manifest -> its value, or a bin of numbers -> rates.
        word_times: ``None`` where references or predictions have no words with times.
        calibration: ``None`` where predictions have no words.
    """

    input: str
    predictions: str
    scheme: str
    scheme_version: int
    resampled_by: str
    rates: Rates
    by: dict[str, dict[str, Rates]]
    comparison: Comparison | None
    mistakes: Mistakes
    word_times: TimeErrors | None
    calibration: Calibration | None
    speed: Speed | None
    model: Model | None
    machine: Machine

    def to_json(self) -> str:
        """One JSON object."""
        data = {"schema": SCHEMA, "version": VERSION, **asdict(self)}
        return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def rates(scored: Sequence[Scored], resample_by: str | None = None) -> Rates:
    """Rates of a set, with 95 % intervals over its utterances, or over a field of the manifest.

    Raises:
        OptionError: The rows were scored under different schemes.
    """
    _refuse_mixture(scored)
    scores = [one.score for one in scored]
    words, chars = sum(s.ref_words for s in scores), sum(s.ref_chars for s in scores)
    wer_errors, cer_errors = sum(s.wer_errors for s in scores), sum(s.cer_errors for s in scores)
    groups = _groups(scored, resample_by)
    wer_counts, cer_counts = [s.wer_errors for s in scores], [s.cer_errors for s in scores]
    shown = [one for one in scored if one.formatted.shown]
    shown_errors, shown_words = ([getattr(one.formatted, name) for one in shown]
                                 for name in ("errors", "words"))  # fmt: skip
    return Rates(
        rows=len(scored),
        scored=sum(s.ref_words > 0 and s.ref_chars > 0 for s in scores),
        empty_predictions=sum(not one.predicted.text.strip() for one in scored),
        errors=sum(one.predicted.error is not None for one in scored),
        ref_words=words,
        ref_chars=chars,
        wer_errors=wer_errors,
        cer_errors=cer_errors,
        word_edits=Edits(
            sum(s.word_edits.substitutions for s in scores),
            sum(s.word_edits.deletions for s in scores),
            sum(s.word_edits.insertions for s in scores),
        ),
        wer=wer_errors / words if words else None,
        cer=cer_errors / chars if chars else None,
        wer_interval=interval(wer_counts, [s.ref_words for s in scores], groups),
        cer_interval=interval(cer_counts, [s.ref_chars for s in scores], groups),
        formatted_wer=sum(shown_errors) / sum(shown_words) if shown else None,
        formatted_interval=interval(shown_errors, shown_words, _groups(shown, resample_by))
        if shown
        else None,
    )


def breakdown(
    scored: Sequence[Scored], keys: Sequence[str], resample_by: str | None = None
) -> dict[str, dict[str, Rates]]:
    """Rates for each value of each field of the manifest; see `ark_asr.evaluation.fields.split`.

    Raises:
        OptionError: No record has such a field.
    """
    return {
        key: {name: rates(part, resample_by) for name, part in split(scored, key).items()}
        for key in keys
    }


def compare(
    name: str, first: Sequence[Scored], second: Sequence[Scored], resample_by: str | None = None
) -> Comparison:
    """Paired: each draw of the bootstrap takes the same utterances of both.

    Raises:
        OptionError: They were scored under different schemes.
    """
    _refuse_mixture([*first, *second])
    groups = _groups(first, resample_by)
    one, two = [s.score for s in first], [s.score for s in second]
    return Comparison(
        predictions=name,
        rates=rates(second, resample_by),
        wer=difference(
            [s.wer_errors for s in one], [s.wer_errors for s in two], [s.ref_words for s in one],
            groups,
        ),
        cer=difference(
            [s.cer_errors for s in one], [s.cer_errors for s in two], [s.ref_chars for s in one],
            groups,
        ),
    )  # fmt: skip


def _refuse_mixture(scored: Sequence[Scored]) -> None:
    schemes = sorted({one.score.scheme for one in scored})
    if len(schemes) > 1:
        raise OptionError(
            f"scored under different schemes ({', '.join(schemes)}), which say nothing about each "
            "other; score both under one"
        )


def _groups(scored: Sequence[Scored], key: str | None) -> list[str] | None:
    if key is None:
        return None
    return [name_of(one.field(key)) for one in scored]
