"""The parts of a server, put together."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route

from ark_asr import __version__
from ark_asr.errors import ArkError
from ark_asr.server import live, openai, original, page, realtime
from ark_asr.server.described import description
from ark_asr.server.desk import Service
from ark_asr.server.examples import METRICS, READY
from ark_asr.server.guards import Door, Record, headers_of
from ark_asr.server.host import Host
from ark_asr.server.jobs import routes as jobs
from ark_asr.server.jobs.runner import AT_ONCE, Jobs
from ark_asr.server.jobs.store import JobStore
from ark_asr.server.keys import Keys
from ark_asr.server.lingering import Lingering
from ark_asr.server.metrics import Metrics
from ark_asr.server.problems import Problem, problem_of
from ark_asr.server.reference import reference
from ark_asr.server.settings import Settings
from ark_asr.server.upload import ClientLeftError
from ark_asr.server.voices import Voices

_NO_PATH, _WRONG_METHOD = 404, 405
_CLIENT_LEFT = 499
_log = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """A server as an ASGI application; it begins to load the model when it is started.

    Raises:
        ModelError: A model is not there, or is none for telling speakers apart.
        OptionError: The file of keys or that of jobs cannot be used.
        MissingExtraError: What tells speakers apart is not installed.
    """
    keys = Keys.load(settings.keys) if settings.keys else None
    host = Host(settings)
    metrics = Metrics(host.scheduler)
    threads = ThreadPoolExecutor(settings.max_queue + AT_ONCE, "hearing")
    voices = Voices(settings) if settings.speakers else None
    service = Service(settings, host, metrics, threads, voices)
    store = JobStore(settings.jobs)
    store.begin_again(time.time())
    long_jobs = Jobs(service, store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            host.start()
            await long_jobs.start()
            yield
        finally:
            await long_jobs.stop()
            await host.close()
            await long_jobs.close()
            threads.shutdown()

    app = FastAPI(
        title="ark-asr",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,  # FastAPI's pages would be fetched from another server; ours are below
        middleware=[
            Middleware(Lingering),
            Middleware(Record, metrics=metrics),
            Middleware(Door, settings=settings, keys=keys),
        ],
    )
    app.state.service = service
    app.state.hang_up = long_jobs.hang_up
    routers = (
        openai.router(service),
        jobs.router(service, long_jobs),
        original.router(service),
        live.router(service),
        realtime.router(service),
        page.router(),
        _state(service),
    )
    routes = [route for router in routers for route in router.routes]
    interface = _interface(routes, keyed=keys is not None)
    for router in (*routers, interface):
        app.include_router(router)
    _add_problems(app, [*routes, *interface.routes])
    return app


def _state(service: Service) -> APIRouter:
    routes, host = APIRouter(), service.host

    @routes.api_route("/ready", methods=["GET", "HEAD"], openapi_extra=READY)
    async def ready() -> JSONResponse:
        """Whether the model is loaded: 200, or 503 with the reason."""
        speakers = service.settings.speakers is not None
        body: dict[str, Any] = {"status": host.state, "model": host.name, "speakers": speakers}
        if host.error is not None:
            body["error"] = host.error
        return JSONResponse(body, 200 if host.state == "ready" else 503)

    if service.settings.metrics:

        @routes.get("/metrics", openapi_extra=METRICS, response_class=Response)
        async def metrics() -> Response:
            """Figures for Prometheus."""
            return Response(service.metrics.page(), media_type="text/plain; version=0.0.4")

    return routes


def _interface(described: Sequence[BaseRoute], *, keyed: bool) -> APIRouter:
    """These routes, to be read by people and by programs."""
    routes = APIRouter(include_in_schema=False)
    told = description(described, keyed=keyed)

    @routes.get("/openapi.json")
    async def for_programs() -> Response:
        return JSONResponse(told)

    @routes.get("/docs")
    async def for_people() -> Response:
        return HTMLResponse(reference(told))

    return routes


def _add_problems(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Every error in OpenAI's shape; that of the original service beside it, as ``detail``."""

    @app.exception_handler(original.UnprocessableError)
    async def unprocessable(_: Request, error: original.UnprocessableError) -> Response:
        return JSONResponse({"detail": error.errors}, 422)

    @app.exception_handler(ClientLeftError)
    async def left(_: Request, __: ClientLeftError) -> Response:
        return Response(status_code=_CLIENT_LEFT)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == _WRONG_METHOD:
            allowed = ", ".join(_methods(routes, request))
            message = f"{request.method} is not answered here; take one of: {allowed}"
            return answer(request, Problem(_WRONG_METHOD, message, headers={"Allow": allowed}))
        message = str(error.detail)
        if error.status_code == _NO_PATH:
            path = request.url.path
            message = f"nothing is served at {path}; see /docs"
            if _methods(routes, request, f"/v1{path}"):
                message = f"nothing is served at {path}; end the client's base URL in /v1"
        return answer(request, Problem(error.status_code, message, headers=error.headers or {}))

    @app.exception_handler(ArkError)
    async def ours(request: Request, error: ArkError) -> Response:
        return answer(request, problem_of(error))

    @app.exception_handler(Exception)  # Starlette answers these outside of all layers
    async def any_other(request: Request, error: Exception) -> Response:
        told = answer(request, problem_of(error))
        told.headers.update(headers_of(request.scope))
        return told

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return answer(request, error)

    def answer(request: Request, problem: Problem) -> Response:
        body = problem.body
        if request.url.path == "/asr":
            body["detail"] = problem.message
        return JSONResponse(body, problem.status, dict(problem.headers))


def _methods(routes: Sequence[BaseRoute], request: Request, path: str | None = None) -> list[str]:
    """All that are answered at a path; the router names those of the first route that fits."""
    found: set[str] = set()
    scope = {**request.scope, "path": request.scope["path"] if path is None else path}
    for route in routes:
        if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE:
            found |= route.methods or set()
    return sorted(found)
