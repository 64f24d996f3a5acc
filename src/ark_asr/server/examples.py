"""What the OpenAPI page says of forms, which are read by hand so that nothing touches a disk."""

from __future__ import annotations

import json
from typing import Any

from ark_asr.writers import FORMATS


def _form(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {
        "schema": schema}}}}  # fmt: skip


def _answers(
    example: dict[str, Any], problems: dict[str, str], **others: dict[str, Any]
) -> dict[str, Any]:
    content = {"application/json": {"example": example}, **others}
    found: dict[str, Any] = {"200": {"description": "OK", "content": content}}
    return {"responses": found | {code: {"description": what} for code, what in problems.items()}}


_FILE = {"type": "string", "format": "binary", "description": "Any recording FFmpeg can read."}
_PROBLEMS = {
    "400": "A field or the recording cannot be used; the message names it",
    "401": "No key, or a wrong one",
    "404": "There is no such model",
    "408": "The upload stalled",
    "413": "Too many bytes, or too much sound",
    "429": "The queue is full; see Retry-After and X-Queue-Position",
    "503": "The model is not loaded",
}
_LATE = {"504": "It took longer than the server allows"}

_PROPERTIES: dict[str, Any] = {
    "file": _FILE,
    "model": {"type": "string", "example": "ark-mini"},
    "response_format": {
        "type": "string",
        "enum": ["json", "text", "srt", "verbose_json", "vtt", "diarized_json"],
        "default": "json",
    },
    "timestamp_granularities[]": {
        "type": "array", "items": {"type": "string", "enum": ["segment", "word"]}},
    "include[]": {"type": "array", "items": {"type": "string", "enum": ["logprobs"]}},
    "stream": {"type": "boolean", "default": False},
    "language": {"type": "string", "description": "Only that of a model with a single language."},
    "temperature": {"type": "number", "enum": [0]},
    "chunking_strategy": {"type": "string", "example": "auto"},
    "hotwords": {"type": "string", "example": "Čapek, Linnet :2"},
    "keywords[]": {"type": "array", "items": {"type": "string"}, "example": ["Čapek"]},
    "max_new_tokens": {"type": "integer", "minimum": 1},
    "allow_damage": {"type": "boolean", "default": False},
}  # fmt: skip

TRANSCRIPTION: dict[str, Any] = _form(["file"], **_PROPERTIES) | _answers(
    {"text": "hello there", "usage": {"type": "tokens", "input_tokens": 46}},
    _PROBLEMS | _LATE,
    **{
        "text/event-stream": {
            "example": 'data: {"type": "transcript.text.delta", "delta": "hello there"}\n\n'
        },
        "text/plain": {"example": "hello there\n"},
        "application/x-subrip": {"example": "1\n00:00:00,000 --> 00:00:02,100\nhello there\n"},
        "text/vtt": {"example": "WEBVTT\n\n00:00.000 --> 00:02.100\nhello there\n"},
    },
)

HEALTH: dict[str, Any] = _answers({"status": "ok"}, {})
READY: dict[str, Any] = _answers(
    {"status": "ready", "model": "ark-mini", "speakers": False},
    {"503": "The model is loading, or cannot be used: status and error say so"},
)
METRICS: dict[str, Any] = {"responses": {"200": {
    "description": "OK",
    "content": {"text/plain": {"example": 'ark_asr_requests_total{route="/asr",status="200"} 1.0'}},
}}}  # fmt: skip
TOKEN_MASK: dict[str, Any] = _answers(
    {
        "allowed_count": 742, "blocked_count": 8, "eos_token_ids": [743],
        "tokens": {"<|im_end|>": {"id": 743, "blocked": False, "allowed": True}},
    },
    {"401": _PROBLEMS["401"], "503": _PROBLEMS["503"]},
)  # fmt: skip

ASR: dict[str, Any] = _form(
    ["file"],
    file=_FILE,
    begin_time={"type": "number", "default": -1},
    end_time={"type": "number", "default": -1},
    max_new_tokens={"type": "integer", "default": 256},
    temperature={"type": "number", "default": 0.0},
    top_p={"type": "number", "default": 1.0},
    top_k={"type": "integer", "default": -1},
    repetition_penalty={"type": "number", "default": 1.0},
) | _answers(
    {"text": "hello there", "latency_s": 0.21, "prompt_tokens": 11},
    {**_PROBLEMS, **_LATE, "422": "No file, or a field that is no number"},
)

_MODEL = {
    "id": "whisper-1", "object": "model", "created": 1790000000, "owned_by": "ark-asr",
    "model": "ark-mini", "languages": ["en"], "state": "ready",
}  # fmt: skip
MODELS: dict[str, Any] = _answers({"object": "list", "data": [_MODEL]}, {"401": _PROBLEMS["401"]})
MODEL: dict[str, Any] = _answers(_MODEL, {code: _PROBLEMS[code] for code in ("401", "404")})

_RECORD = {
    "id": "job_8f3a52c0d94b7e61a2c5d0f7", "object": "transcription.job", "status": "running",
    "created_at": 1790000000, "filename": "lecture.m4a", "model": "ark-mini", "seconds_done": 812.4,
    "seconds_total": 5400.0, "queue_position": None, "error": None, "speed": 11.6,
    "seconds_left": 395.5,
}  # fmt: skip
_WAITING = {
    **{name: value for name, value in _RECORD.items() if name not in ("speed", "seconds_left")},
    "status": "queued", "seconds_done": 0.0, "seconds_total": None, "queue_position": 1,
}  # fmt: skip
_OF_JOBS = {"401": _PROBLEMS["401"], "404": "You have no such job; it may have expired"}

NEW_JOB: dict[str, Any] = _form(
    ["file"],
    **{
        name: value
        for name, value in _PROPERTIES.items()
        if name not in ("response_format", "include[]", "stream")
    },
    speakers={"type": "boolean", "default": False, "description": "Tell speakers apart."},
) | {"responses": {
    "202": {"description": "Accepted", "content": {"application/json": {"example": _WAITING}}},
    **{code: {"description": what} for code, what in _PROBLEMS.items()},
}}  # fmt: skip
JOBS: dict[str, Any] = _answers({"object": "list", "data": [_RECORD]}, {"401": _PROBLEMS["401"]})
JOB: dict[str, Any] = _answers(_RECORD, _OF_JOBS)
NO_JOB: dict[str, Any] = _answers(
    {"id": _RECORD["id"], "object": "transcription.job", "deleted": True}, _OF_JOBS
)
JOB_RESULT: dict[str, Any] = {
    "parameters": [{
        "name": "format", "in": "query", "description": "See docs/formats.md.",
        "schema": {"type": "string", "enum": list(FORMATS), "default": "json"},
    }],
    **_answers(
        {"schema": "ark-asr/transcript", "version": 1, "text": "hello there", "segments": []},
        {**_OF_JOBS, "400": "No such format", "409": "The job has no result, or none yet"},
    ),
}  # fmt: skip
_STREAM = (
    f"event: progress\ndata: {json.dumps(_RECORD)}\n\n"
    'id: 1\nevent: segment\ndata: {"start": 0.0, "end": 2.1, "text": "hello there", ...}\n\n'
    f"event: done\ndata: {json.dumps({**_RECORD, 'status': 'done'})}\n\n"
)
JOB_EVENTS: dict[str, Any] = {"responses": {
    "200": {
        "description": "progress, segment; at last done, failed or cancelled",
        "content": {"text/event-stream": {"example": _STREAM}},
    },
    **{code: {"description": what} for code, what in _OF_JOBS.items()},
}}  # fmt: skip
