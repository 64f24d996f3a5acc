"""Times as people type them."""

from __future__ import annotations

import re

from ark_asr.errors import OptionError

_SECONDS = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,9}):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)", re.ASCII)


def parse_time(text: str) -> float:
    """Seconds from ``90``, ``90.5``, ``1:30``, ``1:30.5`` or ``1:02:03.5``.

    Raises:
        OptionError: Anything else, or minutes or seconds of 60 and more behind a colon.
    """
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    clock = _CLOCK.fullmatch(text)
    # Without hours the minutes may go on: 75:00 is an hour and a quarter.
    if clock and float(clock[3]) < 60 and (clock[1] is None or int(clock[2]) < 60):
        return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
    raise OptionError(f"{text!r} is not a time; write seconds (90.5) or [hh:]mm:ss (1:30.5)")
