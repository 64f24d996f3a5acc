"""Schemes: what is compared with what, and what counts as an error.

Numbers of two schemes say nothing about each other, so each has a name and a version, and every
summary carries both. Edit distances are those of jiwer and kaldialign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import jiwer
import kaldialign

from ark_asr.errors import OptionError
from ark_asr.evaluation import text as steps
from ark_asr.evaluation.english import english
from ark_asr.evaluation.languages import spelling_of
from ark_asr.evaluation.leaderboard import whisper_normaliser


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
        scheme: Name and version of how; scores of two schemes say nothing about each other.
        reference: As it was compared.
        hypothesis: As it was compared.
        ref_tokens: The reference's words, or its characters where those are what is counted.
        hyp_tokens: The hypothesis's.
        merged: Words that are the same when written as one are no error.
        word_edits: The alignment behind ``wer_errors``.
        wer_errors: Usually the sum of ``word_edits``; see `ArkScheme` for why it may be no integer.
        cer_errors: Errors in characters.
        ref_words: Words of the reference.
        ref_chars: Characters of the reference, without spaces.
    """

    scheme: str
    reference: str
    hypothesis: str
    ref_tokens: tuple[str, ...]
    hyp_tokens: tuple[str, ...]
    merged: bool
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
        language: The only one that it is for; empty for any.
    """

    name: str
    version: int
    language: str

    def score(self, reference: str, hypothesis: str, language: str = "") -> RowScore:
        """Compare two texts as they were written; their language is a tag such as "nl-BE"."""
        ...


class BasicScheme:
    """Any language: lower case without punctuation; Han and kana by character.

    A language that has rules in `ark_asr.evaluation.languages` is written by them. An empty
    reference has no words, and all words of the hypothesis are insertions.
    """

    name = "basic"
    version = 4
    language = ""

    def score(self, reference: str, hypothesis: str, language: str = "") -> RowScore:
        """See ``Scheme``."""
        spelling = spelling_of(language)
        ref, hyp = (steps.plain(text, spelling) for text in (reference, hypothesis))
        return _compare(self, ref, hyp, merge=False)


class EnglishScheme:
    """English: contractions, fillers, spellings and numbers made alike; compounds may be joined.

    The manner of the Open ASR Leaderboard, but not its normaliser: do not compare with its numbers.
    """

    name = "english"
    version = 4
    language = "en"

    def score(self, reference: str, hypothesis: str, language: str = "en") -> RowScore:  # noqa: ARG002
        """See ``Scheme``."""
        return _compare(self, english(reference), english(hypothesis), merge=True)


class LeaderboardScheme:
    """English as the Open ASR Leaderboard compares it: Whisper's normaliser, compounds joined.

    An empty reference has no words, and all words of the hypothesis are insertions.

    Raises:
        MissingExtraError: The extra ``eval`` is not installed.
    """

    name = "leaderboard"
    version = 1
    language = "en"

    def __init__(self) -> None:
        self._normalise = whisper_normaliser()

    def score(self, reference: str, hypothesis: str, language: str = "en") -> RowScore:  # noqa: ARG002
        """See ``Scheme``."""
        ref, hyp = self._normalise(reference), self._normalise(hypothesis)
        return _score(self, (ref, hyp), (ref.split(), hyp.split()), merge=True)


class ArkScheme:
    """The published evaluation script, on the path that needs no text-normaliser of its own.

    Args:
        quirk: As with jiwer installed: the rate of jiwer, which counts spaces, times the characters
            without spaces, which is no integer. Off: as without jiwer, edits without spaces.

    A reference with any Han, kana or hangul has its character errors as word errors too. An empty
    reference counts as nothing.
    """

    version = 1
    language = ""

    def __init__(self, *, quirk: bool = True) -> None:
        self.name = "ark" if quirk else "ark-without-jiwer"
        self._quirk = quirk

    def score(self, reference: str, hypothesis: str, language: str = "") -> RowScore:  # noqa: ARG002
        """See ``Scheme``."""
        ref, hyp = steps.published(reference), steps.published(hypothesis)
        if not ref:
            return RowScore(_title(self), ref, hyp, (), (), False, Edits(), 0.0, 0.0, 0, 0)
        texts = (ref, hyp)
        by_char = [tuple(steps.characters(text)) for text in texts]
        chars = len(by_char[0])
        edits = _edits(jiwer.process_words(ref, hyp))
        joined = _edits(jiwer.process_characters("".join(by_char[0]), "".join(by_char[1])))
        wer_errors = float(edits.total)
        cer_errors = float(jiwer.cer(ref, hyp)) * chars if self._quirk else float(joined.total)
        tokens = [tuple(text.split()) for text in texts]
        if steps.has_cjk(reference):
            edits, tokens, wer_errors = joined, by_char, cer_errors
        return RowScore(
            _title(self), ref, hyp, tokens[0], tokens[1], False, edits, wer_errors, cer_errors,
            len(tokens[0]), chars,
        )  # fmt: skip


_SCHEMES: dict[str, Callable[[], Scheme]] = {
    "basic": BasicScheme,
    "english": EnglishScheme,
    "leaderboard": LeaderboardScheme,
    "ark": ArkScheme,
    "ark-without-jiwer": lambda: ArkScheme(quirk=False),
}
SCHEMES = tuple(_SCHEMES)


def get_scheme(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
        OptionError: There is none.
        MissingExtraError: It needs the extra ``eval``.
    """
    if name not in _SCHEMES:
        raise OptionError(f"scheme {name!r} is not known; take one of {', '.join(SCHEMES)}")
    return _SCHEMES[name]()


def _title(scheme: Scheme) -> str:
    return f"{scheme.name} {scheme.version}"


def _compare(scheme: Scheme, reference: str, hypothesis: str, *, merge: bool) -> RowScore:
    texts = (reference, hypothesis)
    return _score(scheme, texts, (steps.words(reference), steps.words(hypothesis)), merge=merge)


def _score(
    scheme: Scheme,
    texts: tuple[str, str],
    tokens: tuple[Sequence[str], Sequence[str]],
    *,
    merge: bool,
) -> RowScore:
    words = _align(*tokens, merge=merge)
    by_char = ["".join(steps.characters(text)) for text in texts]
    # An hour is 50,000 characters, and jiwer is a hundred times as fast there as kaldialign.
    chars = _edits(jiwer.process_characters(by_char[0], by_char[1]))
    return RowScore(
        _title(scheme), *texts, tuple(tokens[0]), tuple(tokens[1]), merge, words,
        float(words.total), float(chars.total), len(tokens[0]), len(by_char[0]),
    )  # fmt: skip


def _align(reference: Sequence[str], hypothesis: Sequence[str], *, merge: bool = False) -> Edits:
    found = kaldialign.edit_distance(reference, hypothesis, merge_compounds=merge)
    return Edits(found["sub"], found["del"], found["ins"])


def _edits(output: jiwer.WordOutput | jiwer.CharacterOutput) -> Edits:
    return Edits(output.substitutions, output.deletions, output.insertions)
