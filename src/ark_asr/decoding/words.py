"""Words of an answer, and the tokens that spell them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ark_asr.decoding.text import kept

# Scripts that write no spaces, where every character is a word of its own: Thai, Lao, Myanmar,
# Khmer, kana, Han. Korean has spaces.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_OPENING = "(\\[{<«\u2018\u201c\u201e「『（《〈【〔"  # noqa: RUF001 - full-width ones are meant
_ALONE = f"[{_OPENING}]*[{_UNSPACED}]"
# Combining marks are no \w: they stay with their character, as does what closes or ends a sentence.
_WORD = re.compile(f"{_ALONE}[^\\w{_OPENING}]*|(?:(?!{_ALONE}).)+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SpelledWord:
    """One word and its place on the axis of tokens, where token ``k`` reaches from k to k + 1.

    Attributes:
        text: As it stands in the cleaned text, no space in it.
        first: Where it begins; not a whole number if a token holds several words.
        end: Where it ends; the next word begins there or later.
    """

    text: str
    first: float
    end: float

    @property
    def tokens(self) -> range:
        """Every token that the word has a part of."""
        return range(math.floor(self.first), math.ceil(self.end))


def word_spans(raw_text: str) -> list[tuple[int, int]]:
    """The words of `clean`'s text, as ``(first, end)`` in the decoder's own words."""
    return [
        match.span()
        for first, end in kept(raw_text)
        for match in _WORD.finditer(raw_text, first, end)
    ]


def spell(token_ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[SpelledWord]:
    """The words of an answer, in order; together they are its cleaned text without spaces.

    Args:
        token_ids: The answer.
        decode: Text of ids.
    """
    raw_text = decode(token_ids)
    places = _places(token_ids, decode, raw_text)
    return [
        SpelledWord(raw_text[first:end], places[first][0], places[end - 1][1])
        for first, end in word_spans(raw_text)
    ]


def _places(
    token_ids: Sequence[int], decode: Callable[[Sequence[int]], str], raw_text: str
) -> list[tuple[float, float]]:
    """Where each character of the text begins and ends on the axis of tokens.

    A character of several tokens (bytes) has all of them; several characters in one token share it
    evenly, but spaces have no part.
    """
    places: list[tuple[float, float]] = []
    begin = 0  # the first token that has not completed a character
    for count in range(1, len(token_ids) + 1):
        # Bytes whose character is not complete are decoded to replacement characters.
        so_far = decode(token_ids[:count]).rstrip("\ufffd") if count < len(token_ids) else raw_text
        new = raw_text[len(places) : len(so_far)]
        spoken = len("".join(new.split()))
        edges = [float(begin), *(count - 1 + (i + 1) / spoken for i in range(spoken - 1)), count]
        index = 0
        for character in new:
            after = index if character.isspace() or not spoken else index + 1
            places.append((edges[index], edges[after]))
            index = after
        begin = count if new else begin
    return places
