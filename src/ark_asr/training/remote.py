"""A teacher behind an address: any server with OpenAI's ``/v1/audio/transcriptions``."""

from __future__ import annotations

import io
import json
import math
import os
import secrets
import urllib.error
import urllib.request
import wave
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urldefrag, urlsplit

import numpy as np

from ark_asr.audio import load_audio
from ark_asr.batch.records import Prediction, Record
from ark_asr.errors import ArkError, ModelError, OptionError
from ark_asr.models.hub import is_offline
from ark_asr.types import Audio, Segment

# A name of its own: a key for one service is not to be sent to another by accident.
KEY_VARIABLE = "ARK_ASR_TEACHER_KEY"
_PATH = "/audio/transcriptions"
_PATIENCE = 600.0  # seconds
_RATE = 16_000
_REFUSED = range(400, 500)  # this recording's fault, not the server's


class RemoteTeacher:
    """``http://host:8000/v1#model``; sound is sent there, so it is never a default.

    Raises:
        OptionError: The address is none, or no connection may be opened.
    """

    def __init__(self, address: str) -> None:
        url, self.model = urldefrag(address)
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise OptionError(f"{address}: is no address like http://127.0.0.1:8000/v1#model")
        if is_offline():
            raise OptionError(f"offline: no sound is sent to {address}")
        self.url = url.rstrip("/").removesuffix(_PATH) + _PATH

    def predict(self, records: Sequence[Record]) -> Iterator[Prediction]:
        """A prediction for each record, in order.

        Raises:
            ModelError: The server cannot be reached, or does not answer as such a server does.
        """
        for record in records:
            begin = max(record.begin, 0.0)
            end = record.end if record.end >= 0 else None
            try:
                audio = load_audio(record.path, sample_rate=_RATE, begin=begin or None, end=end)
            except (ArkError, OSError) as error:
                yield Prediction(error=str(error))
                continue
            yield self._ask(audio, begin)

    def _ask(self, audio: Audio, begin: float) -> Prediction:
        fields = {"response_format": "verbose_json"} | ({"model": self.model} if self.model else {})
        body, kind = _form(fields, _wav(audio))
        headers = {"Content-Type": kind}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, body, headers)  # noqa: S310 - checked above
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
                return _prediction(json.load(answer), begin, audio.duration)
        except urllib.error.HTTPError as error:
            said = f"{self.url}: answered {error.code} {error.read(300).decode(errors='replace')}"
            if error.code in _REFUSED and error.code not in {401, 403, 404, 429}:
                return Prediction(error=said)
            raise ModelError(said) from None
        except OSError as error:
            raise ModelError(f"{self.url}: cannot be reached ({error})") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{self.url}: its answer is no verbose_json ({error!r})") from None


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


def _wav(audio: Audio) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.sample_rate)
        file.writeframes(np.round(np.clip(audio.samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def _form(fields: Mapping[str, str], sound: bytes) -> tuple[bytes, str]:
    """A body of ``multipart/form-data`` (RFC 7578) and its content type."""
    boundary = secrets.token_hex(16)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="'
    parts = [f'{head}{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    kind = 'file"; filename="clip.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    end = f"\r\n--{boundary}--\r\n".encode()
    return b"".join([*parts, f"{head}{kind}".encode(), sound, end]), (
        f"multipart/form-data; boundary={boundary}"
    )
