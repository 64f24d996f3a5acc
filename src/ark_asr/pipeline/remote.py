"""The same road somewhere else: any server with OpenAI's ``/v1/audio/transcriptions``."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urldefrag, urlsplit

from ark_asr.audio.wav import wav_bytes
from ark_asr.errors import ModelError, OptionError
from ark_asr.types import FloatArray

_PATIENCE = 600.0  # seconds for one recording
_PATH = "/audio/transcriptions"
_OF_THE_CALLER = frozenset({401, 403, 404})
TOO_MANY = 429


class RefusedError(ModelError):
    """The server refuses this recording; it may take the next."""


class AskedTooOftenError(ModelError):
    """The server has been asked too often; later it may take the same.

    Args:
        message: What it said.
        pause: Seconds for which it asks to be left alone; 0 if it does not say.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows nobody: a recording and the key of its server are not for another one."""

    def redirect_request(self, *_: object) -> None:
        """Nothing to ask instead; what was answered is told."""


def pause_asked(error: urllib.error.HTTPError) -> float:
    """Seconds that a server asks for in ``Retry-After`` (RFC 9110); 0 without."""
    told = str(error.headers.get("Retry-After", "")).strip()
    return float(told) if told.isascii() and told.isdigit() else 0.0


class TranscriptionServer:
    """``http://host:8000/v1#model``.

    Args:
        address: With or without the model behind the sign.
        key_variable: Variable with the key, one for each use: a key for one service is not to be
            sent to another by accident.

    Raises:
        OptionError: The address is none.

    Attributes:
        url: The route.
        model: Name behind the sign; may be empty.
    """

    def __init__(self, address: str, key_variable: str) -> None:
        url, self.model = urldefrag(address)
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise OptionError(f"{address}: is no address like http://127.0.0.1:8000/v1#model")
        self.url = url.rstrip("/").removesuffix(_PATH) + _PATH
        self._key_variable = key_variable
        self._opener = urllib.request.build_opener(Stay())

    def ask(self, samples: FloatArray, rate: int, fields: Mapping[str, str]) -> Any:  # noqa: ANN401
        """The server's answer, as JSON.

        Args:
            samples: float32 ``[n]``.
            rate: Samples per second.
            fields: Of the form, besides the file.

        Raises:
            RefusedError: It refuses the recording.
            AskedTooOftenError: It has been asked too often.
            ModelError: It cannot be reached, refuses everything, or answers no JSON.
        """
        body, kind = _form(fields, wav_bytes(samples, rate))
        headers = {"Content-Type": kind}
        if key := os.environ.get(self._key_variable):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, body, headers)  # noqa: S310 - checked above
        try:
            with self._opener.open(request, timeout=_PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                told = error.read(300).decode(errors="replace")
            if 300 <= error.code < 400:
                where = error.headers.get("Location")
                raise ModelError(
                    f"{self.url}: leads to {where}, which is not followed; name that address"
                ) from None
            said = f"{self.url}: answered {error.code} {told}"
            if error.code == TOO_MANY:
                raise AskedTooOftenError(said, pause_asked(error)) from None
            of_the_recording = 400 <= error.code < 500 and error.code not in _OF_THE_CALLER
            raise (RefusedError if of_the_recording else ModelError)(said) from None
        except (OSError, http.client.HTTPException) as error:
            raise ModelError(f"{self.url}: cannot be reached ({error})") from None
        except ValueError:
            raise ModelError(f"{self.url}: did not answer with JSON") from None


def _form(fields: Mapping[str, str], sound: bytes) -> tuple[bytes, str]:
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
