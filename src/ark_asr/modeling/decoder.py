"""The text decoder: Qwen2, under its published weight names."""

from __future__ import annotations

from copy import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ark_asr.modeling.encoder import rotary_tables
from ark_asr.models.config import DecoderConfig


class KeyValueCache:
    """Keys and values of all layers, written at each row's own positions.

    Attributes:
        keys: One ``[batch, kv_heads, length, head_dim]`` per layer.
        values: As ``keys``.
    """

    def __init__(self, config: DecoderConfig, batch: int, length: int, like: Tensor) -> None:
        shape = (batch, config.kv_heads, length, config.head_dim)
        self.keys = [like.new_zeros(shape) for _ in range(config.layers)]
        self.values = [like.new_zeros(shape) for _ in range(config.layers)]

    def update(
        self, layer: int, positions: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Write ``[batch, kv_heads, new, head_dim]`` at ``positions [batch, new]``; return all."""
        rows = torch.arange(len(positions), device=positions.device)[:, None]
        for store, new in ((self.keys[layer], key), (self.values[layer], value)):
            store[rows, :, positions] = new.transpose(1, 2).to(store.dtype)
        return self.keys[layer], self.values[layer]

    def part(self, rows: int, length: int) -> KeyValueCache:
        """The first rows and positions; what is written there is written here."""
        part = copy(self)
        part.keys = [keys[:rows, :, :length] for keys in self.keys]
        part.values = [values[:rows, :, :length] for values in self.values]
        return part

    def select(self, rows: Tensor) -> None:
        """Make row ``i`` what row ``rows[i]`` was, int64 ``[new batch]``."""
        self.keys = [keys[rows] for keys in self.keys]
        self.values = [values[rows] for values in self.values]


class DecoderAttention(nn.Module):
    """Causal attention with grouped keys and rotary positions over the whole head."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.groups = config.heads // config.kv_heads
        self.q_proj = nn.Linear(config.hidden_size, config.heads * config.head_dim)
        self.k_proj = nn.Linear(config.hidden_size, config.kv_heads * config.head_dim)
        self.v_proj = nn.Linear(config.hidden_size, config.kv_heads * config.head_dim)
        self.o_proj = nn.Linear(config.heads * config.head_dim, config.hidden_size, bias=False)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], positions: Tensor, cache: KeyValueCache | None
    ) -> Tensor:
        """``[batch, new, hidden]`` to the same."""
        query, key, value = (
            proj(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = _rotate_halves(query, *rope), _rotate_halves(key, *rope)
        mask = None
        if cache is not None:
            key, value = cache.update(self.layer, positions, key, value)
            # A slot is visible up to the row's own position; what a shorter prompt left beyond it
            # is overwritten before it can be seen.
            slots = torch.arange(key.shape[2], device=x.device)
            mask = (slots <= positions[..., None])[:, None]
        if self.groups > 1:
            key = key.repeat_interleave(self.groups, dim=1)
            value = value.repeat_interleave(self.groups, dim=1)
        heard = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None
        )
        return cast(Tensor, self.o_proj(heard.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.ffn_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.ffn_size, bias=False)
        self.down_proj = nn.Linear(config.ffn_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., hidden]`` to the same."""
        return cast(Tensor, self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x)))


class DecoderLayer(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = DecoderAttention(config, layer)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], positions: Tensor, cache: KeyValueCache | None
    ) -> Tensor:
        """``[batch, new, hidden]`` to the same."""
        x = x + self.self_attn(self.input_layernorm(x), rope, positions, cache)
        return cast(Tensor, x + self.mlp(self.post_attention_layernorm(x)))


class Decoder(nn.Module):
    """Embedding table, layers and final norm; the output projection is the model's ``lm_head``."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, i) for i in range(config.layers))
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, embeds: Tensor, positions: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Input embeddings ``[batch, new, hidden]`` to normalised hidden states of that shape.

        Args:
            embeds: Without a cache: whole sequences, padded at the right.
            positions: int64 ``[batch, new]``; ``None`` counts from 0.
            cache: Earlier keys and values; updated in place.
        """
        if positions is None:
            positions = torch.arange(embeds.shape[1], device=embeds.device)[None]
        length = cache.keys[0].shape[2] if cache else embeds.shape[1]
        tables = rotary_tables(length, self.config.head_dim, self.config.rope_theta, embeds.device)
        rope = tuple(table[positions][:, None].to(embeds.dtype) for table in tables)
        x = embeds
        for layer in self.layers:
            x = layer(x, rope, positions, cache)
        return cast(Tensor, self.norm(x))


def _rotate_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate dimension ``j`` with ``j + dim / 2``: Qwen2's layout, not the encoder's."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
