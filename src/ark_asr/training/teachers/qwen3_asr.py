"""Qwen3-ASR as a teacher (the paper's own, arXiv 2605.28139), run by transformers natively."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ark_asr.models.tokenizer import TOKENIZER_FILE, read_tokenizer
from ark_asr.training.teachers.base import Scores
from ark_asr.training.teachers.native import open_model, open_part
from ark_asr.training.vocabulary import Vocabulary
from ark_asr.types import FloatArray

if TYPE_CHECKING:
    from transformers import Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor


class Qwen3AsrTeacher:
    """See ``Teacher``.

    Args:
        model: The model.
        processor: Its log-mel, tokenizer and chat template.
        folder: Where its ``tokenizer.json`` is.
        language: Code or English name of what is spoken; empty lets the model guess, and then the
            text it is made to write begins where it would name the language.
    """

    lead = b""

    def __init__(
        self,
        model: Qwen3ASRForConditionalGeneration,
        processor: Qwen3ASRProcessor,
        folder: Path,
        language: str,
    ) -> None:
        self.model, self.processor, self.language = model, processor, language or None
        self.raw = read_tokenizer(folder / TOKENIZER_FILE)
        self.sample_rate = int(processor.feature_extractor.sampling_rate)
        ends = model.config.eos_token_id
        self.vocabulary = Vocabulary.read(
            self.raw,
            int(model.config.text_config.vocab_size),
            end_ids=[ends] if isinstance(ends, int) else ends,
        )

    @classmethod
    def load(cls, folder: Path, device: str, dtype: str, language: str) -> Qwen3AsrTeacher:
        """Open a checkpoint folder in transformers' own layout (``Qwen/Qwen3-ASR-...-hf``).

        Raises:
            ModelError: A file is missing or not what it must be, or transformers is too old.
        """
        # Before 5.15 a language was written into the instruction instead of before the answer.
        model = open_model("Qwen3ASRForConditionalGeneration", folder, device, dtype, "5.15")
        return cls(model, open_part("Qwen3ASRProcessor", folder), folder, language)

    def encode(self, text: str) -> list[int]:
        """See ``Teacher``."""
        return list(self.raw.encode(text, add_special_tokens=False).ids)

    def score(
        self, sounds: Sequence[FloatArray], texts: Sequence[Sequence[int]]
    ) -> list[Scores]:  # fmt: skip
        """See ``Teacher``."""
        # Each clip for itself: padding sound before the log-mel would change its last frames.
        asked = [
            self.processor.apply_transcription_request([sound], language=self.language)
            for sound in sounds
        ]
        prompts = _joined([one["input_ids"][0] for one in asked], "left")
        mask = _joined([one["attention_mask"][0] for one in asked], "left")
        mels = _joined([one["input_features"][0].T for one in asked]).transpose(1, 2)
        frames = _joined([one["input_features_mask"][0] for one in asked])
        written = _joined([torch.tensor(text, dtype=torch.long) for text in texts])
        heard = torch.cat([mask, torch.ones_like(written)], 1)
        weight = self.model.lm_head.weight
        with torch.no_grad():
            logits = self.model(
                input_ids=torch.cat([prompts, written], 1).to(weight.device),
                attention_mask=heard.to(weight.device),
                # Prompts are padded at the left, which must not move what follows.
                position_ids=functional.relu(heard.cumsum(1) - 1).to(weight.device),
                input_features=mels.to(weight),
                input_features_mask=frames.to(weight.device),
                use_cache=False,
                logits_to_keep=written.shape[1] + 1,
            ).logits
        return [Scores(logits[i, : len(text) + 1].float()) for i, text in enumerate(texts)]


def _joined(rows: list[Tensor], side: str = "right") -> Tensor:
    """Rows of different length as one batch, filled with zeros."""
    return pad_sequence(rows, batch_first=True, padding_side=side)
