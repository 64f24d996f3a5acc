"""A model made to write given texts: what it would have written next at every place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.data import TOKEN_STEP


def forced_states(
    model: ArkForConditionalGeneration,
    tokenizer: Tokenizer,
    audio: Tensor,
    slots: Sequence[int],
    texts: Sequence[Sequence[int]],
) -> list[Tensor]:
    """Hidden states of the decoder behind each token of each text; ``lm_head`` makes them logits.

    Args:
        model: An ARK model.
        tokenizer: Its tokenizer.
        audio: Audio embeddings ``[clips, most slots, hidden]``.
        slots: Audio embeddings of each clip.
        texts: Ids of each clip's text.

    Returns:
        ``[places, hidden]`` for each clip; place ``n`` is behind ``n`` tokens, the first behind the
        prompt alone.
    """
    prompts = [tokenizer.prompt(count) for count in slots]
    rows = [torch.tensor([*p, *text]) for p, text in zip(prompts, texts, strict=True)]
    # A few lengths, not any: see data.padded_frames.
    ids = pad_sequence(rows, batch_first=True, padding_value=tokenizer.config.pad_token_id)
    ids = torch.nn.functional.pad(
        ids, (0, -ids.shape[1] % TOKEN_STEP), value=tokenizer.config.pad_token_id
    )
    hidden = model.model(model.embed_prompt(ids.to(audio.device), audio))
    return [
        hidden[i, len(prompt) - 1 : len(prompt) + len(text)]
        for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True))
    ]
