"""Fields of a form as values: each is known, stands once, and means something, or is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

from ark_asr.audio import CutOptions
from ark_asr.server.problems import invalid, unsupported
from ark_asr.server.upload import NO_FILENAME, Form

_T = TypeVar("_T", int, float)

_LISTS = frozenset({"timestamp_granularities", "keywords", "include"})
_CUTTING = "chunking_strategy"
_MOST_MS = 3_600_000.0  # an hour; in samples anything is a number then
_MOST_LEAD_MS = 5_000.0


def check_names(form: Form, known: frozenset[str]) -> None:
    """No field may be passed over in silence: neither an unknown one, nor the first of two.

    A list is ``name[]`` or ``name``, as often as it has values; ``chunking_strategy[key]`` is one
    number of its own.

    Raises:
        Problem: Names the first that is.
    """
    seen: set[str] = set()
    for name, value in form.fields:
        plain, bracket, key = name.partition("[")
        if name == "file":
            raise invalid(name, NO_FILENAME)
        if plain not in known or (bracket and key[-1:] != "]"):
            raise unsupported(name, "is not known here; leave it out")
        if plain in _LISTS:
            if bracket and key != "]":
                raise unsupported(name, f"write it {plain}[], once for each value")
        elif bracket and plain != _CUTTING:
            raise unsupported(name, f"has one value; write it {plain}")
        elif value and {name, plain if bracket else f"{plain}["} & seen:
            raise invalid(plain, "is given twice")
        if value:
            seen |= {name, plain + bracket}


def number(form: Form, name: str, kind: Callable[[str], _T]) -> _T | None:
    """A finite number, if there is any.

    Raises:
        Problem: It is none.
    """
    text = form.get(name)
    if text is None:
        return None
    try:
        value = kind(text)
        finite = math.isfinite(value)
    except (ValueError, OverflowError):  # the latter of a number with hundreds of digits
        raise invalid(name, f"{text!r} is no number") from None
    if not finite:
        raise invalid(name, f"{text!r} is no number")
    return value


def positive(form: Form, name: str) -> int | None:
    """A whole number from 1 on, if there is any.

    Raises:
        Problem: It is none.
    """
    value = number(form, name, int)
    if value is not None and value < 1:
        raise invalid(name, f"must be positive, got {value}")
    return value


def flag(form: Form, name: str) -> bool:
    """Yes or no; no if nothing is said.

    Raises:
        Problem: It is neither.
    """
    text = (form.get(name) or "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise invalid(name, f"{text!r}; it must be true or false")
    return text in ("true", "1")


def cutting(form: Form) -> CutOptions | None:
    """``auto``, or voice activity with its three numbers; the form may spell them ``name[key]``.

    Raises:
        Problem: It is neither, or the numbers make no sense.
    """
    text = form.get(_CUTTING)
    prefix = f"{_CUTTING}["
    nested = {name[len(prefix) : -1]: v for name, v in form.fields if name.startswith(prefix)}
    if text == "auto" or (text is None and not nested):
        return None
    try:
        strategy: Any = json.loads(text) if text is not None else nested
    except (ValueError, RecursionError):
        strategy = None
    if not isinstance(strategy, dict) or strategy.pop("type", None) != "server_vad":
        raise invalid(_CUTTING, 'it must be auto, or an object with "type": "server_vad"')
    usual = CutOptions()
    on = _taken(strategy, "threshold", usual.on, 1.0)
    lead = _taken(strategy, "prefix_padding_ms", usual.pad * 1000, _MOST_LEAD_MS) / 1000
    pause = _taken(strategy, "silence_duration_ms", usual.join_pause * 1000, _MOST_MS) / 1000
    if strategy:
        raise unsupported(_CUTTING, f"{next(iter(strategy))!r} is not known here")
    pad = min(usual.pad, pause / 2)  # after speech: the next one needs room, too
    return CutOptions(on=on, off=min(usual.off, on), pad=pad, lead=lead, join_pause=pause)


def _taken(strategy: dict[str, Any], name: str, usual: float, most: float) -> float:
    """One number of voice activity, taken out of what was sent."""
    if name not in strategy:
        return usual
    given = strategy.pop(name)
    try:
        value = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 0 <= value <= most:
        shown = str(given)
        shown = shown if len(shown) < 40 else f"{shown[:40]}..."
        raise invalid(_CUTTING, f"{name} is {shown}; it must be a number from 0 to {most:.0f}")
    return value
