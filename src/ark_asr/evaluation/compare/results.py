"""What a comparison has found, scored under one scheme."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from ark_asr.batch.records import Prediction, Record, render_row
from ark_asr.errors import readable
from ark_asr.evaluation.compare.base import Told
from ark_asr.evaluation.compare.contenders import Contender, Facts
from ark_asr.evaluation.compare.run import Broke, Conditions, Ran, status
from ark_asr.evaluation.compare.weights import Absent
from ark_asr.evaluation.intervals import Difference
from ark_asr.evaluation.job import Scoring
from ark_asr.evaluation.machine import Machine, this_machine
from ark_asr.evaluation.rows import Predicted, Scored, score_all
from ark_asr.evaluation.schemes import get_scheme
from ark_asr.evaluation.summary import Rates, compare, rates

SCHEMA = "ark-asr/comparison"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """A system, and what became of it."""

    contender: Contender
    result: Ran | Broke | Absent

    def predictions(self, records: Sequence[Record]) -> list[str]:
        """Rows of a batch output, without newlines; none unless it ran."""
        if not isinstance(self.result, Ran):
            return []
        return [
            render_row(record, Prediction(one.text, one.text, error=one.error))
            for record, one in zip(records, self.result.heard, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """One system in numbers; ``None`` where it did not run or a number is not to be had.

    Attributes:
        status: "ran", "failed" or "not run".
        why: The reason unless it ran; empty otherwise.
        command: What to type for what is missing; may be empty.
        told: Whether it is told the spoken language.
        precision: What its weights were computed in; empty if it does not say.
        revision: Commit of its repository, if it came from one.
        wer: Difference of word error rates to the first that ran, in pairs.
        rtf: Seconds of work per second of sound.
        first: Seconds to the first text of a recording, the median.
        load: Seconds for imports and opening.
        memory: The most bytes its process ever had.
        failed: Recordings that it could not hear; they count as left out.
    """

    label: str
    family: str
    runs_on: str
    place: str
    precision: str
    revision: str | None
    status: str
    why: str
    command: str
    facts: Facts
    told: Told
    rates: Rates | None = None
    wer: Difference | None = None
    cer: Difference | None = None
    rtf: float | None = None
    first: float | None = None
    load: float | None = None
    memory: int | None = None
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """All systems on the same recordings under the same scheme.

    Attributes:
        first: Label of the one that the others are compared with; ``None`` if none ran.
        busy: Load average of the machine before the start, if the system tells.
    """

    input: str
    recordings: int
    seconds: float
    scheme: str
    scheme_version: int
    resampled_by: str
    conditions: Conditions
    first: str | None
    rows: tuple[Row, ...]
    busy: float | None
    machine: Machine

    def to_json(self) -> str:
        """One JSON object."""
        data = {"schema": SCHEMA, "version": VERSION, **asdict(self)}
        return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def settle(
    source: str,
    records: Sequence[Record],
    outcomes: Iterable[Outcome],
    *,
    scoring: Scoring,
    conditions: Conditions,
    busy: float | None = None,
) -> Comparison:
    """Score what was heard.

    Args:
        source: What the records were read from.
        records: The test set.
        outcomes: Of all systems, the first one being what others are compared with.
        scoring: One for all of them.
        conditions: Under which they ran.
        busy: Load average before.

    Raises:
        OptionError: The scheme is not known, or not for the language of a record.
        MissingExtraError: The scheme needs a package that is not installed.
    """
    scheme = get_scheme(scoring.scheme)
    by = scoring.resample_by
    rows: list[Row] = []
    reference: tuple[str, list[Scored]] | None = None
    seconds = 0.0
    for outcome in outcomes:
        row, result = _row(outcome), outcome.result
        if not isinstance(result, Ran):
            rows.append(row)
            continue
        scored = score_all(
            records, _predicted(outcome, records), scheme,
            language=scoring.language, language_field=scoring.language_field,
        )  # fmt: skip
        seconds = max(seconds, result.audio)
        row = _measured(row, result, rates(scored, by))
        if reference is not None:
            paired = compare(row.label, reference[1], scored, by)
            row = replace(row, wer=paired.wer, cer=paired.cer)
        reference = reference or (row.label, scored)
        rows.append(row)
    return Comparison(
        readable(source), len(records), seconds, scheme.name, scheme.version, by or "utterances",
        conditions, reference and reference[0], tuple(rows), busy, this_machine(),
    )  # fmt: skip


def _row(outcome: Outcome) -> Row:
    contender, result = outcome.contender, outcome.result
    return Row(
        label=contender.label,
        family=contender.family.name,
        runs_on=contender.family.title,
        place=contender.place,
        precision=contender.precision,
        revision=None,
        status=status(result),
        why="" if isinstance(result, Ran) else result.why,
        command=result.command if isinstance(result, Absent) else "",
        facts=contender.facts,
        told=contender.family.language,
    )


def _measured(row: Row, result: Ran, found: Rates) -> Row:
    return replace(
        row,
        runs_on=result.here.runs_on,
        precision=result.precision,
        revision=result.here.revision,
        rates=found,
        rtf=result.rtf,
        first=result.first,
        load=result.load,
        memory=result.memory,
        failed=found.errors,
    )


def _predicted(outcome: Outcome, records: Sequence[Record]) -> list[Predicted]:
    rows = map(json.loads, outcome.predictions(records))
    return [Predicted(row["pred_text"], row.get("error"), tuple(row.items())) for row in rows]
