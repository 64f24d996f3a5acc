"""Recordings that describe themselves, told from bare samples by their first bytes."""

from __future__ import annotations

# RIFF and its large forms, Ogg, FLAC, MP3 with tags, Matroska and WebM, AIFF, AU, AMR, CAF,
# WavPack, ASF (WMA), Monkey's Audio.
_MAGIC = (
    b"RIFF", b"RF64", b"riff", b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3", b"FORM", b".snd",
    b"#!AMR", b"caff", b"wvpk", b"0&\xb2u\x8ef\xcf\x11", b"MAC ",
)  # fmt: skip
_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
# Frames of a stream without any header that must follow each other: two bytes of a sync word alone
# are found in bare samples, too.
_FRAMES = 3
# kbit/s by the header's index, MPEG-1 layers I to III, then MPEG-2 layer I, layers II and III
# (ISO/IEC 11172-3, 2.4.2.3; ISO/IEC 13818-3, 2.4.2.3).
_RATES_1 = {
    3: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_2 = {
    3: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256), 2: _LOW, 1: _LOW,
}  # fmt: skip
_SAMPLE_RATES = (44_100, 48_000, 32_000)
_MPEG_1, _RESERVED = 3, 1


def describes_itself(data: bytes) -> bool:
    """Whether these are the first bytes (the more the better) of a container or codec stream.

    False for headerless samples, whatever they hold: a match needs four fixed bytes, or three
    frames of MPEG audio or ADTS in a row.
    """
    return data.startswith(_MAGIC) or is_mp4(data) or _is_mpeg(data)


def is_mp4(data: bytes) -> bool:
    """Whether these are the first bytes of MP4 or QuickTime, whose index may be at the end."""
    return data[4:8] in _MP4_BOXES


def may_be_mpeg(data: bytes) -> bool:
    """Whether these begin as a frame of MPEG audio or ADTS does, which only more bytes can tell."""
    return _frame_length(data[:6]) > 0


def _is_mpeg(data: bytes) -> bool:
    at = found = 0
    while found < _FRAMES and (length := _frame_length(data[at : at + 6])):
        at, found = at + length, found + 1
        if at >= len(data):
            return found > 1
    return found == _FRAMES


def _frame_length(header: bytes) -> int:
    """Bytes of the frame that begins here; 0 if none does."""
    if len(header) < 6 or header[0] != 0xFF or header[1] < 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    if layer == 0:  # ADTS (ISO/IEC 13818-7, 6.2), whose length stands in the header
        length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
        return length if header[1] >= 0xF0 and length > len(header) else 0
    rate, sample_rate = header[2] >> 4, header[2] >> 2 & 3
    if version == _RESERVED or not 0 < rate < 15 or sample_rate == 3:
        return 0
    first = version == _MPEG_1
    bits = (_RATES_1 if first else _RATES_2)[layer][rate - 1] * 1000
    hertz = _SAMPLE_RATES[sample_rate] // (1 if first else 2 if version else 4)
    padding = header[2] >> 1 & 1
    if layer == 3:
        return (12 * bits // hertz + padding) * 4
    return (144 if first or layer == 2 else 72) * bits // hertz + padding
