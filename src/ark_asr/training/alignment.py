"""Where two token sequences of one text stand at the same place.

A student's text is tokenised anew by a teacher with other pieces, so the n-th token of one is not
the n-th of the other. They can be compared wherever both have written exactly the same bytes: there
both are asked how the same text goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Pair:
    """A place: after ``student`` tokens of one text and ``teacher`` tokens of the other.

    Attributes:
        student: Tokens that the student has written.
        teacher: Tokens that the teacher has read.
    """

    student: int
    teacher: int


def align(student: Sequence[bytes], teacher: Sequence[bytes], lead: bytes = b"") -> list[Pair]:
    """Places at which both have the same text behind them, in order.

    Args:
        student: Bytes of each of the student's tokens.
        teacher: Bytes of each of the teacher's tokens.
        lead: What the teacher's text begins with and the student's does not.

    Returns:
        Always the very beginning, then each common boundary within the longest common beginning of
        both texts; from where they differ on nothing is comparable.
    """
    common = _common(lead + b"".join(student), b"".join(teacher))
    ends = [0, *accumulate(map(len, teacher))]
    # Where several states have the same text behind them, as after a piece without bytes, the last.
    reached = {end: state for state, end in enumerate(ends) if end <= common}
    pairs = {0: Pair(0, 0)}
    for state, end in enumerate(accumulate(map(len, student)), 1):
        if end + len(lead) in reached:
            pairs[end] = Pair(state, reached[end + len(lead)])
    return list(pairs.values())


def readable(text: bytes) -> str:
    """The beginning of a text that is whole characters: a rollout may end within one."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        return text[: error.start].decode()


def _common(one: bytes, two: bytes) -> int:
    """Length of the longest common beginning."""
    differing = (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    return next(differing, min(len(one), len(two)))
