"""A teacher behind an address: any server with OpenAI's ``/v1/audio/transcriptions``."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ark_asr.audio import load_audio
from ark_asr.batch.places import recording
from ark_asr.batch.records import Prediction, Record
from ark_asr.errors import ArkError, ModelError, OptionError
from ark_asr.models.transport import is_offline
from ark_asr.pipeline.remote import AskedTooOftenError, RefusedError, TranscriptionServer
from ark_asr.types import Audio, Segment

KEY_VARIABLE = "ARK_ASR_TEACHER_KEY"
_RATE = 16_000
# A server that is asked too often is asked again, with pauses that double, for so many seconds.
_PATIENCE = 120.0
_FIRST_PAUSE = 1.0


class RemoteTeacher:
    """``http://host:8000/v1#model``; sound is sent there, so it is never a default.

    Raises:
        OptionError: The address is none, or no connection may be opened.
    """

    def __init__(self, address: str) -> None:
        self._server = TranscriptionServer(address, KEY_VARIABLE)
        if is_offline():
            raise OptionError(f"offline: no sound is sent to {address}")

    def predict(self, records: Sequence[Record]) -> Iterator[Prediction]:
        """A prediction for each record, in order.

        Raises:
            ModelError: The server cannot be reached, or does not answer as such a server does.
        """
        for record in records:
            begin = max(record.begin, 0.0)
            end = record.end if record.end >= 0 else None
            try:
                with recording(record.path) as source:
                    audio = load_audio(source, sample_rate=_RATE, begin=begin or None, end=end)
            except (ArkError, OSError) as error:
                yield Prediction(error=str(error))
                continue
            yield self._ask(audio, begin)

    def _ask(self, audio: Audio, begin: float) -> Prediction:
        server = self._server
        fields = {"response_format": "verbose_json"}
        if server.model:
            fields["model"] = server.model
        try:
            answer = self._patiently(audio, fields)
        except RefusedError as error:
            return Prediction(error=str(error))
        try:
            return _prediction(answer, begin, audio.duration)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{server.url}: its answer is no verbose_json ({error!r})") from None

    def _patiently(self, audio: Audio, fields: Mapping[str, str]) -> Any:  # noqa: ANN401
        until, pause = time.monotonic() + _PATIENCE, _FIRST_PAUSE
        while True:
            try:
                return self._server.ask(audio.samples, audio.sample_rate, fields)
            except AskedTooOftenError as error:
                wait = max(pause, error.pause)
                if time.monotonic() + wait > until:
                    raise
            time.sleep(wait)
            pause *= 2


def _prediction(answer: Mapping[str, Any], begin: float, seconds: float) -> Prediction:
    segments = tuple(_segment(row, begin) for row in answer.get("segments") or ())
    text = str(answer["text"]).strip()
    if not segments and text:  # a server that gives no times: the whole is one segment
        segments = (Segment(begin, begin + seconds, text, text, None, 0),)
    return Prediction(text=text, raw_text=text, segments=segments, seconds=seconds)


def _segment(row: Mapping[str, Any], begin: float) -> Segment:
    text = str(row["text"]).strip()
    mean = row.get("avg_logprob")
    confidence = None if mean is None or not text else math.exp(min(float(mean), 0.0))
    start, end = begin + float(row["start"]), begin + float(row["end"])
    return Segment(start, end, text, text, confidence, len(row.get("tokens") or ()))
