"""The parts of a scored set: by the values of a field, numbers in bins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

from ark_asr.errors import OptionError
from ark_asr.evaluation.rows import Scored

NONE = "(none)"
_BINS = 5
_FEW = 10  # different numbers that are still shown one by one


def split(scored: Sequence[Scored], key: str) -> dict[str, list[Scored]]:
    """Rows by the value of a field of the manifest, in the order of the values.

    Each value of a list is one (a row with two tags is in two parts). More than ten different
    numbers come in five bins of about as many rows, each named by its least and greatest.

    Raises:
        OptionError: No record has such a field.
    """
    require(scored, key)
    values = [one.field(key) for one in scored]
    numbers = [value for value in values if _is_number(value)]
    names = {number: _plain(number) for number in numbers}
    if len(names) > _FEW:
        names = _bins(numbers)
    parts: dict[str, list[Scored]] = {}
    for one, value in zip(scored, values, strict=True):
        for name in _names(value, names):
            parts.setdefault(name, []).append(one)
    order = list(dict.fromkeys(names[number] for number in sorted(names)))
    return {name: parts[name] for name in [*order, *sorted(parts.keys() - set(order))]}


def require(scored: Sequence[Scored], key: str) -> None:
    """Refuse a field that no record has.

    Raises:
        OptionError: None has it.
    """
    if all(one.field(key) is None for one in scored):
        raise OptionError(f"no record of the input has a field {key!r}")


def name_of(value: object) -> str:
    """A value as one word of a table."""
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _names(value: object, names: dict[float, str]) -> list[str]:
    if _is_number(value):
        return [names[value]]
    if isinstance(value, list):
        return list(dict.fromkeys(map(name_of, value))) or [NONE]
    return [name_of(value)]


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bins(values: Sequence[float]) -> dict[float, str]:
    """The name of each number's bin."""
    edges = np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1])
    parts: dict[int, list[float]] = {}
    for value in sorted(set(values)):
        parts.setdefault(int(np.searchsorted(edges, value, side="left")), []).append(value)
    return {
        value: _plain(part[0]) if len(part) == 1 else f"{_plain(part[0])} to {_plain(part[-1])}"
        for part in parts.values()
        for value in part
    }


def _plain(number: float) -> str:
    return f"{number:.4g}" if isinstance(number, float) else str(number)
