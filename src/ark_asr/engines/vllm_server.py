"""A vLLM server somewhere else, asked over its chat route; needs nothing but its URL.

The server runs plain ``vllm serve CHECKPOINT`` with this package installed (`docs/vllm.md`). Sound
goes there as float32, so words are those of vLLM in this process.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from socket import socket
from typing import Any
from urllib.parse import urlsplit

from ark_asr.engines.base import Ask
from ark_asr.engines.writer import CheckpointWriter
from ark_asr.errors import ModelError, OptionError
from ark_asr.models.tokenizer import INSTRUCTION, Tokenizer
from ark_asr.types import Audio, Hypothesis

KEY_VARIABLE = "VLLM_API_KEY"
_AT_ONCE = 64
_TIMEOUT = 600.0
_LOOK = 0.1  # seconds between two looks whether anybody still waits
_OK = 200
_FLOAT_FORMAT = 3  # of a WAV file


class VllmServer(CheckpointWriter):
    """A running server that serves the checkpoint of a folder.

    Args:
        url: Where it is, without ``/v1``.
        model: Under which name it serves the checkpoint.
        tokenizer: Of the same checkpoint.
        max_positions: Its ``max_model_len``.
    """

    goes_on = False  # the route takes no ids for an answer to begin with

    def __init__(self, url: str, model: str, tokenizer: Tokenizer, max_positions: int) -> None:
        super().__init__(tokenizer, max_positions)
        self._url = url
        self._model = model
        self._threads = ThreadPoolExecutor(_AT_ONCE, "vllm")

    @classmethod
    def open(cls, url: str, folder: str | Path) -> VllmServer:
        """Ask a server what it serves.

        Args:
            url: As ``http://host:8000``. A key is taken from the variable ``VLLM_API_KEY``.
            folder: The checkpoint that it serves, for tokenizer and numbers.

        Raises:
            ModelError: It does not answer, or is no vLLM server.
            ModelFormatError: A file of the folder is not what it must be.
        """
        url = url.rstrip("/").removesuffix("/v1")
        tokenizer = Tokenizer.load(folder)
        try:
            (served, *_) = _ask(f"{url}/v1/models")["data"]
            model, positions = str(served["id"]), int(served["max_model_len"])
        except (KeyError, TypeError, ValueError):
            raise ModelError(f"{url}: answers, but not as a vLLM server does") from None
        return cls(url, model, tokenizer, positions)

    def write(
        self, asks: Sequence[Ask], cancelled: Sequence[Callable[[], bool]]
    ) -> list[Hypothesis]:
        """See ``Writer``; vLLM stops working on a clip when its connection is closed.

        Raises:
            ModelError: The server does not answer, refuses, or serves another model.
            OptionError: An answer was to begin with given ids, which the route does not offer.
        """
        if any(ask.said for ask in asks):
            raise OptionError("context: a vLLM server cannot go on from earlier text; leave it out")
        return list(self._threads.map(self._write, asks, cancelled))

    def close(self) -> None:
        """Drop what has not been sent."""
        self._threads.shutdown(cancel_futures=True)

    def _write(self, ask: Ask, gone: Callable[[], bool]) -> Hypothesis:
        if gone():
            return Hypothesis((), (), "cancelled")
        sound = {"data": base64.b64encode(_wav(ask.audio)).decode(), "format": "wav"}
        content = [
            {"type": "input_audio", "input_audio": sound},
            {"type": "text", "text": INSTRUCTION if ask.instruction is None else ask.instruction},
        ]
        answer = _ask(
            f"{self._url}/v1/chat/completions",
            {
                "model": self._model,
                "messages": [{"role": "user", "content": content}],
                "temperature": 0.0,
                "max_tokens": self.limit(ask),
                "stop_token_ids": sorted(self.tokenizer.stop_ids),
                "logprobs": True,
                "return_token_ids": True,
            },
            gone,
        )
        if answer is None:
            return Hypothesis((), (), "cancelled")
        try:
            prompt, (choice,) = list(answer["prompt_token_ids"]), answer["choices"]
            tokens = [int(token) for token in choice["token_ids"]]
            logprobs = [float(step["logprob"]) for step in choice["logprobs"]["content"]]
        except (KeyError, TypeError, ValueError):
            raise ModelError(
                f"{self._url}: answers without the ids that it chose; another program stands "
                "before vLLM, or it is an older vLLM"
            ) from None
        slots = self.slots(len(ask.audio.samples))
        if prompt != self.tokenizer.prompt(slots, ask.instruction):
            raise ModelError(f"{self._url}: serves another model than the one of this folder")
        return self.hypothesis(tokens, logprobs, "length")


def _ask(
    url: str, body: Mapping[str, Any] | None = None, gone: Callable[[], bool] | None = None
) -> Any:  # noqa: ANN401 - JSON
    """The JSON answer of a server; ``None`` if nobody waits for it any more.

    Raises:
        ModelError: There is none, or it is a refusal.
    """
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.netloc, timeout=_TIMEOUT)
    try:
        if body is None:
            connection.request("GET", parts.path, headers=headers)
        else:
            connection.request("POST", parts.path, json.dumps(body), headers)
        while gone is not None and not _has_answered(connection.sock):
            if gone():
                return None
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != _OK:
            text = said[:2000].decode(errors="replace")
            raise ModelError(f"{url}: the server refuses ({answer.status}): {text}")
        return json.loads(said)
    except (OSError, HTTPException, ValueError) as error:
        raise ModelError(f"{url}: no vLLM server answers there ({error})") from None
    finally:
        connection.close()


def _has_answered(connection: socket) -> bool:
    """Whether there is something to read, or will be within `_LOOK` seconds."""
    with DefaultSelector() as selector:  # select() takes no descriptor above 1023
        selector.register(connection, EVENT_READ)
        return bool(selector.select(_LOOK))


def _wav(audio: Audio) -> bytes:
    """A WAV file of float32 samples, which loses nothing."""
    samples = audio.samples.astype("<f4", copy=False).tobytes()
    rate = audio.sample_rate
    kind = struct.pack("<HHIIHH", _FLOAT_FORMAT, 1, rate, 4 * rate, 4, 32)
    header = b"WAVEfmt " + struct.pack("<I", len(kind)) + kind
    body = header + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body
