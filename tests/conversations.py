"""Checkpoint folders as published, and what transformers is asked about them."""

from __future__ import annotations

import json

import numpy as np

from ark_asr.models.tokenizer import INSTRUCTION
from checkpoints import write_checkpoint

# The file that the published checkpoints carry.
PREPROCESSOR = {
    "auto_map": {"AutoProcessor": "processing_arkasr.ArkasrProcessor"}, "chunk_length": 30,
    "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128,
    "hop_length": 160, "n_fft": 400, "n_samples": 480000, "nb_max_frames": 3000,
    "padding_side": "right", "padding_value": 0.0, "processor_class": "ArkasrProcessor",
    "return_attention_mask": False, "sampling_rate": 16000,
}  # fmt: skip


GEOMETRIES = {
    "tied": {},
    "untied, wide heads": {"tied": False, "head_dim": 24, "heads": 2, "kv_heads": 1},
    "merging three, learned positions": {"merge": 3, "use_rope": False, "encoder_layers": 1},
}


def checkpoint(folder, **geometry):
    """A tiny checkpoint with the published front end, but without any code."""
    write_checkpoint(folder, **geometry)
    front = {key: value for key, value in PREPROCESSOR.items() if key != "auto_map"}
    (folder / "preprocessor_config.json").write_text(json.dumps(front))
    return folder


def conversation(source, **times):
    audio = {"type": "audio", "path" if isinstance(source, str) else "audio": source, **times}
    return [{"role": "user", "content": [audio, {"type": "text", "text": INSTRUCTION}]}]


def noise(seconds, seed=0):
    samples = np.random.default_rng(seed).standard_normal(round(seconds * 16_000))
    return (0.1 * samples).astype(np.float32)
