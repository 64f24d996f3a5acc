"""The seam between numbers and words.

An engine turns log-mels into audio embeddings and prompts into logits. Search, rules and guards
live above it and are the same for every engine; an engine knows nothing of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ark_asr.types import FloatArray, IntArray, Prompt


class DecoderState(Protocol):
    """The decoder after its latest token: one row per prompt, in the order of the prompts.

    A state belongs to the engine that made it and is used by one thread at a time.
    """

    @property
    def logits(self) -> FloatArray:
        """Logits of the next token, float32 ``[rows, columns]``; valid until the next step."""
        ...

    @property
    def positions(self) -> IntArray:
        """Filled positions of each row (prompt and fed tokens), int64 ``[rows]``."""
        ...


class Engine(Protocol):
    """One loaded model.

    Attributes:
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending. Ids that may
            never be chosen can be missing: an engine may leave their rows out of the output
            projection.
        max_positions: Positions (prompt plus generated tokens) that one row can hold.
    """

    output_ids: IntArray
    max_positions: int

    def embed_audio(self, mels: Sequence[FloatArray]) -> list[FloatArray]:
        """Encoder and adapter: log-mels ``[bins, F_i]`` to embeddings ``[N_i, hidden]``.

        The result for a clip does not depend on the other clips of the call.
        """
        ...

    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> DecoderState:
        """Feed the prompts (prefill); room is kept for ``max_new_tokens`` more per row."""
        ...

    def step(self, state: DecoderState, token_ids: IntArray) -> DecoderState:
        """Feed one token to each row, int64 ``[rows]``, and return the state after it.

        The state passed in is used up. Rows that have ended are fed any id; their logits mean
        nothing.
        """
        ...

    def close(self) -> None:
        """Give back memory and files. Using the engine afterwards is an error."""
        ...
