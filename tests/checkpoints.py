"""Tiny random checkpoints in the published layout, for tests of several rooms."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from ark_asr.models.config import ModelConfig
from ark_asr.models.tokenizer import CONTROL_TOKENS, IM_END
from ark_asr.models.weights import HEAD, POSITIONS, tensor_shapes

VOCABULARY = 290  # 256 bytes, nine control tokens, and padding rows that are never text


def config_dict(
    *, size=64, encoder_layers=2, encoder_heads=2, encoder_ffn=96, hidden=64, layers=2, heads=4,
    kv_heads=2, head_dim=None, ffn=80, tied=True, use_rope=True, merge=4, max_positions=1024,
):  # fmt: skip
    """A ``config.json``."""
    return {
        "model_type": "arkasr", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "intermediate_size": ffn,
        "vocab_size": VOCABULARY, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0,
        "max_position_embeddings": max_positions, "tie_word_embeddings": tied,
        "head_dim": head_dim, "audio_token_id": 256 + CONTROL_TOKENS.index("<|audio|>"),
        "eos_token_id": 256 + CONTROL_TOKENS.index(IM_END), "merge_factor": merge,
        "use_rope": use_rope,
        "whisper_config": {
            "d_model": size, "encoder_layers": encoder_layers,
            "encoder_attention_heads": encoder_heads, "encoder_ffn_dim": encoder_ffn,
            "num_mel_bins": 128, "max_source_positions": 1500,
        },
    }  # fmt: skip


def random_weights(config: ModelConfig, seed=0, *, scale=1.0):
    """Tensors by name, in a size that keeps activations near one."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in tensor_shapes(config).items():
        values = rng.standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            values *= 0.2
            values += name.endswith("norm.weight")
        elif name in (HEAD, "model.embed_tokens.weight", POSITIONS):
            values *= 0.5
        else:
            values *= scale / np.sqrt(np.prod(shape[1:]))
        tensors[name] = values
    if config.decoder.tied_head:
        tensors[HEAD] = tensors["model.embed_tokens.weight"]
    return tensors


def bfloat16_bits(values):
    """The upper halves of float32 values, rounded to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_safetensors(path: Path, tensors, dtype="F32"):
    """Write tensors in their order, as F32, F16 or BF16."""
    convert = {
        "F32": lambda v: v.astype("<f4"), "F16": lambda v: v.astype("<f2"), "BF16": bfloat16_bits,
    }[dtype]  # fmt: skip
    header, blocks, begin = {"__metadata__": {"format": "pt"}}, [], 0
    for name, values in tensors.items():
        block = convert(values).tobytes()
        span = [begin, begin + len(block)]
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": span}
        blocks.append(block)
        begin += len(block)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blocks))


def write_tokenizer(folder: Path):
    """A byte-level BPE without merges, and the control tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(BPE({letter: id_ for id_, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(token, special=True) for token in CONTROL_TOKENS])
    raw.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": IM_END}))


def write_checkpoint(folder: Path, *, seed=0, dtype="F32", scale=1.0, **geometry) -> ModelConfig:
    """Write a whole checkpoint folder; return its numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_dict(**geometry)))
    write_tokenizer(folder)
    config = ModelConfig.load(folder)
    tensors = random_weights(config, seed, scale=scale)
    write_safetensors(folder / "model.safetensors", tensors, dtype)
    return config
