"""A model that knows recordings by their length, so that any run says the same of each."""

from __future__ import annotations

import json
import wave

import numpy as np

from ark_asr.engines.scripted import ScriptedEngine

RATE = 16_000
STEP = 0.05


def words(number: int) -> str:
    return f"words of {number}"


class Listener(ScriptedEngine):
    """Says "words of 7" to a clip of 7 steps of 50 ms; fails where it is told to."""

    def __init__(self, tokenizer, clips=500):
        super().__init__(tokenizer.config, [tokenizer.encode(words(n)) for n in range(clips)])
        self.batches, self.fails_on = [], set()

    def embed_audio(self, mels):
        numbers = [round(mel.shape[1] / 100 / STEP) for mel in mels]
        self.batches.append(numbers)
        if self.fails_on & set(numbers):
            raise RuntimeError("bad_alloc")
        shape = self.config.decoder.hidden_size
        slots = [self.config.audio_slots(mel.shape[1]) for mel in mels]
        return [
            np.full((count, shape), number, np.float32)
            for count, number in zip(slots, numbers, strict=True)
        ]


def wav(path, steps: int):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(steps).normal(0, 900, round(steps * STEP * RATE)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def read_jsonl(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]
