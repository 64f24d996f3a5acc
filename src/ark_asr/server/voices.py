"""Who speaks, for the server: found in a process of its own, for one recording after another."""

from __future__ import annotations

import asyncio
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from ark_asr.audio import SAMPLE_RATE
from ark_asr.errors import ArkError, AudioError
from ark_asr.models.speakers import SpeakerModels
from ark_asr.pipeline.diarize import Diarizer
from ark_asr.pipeline.speakers import Speakers, SpeakerTurn
from ark_asr.server.confined import Bounds, Confined
from ark_asr.server.ear import NamedBytes
from ark_asr.server.settings import Settings
from ark_asr.server.upload import Upload
from ark_asr.types import Segment

AUTO = "auto"
# First byte of every message.
_TURN, _REFUSED, _DONE = b"T", b"R", b"D"
_SPAN = struct.Struct("<dd")
# Of the recording's length, on one core; several times what the models of the catalogue need.
_CPU_SHARE = 4.0
_CPU_LEAST = 60
_SAMPLE_BYTES = 4
_COPIES = 3  # of the samples, and what the models need while they look at them
_NICENESS = 10  # the engine may be captioning somebody who is speaking right now


@dataclass(frozen=True, slots=True)
class Order:
    """How a recording is listened to.

    Attributes:
        name: What the client calls it.
        models: The two files.
        threads: CPU threads; ``None`` for all physical cores.
        bounds: Of the process.
    """

    name: str
    models: SpeakerModels
    threads: int | None
    bounds: Bounds


class Voices:
    """Tells speakers apart.

    Args:
        settings: Of the server; ``speakers`` says where the models are.

    Raises:
        ModelError: The models are not there, or not such models.
        MissingExtraError: The library is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        folder = None if settings.speakers in (None, AUTO) else Path(settings.speakers or "")
        self._models = SpeakerModels.find(folder)
        Diarizer(self._models, threads=1)  # what cannot be used shows when the server starts
        samples = settings.max_duration * SAMPLE_RATE * _SAMPLE_BYTES
        self._bounds = Bounds(
            settings.decoder_memory + settings.max_upload + round(_COPIES * samples),
            _CPU_LEAST + settings.max_duration * _CPU_SHARE,
        )
        self._threads = settings.threads
        self._patience = settings.timeout
        self._one_at_a_time = asyncio.Lock()

    async def label(self, upload: Upload, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """Segments with their speakers, cut where the speaker changes.

        Raises:
            AudioError: Nobody could listen to it.
        """
        gone = threading.Event()
        try:
            async with self._one_at_a_time:
                turns = await asyncio.to_thread(self._turns, upload, gone)
        finally:
            gone.set()
        return tuple(Speakers(turns).label(segments))

    def _turns(self, upload: Upload, gone: threading.Event) -> list[SpeakerTurn]:
        order = Order(upload.name, self._models, self._threads, self._bounds)
        process = Confined(_listen, order, upload.name, upload.data, self._patience)
        with closing(process.messages(gone.is_set)) as messages:
            return list(_read(messages))


def _read(messages: Iterator[bytes]) -> Iterator[SpeakerTurn]:
    while (message := next(messages, _DONE))[:1] != _DONE:
        if message[:1] == _REFUSED:
            raise AudioError(message[1:].decode(errors="replace"))
        start, end = _SPAN.unpack_from(message, 1)
        yield SpeakerTurn(start, end, message[1 + _SPAN.size :].decode(errors="replace"))


def _listen(pipe: Connection, order: Order) -> None:
    """The life of the process."""
    with suppress(BrokenPipeError, EOFError, KeyboardInterrupt):
        upload = NamedBytes(order.name, pipe.recv_bytes())
        order.bounds.enter()
        if hasattr(os, "nice"):
            os.nice(_NICENESS)
        try:
            for turn in Diarizer(order.models, threads=order.threads).turns(upload):
                pipe.send_bytes(_TURN + _SPAN.pack(turn.start, turn.end) + turn.speaker.encode())
        except MemoryError:
            message = f"{order.name}: telling its speakers apart needs too much memory"
            pipe.send_bytes(_REFUSED + message.encode(errors="replace"))
        except ArkError as error:
            pipe.send_bytes(_REFUSED + str(error).encode(errors="replace"))
        else:
            pipe.send_bytes(_DONE)
