"""What engines share whose graphs take one row: the rows of a batch run one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ark_asr.engines.base import DecoderState
from ark_asr.engines.grouping import room_for
from ark_asr.errors import OptionError
from ark_asr.types import FloatArray, IntArray, Prompt

CacheT = TypeVar("CacheT")


@dataclass(slots=True, eq=False)
class RowState:
    """One batch of rows: the latest logits, and each row's keys and values.

    Attributes:
        logits: float32 ``[rows, columns]``; overwritten by the next step.
        positions: Filled positions of each row, int64 ``[rows]``.
        room: Positions that each row may fill.
        caches: What the engine keeps of each row; ``None`` for one that has ended.
    """

    logits: FloatArray
    positions: IntArray
    room: int
    caches: list[Any]


class RowEngine(ABC, Generic[CacheT]):
    """The part of an engine above its graphs.

    A row that is fed an id that ends an answer is not computed any further.

    Args:
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending.
        max_positions: Positions that one row can hold.
        audio_id: Stands in a prompt where an audio embedding goes.
        stop_ids: Ids that end an answer.
        hidden_size: Width of an embedding.
    """

    def __init__(
        self,
        *,
        output_ids: IntArray,
        max_positions: int,
        audio_id: int,
        stop_ids: Collection[int],
        hidden_size: int,
    ) -> None:
        self.output_ids = output_ids
        self.max_positions = max_positions
        self._audio_id, self._stop_ids, self._hidden = audio_id, stop_ids, hidden_size

    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> RowState:
        """Feed the prompts; room is kept for ``max_new_tokens`` more per row.

        Raises:
            OptionError: A prompt and ``max_new_tokens`` need more than ``max_positions``.
        """
        lengths = [len(prompt.token_ids) for prompt in prompts]
        room = room_for(lengths, max_new_tokens, self.max_positions)
        state = RowState(
            np.empty((len(prompts), len(self.output_ids)), np.float32),
            np.zeros(len(prompts), np.int64),
            room,
            [self._new_cache() for _ in prompts],
        )
        for row, prompt in enumerate(prompts):
            self._feed(state, row, self._embed(prompt))
        return state

    def step(self, state: DecoderState, token_ids: IntArray) -> RowState:
        """Feed one token to each row, int64 ``[rows]``.

        Raises:
            OptionError: A row is full.
        """
        if not isinstance(state, RowState):
            raise TypeError("the state belongs to another engine")
        if int(state.positions.max()) >= state.room:
            raise OptionError(f"a row is full: {state.room} positions were asked for at the start")
        for row, token in enumerate(token_ids.tolist()):
            if token in self._stop_ids:
                state.caches[row] = None
            if state.caches[row] is not None:
                self._feed(state, row, self._embed_ids([token]))
        return state

    def select(self, state: DecoderState, rows: IntArray) -> RowState:
        """See ``Reorders``; who takes a row first takes it as it is, the others copies."""
        if not isinstance(state, RowState):
            raise TypeError("the state belongs to another engine")
        caches: list[CacheT | None] = []
        taken = set[int]()
        for row in rows.tolist():
            cache = state.caches[row]
            again = cache is not None and row in taken
            caches.append(self._copied(cache) if again else cache)
            taken.add(row)
        return RowState(state.logits[rows], state.positions[rows], state.room, caches)

    def _feed(self, state: RowState, row: int, embeds: FloatArray) -> None:
        position = int(state.positions[row])
        logits = self._run(state.caches[row], position, embeds[None])
        state.logits[row] = logits[self.output_ids]
        state.positions[row] += len(embeds)

    def _embed(self, prompt: Prompt) -> FloatArray:
        """Embeddings ``[L, hidden]`` of a prompt, its audio among them."""
        ids = np.asarray(prompt.token_ids, np.int64)
        slots = ids == self._audio_id
        if slots.sum() != len(prompt.audio):
            raise OptionError(
                f"a prompt has {slots.sum()} audio ids, but {len(prompt.audio)} embeddings"
            )
        embeds = np.empty((len(ids), self._hidden), np.float32)
        embeds[slots] = prompt.audio
        embeds[~slots] = self._embed_ids(ids[~slots].tolist())
        return embeds

    @abstractmethod
    def _new_cache(self) -> CacheT:
        """An empty cache of one row."""

    @abstractmethod
    def _copied(self, cache: CacheT) -> CacheT:
        """The same, to be written on independently."""

    @abstractmethod
    def _embed_ids(self, token_ids: list[int]) -> FloatArray:
        """Embeddings ``[n, hidden]`` of ids."""

    @abstractmethod
    def _run(self, cache: CacheT, position: int, embeds: FloatArray) -> FloatArray:
        """Feed embeddings ``[1, new, hidden]`` from a position on; the cache is changed in place.

        Returns:
            Logits ``[vocabulary]`` behind the last of them.
        """
