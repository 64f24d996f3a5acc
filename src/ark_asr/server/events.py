"""Server-sent events: what is sent while the client listens, and what happens when he leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_HEARTBEAT = 15.0


def event(data: object, *, kind: str | None = None, number: int | None = None) -> bytes:
    """One event.

    Args:
        data: Becomes JSON.
        kind: Its name, for clients that listen to events by name.
        number: What a client that connects again tells as ``Last-Event-ID``.
    """
    head = "" if number is None else f"id: {number}\n"
    head += "" if kind is None else f"event: {kind}\n"
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def until_left(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Events(Response):
    """An answer that is sent as it comes to be.

    Args:
        parts: What is sent; stopped when the client leaves.
        stack: What the request holds until the client has it all.
    """

    media_type = "text/event-stream"

    def __init__(self, parts: AsyncIterator[bytes], stack: ExitStack | None = None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._parts = parts
        self._stack = stack or ExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        with self._stack:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            sending = asyncio.ensure_future(self._send_all(send))
            left = asyncio.ensure_future(until_left(Request(scope, receive)))
            try:
                await asyncio.wait({sending, left}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, left):
                    task.cancel()
                await asyncio.gather(sending, left, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        body = {"type": "http.response.body", "more_body": True}
        while part := await self._next(send):
            await send({**body, "body": part})
        await send({"type": "http.response.body", "body": b""})

    async def _next(self, send: Send) -> bytes:
        """The next part; meanwhile a comment now and then, so that nobody takes us for dead."""
        coming = asyncio.ensure_future(anext(self._parts, b""))
        beat = {"type": "http.response.body", "body": b": still working\n\n", "more_body": True}
        try:
            while not (await asyncio.wait({coming}, timeout=_HEARTBEAT))[0]:
                await send(beat)
            return coming.result()
        finally:
            coming.cancel()
