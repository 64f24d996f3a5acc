"""What a request or a long job asks for, checked: honoured or refused by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast, get_args

from ark_asr.audio import CutOptions
from ark_asr.errors import OptionError
from ark_asr.pipeline.options import check_options
from ark_asr.server.fields import check_names, cutting, flag, number, positive
from ark_asr.server.host import Host
from ark_asr.server.problems import Problem, invalid, unsupported
from ark_asr.server.settings import Settings
from ark_asr.server.upload import Form, Upload
from ark_asr.types import TranscribeOptions

Format: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]
Granularity: TypeAlias = Literal["segment", "word"]

# Sampling is not done; these are the values at which it would change nothing.
_NEUTRAL = {"temperature": 0.0, "top_p": 1.0, "top_k": -1.0, "repetition_penalty": 1.0}
_COMMON = frozenset({
    "model", "language", "prompt", "hotwords", "keywords", "chunking_strategy", "max_new_tokens",
    "timestamp_granularities", "allow_damage", *_NEUTRAL,
})  # fmt: skip
# Nobody else has the engine while they are taken apart: of as much as a form's field may have, a
# second or two.
_HOT_WORD_CHARACTERS = 64 << 10
_OF_ANSWERS = frozenset({"response_format", "include", "stream"})
_WORDS = frozenset(get_args(Granularity))


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A recording and how it is to be transcribed.

    Attributes:
        file: The recording.
        model: The name that the client gave, if any.
        options: How it is transcribed.
        cutting: How speech is found in it.
        allow_damage: Whether what can be decoded of a damaged recording will do.
    """

    file: Upload
    model: str | None
    options: TranscribeOptions
    cutting: CutOptions | None
    allow_damage: bool


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A request that can be honoured.

    Attributes:
        asked: The recording.
        format: Form of the answer.
        granularities: Which times a ``verbose_json`` holds.
        logprobs: Whether each token's log-probability is wanted.
        stream: Whether the answer comes as events.
    """

    asked: Asked
    format: Format
    granularities: frozenset[Granularity]
    logprobs: bool
    stream: bool


@dataclass(frozen=True, slots=True, eq=False)
class WantedJob:
    """A long job that can be honoured.

    Attributes:
        asked: The recording.
        words_if_known: Nobody said whether words are wanted: they are, if the model shows them.
        speakers: Whether speakers are told apart.
    """

    asked: Asked
    words_if_known: bool
    speakers: bool


def wanted(form: Form, host: Host, settings: Settings) -> Wanted:
    """Read the form of a request.

    Raises:
        Problem: Names the first field that cannot be honoured.
    """
    check_names(form, _COMMON | _OF_ANSWERS)
    format_ = _format(form)
    if format_ == "diarized_json":
        _check_speakers("response_format", settings)
    stream = flag(form, "stream")
    if stream and format_ not in ("json", "diarized_json"):
        raise unsupported("stream", f"is for json and diarized_json, not {format_}")
    granularities = _granularities(form)
    if granularities and format_ != "verbose_json":
        message = f"is for response_format verbose_json, not {format_}"
        raise unsupported("timestamp_granularities", message)
    words = "word" in granularities or format_ == "diarized_json"
    return Wanted(
        asked=_asked(form, host, settings, words=words),
        format=format_,
        granularities=granularities or frozenset({"segment"}),
        logprobs=_logprobs(form, format_),
        stream=stream,
    )


def wanted_job(form: Form, host: Host, settings: Settings) -> WantedJob:
    """Read the form of a long job, whose result can be had in every format.

    Raises:
        Problem: Names the first field that cannot be honoured.
    """
    for name in _OF_ANSWERS:
        if form.all(name):
            raise unsupported(
                name, "is no field of a job; see its events, and ?format= of its result"
            )
    check_names(form, _COMMON | {"speakers"})
    speakers = flag(form, "speakers")
    if speakers:
        _check_speakers("speakers", settings)
    granularities = _granularities(form)
    words = speakers or "word" in (granularities or _WORDS)
    asked = _asked(form, host, settings, words=words)
    return WantedJob(asked, words_if_known=not granularities and not speakers, speakers=speakers)


def _asked(form: Form, host: Host, settings: Settings, *, words: bool) -> Asked:
    if form.file is None:
        raise Problem(400, "file: is missing; send the recording in it", "file", "missing")
    model = host.find(form.get("model"))
    for name, neutral in _NEUTRAL.items():
        if number(form, name, float) not in (None, neutral):
            raise unsupported(name, f"must be {neutral:g}: the likeliest words are always taken")
    if form.get("prompt"):
        raise unsupported(
            "prompt",
            "the models were not trained with one, and going on from given text costs them words; "
            "names and terms go into hotwords",
        )
    check_language(form.get("language"), model.languages)
    listed = [*(form.get("hotwords") or "").split(","), *form.all("keywords")]
    options = TranscribeOptions(
        batch_size=settings.batch_size,
        max_new_tokens=positive(form, "max_new_tokens") or settings.max_new_tokens,
        words=words,
    )
    options = listening_for(listed, options, "hotwords")
    return Asked(form.file, form.get("model"), options, cutting(form), flag(form, "allow_damage"))


def listening_for(
    words: Iterable[str], options: TranscribeOptions, param: str
) -> TranscribeOptions:
    """The options with hot words; all others have been checked.

    Raises:
        Problem: One is none, or there are too many; ``param`` is where they came from.
    """
    hot_words = tuple(filter(None, map(str.strip, words)))
    if (length := sum(map(len, hot_words))) > _HOT_WORD_CHARACTERS:
        message = f"have {length:,} characters, of {_HOT_WORD_CHARACTERS:,} that they may have"
        raise invalid(param, f"{message}; list what is likely to be said")
    options = replace(options, hotwords=hot_words)
    try:
        check_options(options)
    except OptionError as error:
        raise invalid(param, str(error)) from None
    return options


def _check_speakers(param: str, settings: Settings) -> None:
    if settings.speakers is None:
        raise unsupported(
            param,
            "this server has no models that tell speakers apart; start it with: ark-asr serve "
            "--speakers auto",
        )


def check_language(language: str | None, languages: tuple[str, ...]) -> None:
    """A language can only be asked for where the model has no other than that.

    Raises:
        Problem: It cannot be honoured.
    """
    if language is None or (language.lower(),) == languages:
        return
    spoken = ", ".join(languages) or "not stated"
    raise unsupported(
        "language",
        f"the model cannot be told that it is {language!r}; it hears by itself which of its "
        f"languages is spoken ({spoken})",
    )


def _format(form: Form) -> Format:
    name = form.get("response_format") or "json"
    if name not in get_args(Format):
        raise invalid("response_format", f"{name!r}; take one of {', '.join(get_args(Format))}")
    return cast("Format", name)


def _granularities(form: Form) -> frozenset[Granularity]:
    found = frozenset(form.all("timestamp_granularities"))
    for name in found - _WORDS:
        raise invalid("timestamp_granularities", f"{name!r}; it must be segment or word")
    return cast("frozenset[Granularity]", found)


def _logprobs(form: Form, format_: Format) -> bool:
    found = form.all("include")
    for name in found:
        if name != "logprobs":
            raise invalid("include", f"{name!r}; it can only be logprobs")
    if found and format_ != "json":
        raise unsupported("include", f"logprobs is for response_format json, not {format_}")
    return bool(found)
