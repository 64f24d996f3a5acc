"""Auxiliary CTC losses: what a new encoder learns to hear before the decoder learns to attend.

A decoder that starts from nothing first becomes a language model and leaves the audio alone for a
long time. Two projections, which are not part of the model, ask the encoder directly: for the
bytes of the transcript at its own rate (50 states per second), and for its tokens at the rate of
the audio embeddings (12.5 per second).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ark_asr.models.config import ModelConfig
from ark_asr.training.data import Batch

_BYTES = 256


class Listening(nn.Module):
    """Projections of encoder states to bytes and of audio embeddings to tokens, blank last."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.to_bytes = nn.Linear(config.encoder.hidden_size, _BYTES + 1)
        self.to_tokens = nn.Linear(config.decoder.hidden_size, config.decoder.vocab_size + 1)

    def forward(self, states: Tensor, audio: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Summed losses for the bytes and for the tokens.

        Args:
            states: Encoder states ``[batch, time, size]``.
            audio: Audio embeddings ``[batch, slots, hidden]``.
            batch: Where both come from.
        """
        slots = torch.tensor([self.config.audio_slots(int(n)) for n in batch.frames])
        heard = (batch.frames + 1) // 2
        return (
            _ctc(self.to_bytes(states), heard, batch.letters, batch.letter_lengths),
            _ctc(self.to_tokens(audio), slots, batch.transcripts, batch.transcript_lengths),
        )


def _ctc(logits: Tensor, lengths: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    return functional.ctc_loss(
        logits.float().log_softmax(-1).transpose(0, 1),
        targets.to(logits.device),
        lengths,
        counts,
        blank=logits.shape[-1] - 1,
        reduction="sum",
        zero_infinity=True,  # more targets than states: such a clip teaches the decoder only
    )
