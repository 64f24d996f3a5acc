"""Who may come in, and what every answer says to a browser: two layers around the routes."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ark_asr.server.keys import Keys
from ark_asr.server.metrics import Metrics
from ark_asr.server.problems import Problem
from ark_asr.server.settings import Settings

# The page asks for the key itself; the interface is no secret.
_OPEN = frozenset({"/health", "/ready", "/", "/ui", "/docs", "/openapi.json"})
_OPEN_FOLDER = "/page/"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PORT = re.compile(r":\d*$")
# Browsers cannot set headers of a WebSocket; OpenAI's clients hide the key in its protocols.
_KEY_PROTOCOL = "openai-insecure-api-key."
_FOR_PAGES = (
    "Content-Disposition, Location, Retry-After, X-Queue-Position, X-Request-Id, X-Should-Retry"
)
# A proxy's number of a request is kept. Nothing with words in it: numbers are logged.
_NUMBER = re.compile(r"[0-9a-fA-F-]{16,64}")
_CLIENT_LEFT = 499
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; "
    "worker-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_log = logging.getLogger("ark_asr.server.requests")


class Door:
    """Lets in who has a key, from this machine's own pages and programs, or is otherwise allowed.

    Without keys a server is for its own machine. Any page of the web could still reach it through
    the browser that shows it, so requests are refused that name another host (a domain that was
    pointed at 127.0.0.1) or come from another origin.
    """

    def __init__(self, app: ASGIApp, settings: Settings, keys: Keys | None) -> None:
        self._app = app
        self._settings = settings
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        problem = self._problem(scope, headers, origin)
        preflight = scope["type"] == "http" and scope["method"] == "OPTIONS" and origin
        cors = self._cors(headers, origin)
        scope.setdefault("state", {})["cors"] = cors
        if problem is None and preflight and cors:
            await _refuse(send, 204, None, cors)
        elif problem is None:
            await self._app(scope, receive, _with(send, cors))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": problem.message[:120]})
        else:
            await _refuse(send, problem.status, problem.body, {**cors, **problem.headers})

    def _problem(self, scope: Scope, headers: Headers, origin: str | None) -> Problem | None:
        host = headers.get("host", "")
        if self._settings.is_local and _PORT.sub("", host) not in _LOCAL_NAMES | {""}:
            return Problem(403, f"this server is for its own machine, not for {host}")
        if origin and origin not in self._settings.origins and not _same(origin, host):
            return Problem(403, f"pages of {origin} may not use this server (see --origin)")
        if self._keys is None or scope.get("method") == "OPTIONS":
            return None
        if is_open(scope["path"]):
            return None
        given = list(_given_keys(headers))
        name = next(filter(None, map(self._keys.name_of, given)), None)
        if name is None:
            message = "the key is none of this server's; see ark-asr serve key"
            if not given:
                message = "a key is needed: Authorization: Bearer KEY"
            how = {"WWW-Authenticate": "Bearer"}
            return Problem(401, message, None, "invalid_api_key", how)
        scope.setdefault("state", {})["key_name"] = name
        return None

    def _cors(self, headers: Headers, origin: str | None) -> dict[str, str]:
        if not origin or origin not in self._settings.origins:
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            # Whichever: OpenAI's client for JavaScript sends a dozen of its own.
            "Access-Control-Allow-Headers": headers.get("access-control-request-headers", "*"),
            "Access-Control-Allow-Methods": "GET, POST, DELETE",
            "Access-Control-Expose-Headers": _FOR_PAGES,
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Vary": "Origin",
        }


class Record:
    """Adds the security headers, counts, and logs one line per request: no name, no word of it.

    A WebSocket is a request, too, which ends when it is closed.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), _CLIENT_LEFT
        number = Headers(raw=scope["headers"]).get("x-request-id", "")
        if not _NUMBER.fullmatch(number):
            number = uuid.uuid4().hex
        scope.setdefault("state", {})["number"] = number

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Request-Id"] = number
            elif message["type"] == "websocket.accept":
                status = 101
                MutableHeaders(scope=message)["X-Request-Id"] = number
            elif message["type"] == "websocket.close" and status != 101:
                status = 403
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:  # the server ends, and nobody is waited for any longer
            if scope["type"] == "websocket" or status != _CLIENT_LEFT:
                raise
            stopped = Problem(503, "the server is being stopped", None, "shutting_down")
            await _refuse(sending, stopped.status, stopped.body, {"Retry-After": "10"})
        except Exception:
            status = 500  # the answer to that is given outside of this
            raise
        finally:
            # The template of the route: a path can hold whatever a client writes into it.
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.monotonic() - began
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            _log.info(
                "request",
                extra={
                    "route": route,
                    "status": status,
                    "seconds": round(seconds, 3),
                    "request": number,
                },
            )


def headers_of(scope: Scope) -> dict[str, str]:
    """What both layers would have added to an answer that is given outside of them."""
    state = scope.get("state", {})
    number = {"X-Request-Id": state["number"]} if "number" in state else {}
    return {**_HEADERS, "Cache-Control": "no-store", **number, **state.get("cors", {})}


def is_open(path: str) -> bool:
    """Whether nobody needs a key there."""
    return path in _OPEN or path.startswith(_OPEN_FOLDER)


def _with(send: Send, more: dict[str, str]) -> Send:
    """The same, with more headers in the answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(more)
        await send(message)

    return sending if more else send


def _given_keys(headers: Headers) -> Iterable[str]:
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        yield key.strip()
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(_KEY_PROTOCOL):
            yield protocol.strip().removeprefix(_KEY_PROTOCOL)


def _same(origin: str, host: str) -> bool:
    """Whether a page comes from this very server."""
    return origin.partition("://")[2] == host


async def _refuse(
    send: Send, status: int, body: dict[str, Any] | None, headers: dict[str, str]
) -> None:
    data = b"" if body is None else json.dumps(body).encode()
    named = {"content-type": "application/json", "content-length": str(len(data)), **headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": data})
