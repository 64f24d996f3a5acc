"""The routes of OpenAI's interface; the official client works unchanged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from ark_asr.server.answers import event, logprobs_of
from ark_asr.server.desk import Service, Work, unless_left
from ark_asr.server.examples import TRANSCRIPTION
from ark_asr.server.problems import Problem, problem_of
from ark_asr.server.ticket import Ticket
from ark_asr.server.upload import read_form
from ark_asr.server.wanted import Wanted, model_not_found, wanted

_HEARTBEAT = 15.0
_TYPES = {"srt": "application/x-subrip", "vtt": "text/vtt"}


def router(service: Service) -> APIRouter:
    """``/v1/models`` and ``/v1/audio``."""
    routes = APIRouter(prefix="/v1")
    host, settings = service.host, service.settings

    @routes.post("/audio/transcriptions", openapi_extra=TRANSCRIPTION, response_class=Response)
    async def transcriptions(request: Request) -> Response:
        """Write down what is said in a recording."""
        with ExitStack() as stack:
            loaded = host.loaded
            ticket = stack.enter_context(service.admit(request))
            form = await read_form(request, settings.max_upload, settings.stall)
            asked = wanted(form, host, loaded, settings.batch_size)
            work = service.hear(
                ticket,
                asked.file,
                asked.options,
                cutting=asked.cutting,
                allow_damage=asked.allow_damage,
            )
            if asked.stream:
                return _Events(stack.pop_all(), ticket, work, logprobs=asked.logprobs)
            return await unless_left(request, _answer(work, asked))

    @routes.post("/audio/translations", response_class=Response)
    async def translations() -> Response:
        """Refused: the model writes what is said, in the language it is said in."""
        raise Problem(
            400,
            "translation is not done here: the model writes down what is said in its own language; "
            "use /v1/audio/transcriptions",
            None,
            "unsupported",
        )

    @routes.get("/models", response_class=JSONResponse)
    async def models() -> dict[str, Any]:
        """The model, under all of its names."""
        return {"object": "list", "data": [model(name) for name in (host.name, *host.aliases)]}

    @routes.get("/models/{name:path}", response_class=JSONResponse)
    async def one_model(name: str) -> dict[str, Any]:
        """One model."""
        if not host.answers_to(name):
            raise model_not_found(name, host)
        return model(name)

    def model(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": host.created, "owned_by": "ark-asr"}

    return routes


async def _answer(work: Work, asked: Wanted) -> Response:
    answer = await work.answer()
    if asked.format == "json":
        return JSONResponse(answer.json(logprobs=asked.logprobs))
    if asked.format == "verbose_json":
        return JSONResponse(answer.verbose(asked.granularities))
    if asked.format == "text":
        return PlainTextResponse(answer.text())
    return PlainTextResponse(answer.subtitles(asked.format), media_type=_TYPES[asked.format])


class _Events(Response):
    """The answer as server-sent events; it owns the request's place until the client has it all."""

    media_type = "text/event-stream"

    def __init__(self, stack: ExitStack, ticket: Ticket, work: Work, *, logprobs: bool) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._stack = stack
        self._ticket = ticket
        self._work = work
        self._logprobs = logprobs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        with self._stack:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            sending = asyncio.ensure_future(self._send_all(send))
            left = asyncio.ensure_future(receive())  # nothing but the end can come
            try:
                await asyncio.wait({sending, left}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, left):
                    task.cancel()
                await asyncio.gather(sending, left, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        body = {"type": "http.response.body", "more_body": True}
        parts = aiter(self._parts())
        while True:
            coming = asyncio.ensure_future(anext(parts, b""))
            while not (await asyncio.wait({coming}, timeout=_HEARTBEAT))[0]:
                await send({**body, "body": b": still working\n\n"})
            if not (part := coming.result()):
                break
            await send({**body, "body": part})
        await send({"type": "http.response.body", "body": b""})

    async def _parts(self) -> AsyncIterator[bytes]:
        said = ""
        decode = self._work.loaded.recognizer.tokenizer.decode
        try:
            async for spoken in self._work.spoken():
                text = spoken.segment.text
                if not text:
                    continue
                delta = f" {text}" if said else text
                said += delta
                logprobs = list(logprobs_of(spoken, decode)) if self._logprobs else None
                yield event("transcript.text.delta", delta=delta, **_given(logprobs=logprobs))
        except Exception as error:  # noqa: BLE001 - the status has been sent, so it is told here
            body = {"type": "error", **problem_of(error).body}
            yield f"event: error\ndata: {json.dumps(body)}\n\n".encode()
            return
        answer = self._work.finished()
        logprobs = answer.logprobs() if self._logprobs else None
        yield event(
            "transcript.text.done", text=said, **_given(logprobs=logprobs), usage=answer.usage()
        )


def _given(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
