"""What a request to ``/v1/audio/transcriptions`` asks for, checked: honoured or refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

from ark_asr.audio import CutOptions
from ark_asr.errors import OptionError
from ark_asr.server.host import Host, Loaded
from ark_asr.server.problems import Problem, invalid, unsupported
from ark_asr.server.upload import Form, Upload
from ark_asr.types import TranscribeOptions

Format: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity: TypeAlias = Literal["segment", "word"]
_T = TypeVar("_T", int, float)

_KNOWN = frozenset({
    "model", "response_format", "timestamp_granularities", "include", "stream", "language",
    "prompt", "temperature", "chunking_strategy", "max_new_tokens", "top_p", "top_k",
    "repetition_penalty", "hotwords", "allow_damage",
})  # fmt: skip
# Sampling is not done; these are the values at which it would change nothing.
_NEUTRAL = {"temperature": 0.0, "top_p": 1.0, "top_k": -1.0, "repetition_penalty": 1.0}


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A request that can be honoured.

    Attributes:
        file: The recording.
        format: Form of the answer.
        granularities: Which times a ``verbose_json`` holds.
        logprobs: Whether each token's log-probability is wanted.
        stream: Whether the answer comes as events.
        allow_damage: Whether what can be decoded of a damaged recording will do.
        options: How it is transcribed.
        cutting: How speech is found in it.
    """

    file: Upload
    format: Format
    granularities: frozenset[Granularity]
    logprobs: bool
    stream: bool
    allow_damage: bool
    options: TranscribeOptions
    cutting: CutOptions | None


def wanted(form: Form, host: Host, loaded: Loaded, batch_size: int) -> Wanted:
    """Read a form.

    Raises:
        Problem: Names the first field that cannot be honoured.
    """
    for name, _ in form.fields:
        if name.split("[")[0] not in _KNOWN:
            raise unsupported(name, "is not known here; leave it out")
    if form.file is None:
        raise Problem(400, "file: is missing; send the recording in it", "file", "missing")
    if (model := form.get("model")) and not host.answers_to(model):
        raise model_not_found(model, host)
    for name, neutral in _NEUTRAL.items():
        if _number(form, name, float) not in (None, neutral):
            raise unsupported(name, f"must be {neutral:g}: the likeliest words are always taken")
    if form.get("prompt"):
        raise unsupported("prompt", "the model takes no prompt; names and terms go into hotwords")
    check_language(form.get("language"), loaded)
    format_ = _format(form)
    stream = _flag(form, "stream")
    if stream and format_ != "json":
        raise unsupported("stream", f"is for response_format json, not {format_}")
    granularities = _granularities(form, format_)
    return Wanted(
        file=form.file,
        format=format_,
        granularities=granularities,
        logprobs=_logprobs(form, format_),
        stream=stream,
        allow_damage=_flag(form, "allow_damage"),
        options=TranscribeOptions(
            batch_size=batch_size,
            max_new_tokens=_positive(form, "max_new_tokens"),
            words="word" in granularities,
            hotwords=tuple(filter(None, map(str.strip, (form.get("hotwords") or "").split(",")))),
        ),
        cutting=_cutting(form),
    )


def model_not_found(name: str, host: Host) -> Problem:
    """There is no such model."""
    known = ", ".join([host.name, *host.aliases])
    message = f"there is no model {name!r} here; take one of: {known}"
    return Problem(404, message, "model", "model_not_found")


def check_language(language: str | None, loaded: Loaded) -> None:
    """A language can only be asked for where the model has no other.

    Raises:
        Problem: It cannot be honoured.
    """
    if language is None or (language.lower(),) == loaded.languages:
        return
    spoken = ", ".join(loaded.languages) or "not stated"
    raise unsupported(
        "language",
        f"the model cannot be told that it is {language!r}; it hears by itself which of its "
        f"languages is spoken ({spoken})",
    )


def _format(form: Form) -> Format:
    name = form.get("response_format") or "json"
    if name == "diarized_json":
        raise unsupported("response_format", "diarized_json: speakers are not told apart here yet")
    if name not in get_args(Format):
        raise invalid("response_format", f"{name!r}; take one of {', '.join(get_args(Format))}")
    return cast("Format", name)


def _granularities(form: Form, format_: Format) -> frozenset[Granularity]:
    param = "timestamp_granularities"
    found = frozenset(form.all(param))
    if found and format_ != "verbose_json":
        raise unsupported(param, f"is for response_format verbose_json, not {format_}")
    for name in found - set(get_args(Granularity)):
        raise invalid(param, f"{name!r}; it must be segment or word")
    return cast("frozenset[Granularity]", found) or frozenset({"segment"})


def _logprobs(form: Form, format_: Format) -> bool:
    found = form.all("include")
    for name in found:
        if name != "logprobs":
            raise invalid("include", f"{name!r}; it can only be logprobs")
    if found and format_ != "json":
        raise unsupported("include", f"logprobs is for response_format json, not {format_}")
    return bool(found)


def _cutting(form: Form) -> CutOptions | None:
    """``auto``, or voice activity with its three numbers; the form may spell them ``name[key]``."""
    param = "chunking_strategy"
    text = form.get(param)
    prefix = f"{param}["
    nested = {name[len(prefix) : -1]: v for name, v in form.fields if name.startswith(prefix)}
    if text == "auto" or (text is None and not nested):
        return None
    try:
        strategy: Any = json.loads(text) if text is not None else nested
    except ValueError:
        strategy = None
    if not isinstance(strategy, dict) or strategy.pop("type", None) != "server_vad":
        raise invalid(param, 'it must be auto, or an object with "type": "server_vad"')
    usual = CutOptions()
    try:
        threshold = float(strategy.pop("threshold", usual.on))
        pad = float(strategy.pop("prefix_padding_ms", usual.pad * 1000)) / 1000
        pause = float(strategy.pop("silence_duration_ms", usual.join_pause * 1000)) / 1000
        off = min(usual.off, threshold)
        cutting = CutOptions(on=threshold, off=off, pad=pad, join_pause=pause)
    except (TypeError, ValueError, OptionError) as error:
        raise invalid(param, str(error)) from None
    if strategy:
        raise unsupported(param, f"{next(iter(strategy))!r} is not known here")
    return cutting


def _number(form: Form, name: str, kind: Callable[[str], _T]) -> _T | None:
    text = form.get(name)
    if text is None:
        return None
    try:
        value = kind(text)
    except ValueError:
        raise invalid(name, f"{text!r} is no number") from None
    if not math.isfinite(value):
        raise invalid(name, f"{text!r} is no number")
    return value


def _positive(form: Form, name: str) -> int | None:
    value = _number(form, name, int)
    if value is not None and value < 1:
        raise invalid(name, f"must be positive, got {value}")
    return value


def _flag(form: Form, name: str) -> bool:
    text = (form.get(name) or "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise invalid(name, f"{text!r}; it must be true or false")
    return text in ("true", "1")
