"""Moonshine and Moonshine Streaming as transformers has them."""

from __future__ import annotations

import math

from ark_asr.evaluation.compare.base import RATE
from ark_asr.evaluation.compare.pretrained import Pretrained, model_type
from ark_asr.types import FloatArray

# Its publisher's own limit, against loops: tokens per second of sound.
_TOKENS_PER_SECOND = 6.5
_KINDS = {"moonshine_streaming": "MoonshineStreamingForConditionalGeneration"}


class Moonshine(Pretrained):
    """One language per model, so none is asked for."""

    def hear(self, clip: FloatArray, language: str) -> str:  # noqa: ARG002 - it knows only one
        """See ``Backend``."""
        inputs = self.processor(clip, sampling_rate=RATE, return_tensors="pt")
        limit = math.ceil(_TOKENS_PER_SECOND * len(clip) / RATE) + 1
        ids = self.generate(inputs, max_new_tokens=limit)
        text: str = self.processor.batch_decode(ids, skip_special_tokens=True)[0]
        return text.strip()


def load(place: str, threads: int, precision: str) -> Moonshine:
    """See ``Family``."""
    kind = _KINDS.get(model_type(place), "MoonshineForConditionalGeneration")
    return Moonshine(place, threads, precision, kind)
