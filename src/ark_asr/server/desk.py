"""One request from its upload to what was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from ark_asr.audio import CutOptions
from ark_asr.server.answers import Answer
from ark_asr.server.ear import Order
from ark_asr.server.host import Host, Loaded
from ark_asr.server.intake import Hearing
from ark_asr.server.metrics import Metrics
from ark_asr.server.problems import Problem
from ark_asr.server.settings import Settings
from ark_asr.server.ticket import Spoken, Ticket
from ark_asr.server.upload import ClientLeftError, Upload
from ark_asr.types import TranscribeOptions

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """What all routes share.

    Attributes:
        threads: For what waits for decoders, one thread per request.
    """

    settings: Settings
    host: Host
    metrics: Metrics
    threads: ThreadPoolExecutor

    def admit(self, request: Request) -> Ticket:
        """A place in the queue.

        Raises:
            Problem: 429: there is none.
        """
        return self.host.scheduler.admit(client_of(request))

    def hear(
        self,
        ticket: Ticket,
        upload: Upload,
        options: TranscribeOptions,
        *,
        cutting: CutOptions | None = None,
        allow_damage: bool = False,
    ) -> Work:
        """Begin to hear and understand an upload.

        Raises:
            ArkError: The model cannot do what is asked for.
        """
        loaded = self.host.loaded
        loaded.recognizer.scribe(options)  # what cannot be had shows before any work
        ticket.options = options
        order = Order(
            upload.name,
            loaded.recognizer.tokenizer.features.clip_seconds,
            self.settings.max_duration,
            self.settings.decoder_memory + len(upload.data),
            options.begin,
            options.end,
            cutting,
        )
        hearing = Hearing(upload.data, order, ticket, self.settings.stall)
        self.threads.submit(hearing.run)
        return Work(self, loaded, ticket, hearing, allow_damage)


class Work:
    """A recording that is being transcribed."""

    def __init__(
        self, service: Service, loaded: Loaded, ticket: Ticket, hearing: Hearing, allow_damage: bool
    ) -> None:
        self.loaded = loaded
        self.hearing = hearing
        self._service = service
        self._ticket = ticket
        self._allow_damage = allow_damage
        self._spoken: list[Spoken] = []

    async def spoken(self) -> AsyncIterator[Spoken]:
        """What was said, as it becomes known.

        Raises:
            Problem: 504: it took too long; 400: the recording is damaged.
            ArkError: It cannot be transcribed.
        """
        limit = self._service.settings.timeout
        try:
            async with asyncio.timeout(limit - self._ticket.seconds):
                async for one in self._ticket:
                    self._spoken.append(one)
                    yield one
        except TimeoutError:
            raise Problem(504, f"it took more than {limit:g} s", None, "timeout") from None
        finally:
            self._service.metrics.audio_seconds.inc(self.hearing.heard)
        if self.hearing.warnings and not self._allow_damage:
            raise Problem(
                400,
                f"{self.hearing.warnings[0]}; with allow_damage=true what can be decoded is "
                "transcribed",
                "file",
                "damaged_audio",
            )

    async def answer(self) -> Answer:
        """All of it; errors as `spoken`."""
        async for _ in self.spoken():
            pass
        return self.finished()

    def finished(self) -> Answer:
        """What has been said so far."""
        languages = self.loaded.languages
        return Answer(
            self._spoken,
            self.hearing.heard,
            self.loaded.recognizer.name,
            languages[0] if len(languages) == 1 else "unknown",
            self.loaded.recognizer.tokenizer,
            self.hearing.warnings,
        )


def client_of(request: Request) -> str:
    """Who asks: the name of his key, else his address."""
    name = request.scope.get("state", {}).get("key_name")
    return name or (request.client.host if request.client else "local")


async def unless_left(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of some work, unless the client leaves first; the body has been read.

    Raises:
        ClientLeftError: He has.
    """
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeftError
    finally:
        task.cancel()
        left.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
