"""GLM-ASR as transformers has it."""

from __future__ import annotations

from ark_asr.evaluation.compare.base import most_tokens
from ark_asr.evaluation.compare.pretrained import Pretrained
from ark_asr.types import FloatArray


class GlmAsr(Pretrained):
    """Asked with the instruction that comes with its processor."""

    def hear(self, clip: FloatArray, language: str) -> str:  # noqa: ARG002 - it finds out
        """See ``Backend``."""
        inputs = self.processor.apply_transcription_request(clip)
        ids = self.answer(inputs, max_new_tokens=most_tokens(clip))
        text: str = self.processor.batch_decode(ids, skip_special_tokens=True)[0]
        return text.strip()


def load(place: str, threads: int, precision: str) -> GlmAsr:
    """See ``Family``."""
    return GlmAsr(place, threads, precision, "GlmAsrForConditionalGeneration")
