"""What every teacher is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ark_asr.training.vocabulary import Vocabulary
from ark_asr.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a teacher would write next at each place of a text.

    Attributes:
        logits: float32 ``[places, columns]``; place ``n`` is behind ``n`` of the text's tokens. A
            text that is too long for the teacher has fewer places than tokens and one.
        token_ids: Id of each column at each place, int64 ``[places, columns]``, -1 for none; then
            ``logits`` are log-probabilities, and what is missing is less likely than what is there.
            ``None``: the columns are the whole vocabulary.
    """

    logits: Tensor
    token_ids: Tensor | None = None


class Teacher(Protocol):
    """A model that can be asked how texts go on.

    Attributes:
        vocabulary: Its ids.
        sample_rate: Of the sound that it hears, Hz.
        lead: What it writes before the first word and a student does not, such as a space.
    """

    vocabulary: Vocabulary
    sample_rate: int
    lead: bytes

    def encode(self, text: str) -> list[int]:
        """The teacher's ids of a text, ``lead`` in front of it."""
        ...

    def score(self, sounds: Sequence[FloatArray], texts: Sequence[Sequence[int]]) -> list[Scores]:
        """How each text goes on, given its sound.

        Args:
            sounds: float32 ``[n]`` each.
            texts: As many, in the teacher's ids.
        """
        ...
