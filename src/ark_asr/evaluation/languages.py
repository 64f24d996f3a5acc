"""How the languages of the catalogue write numbers and words, as far as scoring depends on it.

Marks of numbers are those of the Unicode CLDR. What differs only in the way of writing is made
alike. Number words and figures stay different, but in Chinese, where figures are read out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from ark_asr.errors import MissingExtraError

_FIGURES = re.compile(r"[0-9]")


@dataclass(frozen=True, slots=True)
class Spelling:
    """Rules of one language.

    Attributes:
        grouping: Mark between thousands; left out, so that "1,000" is "1000".
        decimal: Mark before decimals; "3,5" becomes "3.5", one word.
        elides: An apostrophe ends a word, so "l'ami" and "l' ami" are the same two.
        letters: Ways to write the same letter.
        reads_figures: Figures become the characters that are spoken.
    """

    grouping: str = ""
    decimal: str = ""
    elides: bool = False
    letters: Mapping[int, str] = field(default_factory=dict)
    reads_figures: bool = False

    def numbers(self, text: str) -> str:
        """Numbers as they are compared; a dot that belongs to one stands between two figures."""
        if self.grouping:
            mark = re.escape(self.grouping)
            text = re.sub(
                rf"(?<!\d)(?<!\d{mark})\d{{1,3}}(?:{mark}\d{{3}})+(?!\d)",
                lambda match: match[0].replace(self.grouping, ""),
                text,
            )
        if self.reads_figures and _FIGURES.search(text):
            text = _chinese_reader().normalize(text)
        if self.decimal != ".":
            text = re.sub(r"(?<=\d)\.(?=\d)", " ", text)
        if self.decimal == ",":
            text = re.sub(r"(?<=\d),(?=\d)", ".", text)
        return text


# Where the language is not known: every mark between figures separates words.
ANY = Spelling()
_POINT = Spelling(grouping=",", decimal=".")
_DOTS = Spelling(grouping=".", decimal=",")
_SPACES = Spelling(grouping=" ", decimal=",")
SPELLINGS: Mapping[str, Spelling] = {
    "zh": Spelling(
        grouping=",", decimal=".", letters=str.maketrans({"\u3007": "零"}), reads_figures=True
    ),
    "en": _POINT,
    "de": Spelling(grouping=".", decimal=",", letters=str.maketrans({"ß": "ss"})),
    "ja": _POINT,
    "fr": Spelling(
        grouping=" ", decimal=",", elides=True, letters=str.maketrans({"œ": "oe", "æ": "ae"})
    ),
    "ko": _POINT,
    "es": _DOTS,
    "pl": _SPACES,
    "it": Spelling(grouping=".", decimal=",", elides=True),
    # Cedillas stand for the comma below in much older text.
    "ro": Spelling(grouping=".", decimal=",", letters=str.maketrans({"ş": "ș", "ţ": "ț"})),
    "hu": _SPACES,
    "cs": _SPACES,
    "nl": _DOTS,
    "fi": _SPACES,
    "hr": _DOTS,
    "sk": _SPACES,
    "sl": _DOTS,
    "et": _SPACES,
    "lt": _SPACES,
}


def primary(tag: str) -> str:
    """The language of a tag: "nl-BE" and "NL_be" are "nl"."""
    return re.split("[-_]", tag.strip().lower(), maxsplit=1)[0]


def spelling_of(language: str) -> Spelling:
    """Rules of a language tag; `ANY` for one without rules of its own."""
    return SPELLINGS.get(primary(language), ANY)


class _Reader(Protocol):
    def normalize(self, text: str) -> str: ...


@cache
def _chinese_reader() -> _Reader:
    try:
        from wetext import Normalizer
    except ModuleNotFoundError:
        raise MissingExtraError("reading Chinese numbers", "eval") from None
    reader: _Reader = Normalizer(lang="zh", operator="tn")
    return reader
