"""Qwen3-ASR as transformers has it; the repositories whose names end in ``-hf``."""

from __future__ import annotations

from ark_asr.evaluation.compare.base import most_tokens
from ark_asr.evaluation.compare.pretrained import Pretrained
from ark_asr.types import FloatArray


class Qwen3Asr(Pretrained):
    """It writes the language before the text, unless it is told."""

    def hear(self, clip: FloatArray, language: str) -> str:
        """See ``Backend``."""
        inputs = self.processor.apply_transcription_request(clip, language=language or None)
        ids = self.answer(inputs, max_new_tokens=most_tokens(clip))
        text: str = self.processor.decode(ids, return_format="transcription_only")[0]
        return text


def load(place: str, threads: int, precision: str) -> Qwen3Asr:
    """See ``Family``."""
    # Before 5.15 a language was written into the instruction instead of before the answer.
    return Qwen3Asr(place, threads, precision, "Qwen3ASRForConditionalGeneration", "5.15")
