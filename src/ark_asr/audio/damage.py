"""Which places of a recording are damaged, as few lines as possible."""

from __future__ import annotations

from collections.abc import Iterable

_SAME_PLACE_SECONDS = 1.0
_MOST_LINES = 20


class DamageLog:
    """Collects damage; what follows within a second of the last one is the same place.

    Attributes:
        lines: One line per place; at most 20, the last of which then counts the rest.
    """

    def __init__(self, name: str, lines: Iterable[str] = ()) -> None:
        self.lines = list(lines)
        self._name = name
        self._last_second: float | None = None
        self._places = 0

    def note(self, second: float, what: str) -> None:
        """Say that ``what`` happened at that second of the recording."""
        known = self._last_second
        self._last_second = second
        if known is not None and second - known < _SAME_PLACE_SECONDS:
            return
        self._places += 1
        if self._places < _MOST_LINES:
            self.lines.append(f"{self._name}: damaged at second {second:.1f} ({what})")
            return
        if self._places > _MOST_LINES:
            self.lines.pop()
        more = self._places - _MOST_LINES + 1
        self.lines.append(f"{self._name}: damaged in {more} more places up to second {second:.1f}")
