"""A drift against what is allowed, and as text for a terminal or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ark_asr.evaluation.drift import Drift
from ark_asr.evaluation.machine import Machine, Model

SCHEMA = "ark-asr/drift"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed; ``None`` is anything. Shares and rates are 0 to 1.

    Attributes:
        max_embedding_error: Of the worst clip.
        max_wer_difference: Rate of the second model minus that of the first.
    """

    max_embedding_error: float | None = None
    max_logit_error: float | None = None
    min_first_token: float | None = None
    min_token_agreement: float | None = None
    min_same_transcripts: float | None = None
    max_wer_difference: float | None = None

    def broken_by(self, drift: Drift) -> list[str]:
        """Each limit that a drift does not keep, in words."""
        return list(self._broken(drift))

    def _broken(self, drift: Drift) -> Iterator[str]:
        difference = None if drift.wer is None else drift.wer[1] - drift.wer[0]
        for name, found, most in (
            ("embedding error", drift.worst_embedding_error, self.max_embedding_error),
            ("logit error", drift.logit_error, self.max_logit_error),
            ("WER difference", difference, self.max_wer_difference),
        ):
            # Written so that what is no number does not pass.
            if most is not None and found is not None and not found <= most:
                yield f"{name} {found:.4g} is above {most:g}"
        for name, found, least in (
            ("first-token agreement", drift.first_token_agreement, self.min_first_token),
            ("token agreement", drift.token_agreement, self.min_token_agreement),
            ("share of same transcripts", drift.same_transcripts, self.min_same_transcripts),
        ):
            if least is not None and not found >= least:
                yield f"{name} {found:.4g} is below {least:g}"


@dataclass(frozen=True, slots=True)
class Report:
    """A drift, between which models, on which recordings, and the limits it does not keep."""

    audio: str
    first: Model
    second: Model
    drift: Drift
    limits: Limits
    broken: list[str]
    machine: Machine

    def to_json(self) -> str:
        """One JSON object."""
        data = {"schema": SCHEMA, "version": VERSION, **asdict(self)}
        return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"

    def to_table(self) -> str:
        """A few lines."""
        drift = self.drift
        head = f"{_name(self.first)} -> {_name(self.second)}: {drift.recordings} recordings"
        rows = {
            "audio embeddings": f"relative error {drift.embedding_error:.4f} in the median clip, "
            f"{drift.worst_embedding_error:.4f} in the worst",
            "first token": f"same in {_percent(drift.first_token_agreement)} of the clips, "
            f"logits within {drift.logit_error:.3g}",
            "tokens": f"{_percent(drift.token_agreement)} of {drift.tokens:,} the same, led along "
            "the first model's answers",
            "transcripts": f"{_percent(drift.same_transcripts)} the same",
        }
        if drift.wer is not None:
            first, second = (100 * rate for rate in drift.wer)
            rows["WER"] = f"{first:.2f} % and {second:.2f} % ({second - first:+.2f})"
        lines = [f"{head}, {drift.clips} clips, {drift.seconds:.1f} s"]
        lines += [f"  {name:<18}{said}" for name, said in rows.items()]
        return "\n".join(lines) + "\n"


def _name(model: Model) -> str:
    return f"{model.name} ({model.precision})"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
