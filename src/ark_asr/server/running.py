"""A server in the foreground: its socket, its log, its end."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI

from ark_asr.errors import OptionError
from ark_asr.server.app import create_app
from ark_asr.server.settings import Settings

_log = logging.getLogger(__name__)
# What a record of `logging` has by itself; everything else was given as `extra`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class Lines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        entry |= {name: value for name, value in vars(record).items() if name not in _USUAL}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def serve(settings: Settings, *, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that are running get ``settings.grace`` to finish.

    Args:
        settings: How.
        ready: Called with the address when clients can connect.

    Raises:
        ArkError: The model, the keys or the address cannot be used.
    """
    app = create_app(settings)
    run(app, settings, ready=ready, stopping=app.state.hang_up)


def run(
    app: FastAPI,
    settings: Settings,
    *,
    ready: Callable[[str], None],
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serve an application at the settings' address; otherwise as `serve`.

    Args:
        app: The application.
        settings: How.
        ready: Called with the address when clients can connect.
        stopping: Called when none can any more, and running requests get their time to finish.
    """
    bound = _bind(settings)
    _log_lines()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=round(settings.grace),
        ws="websockets-sansio",
        ws_max_size=1 << 20,
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    server = Server(config, stopping)
    # Before anybody is told: a Ctrl-C while the event loop comes to life would leave it half alive.
    with server.capture_signals():
        ready(f"http://{host}:{bound.getsockname()[1]}")
        _tell_service_manager()
        server.run(sockets=[bound])


class Server(uvicorn.Server):
    """Says when it begins to stop, which is long before the lifespan of its application ends."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        _log.info("stopping")
        self._stopping()
        await super().shutdown(sockets)


def _tell_service_manager() -> None:
    """Who started this server, if that is systemd, goes on only now (sd_notify(3))."""
    # Taken away: what is started from here has nothing to say.
    where = os.environ.pop("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    address = where.replace("@", "\0", 1) if where[0] == "@" else where
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        try:
            manager.sendto(b"READY=1", address)
        except OSError as error:
            _log.warning("not_notified", extra={"reason": error.strerror or str(error)})


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
        bound.listen(64)
    except OSError as error:
        bound.close()
        raise OptionError(
            f"{settings.host}:{settings.port} cannot be used ({error.strerror or error}); another "
            "server may be there: choose another --port"
        ) from None
    return bound


def _log_lines() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    # uvicorn would tell each WebSocket's address and query; `guards.Record` tells what may be told.
    # The parser of forms would tell what it found in one; who sent it is told.
    levels = {"ark_asr": logging.INFO, "python_multipart": logging.ERROR}
    for name, level in {"uvicorn": logging.WARNING, "asyncio": logging.WARNING, **levels}.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
