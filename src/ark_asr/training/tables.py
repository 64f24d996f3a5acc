"""Frozen dataclasses from TOML tables: every key known, every type as declared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from ark_asr.errors import OptionError

T = TypeVar("T")


def build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A dataclass from a table, nested ones included.

    Args:
        kind: Its fields are numbers, text, truth values, dataclasses, or tuples of one of them.
        table: What was read.
        where: Of what, for the message.

    Raises:
        OptionError: A key is unknown or missing, or a value is not of its type.
    """
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind))}
    unknown = sorted(table.keys() - fields.keys())
    if unknown:
        raise OptionError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(fields)}")
    hints = get_type_hints(kind)
    values = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], f"{where}: {name}")
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise OptionError(f"{where}: {name} is missing")
    return kind(**values)


def _value(kind: Any, value: object, where: str) -> object:  # noqa: ANN401 - a type of any kind
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise OptionError(f"{where} must be a table")
        return build(cast(type, kind), value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise OptionError(f"{where} must be an array")
        inner, *more = get_args(kind)
        if more != [...] and len(value) != 1 + len(more):
            raise OptionError(f"{where} must have {1 + len(more)} values")
        return tuple(_value(inner, item, where) for item in value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise OptionError(f"{where} is {value!r}, expected {kind.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"{where} is {value}, expected a finite number")
    return value
