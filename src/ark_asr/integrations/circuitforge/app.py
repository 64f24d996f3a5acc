"""The two endpoints of circuitforge-core's speech-to-text service (cf-stt), by ourselves."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ark_asr.errors import ArkError, AudioError
from ark_asr.integrations.circuitforge.backend import (
    THRESHOLD,
    ArkSTTBackend,
    STTResult,
    check_threshold,
)
from ark_asr.server.guards import Door
from ark_asr.server.problems import Problem
from ark_asr.server.settings import Settings
from ark_asr.server.upload import ClientLeftError, Form, read_form

MOST_BYTES = 64 << 20
MOST_WAITING = 16
_STALL_SECONDS = 30.0
_CLIENT_LEFT = 499
_log = logging.getLogger(__name__)


def create_app(backend: ArkSTTBackend, settings: Settings, threshold: float = THRESHOLD) -> FastAPI:
    """The service as an ASGI application.

    Args:
        backend: The model; it stays the caller's.
        settings: Who may come in.
        threshold: Confidence below which a result is marked, unless a request says otherwise.

    Raises:
        OptionError: The threshold makes no sense.
    """
    check_threshold(threshold)
    app = FastAPI(
        title="cf-stt",
        summary="Speech-to-text of circuitforge-core, by ark-asr",
        docs_url=None,
        redoc_url=None,
        middleware=[Middleware(Door, settings=settings, keys=None)],
    )
    here = 0

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """The model is loaded: it was before the service began to listen."""
        return {"status": "ok", "model": backend.model_name, "vram_mb": backend.vram_mb}

    @app.post("/transcribe", response_class=JSONResponse)
    async def transcribe(request: Request) -> dict[str, Any]:
        """Write down the file ``audio`` of a multipart form."""
        nonlocal here
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise _missing()
        if here >= MOST_WAITING:
            raise Problem(503, f"{here} requests are here; try again", headers={"Retry-After": "2"})
        here += 1
        try:
            form = await read_form(request, MOST_BYTES, _STALL_SECONDS, file_field="audio")
            wanted = _threshold(form, threshold)
            audio = _audio(form)
            # A thread of its own, so that /health answers meanwhile.
            result = await asyncio.to_thread(
                backend.transcribe,
                audio,
                language=form.get("language"),
                confidence_threshold=wanted,
            )
        finally:
            here -= 1
        return _record(result)

    _add_problems(app)
    return app


def _threshold(form: Form, usual: float) -> float:
    text = form.get("confidence_threshold_override")
    if text is None:
        return usual
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise Problem(422, "confidence_threshold_override: must be a number from 0 to 1")
    return value


def _audio(form: Form) -> bytes:
    if form.file is None:
        raise _missing()
    if not form.file.data:
        raise Problem(400, "Empty audio file")
    return form.file.data


def _missing() -> Problem:
    return Problem(422, "audio: a file of a multipart form is required")


def _record(result: STTResult) -> dict[str, Any]:
    return {
        "text": result.text,
        "confidence": result.confidence,
        "below_threshold": result.below_threshold,
        "language": result.language,
        "duration_s": result.duration_s,
        "segments": [
            {"start_s": s.start_s, "end_s": s.end_s, "text": s.text, "confidence": s.confidence}
            for s in result.segments
        ],
        "model": result.model,
    }


def _add_problems(app: FastAPI) -> None:
    """Errors as FastAPI words them: ``detail``."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return JSONResponse({"detail": error.message}, error.status, dict(error.headers))

    @app.exception_handler(ClientLeftError)
    async def left(_: Request, __: ClientLeftError) -> Response:
        return Response(status_code=_CLIENT_LEFT)

    @app.exception_handler(AudioError)
    async def sound(_: Request, error: AudioError) -> Response:
        return JSONResponse({"detail": str(error)}, 400)

    @app.exception_handler(ArkError)
    async def failed(_: Request, error: ArkError) -> Response:
        _log.error("transcribe_failed: %s", type(error).__name__)
        return JSONResponse({"detail": str(error)}, 500)

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:
        return JSONResponse({"detail": "the service failed; its log says why"}, 500)
