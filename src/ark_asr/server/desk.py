"""One request from its upload to what was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from ark_asr.server.answers import Answer
from ark_asr.server.ear import Order
from ark_asr.server.events import until_left
from ark_asr.server.host import Host, Loaded
from ark_asr.server.intake import Hearing
from ark_asr.server.metrics import Metrics
from ark_asr.server.problems import Problem
from ark_asr.server.settings import Settings
from ark_asr.server.ticket import Ask, Spoken, Ticket
from ark_asr.server.upload import ClientLeftError
from ark_asr.server.voices import Voices
from ark_asr.server.wanted import Asked
from ark_asr.types import Segment

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """What all routes share.

    Attributes:
        threads: For what waits for decoders, one thread per request or running job.
        voices: Tells speakers apart, if the server was started with models for that.
    """

    settings: Settings
    host: Host
    metrics: Metrics
    threads: ThreadPoolExecutor
    voices: Voices | None

    def admit(self, request: Request) -> Ticket:
        """A place in the queue.

        Raises:
            Problem: 429: there is none.
        """
        return self.host.scheduler.admit(client_of(request))

    async def model(self, request: Request, stack: ExitStack, name: str | None = None) -> Loaded:
        """A model, which the stack keeps loaded; the body has been read.

        Args:
            request: Whoever sent it may leave while the model is loaded.
            stack: Left when the model is not needed any more.
            name: As for `Host.use`.

        Raises:
            ClientLeftError: He has left.
            Problem: As `Host.use`.
        """

        async def entered() -> Loaded:  # before anybody else could unload it
            return stack.enter_context(await self.host.use(name))

        return await unless_left(request, entered())

    async def hear(self, ticket: Ticket, loaded: Loaded, asked: Asked, *, skip: int = 0) -> Work:
        """Begin to hear and understand an upload.

        Args:
            ticket: Whose pieces they are.
            loaded: The model; it must stay so until the work is done.
            asked: The upload, and how it is transcribed.
            skip: Pieces of it that are done already.

        Raises:
            ArkError: The model cannot do what is asked for.
        """
        options, upload = asked.options, asked.file
        # What cannot be had shows before any work; many hot words take their time.
        await asyncio.to_thread(loaded.recognizer.scribe, options)
        ticket.ask = Ask(loaded, options)
        order = Order(
            upload.name,
            loaded.recognizer.tokenizer.features.clip_seconds,
            self.settings.max_duration,
            self.settings.decoder_memory + len(upload.data),
            options.begin,
            options.end,
            asked.cutting,
            skip,
        )
        hearing = Hearing(upload.data, order, ticket, self.settings.stall)
        self.threads.submit(hearing.run)
        return Work(self, loaded, ticket, hearing, asked)


class Work:
    """A recording that is being transcribed."""

    def __init__(
        self, service: Service, loaded: Loaded, ticket: Ticket, hearing: Hearing, asked: Asked
    ) -> None:
        self.loaded = loaded
        self.hearing = hearing
        self._service = service
        self._ticket = ticket
        self._asked = asked
        self._spoken: list[Spoken] = []

    async def pieces(self) -> AsyncIterator[tuple[Spoken, ...]]:
        """What was said in each piece, as it becomes known.

        Raises:
            Problem: 400: the recording is damaged.
            ArkError: It cannot be transcribed.
        """
        try:
            async for piece in self._ticket.answers():
                self._check_damage()
                self._spoken += piece
                yield piece
            self._check_damage()
        finally:
            self._service.metrics.audio_seconds.inc(self.hearing.heard)

    async def spoken(self) -> AsyncIterator[Spoken]:
        """What was said, one by one.

        Raises:
            Problem: 504: it took too long; others as `pieces`.
            ArkError: As `pieces`.
        """
        pieces = self.pieces()
        while True:
            # Around each piece by itself: an event of a stream is waited for in a task of its own,
            # and a timeout can end no task but the one that it was begun in.
            async with self._in_time():
                piece = await anext(pieces, None)
            if piece is None:
                return
            for one in piece:
                yield one

    def _check_damage(self) -> None:
        if self.hearing.damage and not self._asked.allow_damage:
            raise Problem(
                400,
                f"{self.hearing.damage[0]}; with allow_damage=true what can be decoded is "
                "transcribed",
                "file",
                "damaged_audio",
            )

    async def answer(self) -> Answer:
        """All of it; errors as `spoken`."""
        async for _ in self.spoken():
            pass
        return self.finished()

    async def with_speakers(self, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """The same segments, with their speakers, cut where the speaker changes.

        Raises:
            Problem: 504: it took too long.
            AudioError: Whoever listened crashed.
        """
        voices = self._service.voices
        if voices is None:
            raise AssertionError
        async with self._in_time():
            return await voices.label(self._asked.file, segments)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """A request may take so long; a long job as long as it takes."""
        limit, ticket = self._service.settings.timeout, self._ticket
        try:
            async with asyncio.timeout(None if ticket.background else limit - ticket.seconds):
                yield
        except TimeoutError:
            # OpenAI's clients would ask again, twice, and each time it would take as long.
            never = {"X-Should-Retry": "false"}
            message = f"it took more than {limit:g} s"
            raise Problem(504, message, None, "timeout", never) from None

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
    left = asyncio.ensure_future(until_left(request))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeftError
    finally:
        task.cancel()
        left.cancel()
