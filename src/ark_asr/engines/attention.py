"""Which part of the sound a token was drawn from: attention of decoder heads to the audio slots.

A decoder that chooses a token looks back at the sound it is about to write down. The engines hand
over queries and keys as their layers make them; what follows is the same for all of them and is
done here in numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ark_asr.errors import OptionError
from ark_asr.models.calibration import Head
from ark_asr.models.config import DecoderConfig, ModelConfig
from ark_asr.types import FloatArray, Prompt


def chosen_heads(config: DecoderConfig, heads: Sequence[Head] | None) -> list[Head]:
    """The heads that are meant; ``None`` is all of them, in order.

    Raises:
        OptionError: The decoder has no such head.
    """
    if heads is None:
        return [Head(i, j) for i in range(config.layers) for j in range(config.heads)]
    for head in heads:
        if not (0 <= head.layer < config.layers and 0 <= head.head < config.heads):
            raise OptionError(
                f"the decoder has no head {head.head} in layer {head.layer}; calibrate it again"
            )
    return list(heads)


def teacher_forced(
    prompts: Sequence[Prompt], token_ids: Sequence[Sequence[int]], max_positions: int
) -> list[Prompt]:
    """Prompts with the text behind them, but its last token: nothing is chosen after that.

    Raises:
        OptionError: One needs more than ``max_positions``.
    """
    fed = [
        Prompt([*prompt.token_ids, *ids[:-1]], prompt.audio)
        for prompt, ids in zip(prompts, token_ids, strict=True)
    ]
    longest = max((len(prompt.token_ids) for prompt in fed), default=0)
    if longest > max_positions:
        raise OptionError(
            f"a prompt and its text need {longest} positions; the model has {max_positions}"
        )
    return fed


def attention_to_audio(
    fed: Prompt,
    tokens: int,
    layers: Mapping[int, tuple[FloatArray, FloatArray]],
    heads: Sequence[Head],
    config: ModelConfig,
) -> FloatArray:
    """Softmax over the audio slots alone: what is spent on other positions does not count.

    Args:
        fed: Prompt and text, as `teacher_forced` makes them.
        tokens: How many tokens the text has.
        layers: By number: queries, not rotated, in the first columns of
            ``[positions, at least heads * head_dim]``, and rotated keys
            ``[kv_heads, at least positions, head_dim]``.
        heads: Those that are wanted.
        config: The model's numbers.

    Returns:
        float32 ``[len(heads), tokens, slots]``; each row of slots has the sum 1.
    """
    text, length = config.decoder, len(fed.token_ids)
    # The position before a token is where it is chosen.
    positions = np.arange(length - tokens, length)
    slots = np.flatnonzero(np.asarray(fed.token_ids) == config.audio_token_id)
    half, group = text.head_dim // 2, text.heads // text.kv_heads
    angles = np.outer(positions, text.rope_theta ** (-np.arange(half) / half))
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    scores = np.empty((len(heads), tokens, len(slots)), np.float32)
    for score, head in zip(scores, heads, strict=True):
        queries, keys = layers[head.layer]
        begin = head.head * text.head_dim
        query = queries[positions, begin : begin + text.head_dim]
        first, second = query[:, :half], query[:, half:]
        turned = np.hstack([first * cos - second * sin, second * cos + first * sin])
        score[:] = turned @ keys[head.head // group, slots].T
    scores /= np.sqrt(text.head_dim)
    np.exp(scores - scores.max(axis=-1, keepdims=True), out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores
