"""What engines have in common that search by themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ark_asr.engines.base import Ask
from ark_asr.errors import ModelError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Hypothesis, IntArray, StopReason


class CheckpointWriter:
    """A `Writer` on a checkpoint folder, but for the writing itself.

    Attributes:
        tokenizer: Of the checkpoint.
        output_ids: Ids that can be chosen, int64, ascending.
        max_positions: Positions (prompt plus generated tokens) of one clip.
        goes_on: Whether an answer can begin with ids that are given.
    """

    goes_on = True

    def __init__(self, tokenizer: Tokenizer, max_positions: int) -> None:
        self.tokenizer = tokenizer
        ids = np.arange(tokenizer.config.decoder.vocab_size)
        self.output_ids: IntArray = np.setdiff1d(ids, tokenizer.suppressed_ids)
        self.max_positions = max_positions

    def slots(self, samples: int) -> int:
        """Audio embeddings of a clip of so many samples."""
        return self.tokenizer.config.audio_slots(self.tokenizer.features.frames(samples))

    def positions(self, ask: Ask) -> int:
        """Length of a clip's prompt, with what the answer begins with."""
        slots = self.slots(len(ask.audio.samples))
        return len(self.tokenizer.prompt(slots, ask.instruction)) + len(ask.said)

    def limit(self, ask: Ask) -> int:
        """Tokens that are asked for: no more than there is room behind the prompt.

        Raises:
            ModelError: There is none.
        """
        room = self.max_positions - self.positions(ask)
        if room < 1:
            raise ModelError(
                f"a clip of {ask.audio.duration:.1f} s leaves no room in {self.max_positions} "
                "positions (of vLLM: max_model_len)"
            )
        return min(ask.max_new_tokens, room)

    def hypothesis(
        self, token_ids: Sequence[int], logprobs: Sequence[float], stop: StopReason
    ) -> Hypothesis:
        """An answer without the id that ended it.

        Raises:
            ModelError: Probabilities that are not finite, as of a precision that is too low.
        """
        kept = len(token_ids)
        if not all(map(math.isfinite, logprobs)):
            raise ModelError("the model's logits are not finite; try a higher precision")
        if kept and token_ids[-1] in self.tokenizer.stop_ids:
            kept, stop = kept - 1, "end"
        return Hypothesis(tuple(token_ids[:kept]), tuple(logprobs[:kept]), stop)
