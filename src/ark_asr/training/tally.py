"""What is counted while a student is taught."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self


@dataclass(slots=True)
class Tally:
    """Sums over clips and places, of which all figures of a log are quotients.

    Attributes:
        loss: Nats; its gradient is divided by ``weight``.
        weight: Places that count; one per batch in the published arithmetic.
        divergence: Nats between teacher and student.
        compared: Places at which they were compared.
        spoken: Cross-entropy of static texts in nats.
        answers: Tokens of static texts, their ends included.
        places: Places in the texts that the teacher was asked about.
        paired: Those at which student and teacher have written the same.
        share: Sum over them of the teacher's probability for ids that the student has.
        support: Sum of the sizes of the valid union support (VUSS, arXiv 2605.28139).
        agreed: Places at which both have the same first choice.
        retold: Texts that the teacher tokenises differently.
        asked: Texts that the teacher was asked about.
        rollouts: Texts that the student wrote itself.
        tokens: Their tokens.
        ended: Those that the student ended.
        silent: Those without a token.
        errors: Their word errors against the manifest.
        words: Words of the manifest for them.
    """

    loss: float = 0.0
    weight: float = 0.0
    divergence: float = 0.0
    compared: float = 0.0
    spoken: float = 0.0
    answers: float = 0.0
    places: float = 0.0
    paired: float = 0.0
    share: float = 0.0
    support: float = 0.0
    agreed: float = 0.0
    retold: float = 0.0
    asked: float = 0.0
    rollouts: float = 0.0
    tokens: float = 0.0
    ended: float = 0.0
    silent: float = 0.0
    errors: float = 0.0
    words: float = 0.0

    def __add__(self, other: Self) -> Self:
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return type(self)(*(a + b for a, b in pairs))

    def figures(self) -> dict[str, float]:
        """What a log says: means and shares, by name."""

        def per(value: float, count: float) -> float:
            return value / count if count else 0.0

        return {
            "loss": per(self.loss, self.weight),
            "divergence": per(self.divergence, self.compared),
            "cross_entropy": per(self.spoken, self.answers),
            "vuss": per(self.support, self.compared),
            "agreement": per(self.agreed, self.compared),
            "compared": per(self.compared, self.places),
            "paired": per(self.paired, self.places),
            "shared_mass": per(self.share, self.paired),
            "retokenised": per(self.retold, self.asked),
            "rollout_tokens": per(self.tokens, self.rollouts),
            "rollout_ended": per(self.ended, self.rollouts),
            "rollout_empty": per(self.silent, self.rollouts),
            "rollout_wer": per(self.errors, self.words),
        }
