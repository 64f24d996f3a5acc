"""How sure a rate is: 95 % intervals by bootstrap, for one run and for the difference of two.

Whole utterances (or speakers, or recordings) are drawn again with replacement, because errors
within one of them go together. Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR
performance evaluation", ICASSP 2004.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1 << 22  # indices drawn at a time: flat memory for any number of utterances
_SEED = 20_240_501


@dataclass(frozen=True, slots=True)
class Interval:
    """Ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Rate of a second run minus that of the first: negative if the second is better.

    Attributes:
        better: Share of the draws in which the second run is better.
    """

    difference: float
    interval: Interval
    better: float


def interval(
    errors: Sequence[float],
    units: Sequence[int],
    groups: Sequence[Hashable] | None = None,
    *,
    draws: int = 2000,
) -> Interval | None:
    """Interval of ``sum(errors) / sum(units)``.

    Args:
        errors: Per utterance.
        units: Words (or characters) per utterance.
        groups: What utterances belong together, such as their speaker.
        draws: How often the set is drawn.

    Returns:
        ``None`` where there are fewer than two groups with words.
    """
    table = _table([errors, units], groups)
    if np.count_nonzero(table[1]) < 2:
        return None
    sums = _resample(table, draws)
    return _middle(_rates(sums[0], sums[1]))


def difference(
    first: Sequence[float],
    second: Sequence[float],
    units: Sequence[int],
    groups: Sequence[Hashable] | None = None,
    *,
    draws: int = 2000,
) -> Difference | None:
    """Compare two runs on the same utterances, each draw taking the same ones of both."""
    table = _table([first, second, units], groups)
    if np.count_nonzero(table[2]) < 2:
        return None
    sums = _resample(table, draws)
    rates = _rates(sums[1] - sums[0], sums[2])
    total = (table[1].sum() - table[0].sum()) / table[2].sum()
    return Difference(float(total), _middle(rates), float(np.mean(rates < 0)))


def _table(
    columns: Sequence[Sequence[float]], groups: Sequence[Hashable] | None
) -> NDArray[np.float64]:
    table = np.array(columns, np.float64)
    if groups is None:
        return table
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)
    return np.stack([np.bincount(index, column, len(numbers)) for column in table])


def _resample(table: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """Sums ``[columns, draws]`` over utterances drawn with replacement."""
    rng = np.random.default_rng(_SEED)
    count = table.shape[1]
    at_once = max(_AT_ONCE // count, 1)
    parts = []
    for first in range(0, draws, at_once):
        chosen = rng.integers(count, size=(min(at_once, draws - first), count))
        parts.append(np.stack([column[chosen].sum(axis=1) for column in table]))
    return np.concatenate(parts, axis=1)


def _rates(errors: NDArray[np.float64], units: NDArray[np.float64]) -> NDArray[np.float64]:
    return errors[units > 0] / units[units > 0]


def _middle(rates: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(rates, (0.025, 0.975))
    return Interval(float(low), float(high))
