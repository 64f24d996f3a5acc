"""The settings of a realtime transcription session: honoured or refused by name."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from ark_asr.audio import CutOptions
from ark_asr.server.host import Host
from ark_asr.server.problems import Problem, invalid, unsupported
from ark_asr.server.wanted import check_language, listening_for
from ark_asr.types import LiveOptions, TranscribeOptions

_RATE = 24_000
_USUAL = LiveOptions()
# Of silence that ends an utterance, and of sound before one: milliseconds.
_PAUSES = (300, 10_000)
_LEADS = (0, 5_000)


class Session:
    """What a client has set.

    Args:
        host: Where the models are.
        model: Name of the one that it asked for.

    Attributes:
        rate: Hz of its samples.
        turns: How utterances are found and ended; ``None``: a commit alone ends one.
        model: The name it asked for.
        transcribe: How utterances are written down.
    """

    def __init__(self, host: Host, model: str) -> None:
        self._host = host
        self._id = f"sess_{uuid.uuid4().hex[:20]}"
        self.rate = _RATE
        self.turns: LiveOptions | None = _USUAL
        self.model = model
        self.language: str | None = None
        self.transcribe = TranscribeOptions()

    @property
    def options(self) -> LiveOptions:
        """How it is captioned."""
        if self.turns is None:  # nobody waits for captions: cut as a recording is
            return LiveOptions(pause=CutOptions().join_pause, step=_USUAL.max_utterance)
        return self.turns

    def record(self) -> dict[str, Any]:
        """As it stands in events."""
        transcription = {
            "model": self.model,
            "language": self.language,
            "prompt": "",
            "keywords": list(self.transcribe.hotwords),
        }
        turns = self.turns and {
            "type": "server_vad",
            "threshold": self.turns.threshold,
            "prefix_padding_ms": round(self.turns.lead * 1000),
            "silence_duration_ms": round(self.turns.pause * 1000),
        }
        return {
            "id": self._id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": self.rate},
                    "noise_reduction": None,
                    "transcription": transcription,
                    "turn_detection": turns,
                }
            },
            "include": None,
        }

    def update(self, session: object) -> None:
        """Take over what a client sets; nothing is changed if anything in it cannot be honoured.

        Raises:
            Problem: Names the first such field.
        """
        top = _object("session", session)
        if top.pop("type", "transcription") != "transcription":
            raise invalid("session.type", "only transcription sessions are served")
        _nothing("session.include", top.pop("include", None))
        audio = _object("session.audio", top.pop("audio", None))
        sound = _object("session.audio.input", audio.pop("input", None))
        _known("session", top)
        _known("session.audio", audio)
        where = "session.audio.input"
        rate = self._rate(sound.pop("format", None))
        _nothing(f"{where}.noise_reduction", sound.pop("noise_reduction", None))
        model, language, transcribe = self._transcription(sound.pop("transcription", None))
        turns = self.turns
        if "turn_detection" in sound:  # what is left out stays as it is; null means something
            turns = self._turns(sound.pop("turn_detection"))
        _known(where, sound)
        self.rate, self.model, self.language, self.turns = rate, model, language, turns
        self.transcribe = transcribe

    def _rate(self, value: object) -> int:
        if value is None:
            return self.rate
        where = "session.audio.input.format"
        given = _object(where, value)
        if given.pop("type", "audio/pcm") != "audio/pcm":
            raise unsupported(where, "only audio/pcm, 16-bit little-endian mono")
        rate = given.pop("rate", _RATE)
        _known(where, given)
        if not isinstance(rate, int) or not 8_000 <= rate <= 192_000:
            raise invalid(f"{where}.rate", f"{rate!r}; it must be between 8,000 and 192,000 Hz")
        return rate

    def _transcription(self, value: object) -> tuple[str, str | None, TranscribeOptions]:
        where = "session.audio.input.transcription"
        given = _object(where, value)
        model = given.pop("model", None) or self.model
        if not isinstance(model, str):
            raise invalid(f"{where}.model", "it must be a name")
        language = given.pop("language", None) or None
        if not isinstance(language, str | None):
            raise invalid(f"{where}.language", "it must be a code such as en")
        check_language(language, self._host.find(model).languages)
        transcribe = self.transcribe
        if "keywords" in given:
            words = given.pop("keywords") or []
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise invalid(f"{where}.keywords", "it must be a list of names and terms")
            transcribe = listening_for(words, transcribe, f"{where}.keywords")
        for name in ("prompt", "delay", "languages"):
            _nothing(f"{where}.{name}", given.pop(name, None))
        _known(where, given)
        return model, language, transcribe

    def _turns(self, value: object) -> LiveOptions | None:
        where = "session.audio.input.turn_detection"
        if value is None:
            return None
        given = _object(where, value)
        if given.pop("type", "server_vad") != "server_vad":
            raise unsupported(where, "only server_vad, or null: a commit alone ends an utterance")
        turns = self.turns or _USUAL
        threshold = given.pop("threshold", turns.threshold)
        if (
            isinstance(threshold, bool)
            or not isinstance(threshold, int | float)
            or not 0 <= threshold <= 1
        ):
            raise invalid(f"{where}.threshold", f"{threshold!r}; from 0 to 1")
        lead = _milliseconds(f"{where}.prefix_padding_ms", given, turns.lead, _LEADS)
        pause = _milliseconds(f"{where}.silence_duration_ms", given, turns.pause, _PAUSES)
        _known(where, given)
        return replace(turns, threshold=float(threshold), lead=lead, pause=pause)


def _milliseconds(
    where: str, given: dict[str, Any], seconds: float, bounds: tuple[int, int]
) -> float:
    """A time taken out of what was sent, in seconds."""
    value = given.pop(where.rpartition(".")[2], round(seconds * 1000))
    least, most = bounds
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise invalid(where, f"{value!r}; from {least} to {most}")
    return value / 1000


def _object(where: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(where, "it must be an object")
    return dict(value)


def _nothing(where: str, value: object) -> None:
    if value:
        raise unsupported(where, "is not done here; leave it out")


def _known(where: str, rest: dict[str, Any]) -> None:
    if rest:
        raise Problem(400, f"{where}.{next(iter(rest))}: is not known here", where, "unknown_field")
