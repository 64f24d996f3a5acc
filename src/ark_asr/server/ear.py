"""The process that hears one upload: bytes in, pieces of speech out, and nothing else.

A codec that crashes, hangs or eats memory takes down this process only. What comes back is plain
bytes, never pickled objects: whoever took over a decoder could otherwise take over the server.
"""

from __future__ import annotations

import io
import math
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from ark_asr.audio import SAMPLE_RATE, CutOptions, cut, open_audio
from ark_asr.errors import ArkError, AudioDecodeError
from ark_asr.types import Audio

# First byte of every message.
PIECE, WARNING, HEARD, REFUSED, TOO_LONG, DONE = b"P", b"W", b"H", b"R", b"L", b"D"
SECOND = struct.Struct("<d")
# Decoding and looking for speech take about a hundredth of the recording's length.
_CPU_SHARE = 0.1
_CPU_LEAST = 30


@dataclass(frozen=True, slots=True)
class Order:
    """How an upload is heard.

    Attributes:
        name: What the client calls it.
        clip_seconds: The longest piece.
        max_duration: Seconds of sound after which it is refused.
        memory: Bytes that the process may ask for.
        begin: First second that is wanted.
        end: Last second that is wanted.
        cutting: How speech is found.
    """

    name: str
    clip_seconds: float
    max_duration: float
    memory: int
    begin: float | None = None
    end: float | None = None
    cutting: CutOptions | None = None


class _TooLongError(Exception):
    """There is more sound than is allowed."""


class _Upload(io.BytesIO):
    """Bytes with a name, which messages use."""

    name = ""


def hear(pipe: Connection, order: Order) -> None:
    """The life of the process: takes the upload from the pipe and answers there."""
    with suppress(BrokenPipeError, EOFError, KeyboardInterrupt):
        upload = _Upload(pipe.recv_bytes())
        upload.name = order.name
        _bound(order)
        try:
            _hear(pipe, upload, order)
        except _TooLongError:
            pipe.send_bytes(TOO_LONG)
        except MemoryError:
            error = AudioDecodeError(f"{order.name}: needs too much memory to be decoded")
            pipe.send_bytes(REFUSED + str(error).encode())
        except ArkError as error:
            pipe.send_bytes(REFUSED + str(error).encode(errors="replace"))


def _hear(pipe: Connection, upload: _Upload, order: Order) -> None:
    heard = 0.0

    def blocks() -> Iterator[Audio]:
        nonlocal heard
        for block in sound:
            heard += block.duration
            if heard > order.max_duration:
                raise _TooLongError
            pipe.send_bytes(HEARD + SECOND.pack(heard))
            yield block

    with open_audio(upload, begin=order.begin, end=order.end) as sound:
        for piece in cut(blocks(), order.clip_seconds, options=order.cutting):
            if len(piece.samples) >= SAMPLE_RATE // 100:  # less is no frame that a model could hear
                pipe.send_bytes(PIECE + SECOND.pack(piece.start) + piece.samples.tobytes())
        for line in sound.warnings:
            pipe.send_bytes(WARNING + line.encode(errors="replace"))
    pipe.send_bytes(DONE + SECOND.pack(heard))


def read_piece(message: bytes) -> Audio:
    """The piece of a ``PIECE`` message."""
    (start,) = SECOND.unpack_from(message, 1)
    samples = np.frombuffer(message, np.float32, offset=1 + SECOND.size)
    return Audio(samples, SAMPLE_RATE, start)


def _bound(order: Order) -> None:
    """Take away from this process what decoding does not need."""
    if sys.platform == "win32":
        return
    import resource

    cpu = _CPU_LEAST + math.ceil(order.max_duration * _CPU_SHARE)
    for limit, value in (
        (resource.RLIMIT_AS, order.memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, 0),  # not a byte to any disk
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        with suppress(ValueError, OSError):  # a harder limit is there already
            resource.setrlimit(limit, (value, value))
