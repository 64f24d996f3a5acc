"""The routes of OpenAI's interface; the official client works unchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ark_asr.server.answers import logprobs_of, spoken_by
from ark_asr.server.desk import Service, Work, unless_left
from ark_asr.server.events import Events, event
from ark_asr.server.examples import MODEL, MODELS, TRANSCRIPTION, TRANSLATION
from ark_asr.server.host import Model
from ark_asr.server.problems import Problem, problem_of
from ark_asr.server.upload import read_form
from ark_asr.server.wanted import Wanted, wanted

_TYPES = {"srt": "application/x-subrip", "vtt": "text/vtt"}


def router(service: Service) -> APIRouter:
    """``/v1/models`` and ``/v1/audio``."""
    routes = APIRouter(prefix="/v1")
    host, settings = service.host, service.settings

    @routes.post("/audio/transcriptions", openapi_extra=TRANSCRIPTION, response_class=Response)
    async def transcriptions(request: Request) -> Response:
        """Write down what is said in a recording."""
        with ExitStack() as stack:
            ticket = stack.enter_context(service.admit(request))
            form = await read_form(
                request, settings.max_upload, settings.stall, longest=settings.timeout
            )
            want = wanted(form, host, settings)
            loaded = await service.model(request, stack, want.asked.model)
            work = await service.hear(ticket, loaded, want.asked)
            if want.stream:
                return Events(_parts(work, want), stack.pop_all())
            return await unless_left(request, _answer(work, want))

    @routes.post("/audio/translations", openapi_extra=TRANSLATION, response_class=Response)
    async def translations() -> Response:
        """Refused: the model writes what is said, in the language it is said in."""
        raise Problem(
            400,
            "translation is not done here: the model writes down what is said in its own language; "
            "use /v1/audio/transcriptions",
            None,
            "unsupported",
        )

    @routes.get("/models", openapi_extra=MODELS, response_class=JSONResponse)
    async def models() -> dict[str, Any]:
        """What can be asked for, and what of it is in memory."""
        return {"object": "list", "data": [record(*named) for named in host.models().items()]}

    @routes.get("/models/{name:path}", openapi_extra=MODEL, response_class=JSONResponse)
    async def one_model(name: str) -> dict[str, Any]:
        """One model."""
        if not name:  # of /v1/models/
            message = "name a model behind the last slash, or leave that out to see all"
            raise Problem(404, message, "model", "model_not_found")
        return record(name, host.find(name))

    def record(name: str, model: Model) -> dict[str, Any]:
        usual = {"id": name, "object": "model", "created": host.created, "owned_by": "ark-asr"}
        about = {"model": model.folder.name, "languages": list(model.languages)}
        return {**usual, **about, "state": model.state}

    return routes


async def _answer(work: Work, want: Wanted) -> Response:
    answer = await work.answer()
    if want.format == "json":
        return JSONResponse(answer.json(logprobs=want.logprobs))
    if want.format == "verbose_json":
        return JSONResponse(answer.verbose(want.granularities))
    if want.format == "diarized_json":
        segments = await work.with_speakers(answer.transcript.segments)
        return JSONResponse(answer.diarized(segments))
    if want.format == "text":
        return PlainTextResponse(answer.text())
    return PlainTextResponse(answer.subtitles(want.format), media_type=_TYPES[want.format])


async def _parts(work: Work, want: Wanted) -> AsyncIterator[bytes]:
    """The answer as events; the status has been sent, so errors are told here."""
    try:
        async for part in _deltas(work, want):
            yield event(part)
    except Exception as error:  # noqa: BLE001 - the client is told
        yield event({"type": "error", **problem_of(error).body}, kind="error")


async def _deltas(work: Work, want: Wanted) -> AsyncIterator[dict[str, Any]]:
    said = ""
    decode = work.loaded.recognizer.tokenizer.decode
    async for spoken in work.spoken():
        text = spoken.segment.text
        if not text:
            continue
        delta = f" {text}" if said else text
        said += delta
        logprobs = list(logprobs_of(spoken, decode)) if want.logprobs else None
        yield {"type": "transcript.text.delta", "delta": delta, **_given(logprobs=logprobs)}
    answer = work.finished()
    if want.format == "diarized_json":
        segments = await work.with_speakers(answer.transcript.segments)
        for number, segment in enumerate(segments):
            yield spoken_by(number, segment)
    logprobs = answer.logprobs() if want.logprobs else None
    yield {
        "type": "transcript.text.done",
        "text": said,
        **_given(logprobs=logprobs),
        "usage": answer.usage(),
    }


def _given(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
