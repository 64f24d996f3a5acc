"""Guards: what a search watches for while it writes.

A guard looks at one row after each token. When it speaks, the row stops there, with the guard's
reason in its hypothesis; what to do about it is not the guard's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from ark_asr.decoding.rules import is_periodic
from ark_asr.decoding.text import clean
from ark_asr.types import StopReason, Trouble

# A longer answer is not spelled out to see whether there is a word in it.
_MOST_SIGNS = 8


class Row(Protocol):
    """What a guard can see of a clip that is being searched.

    Attributes:
        tokens: Ids chosen so far.
        logprobs: Natural-log probability of each of them.
        slots: Audio embeddings of the clip.
        stop: ``end`` if the model has just ended, ``None`` while it goes on.
    """

    @property
    def tokens(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def logprobs(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def slots(self) -> int: ...  # noqa: D102
    @property
    def stop(self) -> StopReason | None: ...  # noqa: D102


class Guard(Protocol):
    """One thing that can go wrong.

    Attributes:
        trouble: What it is.
    """

    trouble: Trouble

    def check(self, row: Row) -> int | None:
        """``None`` while all is well; else how many of the row's tokens are worth keeping."""
        ...


class Loop:
    """The same tokens again and again; one copy is worth keeping.

    Numbers and songs repeat themselves too ("1,000,000,000"), so a short cycle has to fill
    ``least_tokens``, which is more than people usually say of the kind.

    Args:
        least_copies: Copies of a cycle of any length that make a loop.
        least_tokens: Tokens that all copies together must fill.
    """

    trouble: Trouble = "loop"

    def __init__(self, least_copies: int = 3, least_tokens: int = 16) -> None:
        self._least_copies = least_copies
        self._least_tokens = least_tokens

    def check(self, row: Row) -> int | None:
        """See ``Guard``."""
        tokens = row.tokens
        for cycle in range(1, len(tokens) // self._least_copies + 1):
            repeated = cycle * (self._copies(cycle) - 1)
            if is_periodic(tokens, cycle, repeated):
                return len(tokens) - repeated
        return None

    def _copies(self, cycle: int) -> int:
        return max(self._least_copies, math.ceil(self._least_tokens / cycle))


class TooManyTokens:
    """More tokens than speech of that length can hold.

    Args:
        per_slot: Tokens for each audio embedding (80 ms). The fastest speech in the least suited
            vocabulary stays below one.
        spare: Tokens more, whatever the length: a very short clip can hold a long word.
    """

    trouble: Trouble = "too-many-tokens"

    def __init__(self, per_slot: float = 1.0, spare: int = 16) -> None:
        self._per_slot = per_slot
        self._spare = spare

    def limit(self, slots: int) -> int:
        """Most tokens of a clip with so many audio embeddings."""
        return int(self._per_slot * slots) + self._spare

    def check(self, row: Row) -> int | None:
        """See ``Guard``."""
        return len(row.tokens) if len(row.tokens) > self.limit(row.slots) else None


class NoWords:
    """The model ends before it has said anything, punctuation aside.

    Args:
        decode: Text of ids.
    """

    trouble: Trouble = "empty"

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode

    def check(self, row: Row) -> int | None:
        """See ``Guard``."""
        count = len(row.tokens)
        if row.stop != "end" or count > _MOST_SIGNS:
            return None
        return None if any(map(str.isalnum, clean(self._decode(row.tokens)))) else count


class Unsure:
    """The model has ended, but did not believe its own words.

    Args:
        least: Mean natural-log probability of a token that is still believed.
    """

    trouble: Trouble = "unsure"

    def __init__(self, least: float) -> None:
        self._least = least

    def check(self, row: Row) -> int | None:
        """See ``Guard``."""
        count = len(row.tokens)
        believed = row.stop != "end" or not count or sum(row.logprobs) / count >= self._least
        return None if believed else count
