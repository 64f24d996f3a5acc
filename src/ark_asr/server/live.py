"""``/live``: samples in, events out; for whoever has no client of OpenAI's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from ark_asr.audio import SAMPLE_RATE
from ark_asr.server.desk import Service
from ark_asr.server.problems import Problem, invalid, problem_of, unsupported
from ark_asr.server.stream import Stream
from ark_asr.types import LiveOptions
from ark_asr.writers.events import event_record

_T = TypeVar("_T", int, float)
_TIMES = ("step", "pause", "max_utterance", "lead", "threshold")
NORMAL, POLICY, FAILED, TRY_LATER = 1000, 1008, 1011, 1013


def router(service: Service) -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.websocket("/live")
    async def live(socket: WebSocket) -> None:
        """Binary messages are 16-bit little-endian mono samples; ``{"type": "end"}`` ends.

        Before them there may be ``{"type": "hotwords", "hotwords": "Čapek, Linnet"}``.
        """
        try:
            await accept(socket, "live")
            with await _stream(socket, service) as stream:
                await _converse(socket, stream)
        except WebSocketDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - the client is told
            await close(socket, error)

    return routes


async def accept(socket: WebSocket, protocol: str) -> None:
    """Choose a protocol, if it is offered: a browser whose key is another one closes otherwise."""
    offered = ",".join(socket.scope.get("subprotocols") or [])  # one text up to uvicorn 0.50
    await socket.accept(protocol if protocol in map(str.strip, offered.split(",")) else None)


async def _stream(socket: WebSocket, service: Service) -> Stream:
    for name in socket.query_params:
        if name not in ("rate", "model", *_TIMES):
            raise unsupported(name, "is not known here; leave it out")
    usual = LiveOptions()
    times = {name: _query(socket, name, float, getattr(usual, name)) for name in _TIMES}
    options = replace(usual, **times)
    rate = _query(socket, "rate", int, SAMPLE_RATE)
    return Stream(service, await service.host.use(socket.query_params.get("model")), rate, options)


def _query(socket: WebSocket, name: str, kind: Callable[[str], _T], usual: _T) -> _T:
    text = socket.query_params.get(name)
    try:
        return usual if text is None else kind(text)
    except ValueError:
        raise invalid(name, f"{text!r} is no number") from None


async def _converse(socket: WebSocket, stream: Stream) -> None:
    listening = asyncio.ensure_future(_listen(socket, stream))
    telling = asyncio.ensure_future(_tell(socket, stream))
    try:
        await asyncio.wait({listening, telling}, return_when=asyncio.FIRST_EXCEPTION)
        for task in (listening, telling):
            if task.done():
                task.result()
        await socket.close(NORMAL)
    finally:
        listening.cancel()
        telling.cancel()
        await asyncio.gather(listening, telling, return_exceptions=True)


async def _listen(socket: WebSocket, stream: Stream) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", NORMAL))
        if message.get("bytes") is not None:
            stream.feed(message["bytes"])
            continue
        match _object(message.get("text") or ""):
            case {"type": "end", **rest} if not rest:
                stream.finish()
                return
            case {"type": "hotwords", "hotwords": str(words), **rest} if not rest:
                stream.listen_for(words.split(","))
            case _:
                known = '{"type": "end"} and {"type": "hotwords", "hotwords": "..."}'
                raise Problem(400, f"text messages: only {known} are known")


async def _tell(socket: WebSocket, stream: Stream) -> None:
    async for event in stream.events():
        await socket.send_text(json.dumps(event_record(event), ensure_ascii=False))


def _object(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


async def close(socket: WebSocket, error: Exception) -> None:
    """Close with the reason."""
    problem = problem_of(error)
    code = POLICY if problem.status < 500 else FAILED
    if problem.status in (429, 503):
        code = TRY_LATER
    with suppress(RuntimeError, WebSocketDisconnect):  # it is closed already, or he has left
        await socket.close(code, problem.message.encode()[:120].decode(errors="ignore"))
