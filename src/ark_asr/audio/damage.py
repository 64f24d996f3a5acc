"""Damage: which places, in as few lines as possible, and how much sound is lost."""

from __future__ import annotations

from collections.abc import Iterable

from av.audio.stream import AudioStream
from av.packet import Packet

_SAME_PLACE_SECONDS = 1.0
_MOST_LINES = 20
# Much junk is more likely the cover picture of a joined file than lost sound.
_LONGEST_JUNK_SECONDS = 3.0


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

    Args:
        adts: Each packet begins with an ADTS header, which states its length (ISO 13818-7, 6.2).

    Attributes:
        seconds: Sound lost so far, beyond what the count of packets says.
    """

    def __init__(self, *, adts: bool) -> None:
        self.seconds = 0.0
        self._adts = adts
        self._packets = 0
        self._bytes = 0

    def in_packet(self, packet: Packet[AudioStream], *, failed: bool) -> bool:
        """Whether the packet holds more than one frame; a sound one that fails is no reason."""
        size, mean = packet.size, self._bytes / max(self._packets, 1)
        junk = float(size - _adts_length(packet)) if self._adts else size - 2 * mean
        if self._packets and packet.duration and junk > 0 and (failed or self._adts):
            lost = (size / mean - 1) * float(packet.duration * packet.time_base)
            self.seconds += lost if 0 < lost < _LONGEST_JUNK_SECONDS else 0.0
            return True
        self._packets += 1
        self._bytes += size
        return False


def _adts_length(packet: Packet[AudioStream]) -> int:
    head = bytes(packet)[:6]
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF0 != 0xF0:
        return packet.size
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
