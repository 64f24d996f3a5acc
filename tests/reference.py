"""The model's mathematics once more, in plain numpy float64 and without a batch or a cache.

Written from the description of the architecture, not from `modeling` or `graphs`: rotations are
complex products, attention is spelled out per head.
"""

from __future__ import annotations

from math import erf

import numpy as np

_erf = np.vectorize(erf)


def gelu(x):
    return 0.5 * x * (1 + _erf(x / np.sqrt(2)))


def layer_norm(x, weight, bias):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(
        x.var(-1, keepdims=True) + 1e-5
    ) * weight + bias


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def turn(length, dim, theta):
    """Unit complex numbers ``[length, dim / 2]``."""
    return np.exp(1j * np.outer(np.arange(length), theta ** (-np.arange(0, dim, 2) / dim)))


def attend(query, key, value, *, causal):
    """One head: ``[time, dim]`` each."""
    scores = query @ key.T / np.sqrt(query.shape[-1])
    if causal:
        scores = np.where(np.tri(len(query), dtype=bool), scores, -np.inf)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return scores / scores.sum(-1, keepdims=True) @ value


class Reference:
    """All functions of one checkpoint."""

    def __init__(self, config, tensors):
        self.config = config
        self.tensors = {name: values.astype(np.float64) for name, values in tensors.items()}

    def linear(self, name, x):
        y = x @ self.tensors[f"{name}.weight"].T
        return y + self.tensors.get(f"{name}.bias", 0.0)

    def norm(self, name, x):
        return layer_norm(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def embed_audio(self, mel):
        """``[bins, frames]`` to ``[slots, hidden]``."""
        audio, tower = self.config.encoder, "audio_encoder.whisper"
        x = mel.astype(np.float64)
        for name, stride in (("conv1", 1), ("conv2", 2)):
            padded = np.pad(x, ((0, 0), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)[:, ::stride]
            x = np.einsum("itk,oik->ot", windows, self.tensors[f"{tower}.{name}.weight"])
            x = gelu(x + self.tensors[f"{tower}.{name}.bias"][:, None])
        x = x.T
        if not self.config.use_rope:
            x = x + self.tensors[f"{tower}.embed_positions.weight"][: len(x)]
        for i in range(audio.layers):
            layer = f"{tower}.layers.{i}"
            y = self.norm(f"{layer}.self_attn_layer_norm", x)
            q, k, v = (self.linear(f"{layer}.self_attn.{kind}_proj", y) for kind in "qkv")
            heads = [
                attend(self.pairs(q[:, part]), self.pairs(k[:, part]), v[:, part], causal=False)
                for part in slices(audio.heads, audio.head_dim)
            ]
            x = x + self.linear(f"{layer}.self_attn.out_proj", np.concatenate(heads, axis=1))
            y = self.norm(f"{layer}.final_layer_norm", x)
            x = x + self.linear(f"{layer}.fc2", gelu(self.linear(f"{layer}.fc1", y)))
        x = self.norm("audio_encoder.layer_norm", x)
        merge = self.config.merge_factor
        x = (
            x[: len(x) // merge * merge]
            if len(x) >= merge
            else np.pad(x, ((0, merge - len(x)), (0, 0)))
        )
        y = gelu(self.linear("audio_encoder.adapting.0", x.reshape(len(x) // merge, -1)))
        return self.linear("audio_encoder.adapting.2", y)

    def pairs(self, x):
        """Rotate adjacent pairs of the first half of a head."""
        if not self.config.use_rope:
            return x
        half = x.shape[1] // 2
        turned = (x[:, 0:half:2] + 1j * x[:, 1:half:2]) * turn(len(x), half, 10_000.0)
        out = x.copy()
        out[:, 0:half:2], out[:, 1:half:2] = turned.real, turned.imag
        return out

    def logits(self, token_ids, audio):
        """``[length, vocabulary]`` of a whole sequence."""
        text = self.config.decoder
        x = self.tensors["model.embed_tokens.weight"][token_ids]
        x[np.asarray(token_ids) == self.config.audio_token_id] = audio
        for i in range(text.layers):
            layer = f"model.layers.{i}"
            y = rms_norm(x, self.tensors[f"{layer}.input_layernorm.weight"], text.rms_norm_eps)
            q, k, v = (self.linear(f"{layer}.self_attn.{kind}_proj", y) for kind in "qkv")
            shared = slices(text.kv_heads, text.head_dim)
            heads = []
            for j, part in enumerate(slices(text.heads, text.head_dim)):
                group = shared[j * text.kv_heads // text.heads]
                query, key = self.halves(q[:, part]), self.halves(k[:, group])
                heads.append(attend(query, key, v[:, group], causal=True))
            x = x + self.linear(f"{layer}.self_attn.o_proj", np.concatenate(heads, axis=1))
            name = f"{layer}.post_attention_layernorm.weight"
            y = rms_norm(x, self.tensors[name], text.rms_norm_eps)
            gate = self.linear(f"{layer}.mlp.gate_proj", y)
            wide = gate / (1 + np.exp(-gate)) * self.linear(f"{layer}.mlp.up_proj", y)
            x = x + self.linear(f"{layer}.mlp.down_proj", wide)
        x = rms_norm(x, self.tensors["model.norm.weight"], text.rms_norm_eps)
        head = "model.embed_tokens" if text.tied_head else "lm_head"
        return x @ self.tensors[f"{head}.weight"].T

    def halves(self, x):
        """Rotate dimension j with j + dim / 2."""
        half = x.shape[1] // 2
        turned = x[:, :half] + 1j * x[:, half:]
        turned *= turn(len(x), x.shape[1], self.config.decoder.rope_theta)
        return np.concatenate((turned.real, turned.imag), axis=1)


def slices(count, width):
    return [slice(j * width, (j + 1) * width) for j in range(count)]
