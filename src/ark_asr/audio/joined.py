"""Files put together end to end: recorded radio, ``cat one.ogg two.ogg``.

Their times begin anew in the middle, so a seek finds any of the parts, or stops at the end of one.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from ark_asr.audio.sources import Input

# What each part begins with: the first page of an Ogg stream (RFC 3533, 6), a FLAC stream's marker
# with the head of its first block (RFC 9639, 8).
_MARKS = {"ogg": b"OggS\0\2", "flac": b"fLaC\0\0\0\x22"}
# Several Ogg streams of one file all begin at its start, with pages of less than a hundred bytes.
_START_BYTES = 512
_BLOCK_BYTES = 1 << 20


def is_joined(source: Input, demuxer: str) -> bool:
    """Whether a file that can be read again is made of several.

    Args:
        source: The file; one that is open stays where it is.
        demuxer: FFmpeg's name of its format.
    """
    mark = _MARKS.get(demuxer)
    if mark is None:
        return False
    if isinstance(source.file, str):
        with Path(source.file.removeprefix("file:")).open("rb") as file:
            return _holds(file, mark)
    at = source.file.tell()
    try:
        return _holds(source.file, mark)
    finally:
        source.file.seek(at)


def _holds(file: BinaryIO, mark: bytes) -> bool:
    file.seek(_START_BYTES)
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        if mark in rest + block:
            return True
        rest = block[1 - len(mark) :]
    return False
