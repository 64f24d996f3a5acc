"""Any server with OpenAI's interface, by its address."""

from __future__ import annotations

from ark_asr.errors import ModelError
from ark_asr.evaluation.compare.base import RATE
from ark_asr.pipeline.remote import TranscriptionServer
from ark_asr.types import FloatArray

KEY_VARIABLE = "ARK_ASR_COMPARE_KEY"
_DEFAULT_MODEL = "whisper-1"


class Server:
    """``http://host:8000/v1#model``; its threads and memory are its own.

    Raises:
        OptionError: The address is none.
    """

    precision = ""

    def __init__(self, address: str) -> None:
        self._server = TranscriptionServer(address, KEY_VARIABLE)
        self._model = self._server.model or _DEFAULT_MODEL

    def hear(self, clip: FloatArray, language: str) -> str:
        """See ``Backend``.

        Raises:
            ModelError: It cannot be reached, or answers something else.
        """
        fields = {"model": self._model, "response_format": "json"}
        if language:
            fields["language"] = language
        answer = self._server.ask(clip, RATE, fields)
        try:
            # Half a character, which JSON can hold and a file cannot, must not end a comparison.
            return str(answer["text"]).encode(errors="replace").decode().strip()
        except (KeyError, TypeError):
            url = self._server.url
            raise ModelError(f"{url}: did not answer with JSON that has a text") from None


def load(place: str, threads: int, precision: str) -> Server:  # noqa: ARG001 - its own affair
    """See ``Family``."""
    return Server(place)
