"""A teacher behind an OpenAI-compatible server that gives log-probabilities of a prompt.

vLLM does: ``prompt_logprobs`` for the tokens of a text that is already there, ``top_logprobs`` for
the one behind it. A server shows its likeliest ids only; see ``Scores.token_ids``.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as RawTokenizer

from ark_asr.audio.wav import wav_bytes
from ark_asr.errors import ModelError, OptionError
from ark_asr.models.tokenizer import read_tokenizer
from ark_asr.pipeline.remote import TOO_MANY, Stay, pause_asked
from ark_asr.training.divergence import NEVER
from ark_asr.training.teachers.base import Scores
from ark_asr.training.teachers.config import TeacherConfig
from ark_asr.training.vocabulary import Vocabulary
from ark_asr.types import FloatArray

_AT_ONCE = 8
_ATTEMPTS = 3
_FIRST_PAUSE = 0.5  # seconds; a server that is started again is not there at once
_ENDS = ("<|im_end|>", "<|endoftext|>", "</s>")


class ServerTeacher:
    """See ``Teacher``.

    Args:
        config: Where it is, and what it wants to be told.
        raw: The tokenizer of its model.
        key: Sent as a bearer token; empty for none.
    """

    sample_rate = 16_000

    def __init__(self, config: TeacherConfig, raw: RawTokenizer, key: str = "") -> None:
        self.config, self.raw, self._key = config, raw, key
        self._opener = urllib.request.build_opener(Stay())
        self.lead = config.lead.encode()
        ends = [id_ for token in _ENDS if (id_ := raw.token_to_id(token)) is not None]
        self.vocabulary = Vocabulary.read(raw, raw.get_vocab_size(), end_ids=ends)

    @classmethod
    def connect(cls, config: TeacherConfig, folder: Path) -> ServerTeacher:
        """Read the tokenizer and the key; the server is asked when there is something to ask.

        Args:
            config: See ``TeacherConfig``.
            folder: To which the path of the tokenizer is relative.

        Raises:
            ModelError: The tokenizer is missing or damaged.
            OptionError: The variable with the key is not set.
        """
        key = os.environ.get(config.key_variable, "") if config.key_variable else ""
        if config.key_variable and not key:
            raise OptionError(f"teacher.key_variable: {config.key_variable} is not set")
        return cls(config, read_tokenizer(folder / config.tokenizer), key)

    def encode(self, text: str) -> list[int]:
        """See ``Teacher``."""
        text = self.config.lead + text if text else ""
        return list(self.raw.encode(text, add_special_tokens=False).ids)

    def score(
        self, sounds: Sequence[FloatArray], texts: Sequence[Sequence[int]]
    ) -> list[Scores]:  # fmt: skip
        """See ``Teacher``.

        Raises:
            ModelError: The server cannot be reached, refuses, or answers something else.
        """
        return _at_once(self._score, list(zip(sounds, texts, strict=True)))

    def _score(self, sound: FloatArray, text: Sequence[int]) -> Scores:
        written = self.config.prefix + self.raw.decode(list(text), skip_special_tokens=False)
        sent = {
            "data": base64.b64encode(wav_bytes(sound, self.sample_rate)).decode(),
            "format": "wav",
        }
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": [{"type": "input_audio", "input_audio": sent}]}
        ]
        if written:
            messages.append({"role": "assistant", "content": written})
        answer = self._post({
            "model": self.config.model,
            "messages": messages,
            "add_generation_prompt": not written,
            "continue_final_message": bool(written),
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": self.config.top_k,
            "prompt_logprobs": self.config.top_k,
            "return_tokens_as_token_ids": True,
        })  # fmt: skip
        try:
            places = answer["prompt_logprobs"][len(answer["prompt_logprobs"]) - len(text) :]
            rows = [{int(id_): float(it["logprob"]) for id_, it in at.items()} for at in places]
            (behind,) = answer["choices"][0]["logprobs"]["content"]
            rows.append({_id(it["token"]): float(it["logprob"]) for it in behind["top_logprobs"]})
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise ModelError(
                f"{self.config.url}: the answer has no prompt_logprobs and top_logprobs by token "
                "id; the teacher must be a server that gives them, such as vLLM"
            ) from None
        if any(token not in row for token, row in zip(text, rows, strict=False)):
            raise ModelError(
                f"{self.config.url}: its tokens are not those of {self.config.tokenizer}; take the "
                "tokenizer.json of the server's model"
            )
        return _scores(rows)

    def _post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = self.config.url.rstrip("/") + "/chat/completions"
        if not url.startswith(("http://", "https://")):
            raise OptionError(f"teacher.url is {self.config.url!r}, expected http:// or https://")
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310
        timeout = self.config.timeout
        until = time.monotonic() + timeout  # to which one that is asked too often is asked again
        for attempt in itertools.count(1):
            pause = _FIRST_PAUSE * 2 ** (attempt - 1)
            try:
                with self._opener.open(request, timeout=timeout) as reply:
                    answer: dict[str, Any] = json.load(reply)
                    return answer
            except urllib.error.HTTPError as error:
                with error:
                    said = error.read(500).decode(errors="replace").strip()
                pause = max(pause, pause_asked(error))
                if error.code == TOO_MANY:
                    last = time.monotonic() + pause > until
                else:
                    last = error.code < 500 or attempt >= _ATTEMPTS
                if last:
                    raise ModelError(f"{url}: refused with {error.code} ({said})") from None
            except (OSError, ValueError, http.client.HTTPException) as error:
                if attempt >= _ATTEMPTS:
                    raise ModelError(f"{url}: {_silence(error, timeout)}") from None
            time.sleep(pause)
        raise AssertionError("unreachable")


def _silence(error: Exception, timeout: float) -> str:
    """What is said of a server that has given no answer that can be read."""
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "did not answer with JSON"
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", 0), TimeoutError):
        return f"no answer in {timeout:g} s; teacher.timeout is how long it may take"
    return f"no answer ({error})"


def _at_once(ask: Callable[..., Scores], questions: Sequence[tuple[Any, ...]]) -> list[Scores]:
    """The answers to all questions, of which a few are asked at a time, in order.

    An error, or Ctrl-C, does not wait for a server that hangs: the threads are left alone.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(questions)):
        waiting.put(number)
    answered: queue.SimpleQueue[tuple[int, Scores | BaseException]] = queue.SimpleQueue()
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                answered.put((number, ask(*questions[number])))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                answered.put((number, error))

    for _ in range(min(_AT_ONCE, len(questions))):
        threading.Thread(target=work, daemon=True).start()
    answers: dict[int, Scores] = {}
    try:
        while len(answers) < len(questions):
            number, answer = answered.get()
            if isinstance(answer, BaseException):
                raise answer
            answers[number] = answer
    finally:
        over.set()
    return [answers[number] for number in range(len(questions))]


def _scores(rows: Sequence[Mapping[int, float]]) -> Scores:
    """Rows of different length side by side."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), -1)
    values = torch.full((len(rows), width), NEVER)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(list(row))
        values[i, : len(row)] = torch.tensor(list(row.values()))
    return Scores(values, ids)


def _id(token: str) -> int:
    """``token_id:123`` as a number."""
    return int(token.removeprefix("token_id:"))
