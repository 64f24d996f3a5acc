"""Rules: what may be chosen next.

A rule looks at the rows as they are and lowers logits in place. Rules know nothing of the engine,
and the search knows nothing of what a rule is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ark_asr.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class SearchState:
    """What a rule can see.

    Attributes:
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending.
        tokens: Ids chosen so far, one sequence per row, in the order of the prompts.
        ended: Whether each row has ended; the logits of such a row mean nothing.
    """

    output_ids: IntArray
    tokens: Sequence[Sequence[int]]
    ended: Sequence[bool]


class Rule(Protocol):
    """One reason for which a token may not be chosen."""

    def apply(self, logits: FloatArray, state: SearchState) -> None:
        """Change ``logits``, float32 ``[rows, columns]``, in place; ``-inf`` forbids a token."""
        ...


class SuppressIds:
    """Forbid the same ids at every step.

    Args:
        token_ids: Ids that must not be chosen. Those that have no column need no work: an engine
            may have left their rows out already.
        output_ids: Token id of each logits column, int64 ``[columns]``.
    """

    def __init__(self, token_ids: Iterable[int] | IntArray, output_ids: IntArray) -> None:
        ids = np.fromiter(token_ids, dtype=np.int64)
        self.columns: IntArray = np.flatnonzero(np.isin(output_ids, ids)).astype(np.int64)

    def apply(self, logits: FloatArray, state: SearchState) -> None:  # noqa: ARG002 - same always
        """See ``Rule``."""
        logits[:, self.columns] = -np.inf


class NoRepeats:
    """Forbid what would say the same once more; for clips that have been seen to loop.

    Args:
        copies: Copies of a cycle that are allowed.
    """

    def __init__(self, copies: int = 2) -> None:
        self._copies = copies

    def apply(self, logits: FloatArray, state: SearchState) -> None:
        """See ``Rule``."""
        for row, tokens in enumerate(state.tokens):
            again = set() if state.ended[row] else set(self._again(tokens))
            for token in again:
                logits[row, np.searchsorted(state.output_ids, token)] = -np.inf

    def _again(self, tokens: Sequence[int]) -> Iterator[int]:
        """Tokens that would complete one copy too many."""
        for cycle in range(1, (len(tokens) + 1) // (self._copies + 1) + 1):
            if is_periodic(tokens, cycle, cycle * self._copies - 1):
                yield tokens[-cycle]


def is_periodic(tokens: Sequence[int], cycle: int, count: int) -> bool:
    """Whether each of the last ``count`` tokens is the one ``cycle`` before it."""
    first = len(tokens) - count
    return first >= cycle and tokens[first:] == tokens[first - cycle : len(tokens) - cycle]
