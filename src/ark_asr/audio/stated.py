"""Files that were cut short: a download that broke off, a recorder whose battery was empty.

Of most kinds FFmpeg knows the length that they should have. Of these it works the length out from
what is left of them, or knows only that of the pictures.
"""

from __future__ import annotations

import struct
from pathlib import Path

from ark_asr.audio.sources import Input

_HEAD_BYTES = 64
# Who writes into a pipe cannot know the size, and states 0 or about the most that there can be.
_UNKNOWN = 0x7FF0_0000
# The identifiers of an EBML header and of a segment (RFC 8794, 11.2; RFC 9559, 5.1).
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"


def stated_bytes(source: Input) -> int | None:
    """The size that a file's head states; ``None`` if it states none, or is no longer there.

    Args:
        source: A file that can be read again; one that is open stays where it is.
    """
    try:
        if isinstance(source.file, str):
            with Path(source.file.removeprefix("file:")).open("rb") as file:
                return _stated(file.read(_HEAD_BYTES))
        at = source.file.tell()
        source.file.seek(0)
        head = source.file.read(_HEAD_BYTES)
        source.file.seek(at)
    except (OSError, ValueError):  # what was heard of it is worth more than this question
        return None
    return _stated(head)


def _stated(head: bytes) -> int | None:
    if len(head) < _HEAD_BYTES:
        return None
    if head.startswith(b"RIFF"):  # WAV and AVI
        (size,) = struct.unpack_from("<I", head, 4)
        return size + 8 if size < _UNKNOWN else None
    if head.startswith(b"riff"):  # Wave64
        (size,) = struct.unpack_from("<Q", head, 16)
        return int(size)
    if head.startswith(_EBML):
        return _stated_by_segment(head)
    return None


def _stated_by_segment(head: bytes) -> int | None:
    length, at = _number(head, len(_EBML))
    if length is None or not head.startswith(_SEGMENT, at + length):
        return None
    size, at = _number(head, at + length + len(_SEGMENT))
    return None if size is None else at + size


def _number(head: bytes, at: int) -> tuple[int | None, int]:
    """A size as EBML writes it (RFC 8794, 6), ``None`` if it is unknown; and what is behind it."""
    width = 9 - head[at].bit_length() if at < len(head) else 9
    after = at + width
    if width > 8 or after > len(head):
        return None, at
    most = (1 << 7 * width) - 1
    size = int.from_bytes(head[at:after]) & most
    return (None if size == most else size), after
