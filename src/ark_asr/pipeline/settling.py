"""Which words of an unfinished utterance will not change any more.

Two successive looks at a growing utterance are compared: what both begin with is settled, up to the
last word boundary, and the newest word is held back because its end may not have been heard yet
(local agreement; Liu et al. 2020, Interspeech, "Low-Latency Sequence-to-Sequence Speech
Recognition and Translation by Partial Hypothesis Selection").
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

_BROKEN = "\N{REPLACEMENT CHARACTER}"


class Settling:
    """The settled tokens of one utterance.

    The next look must be asked to go on from `tokens`, so that nothing settled can be contradicted;
    `behind` is for engines that cannot be asked to.

    Args:
        decode: Text of token ids.

    Attributes:
        tokens: Settled ids; the list only grows.
        pending: What the latest look found behind them, ids.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self.pending: Sequence[int] = ()
        self.tokens: list[int] = []

    def behind(self, tokens: Sequence[int]) -> Sequence[int]:
        """What a look from the very beginning found behind the settled tokens.

        Nothing where it contradicts them: they have been shown, and stay.
        """
        count = len(self.tokens)
        return tokens[count:] if list(tokens[:count]) == self.tokens else ()

    def look(self, tokens: Sequence[int]) -> None:
        """Take what a look found behind the settled tokens."""
        agreed = 0
        for before, now in zip(self.pending, tokens, strict=False):
            if before != now:
                break
            agreed += 1
        ends = [i for i in self._word_ends(tokens) if i <= agreed]
        kept = ends[-1] if ends else 0
        self.tokens += tokens[:kept]
        self.pending = tokens[kept:]

    def _word_ends(self, tokens: Sequence[int]) -> list[int]:
        """Counts of tokens after which a word is over, because another one begins."""
        ends = []
        before = self._decode(self.tokens)
        for count in range(len(tokens)):
            after = self._decode([*self.tokens, *tokens[: count + 1]])
            new = after.removeprefix(before)
            if count and _BROKEN not in before and new and _begins_word(before[-1:], new[0]):
                ends.append(count)
            before = after
        return ends


def _begins_word(last: str, first: str) -> bool:
    """Whether a word ends between two neighbouring characters."""
    return first.isspace() or _stands_alone(last) or _stands_alone(first)


def _stands_alone(character: str) -> bool:
    """Chinese, Japanese: no spaces, and each character can be kept by itself. Korean has spaces."""
    wide = character and unicodedata.east_asian_width(character) in "WF"
    return bool(wide) and not "가" <= character <= "힣"
