"""Which transcripts of a teacher are good enough to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeAlias

import jiwer

from ark_asr.errors import OptionError
from ark_asr.training.validate import plain

Reason: TypeAlias = Literal[
    "error", "empty", "guard", "confidence", "length", "rate", "repetition", "agreement"
]
_LONGEST_PHRASE = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """What a label must be.

    Attributes:
        confidence: At least, 0 to 1; labels whose teacher says none are not held to it.
        min_seconds: Shortest clip.
        max_seconds: Longest clip.
        min_rate: Fewest letters and digits per second of the clip.
        max_rate: Most of them.
        repeats: Most times that a phrase stands in a row.
        agreement: Share of the characters of both passes that must agree, 0 to 1.
    """

    confidence: float = 0.6
    min_seconds: float = 0.5
    max_seconds: float = 30.0
    min_rate: float = 1.0
    max_rate: float = 30.0
    repeats: int = 3
    agreement: float = 0.8

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            OptionError: Names the limit.
        """
        for name, value in (("confidence", self.confidence), ("agreement", self.agreement)):
            if not 0 <= value <= 1:
                raise OptionError(f"the least {name} is from 0 to 1, not {value:g}")
        for what, low, high in (
            ("seconds", self.min_seconds, self.max_seconds),
            ("rate", self.min_rate, self.max_rate),
        ):
            if not 0 <= low < high:
                raise OptionError(f"min-{what} ({low:g}) must be less than max-{what} ({high:g})")
        if self.repeats < 1:
            raise OptionError(f"max-repeats is {self.repeats}; it must be at least 1")


@dataclass(frozen=True, slots=True)
class Label:
    """What a teacher wrote down of a clip.

    Attributes:
        audio: As the input's manifest has it.
        path: Where it is.
        begin: Second at which the clip begins.
        end: Second at which it ends.
        text: Of the first pass.
        confidence: 0 to 1, if the teacher says one.
        flags: What the pipeline says of the clip; see `ark_asr.types.FLAGS`.
        second: Text of the second pass, if there was one.
        error: Why there is no text.
        extra: What else the input says of the recording.
    """

    audio: str
    path: str
    begin: float
    end: float
    text: str = ""
    confidence: float | None = None
    flags: tuple[str, ...] = ()
    second: str | None = None
    error: str | None = None
    extra: tuple[tuple[str, Any], ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.end - self.begin

    @property
    def agreement(self) -> float | None:
        """Share of the characters that both passes agree on; ``None`` without a second pass."""
        return None if self.second is None else agreement(self.text, self.second)


def agreement(one: str, other: str) -> float:
    """1 less the character error rate of two texts, case and punctuation aside; 0 at the least."""
    first, second = plain(one), plain(other)
    if not first or not second:
        return float(first == second)
    found = jiwer.process_characters(first, second)
    return max(1.0 - found.cer, 0.0)


def repeats(text: str) -> int:
    """How often a phrase of up to eight words stands in a row, at most.

    Without spaces, as in Chinese, characters are the words.
    """
    words: Sequence[str] = plain(text).split()
    if len(words) == 1:
        words = list(words[0]) if not words[0].isascii() else words
    most = 1
    for size in range(1, _LONGEST_PHRASE + 1):
        same = [words[i] == words[i + size] for i in range(len(words) - size)]
        runs = (len(list(run)) for is_same, run in groupby(same) if is_same)
        most = max(most, 1 + max(runs, default=0) // size)
    return most


def objection(label: Label, limits: Limits) -> Reason | None:
    """The first reason not to learn from it; ``None`` if there is none."""
    letters = sum(character.isalnum() for character in label.text)
    rate = letters / label.seconds if label.seconds > 0 else 0.0
    agreed = label.agreement
    checks: list[tuple[Reason, bool]] = [
        ("error", label.error is not None),
        ("empty", not plain(label.text)),
        ("guard", any(not flag.startswith(("mended:", "retry:")) for flag in label.flags)),
        ("length", not limits.min_seconds <= label.seconds <= limits.max_seconds),
        ("confidence", label.confidence is not None and label.confidence < limits.confidence),
        ("rate", not limits.min_rate <= rate <= limits.max_rate),
        ("repetition", repeats(label.text) > limits.repeats),
        ("agreement", agreed is not None and agreed < limits.agreement),
    ]
    return next((reason for reason, objects in checks if objects), None)
