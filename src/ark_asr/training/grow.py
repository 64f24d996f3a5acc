"""Wider checkpoints that say the same: a teacher need not begin with nothing.

Every state of the network becomes several copies of itself, side by side, and every matrix reads
them with weights that add up to the old ones (the idea of Net2Net, arXiv 1511.05641, and of
bert2BERT, arXiv 2110.07143). What the copies' weights differ by is noise that cancels out while the
copies are equal; without it they would be given the same gradients, and stay equal for ever.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ark_asr.errors import OptionError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.config import CONFIG_FILE, ModelConfig
from ark_asr.models.fields import read_json
from ark_asr.models.weights import EMBEDDING, HEAD, POSITIONS
from ark_asr.training.checkpoint import derived

_LAST_NORM = "model.norm.weight"
_FIRST_CONV = "audio_encoder.whisper.conv1.weight"
_JOINING = "audio_encoder.adapting.0.weight"
# Heads keep their size, and with it their rotation: there are more of them.
_DECODER_KEYS = (
    "hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size",
)  # fmt: skip
_ENCODER_KEYS = ("d_model", "encoder_attention_heads", "encoder_ffn_dim")
_MOST = 8  # 64 times the parameters


def grow_checkpoint(
    source: Path, target: Path, *, times: int = 2, seed: int = 0
) -> tuple[int, int]:
    """Write a checkpoint ``times`` as wide, with nearly ``times**2`` the parameters.

    It gives the logits of ``source``, up to rounding (to bfloat16 in the file).

    Args:
        source: A checkpoint folder.
        target: A new folder.
        times: Copies of each state, 2 to 8.
        seed: Of the noise.

    Returns:
        Parameters of the source and of the new checkpoint, a tied head counted once.

    Raises:
        OptionError: ``times`` is not 2 to 8, or the target exists.
        ModelError: The source cannot be read.
    """
    if not 2 <= times <= _MOST:
        raise OptionError(f"a model grows 2 to {_MOST} times as wide, not {times}")
    with derived(source, target) as partial:
        old = ArkForConditionalGeneration.load(source)
        written = _wider(read_json(source / CONFIG_FILE), old.config, times)
        (partial / CONFIG_FILE).write_text(json.dumps(written, indent=2) + "\n")
        noise = torch.Generator().manual_seed(seed)
        weights = grow_weights(old.state_dict(), times, noise, merge=old.config.merge_factor)
        old.save(partial, weights=weights)
        new = ArkForConditionalGeneration.load(partial)  # whole, and of the shapes it says
    before, after = (sum(p.numel() for p in model.parameters()) for model in (old, new))
    return before, after


def grow_weights(
    weights: Mapping[str, Tensor], times: int, noise: torch.Generator, *, merge: int
) -> dict[str, Tensor]:
    """Weights of the wider model, by their published names.

    Args:
        weights: Of the model as it is, float32.
        times: Copies of each state.
        noise: Where the copies' differences come from.
        merge: Encoder frames that the adapter joins.
    """
    grown = {}
    for name, weight in weights.items():
        if weight.dim() == 1:  # biases and norms
            # The head adds up all copies: they reach it as parts of what they were.
            share = times if name == _LAST_NORM else 1
            grown[name] = weight.repeat(times) / share
        elif name in (EMBEDDING, HEAD, POSITIONS):
            grown[name] = weight.repeat(1, times)
        elif name == _FIRST_CONV:  # reads mel bins, of which there is one copy
            grown[name] = weight.repeat(times, 1, 1)
        elif name == _JOINING:  # each of the joined frames has its own copies
            frames = weight.reshape(len(weight), merge, -1)
            grown[name] = _grow_matrix(frames, 2, times, noise).flatten(1)
        else:
            grown[name] = _grow_matrix(weight, 1, times, noise)
    return grown


def _grow_matrix(weight: Tensor, axis: int, times: int, noise: torch.Generator) -> Tensor:
    """A matrix that reads and writes several copies; those it reads lie along ``axis``.

    The noise is as large as makes the new weights those of a matrix of that many inputs.
    """
    repeats = [1] * weight.dim()
    repeats[0] = repeats[axis] = times
    whole = (weight / times).repeat(repeats)
    copies = torch.randn(whole.shape, generator=noise).chunk(times, axis)
    mean = sum(copies, start=torch.zeros(())) / times
    apart = torch.cat([copy - mean for copy in copies], axis)
    return whole + apart * weight.std() / math.sqrt(times)


def _wider(written: Mapping[str, Any], config: ModelConfig, times: int) -> dict[str, Any]:
    """``config.json`` of the wider model, with everything else that stood in it."""
    text = config.decoder
    sizes = (text.hidden_size, text.heads, text.kv_heads, text.ffn_size)
    audio = config.encoder
    wide = (audio.hidden_size, audio.heads, audio.ffn_size)
    return {
        **written,
        **{key: size * times for key, size in zip(_DECODER_KEYS, sizes, strict=True)},
        "head_dim": text.head_dim,
        "whisper_config": {
            **written["whisper_config"],
            **{key: size * times for key, size in zip(_ENCODER_KEYS, wide, strict=True)},
        },
    }
