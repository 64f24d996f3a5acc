"""Any server with OpenAI's interface, by its address."""

from __future__ import annotations

import io
import json
import os
import secrets
import urllib.error
import urllib.request
import wave
from urllib.parse import urldefrag, urlsplit

import numpy as np

from ark_asr.errors import ModelError, OptionError
from ark_asr.evaluation.compare.base import RATE
from ark_asr.types import FloatArray

# A name of its own: a key for one service is not to be sent to another by accident.
KEY_VARIABLE = "ARK_ASR_COMPARE_KEY"
_DEFAULT_MODEL = "whisper-1"
_PATIENCE = 600.0  # seconds for one clip
_PATH = "/audio/transcriptions"


class Server:
    """``http://host:8000/v1#model``; its threads and memory are its own.

    Raises:
        OptionError: The address is none.
    """

    precision = ""

    def __init__(self, address: str) -> None:
        url, model = urldefrag(address)
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise OptionError(f"{address}: is no address like http://127.0.0.1:8000/v1#model")
        self._url = url.rstrip("/").removesuffix(_PATH) + _PATH
        self._model = model or _DEFAULT_MODEL

    def hear(self, clip: FloatArray, language: str) -> str:
        """See ``Backend``.

        Raises:
            ModelError: It cannot be reached, or answers something else.
        """
        fields = {"model": self._model, "response_format": "json"}
        if language:
            fields["language"] = language
        body, kind = _form(fields, _wav(clip))
        headers = {"Content-Type": kind}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, body, headers)  # noqa: S310 - checked above
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
                text = json.load(answer)["text"]
        except urllib.error.HTTPError as error:
            said = error.read(300).decode(errors="replace")
            raise ModelError(f"{self._url}: answered {error.code} {said}") from None
        except OSError as error:
            raise ModelError(f"{self._url}: cannot be reached ({error})") from None
        except (ValueError, KeyError, TypeError):
            raise ModelError(f"{self._url}: did not answer with JSON that has a text") from None
        return str(text).strip()


def load(place: str, threads: int, precision: str) -> Server:  # noqa: ARG001 - its own affair
    """See ``Family``."""
    return Server(place)


def _wav(clip: FloatArray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(np.clip(clip, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def _form(fields: dict[str, str], sound: bytes) -> tuple[bytes, str]:
    """A body of ``multipart/form-data`` (RFC 7578) and its content type."""
    boundary = secrets.token_hex(16)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="'
    parts = [f'{head}{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    parts += [
        f'{head}file"; filename="clip.wav"\r\nContent-Type: audio/wav\r\n\r\n'.encode(),
        sound,
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"
