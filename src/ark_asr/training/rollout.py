"""A student writes down what it hears, as it would for anybody: its rollouts.

The search and the suppressed ids are those of inference, run on the very weights that are being
trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ark_asr.decoding.rules import Rule, SearchState, SuppressIds
from ark_asr.decoding.search import greedy
from ark_asr.engines.torch import TorchEngine
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import FloatArray, Hypothesis, Prompt

SPARE_TOKENS = 8


class Sample:
    """Turns the choice of the likeliest token into a draw from the softmax (a `Rule`).

    The largest of logits with Gumbel noise is such a draw (Gumbel, 1954), so greedy search does the
    rest.

    Args:
        temperature: Of the softmax.
        rng: Where chance comes from.
    """

    def __init__(self, temperature: float, rng: np.random.Generator) -> None:
        self._temperature, self._rng = temperature, rng

    def apply(self, logits: FloatArray, state: SearchState) -> None:  # noqa: ARG002 - same always
        """See ``Rule``."""
        logits /= self._temperature
        logits += self._rng.gumbel(size=logits.shape).astype(np.float32)


def roll_out(
    model: ArkForConditionalGeneration,
    tokenizer: Tokenizer,
    audio: Tensor,
    slots: Sequence[int],
    *,
    temperature: float = 0.0,
    max_new_tokens: int = 0,
    rng: np.random.Generator | None = None,
) -> list[Hypothesis]:
    """What a model writes down.

    Args:
        model: With its weights of the moment.
        tokenizer: Its tokenizer.
        audio: Audio embeddings ``[clips, most slots, hidden]``.
        slots: Audio embeddings of each clip.
        temperature: Tokens are drawn at this temperature; 0 takes the likeliest.
        max_new_tokens: Most tokens of a clip; 0 for one per audio embedding and a few more.
        rng: Needed for drawing.

    Returns:
        One hypothesis per clip; its log-probabilities mean nothing if tokens were drawn.
    """
    engine = TorchEngine(model, tokenizer.suppressed_ids)
    rules: list[Rule] = [SuppressIds(tokenizer.suppressed_ids, engine.output_ids)]
    if temperature:
        rules.append(Sample(temperature, rng or np.random.default_rng()))
    heard = audio.detach().float().cpu().numpy()
    prompts = [Prompt(tokenizer.prompt(n), row[:n]) for n, row in zip(slots, heard, strict=True)]
    # Search computes in the weights' own precision. Only weights of several (LoRA over bfloat16)
    # need one to be chosen for them.
    several = len({weight.dtype for weight in model.parameters()}) > 1
    limits = [max_new_tokens or n + SPARE_TOKENS for n in slots]
    with torch.autocast(audio.device.type, torch.bfloat16, enabled=several):
        return greedy(
            engine, prompts, rules=rules, stop_ids=tokenizer.stop_ids, max_new_tokens=limits
        )
