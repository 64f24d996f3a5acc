"""What the OpenAPI page says of forms, which are read by hand so that nothing touches a disk."""

from __future__ import annotations

from typing import Any


def _form(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {
        "schema": schema}}}}  # fmt: skip


def _answers(example: dict[str, Any], problems: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "200": {"description": "OK", "content": {"application/json": {"example": example}}}
    }
    return {"responses": found | {code: {"description": what} for code, what in problems.items()}}


_FILE = {"type": "string", "format": "binary", "description": "Any recording FFmpeg can read."}
_PROBLEMS = {
    "400": "A field or the recording cannot be used; the message names it",
    "401": "No key, or a wrong one",
    "408": "The upload stalled",
    "413": "Too many bytes, or too much sound",
    "429": "The queue is full; see Retry-After and X-Queue-Position",
    "503": "The model is not loaded",
}

TRANSCRIPTION: dict[str, Any] = _form(
    ["file"],
    file=_FILE,
    model={"type": "string", "example": "ark-mini"},
    response_format={
        "type": "string",
        "enum": ["json", "text", "srt", "verbose_json", "vtt"],
        "default": "json",
    },
    **{"timestamp_granularities[]": {
        "type": "array", "items": {"type": "string", "enum": ["segment", "word"]}}},
    **{"include[]": {"type": "array", "items": {"type": "string", "enum": ["logprobs"]}}},
    stream={"type": "boolean", "default": False},
    language={"type": "string", "description": "Only that of a model with a single language."},
    temperature={"type": "number", "enum": [0]},
    chunking_strategy={"type": "string", "example": "auto"},
    hotwords={"type": "string", "example": "Čapek, Linnet :2"},
    allow_damage={"type": "boolean", "default": False},
) | _answers(
    {"text": "hello there", "usage": {"type": "tokens", "input_tokens": 46}}, _PROBLEMS
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
) | _answers({"text": "hello there", "latency_s": 0.21, "prompt_tokens": 11}, _PROBLEMS)
