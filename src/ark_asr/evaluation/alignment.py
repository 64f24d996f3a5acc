"""Which word stands for which: reference and hypothesis side by side."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import kaldialign

from ark_asr.evaluation import text as steps

_QUOTES = str.maketrans("\u2018\u2019\u02bc\u201c\u201d\u201e\u00ab\u00bb", '\'\'\'"""""')


@dataclass(frozen=True, slots=True)
class Pair:
    """A place of an alignment.

    Attributes:
        reference: Empty where the hypothesis has a word too many.
        hypothesis: Empty where it lacks one.
    """

    reference: str
    hypothesis: str
    right: bool


def align(
    reference: Sequence[str], hypothesis: Sequence[str], *, merge: bool = False
) -> list[Pair]:
    """The places of both, in order, with as few errors as possible.

    Args:
        reference: Words.
        hypothesis: Words.
        merge: Words that are the same when written as one are right, in one place together.
    """
    found = kaldialign.align(reference, hypothesis, eps_symbol="", merge_compounds=merge)
    return [Pair(one, two, one.replace(" ", "") == two.replace(" ", "")) for one, two in found]


@dataclass(frozen=True, slots=True)
class Formatted:
    """Errors in words as they are written, with their case and punctuation.

    Attributes:
        shown: Whether the reference has capitals or punctuation at all.
    """

    errors: int
    words: int
    shown: bool


def formatted(reference: str, hypothesis: str) -> Formatted:
    """Compare texts as they were written; only the shapes of quotes and full width do not count."""
    ref, hyp = (steps.words(_typed(text)) for text in (reference, hypothesis))
    errors = kaldialign.edit_distance(ref, hyp)["total"]
    return Formatted(errors, len(ref), any(map(_is_format, reference)))


def _typed(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_QUOTES)


def _is_format(char: str) -> bool:
    return char.isupper() or (unicodedata.category(char)[0] == "P" and char not in "'-\u2019")
