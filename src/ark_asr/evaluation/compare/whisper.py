"""Whisper as transformers has it (Radford et al. 2022)."""

from __future__ import annotations

from ark_asr.evaluation.compare.base import RATE, most_tokens
from ark_asr.evaluation.compare.pretrained import Pretrained
from ark_asr.types import FloatArray

_WINDOW = 30.0
_PROMPT = 4  # start, language, task, no times


class Whisper(Pretrained):
    """A clip is one window; it is padded to 30 seconds, as the model was trained."""

    def hear(self, clip: FloatArray, language: str) -> str:
        """See ``Backend``."""
        inputs = self.processor(
            clip[: round(_WINDOW * RATE)], sampling_rate=RATE, return_tensors="pt",
            return_attention_mask=True,
        )  # fmt: skip
        room = self.model.config.max_target_positions - _PROMPT
        options: dict[str, object] = {"max_new_tokens": min(most_tokens(clip), room)}
        if getattr(self.model.generation_config, "is_multilingual", True):
            options |= {"task": "transcribe", "language": language or None}
        ids = self.generate(inputs, **options)
        text: str = self.processor.batch_decode(ids, skip_special_tokens=True)[0]
        return text.strip()


def load(place: str, threads: int, precision: str) -> Whisper:
    """See ``Family``."""
    return Whisper(place, threads, precision, "WhisperForConditionalGeneration")
