"""The audio encoder and its adapter on vLLM's parallel layers.

The same mathematics as `ark_asr.modeling.encoder`, under the same weight names. Clips of a batch
are laid end to end instead of being padded, and attention knows where each of them ends: a result
does not depend on its neighbours, and no work is done for silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ark_asr.errors import OptionError
from ark_asr.integrations.vllm.interfaces import (
    ApplyRotaryEmb,
    AutoWeightsLoader,
    ColumnParallelLinear,
    MMEncoderAttention,
    QKVParallelLinear,
    QuantizationConfig,
    RowParallelLinear,
    WeightsMapper,
    get_tensor_model_parallel_world_size,
)
from ark_asr.modeling.encoder import rotary_tables
from ark_asr.models.config import ENCODER_ROPE_THETA, EncoderConfig, ModelConfig

# As in `ark_asr.modeling.encoder`: activations grow past what float16 holds in the deep layers.
_FLOAT16_LIMIT = torch.finfo(torch.float16).max - 1000


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Where the clips of a packed batch end, as vLLM's attention wants to be told.

    Attributes:
        cu_seqlens: Position at which each clip begins, and the end of the last.
        max_seqlen: Of the longest clip.
        sequence_lengths: For the one backend that asks for them.
        rope: Cosines and sines of each position, ``[positions, rotary_dim / 2]``; ``None`` if
            positions are learned.
    """

    cu_seqlens: Tensor
    max_seqlen: Tensor
    sequence_lengths: Tensor | None
    rope: tuple[Tensor, Tensor] | None


class EncoderAttention(nn.Module):
    """Bidirectional attention within each clip."""

    def __init__(
        self, config: EncoderConfig, quant_config: QuantizationConfig | None, prefix: str
    ) -> None:
        super().__init__()
        parts = get_tensor_model_parallel_world_size()
        if config.heads % parts:
            raise OptionError(
                f"tensor parallel size {parts} does not divide the audio encoder's {config.heads} "
                "attention heads"
            )
        self.heads = config.heads // parts
        self.rotary_dim = config.rotary_dim
        size, dim = config.hidden_size, config.head_dim
        # The key has no bias; its part of the joint one is zero.
        self.qkv_proj = QKVParallelLinear(
            size, dim, config.heads, quant_config=quant_config, prefix=f"{prefix}.qkv_proj"
        )
        self.out_proj = RowParallelLinear(
            size, size, quant_config=quant_config, prefix=f"{prefix}.out_proj"
        )
        self.rotate = ApplyRotaryEmb(enforce_enable=True, is_neox_style=False)
        self.attn: Any = MMEncoderAttention(self.heads, dim, dim**-0.5, prefix=f"{prefix}.attn")

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        """``[positions, size]`` to the same."""
        joint, _ = self.qkv_proj(x)
        query, key, value = joint.unflatten(-1, (3, self.heads, -1)).unbind(-3)
        if ends.rope is not None:
            query, key = self._turned(query, *ends.rope), self._turned(key, *ends.rope)
        heard = self.attn(
            query[None],
            key[None],
            value[None],
            cu_seqlens=ends.cu_seqlens,
            max_seqlen=ends.max_seqlen,
            sequence_lengths=ends.sequence_lengths,
        )
        out: Tensor = self.out_proj(heard[0].flatten(1))[0]
        return out

    def _turned(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rotary, rest = x[..., : self.rotary_dim], x[..., self.rotary_dim :]
        return torch.cat((self.rotate(rotary, cos, sin), rest), dim=-1)


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(
        self, config: EncoderConfig, quant_config: QuantizationConfig | None, prefix: str
    ) -> None:
        super().__init__()
        size, ffn, eps = config.hidden_size, config.ffn_size, config.layer_norm_eps
        self.self_attn_layer_norm = nn.LayerNorm(size, eps)
        self.self_attn = EncoderAttention(config, quant_config, f"{prefix}.self_attn")
        self.final_layer_norm = nn.LayerNorm(size, eps)
        self.fc1 = ColumnParallelLinear(
            size, ffn, quant_config=quant_config, prefix=f"{prefix}.fc1"
        )
        self.fc2 = RowParallelLinear(ffn, size, quant_config=quant_config, prefix=f"{prefix}.fc2")

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        """``[positions, size]`` to the same."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), ends)
        wide, _ = self.fc1(self.final_layer_norm(x))
        x = x + self.fc2(functional.gelu(wide))[0]
        return x.clamp(-_FLOAT16_LIMIT, _FLOAT16_LIMIT) if x.dtype == torch.float16 else x


class WhisperTower(nn.Module):
    """Conv stem and the encoder layers."""

    def __init__(
        self, config: ModelConfig, quant_config: QuantizationConfig | None, prefix: str
    ) -> None:
        super().__init__()
        tower = self.config = config.encoder
        self.use_rope = config.use_rope
        self.conv1 = nn.Conv1d(tower.mel_bins, tower.hidden_size, 3, padding=1)
        self.conv2 = nn.Conv1d(tower.hidden_size, tower.hidden_size, 3, stride=2, padding=1)
        if not self.use_rope:
            self.embed_positions = nn.Embedding(tower.max_positions, tower.hidden_size)
        layers = [
            EncoderLayer(tower, quant_config, f"{prefix}.layers.{i}") for i in range(tower.layers)
        ]
        self.layers = nn.ModuleList(layers)
        self.backend = layers[0].self_attn.attn.attn_backend

    def forward(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Log-mels ``[bins, F_i]`` to encoder states ``[(F_i + 1) // 2, size]``."""
        clips = self._stem(mels)
        lengths = [len(clip) for clip in clips]
        if not self.use_rope:
            clips = [clip + self.embed_positions.weight[: len(clip)] for clip in clips]
        x, ends = torch.cat(clips), self._ends(lengths, clips[0])
        for layer in self.layers:
            x = layer(x, ends)
        return list(torch.split(x, lengths))

    def _stem(self, mels: Sequence[Tensor]) -> list[Tensor]:
        frames = [mel.shape[-1] for mel in mels]
        weight = self.conv1.weight
        batch = weight.new_zeros(len(mels), self.config.mel_bins, max(frames))
        heard = weight.new_zeros(len(mels), 1, max(frames))
        for row, mel in enumerate(mels):
            batch[row, :, : frames[row]] = mel
            heard[row, :, : frames[row]] = 1
        x = functional.gelu(self.conv1(batch)) * heard
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        return [row[: (n + 1) // 2] for row, n in zip(x, frames, strict=True)]

    def _ends(self, lengths: Sequence[int], like: Tensor) -> Ends:
        attention, backend = MMEncoderAttention, self.backend
        begins = np.cumsum([0, *lengths], dtype=np.int32)
        parts = get_tensor_model_parallel_world_size()
        rope = None
        if self.use_rope:
            tables = rotary_tables(
                max(lengths), self.config.rotary_dim, ENCODER_ROPE_THETA, like.device
            )
            cos, sin = (torch.cat([t[:n] for n in lengths]).to(like.dtype) for t in tables)
            rope = cos, sin
        return Ends(
            attention.maybe_recompute_cu_seqlens(
                backend, begins, self.config.hidden_size, parts, like.device
            ),
            torch.tensor(attention.compute_max_seqlen(backend, begins), dtype=torch.int32),
            attention.maybe_compute_seq_lens(backend, begins, like.device),
            rope,
        )


class AudioEncoder(nn.Module):
    """Tower, norm, and the adapter that joins frames into audio embeddings."""

    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_stacked={f".{name}_proj": (".qkv_proj", name) for name in "qkv"}
    )

    def __init__(
        self, config: ModelConfig, quant_config: QuantizationConfig | None, prefix: str
    ) -> None:
        super().__init__()
        self.config = config
        size, wide = config.encoder.hidden_size, config.adapter_size
        self.whisper = WhisperTower(config, quant_config, f"{prefix}.whisper")
        self.layer_norm = nn.LayerNorm(size, config.encoder.layer_norm_eps)
        # Named by their places in the published sequence; between them is a GELU.
        into, out = f"{prefix}.adapting.0", f"{prefix}.adapting.2"
        self.adapting = nn.ModuleDict(
            {
                "0": ColumnParallelLinear(
                    size * config.merge_factor, wide, quant_config=quant_config, prefix=into
                ),
                "2": RowParallelLinear(
                    wide, config.decoder.hidden_size, quant_config=quant_config, prefix=out
                ),
            }
        )

    def forward(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Log-mels ``[bins, F_i]`` to audio embeddings ``[N_i, hidden]``."""
        dtype = self.whisper.conv1.weight.dtype
        clips = self.whisper([mel.to(dtype) for mel in mels])
        merged = [self._merged(self.layer_norm(clip)) for clip in clips]
        wide, _ = self.adapting["0"](torch.cat(merged))
        audio: Tensor = self.adapting["2"](functional.gelu(wide))[0]
        return list(torch.split(audio, [len(clip) for clip in merged]))

    def _merged(self, clip: Tensor) -> Tensor:
        """Neighbouring frames side by side; those that fill no slot are left out."""
        merge = self.config.merge_factor
        slots = max(len(clip) // merge, 1)
        clip = functional.pad(clip, (0, 0, 0, max(merge - len(clip), 0)))
        return clip[: slots * merge].reshape(slots, -1)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Read weights by their published names, behind ``audio_encoder.``."""
        loaded: set[str] = AutoWeightsLoader(self).load_weights(
            self._completed(weights), mapper=self.hf_to_vllm_mapper
        )
        return loaded

    def _completed(self, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """With a bias for each key, and without positions that are not used."""
        for name, weight in weights:
            if self.whisper.use_rope and name == "whisper.embed_positions.weight":
                continue
            yield name, weight
            if name.endswith(".k_proj.weight"):
                yield name.replace("weight", "bias"), weight.new_zeros(len(weight))
