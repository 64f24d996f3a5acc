"""The routes of the models' first service, with its fields, answers and complaints."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from ark_asr.models.tokenizer import (
    ASSISTANT,
    AUDIO,
    BEGIN_OF_AUDIO,
    END_OF_AUDIO,
    IM_END,
    USER,
    Tokenizer,
)
from ark_asr.server.desk import Service, unless_left
from ark_asr.server.examples import ASR, HEALTH, TOKEN_MASK
from ark_asr.server.problems import Problem
from ark_asr.server.upload import Form, is_form, read_form
from ark_asr.server.wanted import Asked
from ark_asr.types import TranscribeOptions

_MAX_NEW_TOKENS = 256
_SHOWN_CHARS = 100  # of text where a recording should be: it may be one
_RANGES = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0), "repetition_penalty": (0.1, 2.0)}
_NEUTRAL = {"temperature": 0.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0}
_KINDS: dict[str, type[int | float]] = {
    "begin_time": float, "end_time": float, "max_new_tokens": int, "temperature": float,
    "top_p": float, "top_k": int, "repetition_penalty": float,
}  # fmt: skip
_MISSING = {"type": "missing", "loc": ["body", "file"], "msg": "Field required", "input": None}
_NO_FILE = {
    **_MISSING, "type": "value_error",
    "msg": "Value error, text is no file; send the recording as one (curl: -F file=@talk.mp3)",
}  # fmt: skip
_SHOWN = (USER, ASSISTANT, IM_END, AUDIO, BEGIN_OF_AUDIO, END_OF_AUDIO)


def router(service: Service) -> APIRouter:
    """``/health``, ``/token-mask`` and ``/asr``."""
    routes = APIRouter()
    settings = service.settings

    @routes.api_route("/health", methods=["GET", "HEAD"], openapi_extra=HEALTH)
    async def health() -> dict[str, str]:
        """The server answers; whether the model is loaded is told by ``/ready``."""
        return {"status": "ok"}

    @routes.get("/token-mask", openapi_extra=TOKEN_MASK, response_class=JSONResponse)
    async def token_mask() -> dict[str, Any]:
        """Which tokens can be written at all."""
        tokenizer = (await service.host.use()).recognizer.tokenizer
        if not isinstance(tokenizer, Tokenizer):
            raise Problem(404, "this layout of a model has no tokenizer.json to look into")
        return _token_mask(tokenizer)

    @routes.post("/asr", openapi_extra=ASR, response_class=JSONResponse)
    async def asr(request: Request) -> dict[str, Any]:
        """Write down what is said in a recording."""
        began = time.perf_counter()
        if not is_form(request):
            raise UnprocessableError([_MISSING])
        with ExitStack() as stack:
            ticket = stack.enter_context(service.admit(request))
            form = await read_form(
                request, settings.max_upload, settings.stall, longest=settings.timeout
            )
            values = _values(form, settings.max_new_tokens or _MAX_NEW_TOKENS)
            options = _options(values, settings.batch_size)
            if form.file is None:
                raise AssertionError
            asked = Asked(form.file, None, options, cutting=None, allow_damage=True)
            loaded = await service.model(request, stack)
            work = await service.hear(ticket, loaded, asked)
            answer = await unless_left(request, work.answer())
        sampling = {name: values[name] for name in ("max_new_tokens", *_NEUTRAL)}
        body: dict[str, Any] = {
            "text": answer.transcript.text,
            "latency_s": time.perf_counter() - began,
            "prompt_tokens": len(loaded.recognizer.tokenizer.prompt(1)),
            "sampling": sampling,
        }
        return body | ({"warnings": list(answer.warnings)} if answer.warnings else {})

    return routes


class UnprocessableError(Exception):
    """Fields that are missing or of the wrong type, in FastAPI's own shape."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__()
        self.errors = errors


def _values(form: Form, max_new_tokens: int) -> dict[str, Any]:
    """The fields with their defaults.

    Args:
        form: What was sent.
        max_new_tokens: Where it says none, or 0.

    Raises:
        UnprocessableError: One is missing or no number.
        Problem: One is out of its range, or cannot be honoured.
    """
    values: dict[str, Any] = {"begin_time": -1.0, "end_time": -1.0, "max_new_tokens": 0, **_NEUTRAL}
    errors: list[dict[str, Any]] = []
    if form.file is None:
        text = form.get("file")
        errors.append(_MISSING if text is None else {**_NO_FILE, "input": text[:_SHOWN_CHARS]})
    for name, kind in _KINDS.items():
        text = form.get(name)
        if text is None:
            continue
        try:
            values[name] = kind(text)
        except ValueError:
            word = "integer" if kind is int else "number"
            errors.append({
                "type": f"{kind.__name__}_parsing", "loc": ["body", name], "input": text,
                "msg": f"Input should be a valid {word}, unable to parse string as "
                f"{'an integer' if kind is int else 'a number'}",
            })  # fmt: skip
    if errors:
        raise UnprocessableError(errors)
    values["max_new_tokens"] = values["max_new_tokens"] or max_new_tokens
    _check(values)
    return values


def _check(values: dict[str, Any]) -> None:
    if values["max_new_tokens"] < 1:
        got = values["max_new_tokens"]
        raise Problem(400, f"max_new_tokens must be positive, got {got}", "max_new_tokens")
    for name in ("begin_time", "end_time"):
        if not math.isfinite(values[name]):
            message = f"{name} must be a number of seconds, got {values[name]}"
            raise Problem(400, message, name)
    for name, (least, most) in _RANGES.items():
        if not least <= values[name] <= most:
            message = f"{name} must be between {least} and {most}, got {values[name]}"
            raise Problem(400, message, name)
    top_k = values["top_k"]
    if top_k != -1 and top_k < 1:
        raise Problem(400, f"top_k must be -1 or a positive integer, got {top_k}", "top_k")
    for name, neutral in _NEUTRAL.items():
        if values[name] != neutral:
            raise Problem(
                400,
                f"{name} can only be {neutral} here, got {values[name]}: the likeliest words are "
                "always taken",
                name,
            )


def _options(values: dict[str, Any], batch_size: int) -> TranscribeOptions:
    begin, end = values["begin_time"], values["end_time"]
    return TranscribeOptions(
        begin=begin if begin >= 0 else None,
        end=end if end >= 0 else None,
        batch_size=batch_size,
        max_new_tokens=values["max_new_tokens"],
    )


def _token_mask(tokenizer: Tokenizer) -> dict[str, Any]:
    blocked = tokenizer.suppressed_ids
    ids = {name: tokenizer.raw.token_to_id(name) for name in _SHOWN}
    tokens = {}
    for name, id_ in ids.items():
        is_blocked = id_ is not None and bool(np.isin(id_, blocked))
        tokens[name] = {"id": id_, "blocked": is_blocked, "allowed": not is_blocked}
    return {
        "allowed_count": tokenizer.config.decoder.vocab_size - len(blocked),
        "blocked_count": len(blocked),
        "eos_token_ids": sorted(tokenizer.stop_ids),
        "tokens": tokens,
    }
