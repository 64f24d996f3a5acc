"""``/v1/realtime``: OpenAI's events of a transcription session.

Each utterance is one item. Its deltas only ever grow, with what is settled; the text of its
``completed`` is that of a last look at the whole utterance, and is the one to keep. Without turn
detection all that was said before a commit is one item, which is told then.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from ark_asr.server.desk import Service
from ark_asr.server.live import NORMAL, accept, close
from ark_asr.server.problems import Problem, invalid, problem_of
from ark_asr.server.session import Session
from ark_asr.server.stream import Stream
from ark_asr.types import LiveEvent


def router(service: Service) -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        """A transcription session."""
        try:
            await accept(socket, "realtime")
            model = socket.query_params.get("model") or service.host.name
            service.host.find(model)  # an unknown one is told at once
            await _Conversation(socket, service, model).run()
        except WebSocketDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - the client is told
            with suppress(RuntimeError, WebSocketDisconnect):
                await socket.send_text(_message("error", error=_error(error)))
            await close(socket, error)

    return routes


class _Conversation:
    """One connection."""

    def __init__(self, socket: WebSocket, service: Service, model: str) -> None:
        self._socket = socket
        self._service = service
        self._session = Session(service.host, model)
        self._stream: Stream | None = None
        self._telling: asyncio.Task[None] | None = None
        self._offset = 0.0  # seconds of earlier streams of this connection
        self._fed = 0.0
        self._item: str | None = None
        self._previous: str | None = None
        self._said = ""
        self._kept: list[str] = []  # what was said since the last commit, if that ends utterances
        self._handlers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
        }

    async def run(self) -> None:
        """Until the client leaves."""
        await self._send("session.created", session=self._session.record())
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    raise WebSocketDisconnect(message.get("code", NORMAL))
                await self._hear(message.get("text"))
        finally:
            await self._drop()

    async def _hear(self, text: str | None) -> None:
        event_id = None
        try:
            event = _read(text)
            event_id = event.get("event_id")
            await self._handler(event["type"])(event)
        except WebSocketDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - the client is told, and may go on
            await self._send("error", error=_error(error, event_id))

    def _handler(self, kind: str) -> Callable[[dict[str, Any]], Any]:
        if kind not in self._handlers:
            raise invalid("type", f"{kind!r} is not known in a transcription session")
        return self._handlers[kind]

    async def _update(self, event: dict[str, Any]) -> None:
        if self._stream is not None:
            raise Problem(400, "the session cannot be changed while there is sound in its buffer")
        self._session.update(event.get("session"))
        await self._send("session.updated", session=self._session.record())

    async def _append(self, event: dict[str, Any]) -> None:
        try:
            data = base64.b64decode(event["audio"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise invalid("audio", "it must be base64") from None
        if self._telling is not None and self._telling.done():  # it failed, which has been told
            await self._forget()
        if self._stream is None:
            loaded = await self._service.host.use(self._session.model)
            session = self._session
            stream = Stream(
                self._service, loaded, session.rate, session.options, session.transcribe
            )
            stream.__enter__()
            self._stream = stream
            self._telling = asyncio.create_task(self._tell(stream))
        self._stream.feed(data)
        self._fed += len(data) / 2 / self._session.rate

    async def _commit(self, _: dict[str, Any]) -> None:
        """What was going on is over; later sound begins anew."""
        if self._stream is None or self._telling is None:
            code = "input_audio_buffer_commit_empty"
            raise Problem(400, "there is no sound in the buffer", None, code)
        self._stream.finish()
        await self._telling
        if self._session.turns is None and self._stream is not None:  # it did not fail
            self._item, self._said = _new_item(), ""
            await self._complete(self._item, " ".join(filter(None, self._kept)), self._fed)
        await self._drop()

    async def _clear(self, _: dict[str, Any]) -> None:
        await self._forget()
        await self._send("input_audio_buffer.cleared")

    async def _forget(self) -> None:
        await self._drop()
        self._item, self._said = None, ""

    async def _drop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        self._leave()
        self._telling = None
        self._kept.clear()
        self._offset, self._fed = self._offset + self._fed, 0.0

    def _leave(self) -> None:
        if self._stream is not None:
            self._stream.__exit__()
        self._stream = None

    async def _tell(self, stream: Stream) -> None:
        try:
            async for event in stream.events():
                if event.kind != "silence":
                    await self._utterance(event)
        except WebSocketDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - the client is told
            await self._send("error", error=_error(error))
            self._leave()  # who does nothing with the news must not keep a place

    async def _utterance(self, event: LiveEvent) -> None:
        final = event.kind == "final"
        if self._session.turns is None:
            if final:
                self._kept.append(event.settled)
            return
        if self._item is None:
            self._item, self._said = _new_item(), ""
            await self._send(
                "input_audio_buffer.speech_started",
                item_id=self._item,
                audio_start_ms=round((self._offset + event.start) * 1000),
            )
        item = self._item
        if not final:
            await self._grow(item, event.settled)
            return
        end = round((self._offset + event.end) * 1000)
        await self._send("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=end)
        await self._complete(item, event.settled, event.end - event.start)

    async def _complete(self, item: str, text: str, seconds: float) -> None:
        """An item is over, and its text will not change."""
        before = {"previous_item_id": self._previous}
        await self._send("input_audio_buffer.committed", item_id=item, **before)
        content = {"type": "input_audio", "transcript": None}
        added = {"id": item, "object": "realtime.item", "type": "message", "role": "user",
                 "status": "completed", "content": [content]}  # fmt: skip
        await self._send("conversation.item.added", item=added, **before)
        await self._grow(item, text)
        await self._send(
            "conversation.item.input_audio_transcription.completed",
            item_id=item,
            content_index=0,
            transcript=text,
            usage={"type": "duration", "seconds": round(seconds, 3)},
        )
        done = {**added, "content": [{**content, "transcript": text}]}
        await self._send("conversation.item.done", item=done, **before)
        self._previous, self._item = item, None

    async def _grow(self, item: str, settled: str) -> None:
        """What is new; a last look that disagrees is told by ``completed`` alone."""
        if settled.startswith(self._said) and settled != self._said:
            delta = settled[len(self._said) :]
            self._said = settled
            await self._send(
                "conversation.item.input_audio_transcription.delta",
                item_id=item,
                content_index=0,
                delta=delta,
            )

    async def _send(self, kind: str, **values: object) -> None:
        await self._socket.send_text(_message(kind, **values))


def _new_item() -> str:
    return f"item_{uuid.uuid4().hex[:20]}"


def _read(text: str | None) -> dict[str, Any]:
    try:
        event = json.loads(text or "")
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise Problem(400, "a message must be text: a JSON object with a type")
    return event


def _message(kind: str, **values: object) -> str:
    event_id = f"event_{uuid.uuid4().hex[:20]}"
    text = json.dumps({"type": kind, "event_id": event_id, **values}, ensure_ascii=False)
    return text.encode(errors="replace").decode()  # a client's own words may hold half characters


def _error(error: Exception, event_id: str | None = None) -> dict[str, Any]:
    return {**problem_of(error).body["error"], "event_id": event_id}
