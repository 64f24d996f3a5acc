"""Values of the wrong kind are refused in one line, by the annotation of what they are given for.

``words="no"`` would be true, ``begin="1"`` would fail in the middle of the work. A field of options
needs no check of its own for that: its annotation is the check.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from reprlib import repr as short
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import numpy as np

from ark_asr.errors import OptionError, printable

# What a message calls the values of a kind, and whether a value is one.
_Kind: TypeAlias = tuple[tuple[str, ...], Callable[[object], bool]]


class Checked:
    """Base of frozen options: each value is of the kind that its field's annotation says.

    numpy's numbers become Python's, and a list becomes a tuple where one is expected.

    Raises:
        OptionError: One is not; names field, value and what is expected.
    """

    __slots__ = ()

    def __post_init__(self) -> None:
        options: type = type(self)
        for name, hint in _hints(options).items():
            object.__setattr__(self, name, of_kind(name, getattr(self, name), hint))


def of_kind(name: str, value: object, hint: Any) -> Any:  # noqa: ANN401 - as the annotation says
    """The value, if it is of a kind.

    Args:
        name: What the user calls it.
        value: What was given.
        hint: The annotation of a parameter or field; ``float`` takes whole numbers too, no
            annotation of a number takes a bool.

    Raises:
        OptionError: It is not of that kind.
    """
    if isinstance(value, np.generic):
        value = value.item()
    kinds = [_kind(one) for one in _parts(hint)]
    if not any(fits(value) for _, fits in kinds):
        *names, last = [text for texts, _ in kinds for text in texts]
        expected = f"{', '.join(names)} or {last}" if names else last
        raise OptionError(f"{name} is {shown(value)}; it must be {expected}")
    return tuple(value) if isinstance(value, list) else value


def shown(value: object) -> str:
    """Any value for a message: short, and on one line."""
    try:
        return printable(short(value))
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"


@cache
def _hints(options: type) -> dict[str, Any]:
    hints = get_type_hints(options)
    return {field.name: hints[field.name] for field in fields(options)}


def _parts(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _kind(hint: Any) -> _Kind:  # noqa: ANN401
    if hint in _KINDS:
        return _KINDS[hint]
    if get_origin(hint) is Literal:
        words = get_args(hint)
        return words, lambda value: isinstance(value, str) and value in words
    if not isinstance(hint, type):
        raise TypeError(f"no value can be held against {hint}; say here how")
    return (f"of the type {hint.__name__}",), lambda value: isinstance(value, hint)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_float(value: object) -> bool:
    if isinstance(value, float):
        return True
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    try:
        float(value)
    except OverflowError:  # a whole number beyond all floats
        return False
    return True


def _is_texts(value: object) -> bool:
    # Not any iterable: one that can be gone through only once is empty the second time.
    return isinstance(value, tuple | list) and all(isinstance(text, str) for text in value)


_KINDS: dict[object, _Kind] = {
    NoneType: (("None",), lambda value: value is None),
    bool: (("True", "False"), lambda value: isinstance(value, bool)),
    int: (("a whole number",), _is_int),
    float: (("a number",), _is_float),
    str: (("text",), lambda value: isinstance(value, str)),
    os.PathLike[str]: (("a path",), lambda value: isinstance(value, os.PathLike)),
    tuple[str, ...]: (("several texts in a tuple",), _is_texts),
}
