"""Cohere Transcribe as transformers has it."""

from __future__ import annotations

from ark_asr.evaluation.compare.base import RATE, most_tokens
from ark_asr.evaluation.compare.pretrained import Pretrained
from ark_asr.types import FloatArray


class CohereAsr(Pretrained):
    """It must be told the language, and cuts clips of more than about 30 seconds itself."""

    def hear(self, clip: FloatArray, language: str) -> str:
        """See ``Backend``."""
        inputs = self.processor(clip, language=language, sampling_rate=RATE)
        pieces = inputs.pop("audio_chunk_index")
        room = self.model.config.max_position_embeddings - inputs["decoder_input_ids"].shape[1]
        ids = self.generate(inputs, max_new_tokens=min(most_tokens(clip), room))
        text: str = self.processor.decode(
            ids, skip_special_tokens=True, audio_chunk_index=pieces, language=language
        )[0]
        return text.strip()


def load(place: str, threads: int, precision: str) -> CohereAsr:
    """See ``Family``."""
    # Before 5.23 its log-mel needs librosa.
    return CohereAsr(place, threads, precision, "CohereAsrForConditionalGeneration", "5.23")
