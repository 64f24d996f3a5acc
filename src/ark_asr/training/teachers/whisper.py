"""Whisper as a teacher (arXiv 2212.04356), run by transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer as RawTokenizer
from torch.nn.utils.rnn import pad_sequence

from ark_asr.errors import OptionError
from ark_asr.models.tokenizer import TOKENIZER_FILE, read_tokenizer
from ark_asr.training.teachers.base import Scores
from ark_asr.training.teachers.native import open_model, open_part
from ark_asr.training.vocabulary import Vocabulary
from ark_asr.types import FloatArray

if TYPE_CHECKING:
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

_START = "<|startoftranscript|>"
_PLAIN = "<|notimestamps|>"
_END = "<|endoftext|>"


class WhisperTeacher:
    """See ``Teacher``.

    Args:
        model: The model.
        extractor: Its log-mel.
        raw: Its tokenizer.
        language: Code of what is spoken; empty for a model that knows English only.

    Raises:
        OptionError: A model for several languages is not told which, or does not know it.
    """

    lead = b" "

    def __init__(
        self,
        model: WhisperForConditionalGeneration,
        extractor: WhisperFeatureExtractor,
        raw: RawTokenizer,
        language: str,
    ) -> None:
        self.model, self.extractor, self.raw = model, extractor, raw
        self.sample_rate = int(extractor.sampling_rate)
        if not language and getattr(model.generation_config, "is_multilingual", False):
            raise OptionError("the Whisper teacher knows several languages; set teacher.language")
        spoken = [f"<|{language}|>", "<|transcribe|>"] if language else []
        controls = [_START, *spoken, _PLAIN, _END]
        found = [id_ for token in controls if (id_ := raw.token_to_id(token)) is not None]
        if len(found) < len(controls):
            raise OptionError(f"the Whisper teacher does not know the language {language!r}")
        *self.prompt, end = found
        never = model.generation_config.suppress_tokens or ()
        size = int(model.config.vocab_size)
        self.vocabulary = Vocabulary.read(raw, size, end_ids=[end], never=never)

    @classmethod
    def load(cls, folder: Path, device: str, dtype: str, language: str) -> WhisperTeacher:
        """Open a checkpoint folder.

        Raises:
            ModelError: A file is missing or not what it must be.
            OptionError: The language is missing or not known.
        """
        model = open_model("WhisperForConditionalGeneration", folder, device, dtype)
        extractor = open_part("WhisperFeatureExtractor", folder)
        return cls(model, extractor, read_tokenizer(folder / TOKENIZER_FILE), language)

    def encode(self, text: str) -> list[int]:
        """See ``Teacher``."""
        return list(self.raw.encode(f" {text}" if text else "", add_special_tokens=False).ids)

    def score(
        self, sounds: Sequence[FloatArray], texts: Sequence[Sequence[int]]
    ) -> list[Scores]:  # fmt: skip
        """See ``Teacher``; each sound is heard as 30 seconds, as Whisper always does."""
        weight = self.model.proj_out.weight
        mels = self.extractor(
            list(sounds), sampling_rate=self.sample_rate, return_tensors="pt"
        ).input_features
        begin = len(self.prompt) - 1
        room = self.model.config.max_target_positions - len(self.prompt)
        rows = [torch.tensor([*self.prompt, *text[:room]]) for text in texts]
        ids = pad_sequence(rows, batch_first=True).to(weight.device)
        with torch.no_grad():
            logits = self.model(mels.to(weight), decoder_input_ids=ids, use_cache=False).logits
        return [Scores(logits[i, begin : len(row)].float()) for i, row in enumerate(rows)]
