"""Damage: which places, in as few lines as possible, and how much sound is lost."""

from __future__ import annotations

from collections.abc import Iterable

from av.audio.stream import AudioStream
from av.packet import Packet

_SAME_PLACE_SECONDS = 1.0
_MOST_LINES = 20
# Much junk is more likely the cover picture of a joined file than lost sound.
_LONGEST_JUNK_SECONDS = 3.0
# What may follow a frame of MP3 and is no sound.
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
# Rates of MPEG-1 by layer, and of its successors (0), ISO 11172-3 and 13818-3.
_KBITS = {
    0: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}


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
        kind: FFmpeg's name of the stream. In ``aac`` and ``mp3`` frames state their lengths.

    Attributes:
        seconds: Sound lost so far, beyond what the count of packets says.
    """

    def __init__(self, kind: str) -> None:
        self.seconds = 0.0
        self._kind = kind
        self._packets = 0
        self._bytes = 0

    def in_packet(self, packet: Packet[AudioStream], *, failed: bool) -> bool:
        """Whether the packet holds more than one frame; a sound one that fails is no reason."""
        size, mean = packet.size, self._bytes / max(self._packets, 1)
        if self._packets and packet.duration and self._has_junk(packet, mean, failed=failed):
            lost = (size / mean - 1) * float(packet.duration * packet.time_base)
            self.seconds += lost if 0 < lost < _LONGEST_JUNK_SECONDS else 0.0
            return True
        self._packets += 1
        self._bytes += size
        return False

    def _has_junk(self, packet: Packet[AudioStream], mean: float, *, failed: bool) -> bool:
        if self._kind == "aac":
            return packet.size > _adts_length(packet)
        if self._kind == "mp3":
            data = bytes(packet)
            if stated := _mpeg_length(data):
                # What is shorter than a frame is filling or a tag rather than lost sound.
                return len(data) - stated > mean / 2 and not data.startswith(_TAGS, stated)
            failed = True  # whatever the decoder finds in it
        return failed and packet.size > 2 * mean


def _adts_length(packet: Packet[AudioStream]) -> int:
    """What the header states (ISO 13818-7, 6.2); all of it if there is none."""
    head = bytes(packet)[:6]
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF0 != 0xF0:
        return packet.size
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def _mpeg_length(data: bytes) -> int | None:
    """Bytes of an MP2 or MP3 frame by its header (ISO 11172-3, 2.4.2.3); ``None`` without one."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer, index = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3), data[2] >> 4
    if version == 1 or layer not in (2, 3) or not 0 < index < 15 or data[2] >> 2 & 3 == 3:
        return None
    first = version == 3  # of the MPEG standards; the others halve the rates
    kbits = _KBITS[layer if first else 0][index - 1]
    rate = (44_100, 48_000, 32_000)[data[2] >> 2 & 3] >> (0, 1, 2)[(3, 2, 0).index(version)]
    slots = 144_000 if first or layer == 2 else 72_000
    return slots * kbits // rate + (data[2] >> 1 & 1)
