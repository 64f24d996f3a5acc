"""What ``/openapi.json`` says of each route, by hand, because forms are read by hand."""

from __future__ import annotations

import json

from ark_asr.server.described import (
    answer,
    form,
    in_events,
    in_json,
    in_path,
    in_text,
    operation,
    problem,
)
from ark_asr.server.schemas import Schema, listed, ref, typed


def _neutral(kind: str, value: float) -> Schema:
    about = "Nothing else: the likeliest words are always taken."
    return typed(kind, about, minimum=value, maximum=value, default=value)


COMMON: dict[str, Schema] = {
    "model": typed("string", "One of `/v1/models`; the first, if none is named.",
                   example="ark-mini"),
    "language": typed("string", "Only that of a model with a single language.", example="en"),
    "timestamp_granularities[]": listed(
        {"type": "string", "enum": ["segment", "word"]}, "Which times; for `verbose_json`."),
    "temperature": _neutral("number", 0),
    "top_p": _neutral("number", 1),
    "top_k": _neutral("integer", -1),
    "repetition_penalty": _neutral("number", 1),
    "chunking_strategy": {
        "description": "How the recording is cut.", "default": "auto",
        "anyOf": [{"type": "string", "enum": ["auto"]}, ref("ServerVad")],
    },
    "hotwords": typed("string", "Names and terms that are likely, with commas between; a "
                      "weight may follow after ` :`.", example="Čapek, Linnet :2"),
    "keywords[]": listed({"type": "string"}, "The same, one by one."),
    "max_new_tokens": typed("integer", "Most tokens of a clip.", minimum=1),
    "allow_damage": typed("boolean", "Transcribe what can be decoded of a damaged file, with "
                          "`warnings`; else such a file is a 400.", default=False),
}  # fmt: skip
_TRANSCRIPTION: dict[str, Schema] = {
    "response_format": typed(
        "string", "Form of the answer; `diarized_json` needs a server that tells speakers apart.",
        enum=["json", "text", "srt", "verbose_json", "vtt", "diarized_json"], default="json"),
    "stream": typed("boolean", "The answer as events; with `json` and `diarized_json`.",
                    default=False),
    "include[]": listed({"type": "string", "enum": ["logprobs"]},
                        "More of each token; with `json`."),
}  # fmt: skip
_USAGE = {
    "type": "tokens", "input_tokens": 40, "output_tokens": 14, "total_tokens": 54,
    "input_token_details": {"audio_tokens": 35, "text_tokens": 5},
}  # fmt: skip
_DELTA = {"type": "transcript.text.delta", "delta": "hello there"}
_DONE = {"type": "transcript.text.done", "text": "hello there", "usage": _USAGE}

TRANSCRIPTION = operation(
    "create_transcription", "transcription",
    answer({
        "application/json": {
            "schema": {"anyOf": [ref("DiarizedTranscription"), ref("VerboseTranscription"),
                                 ref("Transcription")]},
            "example": {"text": "hello there", "usage": _USAGE},
        },
        **in_events(f"data: {json.dumps(_DELTA)}\n\ndata: {json.dumps(_DONE)}\n\n"),
        "text/plain": in_text("hello there\n"),
        "application/x-subrip": in_text("1\n00:00:00,000 --> 00:00:02,100\nhello there\n"),
        "text/vtt": in_text("WEBVTT\n\n00:00:00.000 --> 00:00:02.100\nhello there\n"),
    }),
    "400 404 408 413 415 429 504",
    requestBody=form({**_TRANSCRIPTION, **COMMON}),
)  # fmt: skip
TRANSLATION = operation("create_translation", "transcription", {}, responses={
    "400": problem("400", "Always: use /v1/audio/transcriptions")})  # fmt: skip

HEALTH = operation("health", "state", answer(in_json("Health", {"status": "ok"})))
_READY = {"status": "ready", "model": "ark-mini", "speakers": False}
READY = operation(
    "ready", "state", answer(in_json("Ready", _READY)),
    responses={"503": {
        "description": "The model is loading, or cannot be used: status and error say so",
        "content": in_json("Ready", {**_READY, "status": "loading"}),
    }},
)  # fmt: skip
METRICS = operation("metrics", "state", answer({
    "text/plain": in_text('ark_asr_requests_total{route="/asr",status="200"} 1.0\n')}))  # fmt: skip

TOKEN_MASK = operation(
    "token_mask", "first service",
    answer(in_json("TokenMask", {
        "allowed_count": 742, "blocked_count": 8, "eos_token_ids": [743],
        "tokens": {"<|im_end|>": {"id": 743, "blocked": False, "allowed": True}},
    })),
    responses={"404": problem("404", "The layout of this model has no tokenizer.json")},
)  # fmt: skip
_SAMPLING = {
    "max_new_tokens": 256, "temperature": 0.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0,
}  # fmt: skip
_OF_ASR = ("400", "408", "413", "415", "429", "500", "503", "504")
ASR = operation(
    "asr", "first service",
    answer(in_json("AsrAnswer", {
        "text": "hello there", "latency_s": 0.21, "prompt_tokens": 6, "sampling": _SAMPLING,
    })),
    requestBody=form({
        "begin_time": typed("number", "Seconds at which to begin; less than 0: at the begin.",
                            default=-1),
        "end_time": typed("number", "Seconds at which to end; less than 0: at the end.",
                          default=-1),
        "max_new_tokens": typed("integer", "Most tokens of a clip; 0: those of the server.",
                                minimum=0, default=0),
        "temperature": _neutral("number", 0),
        "top_p": _neutral("number", 1),
        "top_k": _neutral("integer", -1),
        "repetition_penalty": _neutral("number", 1),
    }, others=True),
    responses={
        **{code: problem(code, error="AsrErrorAnswer") for code in _OF_ASR},
        "422": problem("422", "No file, or a field that is no number", "AsrFieldErrors"),
    },
)  # fmt: skip

_MODEL = {
    "id": "whisper-1", "object": "model", "created": 1790000000, "owned_by": "ark-asr",
    "model": "ark-mini", "languages": ["en"], "state": "ready",
}  # fmt: skip


_FIRST = {"name": "$response.body#/data/0/id"}
MODELS = operation(
    "list_models", "models",
    answer(in_json("ModelList", {"object": "list", "data": [_MODEL]}),
           links={"model": {"operationId": "retrieve_model", "parameters": _FIRST}}),
)  # fmt: skip
MODEL = operation(
    "retrieve_model", "models", answer(in_json("Model", _MODEL)), "404",
    parameters=[in_path("One of `/v1/models`.", "whisper-1")],
)  # fmt: skip
