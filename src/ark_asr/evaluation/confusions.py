"""Which words go wrong: what is taken for what, what is left out, what is made up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ark_asr.evaluation.alignment import align
from ark_asr.evaluation.rows import Scored

Key = TypeVar("Key", str, tuple[str, str])


@dataclass(frozen=True, slots=True)
class Confusion:
    """One word in the place of another."""

    reference: str
    hypothesis: str
    count: int


@dataclass(frozen=True, slots=True)
class WordErrors:
    """One word of the references.

    Attributes:
        count: How often it is said.
        substituted: How often another word stands for it.
        deleted: How often nothing does.
    """

    word: str
    count: int
    substituted: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Insertion:
    """A word that nobody said."""

    word: str
    count: int


@dataclass(frozen=True, slots=True)
class Mistakes:
    """The most frequent of each, most frequent first; equal ones by the alphabet."""

    confusions: tuple[Confusion, ...]
    words: tuple[WordErrors, ...]
    insertions: tuple[Insertion, ...]


def find_mistakes(scored: Sequence[Scored], most: int = 50) -> Mistakes:
    """Count words over all alignments.

    Args:
        scored: The rows.
        most: So many of each.
    """
    said: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for one in scored:
        score = one.score
        for pair in align(score.ref_tokens, score.hyp_tokens, merge=score.merged):
            said.update(pair.reference.split())
            if not pair.right:
                pairs[pair.reference, pair.hypothesis] += 1
    substituted: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    inserted: Counter[str] = Counter()
    for (reference, hypothesis), count in pairs.items():
        if not reference:
            inserted[hypothesis] += count
        elif hypothesis:
            substituted[reference] += count
        else:
            deleted[reference] += count
    swapped = {pair: count for pair, count in pairs.items() if all(pair)}
    return Mistakes(
        tuple(Confusion(*pair, count) for pair, count in _top(swapped, most)),
        tuple(
            WordErrors(word, said[word], substituted[word], deleted[word])
            for word, _ in _top(substituted + deleted, most)
        ),
        tuple(Insertion(word, count) for word, count in _top(inserted, most)),
    )


def _top(counts: Mapping[Key, int], most: int) -> list[tuple[Key, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
