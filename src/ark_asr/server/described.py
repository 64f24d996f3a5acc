"""``/openapi.json``: what the routes say of themselves, put together.

FastAPI could do that; but it drops every null of an example, tells of a 422 that no route has, and
names the functions of this program.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any, TypeAlias

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from ark_asr import __version__
from ark_asr.server.guards import is_open
from ark_asr.server.schemas import SCHEMAS, Schema, fields, ref, typed

Operation: TypeAlias = dict[str, Any]

_ABOUT = """Write down what is said in recordings, on one's own machine. Live sound goes over the
WebSockets `/live` and `/v1/realtime`, which docs/server.md describes."""
_FORM = """The recording, and how it is transcribed. An empty field is as good as none; 1 and 0 are
true and false; a list is written once for each value, with or without its []."""
_TAGS = {
    "transcription": "OpenAI's interface",
    "models": "What can be asked for",
    "jobs": "Long recordings: taken at once, written down when the engine has time",
    "first service": "The routes of the models' first service",
    "state": "For whoever looks after the server",
}
_PROBLEMS = {
    "400": "A field or the recording cannot be used; the message names it",
    "401": "No key, or a wrong one",
    "403": "For another host, or from a page of another origin",
    "404": "There is no such model",
    "408": "The upload stalled, or took too long",
    "413": "Too many bytes, or too much sound",
    "415": "The body is packed; send it without Content-Encoding",
    "429": "The queue is full; see Retry-After and X-Queue-Position",
    "500": "The server failed; its log says why",
    "503": "The model is not loaded, or the server is being stopped",
    "504": "It took longer than the server allows",
    "507": "The file of jobs cannot be written now, as when its disk is full",
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_HEADERS = {
    "429": {
        **_RETRY,
        "X-Queue-Position": {
            "description": "The place that it would have had.", "schema": {"type": "integer"}},
    },
    "503": _RETRY,
    "507": _RETRY,
}  # fmt: skip


def problem(code: str, about: str = "", error: str = "ErrorAnswer") -> Operation:
    """An answer that is an error."""
    headers = {"headers": _HEADERS[code]} if code in _HEADERS else {}
    content = {"application/json": {"schema": ref(error)}}
    return {"description": about or _PROBLEMS[code], **headers, "content": content}


def operation(
    id_: str,
    tag: str,
    ok: Operation,
    problems: str = "",
    /,
    responses: Operation | None = None,
    **more: object,
) -> Operation:
    """A route.

    Args:
        id_: Its name in programs that are made of the description.
        tag: What it belongs to.
        ok: The answer of a request that is honoured, by its code.
        problems: Codes of errors, with white space between.
        responses: Others, by their codes.
        more: Other keys.
    """
    found = {**ok, **{code: problem(code) for code in problems.split()}, **(responses or {})}
    return {"operationId": id_, "tags": [tag], "responses": found, **more}


def answer(content: Operation, about: str = "OK", code: str = "200", **more: object) -> Operation:
    """The answer of a request that is honoured, by its code."""
    return {code: {"description": about, "content": content, **more}}


def in_json(schema: str, example: object) -> Operation:
    """JSON: one of `SCHEMAS`, and an example."""
    return {"application/json": {"schema": ref(schema), "example": example}}


def in_text(example: str) -> Operation:
    """Text of one type."""
    return {"schema": {"type": "string"}, "example": example}


def form(properties: dict[str, Schema], *, others: bool = False) -> Operation:
    """A form with a recording.

    Args:
        properties: Its other fields.
        others: Whether fields are passed over that are not among them.
    """
    file = typed("string", "Any recording that FFmpeg can read.", format="binary")
    optional = " ".join(properties)
    schema = fields(cleandoc(_FORM), {"file": file, **properties}, optional)
    schema["additionalProperties"] = others
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def in_events(example: str) -> Operation:
    """Server-sent events; OpenAPI 3.1 has no words for what they hold."""
    return {"text/event-stream": {"example": example}}


def in_path(about: str, example: str) -> Operation:
    """The parameter ``name`` of a path."""
    schema = {"type": "string", "minLength": 1}
    return {
        "name": "name", "in": "path", "required": True, "description": about, "schema": schema,
        "example": example,
    }  # fmt: skip


def description(routes: Iterable[BaseRoute], *, keyed: bool) -> dict[str, Any]:
    """The whole in the form of OpenAPI 3.1.

    Args:
        routes: Those that belong into it have an `operation` as ``openapi_extra``.
        keyed: Whether clients need a key.
    """
    paths: dict[str, dict[str, Operation]] = {}
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for verb in sorted(
                (route.methods or set()) - {"HEAD"}
            ):  # which is GET without its body
                paths.setdefault(route.path_format, {})[verb.lower()] = _of(route, keyed=keyed)
    components: dict[str, Any] = {"schemas": SCHEMAS}
    if keyed:
        key = {"type": "http", "scheme": "bearer", "description": "See `ark-asr serve key`."}
        components["securitySchemes"] = {"key": key}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ark-asr", "version": __version__, "summary": "Private speech-to-text",
            "description": cleandoc(_ABOUT),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "components": components,
    }  # fmt: skip


def _of(route: APIRoute, *, keyed: bool) -> Operation:
    about = " ".join(route.description.split()).replace("``", "`")
    told: Operation = {"summary": about.split(":")[0].split(";")[0].rstrip("."),
                       "description": about, **(route.openapi_extra or {})}  # fmt: skip
    locked = keyed and not is_open(route.path)
    if locked:
        told["security"] = [{"key": []}]
    others = ["403", "500", "503", *(["401"] if locked else [])]
    found = {**{code: problem(code) for code in others}, **told["responses"]}
    return {**told, "responses": dict(sorted(found.items()))}
