"""``/health`` and ``/classify`` as Linnet calls them on cf-voice; transcripts are all it gets."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import FastAPI
from pydantic import BaseModel, Field, ValidationError
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ark_asr.errors import ArkError
from ark_asr.integrations.languages import language_of
from ark_asr.integrations.sessions import BusyError, Sessions, Shown
from ark_asr.integrations.sound import from_pcm
from ark_asr.models.store import languages_of, resolve
from ark_asr.pipeline import Recognizer, check_engine
from ark_asr.server.guards import Door
from ark_asr.server.problems import Problem
from ark_asr.server.settings import Settings

# Linnet drops a window whose answer takes five seconds. What is not known by then comes with the
# answer to a later window, so that nothing is lost on a slow machine.
CLIENT_TIMEOUT = 5.0
PATIENCE = 2.0
# Linnet's longest window is 3 s: 128 kB.
MOST_BYTES = 1 << 20
# Who speaks is not told apart; Linnet shows no name for this one.
SPEAKER = "speaker_a"
WARNING = "This voice service (ark-asr) gives transcripts only: no tone, scene, accent or speakers."

State: TypeAlias = Literal["loading", "ready", "error"]
_log = logging.getLogger(__name__)


class Window(BaseModel):
    """What Linnet sends; keys that are for tone and speakers are left aside."""

    audio_chunk: str
    timestamp: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    session_id: Annotated[str, Field(max_length=200)] = ""
    language: str | None = None


class Sidecar:
    """The model, loaded in the background, and its sessions.

    Attributes:
        state: Of the model.
        sessions: There are some once it is ready.
    """

    def __init__(self, model: str | None, threads: int | None) -> None:
        self._folder = resolve(model)
        check_engine(self._folder, threads=threads)
        self._threads = threads
        self._languages = languages_of(self._folder.name)
        self._recognizer: Recognizer | None = None
        self.state: State = "loading"
        self.sessions: Sessions | None = None

    async def load(self) -> None:
        """Load the model; the event loop stays free."""
        try:
            self._recognizer = await asyncio.to_thread(
                Recognizer.load, self._folder.path, threads=self._threads
            )
        except Exception as error:  # noqa: BLE001 - /health tells it
            self.state = "error"
            _log.error("model_failed: %s", error)
        else:
            self.sessions = Sessions(self._recognizer)
            self.state = "ready"
            _log.info("model_ready")

    async def aclose(self) -> None:
        """Forget all sessions and give back the model."""
        if self.sessions is not None:
            await self.sessions.aclose()
        if self._recognizer is not None:
            self._recognizer.close()

    async def classify(self, window: Window) -> list[dict[str, Any]]:
        """The events of a window.

        Raises:
            Problem: It cannot be read, or there is too much to do.
        """
        try:
            samples = from_pcm(base64.b64decode(window.audio_chunk, validate=True))
        except ValueError as error:  # no base64, not even ASCII, or no samples
            raise Problem(422, f"audio_chunk: {error}") from None
        if self.state == "error":
            raise Problem(503, "the model could not be loaded; the log says why")
        if self.sessions is None:
            return []  # what is said while the model is loaded is over when it is there
        try:
            shown = await self.sessions.hear(
                window.session_id, samples, window.timestamp, patience=PATIENCE
            )
        except BusyError as error:
            raise Problem(503, str(error), headers={"Retry-After": "2"}) from None
        told = [one for one in shown if one.caption.final or one is shown[-1]]
        return [self._event(one, window.language) for one in told]

    def _event(self, shown: Shown, language: str | None) -> dict[str, Any]:
        return {
            "event_type": "transcript",
            "label": shown.caption.text,
            "speaker_id": SPEAKER,
            "timestamp": round(shown.timestamp, 3),
            "confidence": round(shown.caption.confidence, 4),
            "is_final": shown.caption.final,
            "language": language_of(language, self._languages),
        }


def create_app(settings: Settings, model: str | None = None, threads: int | None = None) -> FastAPI:
    """The sidecar as an ASGI application; it begins to load the model when it is started.

    Raises:
        ModelNotFoundError: There is no such model.
        OptionError: It cannot have so many threads.
    """
    sidecar = Sidecar(model, threads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(sidecar.load())
        try:
            yield
        finally:
            await loading
            await sidecar.aclose()

    app = FastAPI(
        title="cf-voice",
        summary="Transcripts for Linnet, by ark-asr",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        middleware=[Middleware(Door, settings=settings, keys=None)],
    )
    app.state.sidecar = sidecar

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """The service is there; the model may still be loaded."""
        return {"status": "ok", "models": {"stt": sidecar.state}, "warnings": [WARNING]}

    @app.post("/classify", response_class=JSONResponse)
    async def classify(request: Request) -> dict[str, Any]:
        """What was said up to the end of this window of a session."""
        return {"events": await sidecar.classify(_window(await _body(request)))}

    _add_problems(app)
    return app


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Problem(413, f"a window of more than {MOST_BYTES:,} bytes; send shorter ones")
    return bytes(body)


def _window(body: bytes) -> Window:
    try:
        return Window.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise Problem(422, f"{where}: {first['msg']}") from None


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return JSONResponse({"detail": error.message}, error.status, dict(error.headers))

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=499)

    @app.exception_handler(ArkError)
    async def failed(_: Request, error: ArkError) -> Response:
        _log.error("classify_failed: %s", type(error).__name__)
        return JSONResponse({"detail": str(error)}, 500)
