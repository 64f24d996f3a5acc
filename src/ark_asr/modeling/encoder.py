"""The audio encoder: a Whisper tower with rotary positions, and the adapter behind it.

Module names give the published weight names (``audio_encoder.whisper.layers.0.fc1.weight``...).
The tower has no final norm of its own: the adapter's norm takes its place.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ark_asr.modeling.attention import attend
from ark_asr.models.config import ENCODER_ROPE_THETA, EncoderConfig, ModelConfig

# Activations grow past what float16 holds in the deep layers; the published model stops them here.
_FLOAT16_LIMIT = torch.finfo(torch.float16).max - 1000


def rotary_tables(
    length: int, dim: int, theta: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of ``position / theta^(2j/dim)``, each float32 ``[length, dim / 2]``."""
    inverse = theta ** (-torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), inverse)
    return angles.cos(), angles.sin()


class PairRotation:
    """Rotates adjacent pairs (0, 1), (2, 3)... of the leading dimensions of a head.

    ``x * cos + partner(x) * sin`` over the whole head, where the partner of a pair ``(a, b)`` is
    ``(-b, a)``; behind the rotated dimensions the cosine is 1 and the sine 0. Finding the partner
    by a product with a constant matrix is exact, and on a CPU quicker to train through than
    slicing.
    """

    def __init__(self, config: EncoderConfig, length: int, like: Tensor) -> None:
        size, rotary = config.head_dim, config.rotary_dim
        cos, sin = rotary_tables(length, rotary, ENCODER_ROPE_THETA, like.device)
        rest = size - rotary
        self.cos = functional.pad(cos.repeat_interleave(2, 1), (0, rest), value=1.0)[:, None].to(
            like
        )
        self.sin = functional.pad(sin.repeat_interleave(2, 1), (0, rest))[:, None].to(like)
        even = torch.arange(0, rotary, 2, device=like.device)
        self.partner = like.new_zeros(size, size)
        self.partner[even + 1, even] = -1.0
        self.partner[even, even + 1] = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """``[batch, time, heads, head_dim]`` to the same."""
        return x * self.cos + (x @ self.partner) * self.sin


class EncoderAttention(nn.Module):
    """Bidirectional attention; only the key projection has no bias."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        size = config.hidden_size
        self.q_proj = nn.Linear(size, size)
        self.k_proj = nn.Linear(size, size, bias=False)
        self.v_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)

    def forward(self, x: Tensor, rope: PairRotation | None, mask: Tensor | None) -> Tensor:
        """``[batch, time, size]`` to the same; ``mask`` is true where a key may be heard."""
        query, key, value = (
            proj(x).unflatten(-1, (self.heads, -1))
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        if rope is not None:
            query, key = rope(query), rope(key)
        heard = attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask)
        return cast(Tensor, self.out_proj(heard.transpose(1, 2).flatten(2)))


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.self_attn_layer_norm = nn.LayerNorm(size, eps)
        self.self_attn = EncoderAttention(config)
        self.final_layer_norm = nn.LayerNorm(size, eps)
        self.fc1 = nn.Linear(size, config.ffn_size)
        self.fc2 = nn.Linear(config.ffn_size, size)

    def forward(self, x: Tensor, rope: PairRotation | None, mask: Tensor | None) -> Tensor:
        """``[batch, time, size]`` to the same."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), rope, mask)
        x = x + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))
        return x.clamp(-_FLOAT16_LIMIT, _FLOAT16_LIMIT) if x.dtype == torch.float16 else x


class WhisperTower(nn.Module):
    """Conv stem (halves the frame rate to 50 per second) and the encoder layers."""

    def __init__(self, config: EncoderConfig, *, use_rope: bool) -> None:
        super().__init__()
        self.config = config
        self.use_rope = use_rope
        self.conv1 = nn.Conv1d(config.mel_bins, config.hidden_size, 3, padding=1)
        self.conv2 = nn.Conv1d(config.hidden_size, config.hidden_size, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_positions, config.hidden_size)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))

    def forward(self, mels: Tensor, frames: Tensor | None = None) -> Tensor:
        """Log-mels ``[batch, bins, frames]`` to ``[batch, (frames + 1) // 2, size]``.

        Args:
            mels: Shorter clips are padded at the right.
            frames: Frames of each clip, int ``[batch]``. Whatever lies beyond is zeroed before each
                convolution and hidden from attention, so a clip's result does not depend on its
                neighbours; ``None`` if all clips fill the batch.
        """
        mask = None
        if frames is not None:
            heard = _before(frames, mels.shape[-1])[:, None]
            mels = mels * heard
        x = functional.gelu(self.conv1(mels))
        if frames is not None:
            x = x * heard
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        if frames is not None:
            mask = _before((frames + 1) // 2, x.shape[1])[:, None, None]
        rope = None
        if self.use_rope:
            rope = PairRotation(self.config, x.shape[1], x)
        else:
            x = x + self.embed_positions.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x, rope, mask)
        return x


class AudioEncoder(nn.Module):
    """Tower, norm, and the adapter that joins ``merge_factor`` frames into one audio embedding."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        size = config.encoder.hidden_size
        self.whisper = WhisperTower(config.encoder, use_rope=config.use_rope)
        self.layer_norm = nn.LayerNorm(size, config.encoder.layer_norm_eps)
        self.adapting = nn.Sequential(
            nn.Linear(size * config.merge_factor, config.adapter_size),
            nn.GELU(),
            nn.Linear(config.adapter_size, config.decoder.hidden_size),
        )

    def forward(self, mels: Tensor, frames: Tensor | None = None) -> Tensor:
        """Log-mels ``[batch, bins, frames]`` to audio embeddings ``[batch, slots, hidden]``.

        Row ``i`` has ``config.audio_slots(frames[i])`` embeddings; what follows them is noise.
        """
        return self.adapt(self.listen(mels, frames))

    def listen(self, mels: Tensor, frames: Tensor | None = None) -> Tensor:
        """Log-mels to encoder states ``[batch, (frames + 1) // 2, size]``, zero behind a clip."""
        x = cast(Tensor, self.layer_norm(self.whisper(mels, frames)))
        if frames is not None:  # a clip too short for one slot is completed with zeros, not noise
            x = x * _before((frames + 1) // 2, x.shape[1])[..., None]
        return x

    def adapt(self, x: Tensor) -> Tensor:
        """Encoder states to audio embeddings; frames that fill no slot are left out."""
        merge = self.config.merge_factor
        if x.shape[1] < merge:
            x = functional.pad(x, (0, 0, 0, merge - x.shape[1]))
        slots = x.shape[1] // merge
        merged = x[:, : slots * merge].reshape(len(x), slots, -1)
        return cast(Tensor, self.adapting(merged))


def _before(lengths: Tensor, size: int) -> Tensor:
    """Bool ``[batch, size]``, true before each row's length."""
    return torch.arange(size, device=lengths.device)[None] < lengths[:, None]
