"""Answers that are known in part before they are searched for.

Live captions look at an utterance again and again, and write it down when it is over. What the
latest look found is most likely what the next one begins with. So it is fed together with the
prompt, in one pass, and the search finds its logits there as long as it chooses what the draft
says; from the first other token on it goes step by step. The draft is verified, not believed: up to
rounding nothing changes but the time (speculative decoding; Leviathan et al. 2023, ICML, "Fast
Inference from Transformers via Speculative Decoding").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ark_asr.engines.base import DecoderState, Engine, Verifies
from ark_asr.types import FloatArray, IntArray, Prompt


@dataclass(slots=True, eq=False)
class DraftedState:
    """One row, while the search chooses what its draft says.

    Attributes:
        state: The engine's own: behind the prompt and all that it has read of the draft.
        draft: What it has read, ids.
        known: Logits behind the prompt and behind each id of the draft, float32 ``[ids + 1,
            columns]``.
        prompt: Positions of the prompt.
        chosen: Ids of the draft that the search has chosen.
    """

    state: DecoderState
    draft: list[int]
    known: FloatArray
    prompt: int
    chosen: int = 0

    @property
    def logits(self) -> FloatArray:
        """Logits of the next token, float32 ``[1, columns]``."""
        return self.known[self.chosen : self.chosen + 1]

    @property
    def positions(self) -> IntArray:
        """Filled positions of the row, int64 ``[1]``."""
        return np.array([self.prompt + self.chosen], np.int64)


class Drafted(Engine):
    """An engine for one prompt, with a draft of its answer.

    Args:
        engine: What is asked.
        draft: Ids that the answer may begin with.

    Attributes:
        output_ids: The engine's.
        max_positions: The engine's.
    """

    def __init__(self, engine: Verifies, draft: Sequence[int]) -> None:
        self._engine = engine
        self._draft = list(draft)
        self.output_ids = engine.output_ids
        self.max_positions = engine.max_positions

    def embed_audio(self, mels: Sequence[FloatArray]) -> list[FloatArray]:
        """The engine's."""
        return self._engine.embed_audio(mels)

    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> DraftedState:
        """Feed the prompt and its draft.

        Raises:
            OptionError: As the engine's.
        """
        (prompt,) = prompts
        draft = self._draft[:max_new_tokens]
        state, known = self._engine.verify(prompt, draft, max_new_tokens)
        return DraftedState(state, draft[: len(known) - 1], known, len(prompt.token_ids))

    def step(self, state: DecoderState, token_ids: IntArray) -> DecoderState:
        """Feed one token, int64 ``[1]``, unless it was in its place already."""
        if not isinstance(state, DraftedState):
            return self._engine.step(state, token_ids)
        if state.draft[state.chosen : state.chosen + 1] == [token_ids[0]]:
            state.chosen += 1
            return state
        position = state.prompt + state.chosen
        return self._engine.step(self._engine.rewind(state.state, position), token_ids)

    def close(self) -> None:
        """The engine's."""
        self._engine.close()
