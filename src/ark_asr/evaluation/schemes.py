"""Schemes: what is compared with what, and what counts as an error.

Numbers of two schemes say nothing about each other, so each has a name and a version, and every
summary carries both. Edit distances are those of jiwer and kaldialign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import jiwer
import kaldialign

from ark_asr.errors import OptionError
from ark_asr.evaluation import text as steps
from ark_asr.evaluation.english import english


@dataclass(frozen=True, slots=True)
class Edits:
    """Edits that turn a reference into a hypothesis, in words or in characters."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def total(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True)
class RowScore:
    """One reference and one hypothesis, compared.

    Attributes:
        reference: As it was compared.
        hypothesis: As it was compared.
        word_edits: The alignment behind ``wer_errors``.
        wer_errors: Usually the sum of ``word_edits``; see `ArkScheme` for why it may be no integer.
        cer_errors: Errors in characters.
        ref_words: Words of the reference.
        ref_chars: Characters of the reference, without spaces.
    """

    reference: str
    hypothesis: str
    word_edits: Edits
    wer_errors: float
    cer_errors: float
    ref_words: int
    ref_chars: int


class Scheme(Protocol):
    """A way of scoring.

    Attributes:
        name: On the command line.
        version: Raised whenever a number may change.
    """

    name: str
    version: int

    def score(self, reference: str, hypothesis: str) -> RowScore:
        """Compare two texts as they were written."""
        ...


class BasicScheme:
    """Any language: lower case without punctuation; Han and kana by character.

    An empty reference has no words, and all words of the hypothesis are insertions.
    """

    name = "basic"
    version = 1

    def score(self, reference: str, hypothesis: str) -> RowScore:
        """See ``Scheme``."""
        return _compare(steps.plain(reference), steps.plain(hypothesis), merge=False)


class EnglishScheme:
    """English: contractions, fillers, spellings and numbers made alike; compounds may be joined.

    The manner of the Open ASR Leaderboard, but not its normaliser: do not compare with its numbers.
    """

    name = "english"
    version = 1

    def score(self, reference: str, hypothesis: str) -> RowScore:
        """See ``Scheme``."""
        return _compare(english(reference), english(hypothesis), merge=True)


class ArkScheme:
    """The published evaluation script, on the path that needs no text-normaliser of its own.

    Args:
        quirk: As with jiwer installed: the rate of jiwer, which counts spaces, times the characters
            without spaces, which is no integer. Off: as without jiwer, edits without spaces.

    A reference with any Han, kana or hangul has its character errors as word errors too. An empty
    reference counts as nothing.
    """

    version = 1

    def __init__(self, *, quirk: bool = True) -> None:
        self.name = "ark" if quirk else "ark-without-jiwer"
        self._quirk = quirk

    def score(self, reference: str, hypothesis: str) -> RowScore:
        """See ``Scheme``."""
        ref, hyp = steps.published(reference), steps.published(hypothesis)
        if not ref:
            return RowScore(ref, hyp, Edits(), 0.0, 0.0, 0, 0)
        chars, words = len(steps.characters(ref)), len(ref.split())
        edits = _edits(jiwer.process_words(ref, hyp))
        joined = _edits(jiwer.process_characters(_join(ref), _join(hyp)))
        wer_errors = float(edits.total)
        cer_errors = float(jiwer.cer(ref, hyp)) * chars if self._quirk else float(joined.total)
        if steps.has_cjk(reference):
            edits, words, wer_errors = joined, chars, cer_errors
        return RowScore(ref, hyp, edits, wer_errors, cer_errors, words, chars)


SCHEMES = ("basic", "english", "ark", "ark-without-jiwer")


def get_scheme(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
        OptionError: There is none.
    """
    schemes: list[Scheme] = [
        BasicScheme(), EnglishScheme(), ArkScheme(), ArkScheme(quirk=False)
    ]  # fmt: skip
    for scheme in schemes:
        if scheme.name == name:
            return scheme
    raise OptionError(f"scheme {name!r} is not known; take one of {', '.join(SCHEMES)}")


def _compare(reference: str, hypothesis: str, *, merge: bool) -> RowScore:
    ref_words, ref_chars = steps.words(reference), steps.characters(reference)
    words = _align(ref_words, steps.words(hypothesis), merge=merge)
    chars = _align(ref_chars, steps.characters(hypothesis))
    return RowScore(
        reference, hypothesis, words, float(words.total), float(chars.total), len(ref_words),
        len(ref_chars),
    )  # fmt: skip


def _align(reference: list[str], hypothesis: list[str], *, merge: bool = False) -> Edits:
    found = kaldialign.edit_distance(reference, hypothesis, merge_compounds=merge)
    return Edits(found["sub"], found["del"], found["ins"])


def _join(text: str) -> str:
    return "".join(steps.characters(text))


def _edits(output: jiwer.WordOutput | jiwer.CharacterOutput) -> Edits:
    return Edits(output.substitutions, output.deletions, output.insertions)
