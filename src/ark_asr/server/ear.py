"""The process that hears one upload: bytes in, pieces of speech out, and nothing else."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, Pipe

import numpy as np

from ark_asr.audio import SAMPLE_RATE, CutOptions, cut, open_audio
from ark_asr.audio.wav import wav_bytes
from ark_asr.errors import ArkError, AudioDecodeError
from ark_asr.server.confined import Bounds
from ark_asr.types import Audio

# First byte of every message; behind that of a warning is its number, whose later line counts.
TOTAL, PIECE, WARNING, HEARD, REFUSED, TOO_LONG, DONE = b"T", b"P", b"W", b"H", b"R", b"L", b"D"
NOTES = b"N"  # one byte follows: so many of the first warnings are of no damage
SECOND = struct.Struct("<d")
# Decoding and looking for speech take about a hundredth of the recording's length.
_CPU_SHARE = 0.1
_CPU_LEAST = 30
_OTHER_RATE = 44_100  # than that of the models, so that resampling is rehearsed too


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
        skip: Pieces that are done already, and are not sent.
    """

    name: str
    clip_seconds: float
    max_duration: float
    memory: int
    begin: float | None = None
    end: float | None = None
    cutting: CutOptions | None = None
    skip: int = 0


class _TooLongError(Exception):
    """There is more sound than is allowed."""


class NamedBytes(io.BytesIO):
    """Bytes with a name, which messages use."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(data)
        self.name = name


def hear(pipe: Connection, order: Order) -> None:
    """The life of the process: takes the upload from the pipe and answers there."""
    with suppress(BrokenPipeError, EOFError, KeyboardInterrupt):
        upload = NamedBytes(order.name, pipe.recv_bytes())
        Bounds(order.memory, _CPU_LEAST + order.max_duration * _CPU_SHARE).enter()
        try:
            _hear(pipe, upload, order)
        except _TooLongError:
            pipe.send_bytes(TOO_LONG)
        except MemoryError:
            error = AudioDecodeError(f"{order.name}: needs too much memory to be decoded")
            pipe.send_bytes(REFUSED + str(error).encode())
        except ArkError as error:
            pipe.send_bytes(REFUSED + str(error).encode(errors="replace"))


def rehearse() -> None:
    """Hear a second of nothing, so that all that is loaded or set up only then is there."""
    ours, theirs = Pipe()
    nothing = np.zeros(_OTHER_RATE, np.float32)
    with ours, theirs:  # nobody reads what is said; it is little enough to stay in the pipe
        _hear(theirs, NamedBytes("", wav_bytes(nothing, _OTHER_RATE)), Order("", 30.0, 60.0, 0))


def _hear(pipe: Connection, upload: NamedBytes, order: Order) -> None:
    heard = 0.0
    told: dict[int, str] = {}

    def warn() -> None:
        for number, line in enumerate(sound.warnings):  # of many, the last counts the rest
            if told.get(number) != line:
                pipe.send_bytes(WARNING + bytes([number]) + line.encode(errors="replace"))
                told[number] = line

    def blocks() -> Iterator[Audio]:
        nonlocal heard
        for block in sound:
            heard += block.duration
            if heard > order.max_duration:
                raise _TooLongError
            pipe.send_bytes(HEARD + SECOND.pack(heard))
            warn()
            yield block

    with open_audio(upload, begin=order.begin, end=order.end) as sound:
        if sound.notes:
            pipe.send_bytes(NOTES + bytes([len(sound.notes)]))
        if sound.duration is not None:
            pipe.send_bytes(TOTAL + SECOND.pack(sound.duration))
        pieces = cut(blocks(), order.clip_seconds, options=order.cutting)
        # Less is no frame that a model could hear.
        audible = (piece for piece in pieces if len(piece.samples) >= SAMPLE_RATE // 100)
        for piece in islice(audible, order.skip, None):
            pipe.send_bytes(PIECE + SECOND.pack(piece.start) + piece.samples.tobytes())
        warn()
    pipe.send_bytes(DONE + SECOND.pack(heard))


def read_piece(message: bytes) -> Audio:
    """The piece of a ``PIECE`` message."""
    (start,) = SECOND.unpack_from(message, 1)
    samples = np.frombuffer(message, np.float32, offset=1 + SECOND.size)
    return Audio(samples, SAMPLE_RATE, start)
