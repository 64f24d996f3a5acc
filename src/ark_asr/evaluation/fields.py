"""The parts of a scored set: by the values of a field, numbers in bins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

from ark_asr.batch.records import as_number
from ark_asr.errors import OptionError
from ark_asr.evaluation.rows import Scored

NONE = "(none)"
_BINS = 5
_DIGITS = 4
_ALL_DIGITS = 17  # no two floats have the same
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
    different = sorted(set(numbers))
    groups = _bins(numbers) if len(different) > _FEW else [[number] for number in different]
    names = _named(groups)
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
    if value is None or value == "":  # a cell of a table is empty where a line has no such key
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _names(value: object, names: dict[float, str]) -> list[str]:
    if _is_number(value):
        return [names[value]]
    if isinstance(value, list):
        return list(dict.fromkeys(map(name_of, value))) or [NONE]
    return [name_of(value)]


def _is_number(value: object) -> TypeGuard[float]:
    return as_number(value) is not None  # compared as it is: floats hold no long whole numbers


def _bins(values: Sequence[float]) -> list[list[float]]:
    """Different numbers, those of one bin together."""
    edges = np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1])
    parts: dict[int, list[float]] = {}
    for value in sorted(set(values)):
        parts.setdefault(int(np.searchsorted(edges, value, side="left")), []).append(value)
    return list(parts.values())


def _named(groups: Sequence[Sequence[float]]) -> dict[float, str]:
    """The name of each number's group, in as many digits as tell the groups apart."""
    names: list[str] = []
    for digits in range(_DIGITS, _ALL_DIGITS + 1):
        ends = [[_plain(one, digits) for one in (group[0], group[-1])] for group in groups]
        names = [low if low == high else f"{low} to {high}" for low, high in ends]
        if len(set(names)) == len(names):
            break
    return {one: name for group, name in zip(groups, names, strict=True) for one in group}


def _plain(number: float, digits: int) -> str:
    return f"{number:.{digits}g}" if isinstance(number, float) else str(number)
