"""Another ARK checkpoint as a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ark_asr.audio import LogMel
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.data import padded_frames
from ark_asr.training.forced import forced_states
from ark_asr.training.teachers.base import Scores
from ark_asr.training.vocabulary import Vocabulary
from ark_asr.types import FloatArray


class ArkTeacher:
    """See ``Teacher``."""

    lead = b""

    def __init__(self, model: ArkForConditionalGeneration, tokenizer: Tokenizer) -> None:
        self.model = model.requires_grad_(requires_grad=False).eval()
        self.tokenizer = tokenizer
        self.sample_rate = tokenizer.features.sample_rate
        self.vocabulary = ark_vocabulary(tokenizer)
        self._log_mel = LogMel(tokenizer.features)

    @classmethod
    def load(cls, folder: Path, device: str, dtype: str = "float32") -> ArkTeacher:
        """Open a checkpoint folder.

        Raises:
            ModelNotFoundError: A file is missing.
            ModelFormatError: A file is not what it must be.
        """
        model = ArkForConditionalGeneration.load(folder, getattr(torch, dtype), device)
        return cls(model, Tokenizer.load(folder, model.config))

    def encode(self, text: str) -> list[int]:
        """See ``Teacher``."""
        return self.tokenizer.encode(text)

    def score(self, sounds: Sequence[FloatArray], texts: Sequence[Sequence[int]]) -> list[Scores]:
        """See ``Teacher``."""
        longest = self.tokenizer.features.clip_samples
        mels = [self._log_mel(sound[:longest]) for sound in sounds]
        frames = torch.tensor([mel.shape[1] for mel in mels])
        padded = torch.zeros(len(mels), mels[0].shape[0], padded_frames(int(frames.max())))
        for row, mel in zip(padded, mels, strict=True):
            row[:, : mel.shape[1]] = torch.from_numpy(mel)
        weight = self.model.lm_head.weight
        slots = [self.model.config.audio_slots(int(count)) for count in frames]
        # Not inference mode: what comes of this takes part in a student's gradient.
        with torch.no_grad():
            audio = self.model.embed_audio(padded.to(weight), frames.to(weight.device))
            states = forced_states(self.model, self.tokenizer, audio, slots, texts)
            return [Scores(self.model.lm_head(rows).float()) for rows in states]


def ark_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """The ids of an ARK model, less those that inference suppresses."""
    return Vocabulary.read(
        tokenizer.raw,
        tokenizer.config.decoder.vocab_size,
        end_ids=[tokenizer.id_of(tokenizer.eos_token)],
        never=[*tokenizer.suppressed_ids.tolist(), *tokenizer.stop_ids],
    )
