"""Times as subtitles write them."""

from __future__ import annotations

import math


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, rounded to the nearest; order is kept.

    Raises:
        ValueError: The time is negative or not finite.
    """
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(
            f"a time of {seconds} s cannot be written; it must be finite and not negative"
        )
    return round(seconds * 1000)


def timestamp(seconds: float, decimal: str = ".") -> str:
    """``hh:mm:ss.mmm``, rounded once: 59.9996 s is one minute, never 60.000 s."""
    rest, millis = divmod(milliseconds(seconds), 1000)
    rest, secs = divmod(rest, 60)
    hours, minutes = divmod(rest, 60)
    return f"{hours:02d}:{minutes:02d}:{secs:02d}{decimal}{millis:03d}"
