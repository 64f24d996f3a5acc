"""Asking a vLLM server over its chat route, which tells the tokens that it chose."""

from __future__ import annotations

import base64
import io

import httpx
import numpy as np
import soundfile

INSTRUCTION = {"type": "text", "text": "Please transcribe this audio."}


def recording(samples, rate=16_000):
    """A part of a conversation; float samples arrive as they are."""
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples, np.float32), rate, format="WAV", subtype="FLOAT")
    data = base64.b64encode(file.getvalue()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def ask(url, content, **options):
    """The answer to one message."""
    body = {"messages": [{"role": "user", "content": content}], "return_token_ids": True, **options}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=300)


def tokens(answer):
    """The ids of an answer."""
    answer.raise_for_status()
    return answer.json()["choices"][0]["token_ids"]
