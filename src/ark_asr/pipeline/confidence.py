"""How likely words are right."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ark_asr.decoding.words import SpelledWord, spell
from ark_asr.models.calibration import Curve
from ark_asr.models.tokenizer import TextCodec
from ark_asr.types import Hypothesis


class Confidence:
    """The model's own probabilities, and what is known of how far they can be trusted.

    Args:
        tokenizer: Of the model.
        curve: From the product of a word's token probabilities to the share of words that is right;
            ``None`` for a model that was not calibrated.
    """

    def __init__(self, tokenizer: TextCodec, curve: Curve | None) -> None:
        self._tokenizer = tokenizer
        self._curve = curve

    def of_words(self, words: Sequence[SpelledWord], logprobs: Sequence[float]) -> list[float]:
        """The probability of each word, 0 to 1: of all its tokens together."""
        raw = [math.exp(sum(logprobs[k] for k in word.tokens)) for word in words]
        return [self._curve(value) for value in raw] if self._curve else raw

    def of_text(self, hypothesis: Hypothesis) -> float:
        """That of a text that is not empty, 0 to 1.

        Calibrated: the share of its words that can be expected to be right. Else the geometric mean
        of the token probabilities.
        """
        logprobs = hypothesis.logprobs
        if self._curve is None:
            return math.exp(sum(logprobs) / len(logprobs))
        words = spell(hypothesis.token_ids, self._tokenizer.decode)
        return float(np.mean(self.of_words(words, logprobs)))
