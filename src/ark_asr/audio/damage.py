"""Damage: which places, in as few lines as possible, and how much sound is lost."""

from __future__ import annotations

from collections.abc import Iterable

from av.audio.stream import AudioStream
from av.packet import Packet

_SAME_PLACE_SECONDS = 1.0
_MOST_LINES = 20
# Much junk is more likely the cover picture of a joined file than lost sound.
_LONGEST_JUNK_SECONDS = 3.0
_USUAL_PACKETS = 50


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


class LostFrames:
    """Sound lost in an elementary stream, where damaged frames stick to the one before them.

    Attributes:
        seconds: Sound lost so far, beyond what the count of packets says.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._packets = 0
        self._bytes = 0
        self._largest = 0

    def in_packet(self, packet: Packet[AudioStream], *, failed: bool) -> bool:
        """Whether the packet is so large that it must hold more than one frame."""
        size = packet.size
        mean = self._bytes / self._packets if self._packets else float(size)
        swollen = self._packets > _USUAL_PACKETS and size > 4 * self._largest
        if size and packet.duration and (swollen or (failed and size > 2 * mean)):
            lost = (size / mean - 1) * float(packet.duration * packet.time_base)
            self.seconds += lost if lost < _LONGEST_JUNK_SECONDS else 0.0
            return True
        self._packets += 1
        self._bytes += size
        self._largest = max(self._largest, size)
        return False
