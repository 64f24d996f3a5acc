"""Reading on after an answer that was ready before its request, so that the answer arrives.

Who closes a connection with unread bytes in it takes back what he has said last: the client, or the
proxy before us, is still writing, finds the connection reset, and may never read why.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PAUSE = 2.0  # seconds without a byte: nobody is writing any more
_LONGEST = 10.0


class Lingering:
    """A layer around everything that answers; what it reads is dropped at once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        whole = answered = False

        async def receiving() -> Message:
            nonlocal whole
            message = await receive()
            whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def sending(message: Message) -> None:
            nonlocal answered
            if not whole and message["type"] == "http.response.body":
                answered = answered or not message.get("more_body", False)
                message = {**message, "more_body": True}
            await send(message)

        await self._app(scope, receiving, sending)
        if answered:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST):
                    while not whole:
                        async with asyncio.timeout(_PAUSE):
                            await receiving()
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
