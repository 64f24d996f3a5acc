"""An engine that plays back given tokens: tests of everything above the engines need no weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ark_asr.engines.attention import chosen_heads
from ark_asr.engines.base import DecoderState
from ark_asr.errors import OptionError
from ark_asr.models.calibration import Head
from ark_asr.models.config import ModelConfig
from ark_asr.types import FloatArray, IntArray, Prompt


@dataclass(slots=True, eq=False)
class ScriptedState:
    """Which clip each row plays, and how far it is.

    Attributes:
        logits: float32 ``[rows, columns]``.
        positions: Filled positions of each row, int64 ``[rows]``.
        clips: Number of the clip that each row plays.
        played: Tokens that each row has been fed since its prompt.
    """

    logits: FloatArray
    positions: IntArray
    clips: IntArray
    played: int = 0


class ScriptedEngine:
    """Answers the n-th clip it hears with the n-th script, whatever is fed to it.

    Args:
        config: Numbers of the model it stands for (sizes, vocabulary, slots per clip).
        answers: Token ids of each clip, in the order in which ``embed_audio`` hears the clips;
            afterwards the end id is played.
        end_id: Ends every answer; the first of the configuration's if not given.
        probability: Of the scripted id at each step; the other ids share the rest evenly.
        output_ids: Ids that have a logits column, ascending; the whole vocabulary if not given.

    Raises:
        OptionError: An answer holds an id without a column, the probability is not between 0 and 1,
            or there is no end id.
    """

    def __init__(
        self,
        config: ModelConfig,
        answers: Sequence[Sequence[int]],
        *,
        end_id: int | None = None,
        probability: float = 0.9,
        output_ids: IntArray | None = None,
    ) -> None:
        if not 0 < probability < 1:
            raise OptionError(f"probability is {probability}; it must be between 0 and 1")
        if end_id is None and not config.eos_token_ids:
            raise OptionError("config.json names no end id; give end_id")
        self.config = config
        self.max_positions = config.decoder.max_positions
        self.slot_seconds = config.slot_seconds
        self.output_ids: IntArray = (
            np.arange(config.decoder.vocab_size) if output_ids is None else output_ids
        )
        end = config.eos_token_ids[0] if end_id is None else end_id
        self._scripts = [[*answer, end] for answer in answers]
        allowed = set(self.output_ids.tolist())
        unknown = {id_ for script in self._scripts for id_ in script} - allowed
        if unknown:
            raise OptionError(f"ids that may not be chosen: {sorted(unknown)}")
        self._chosen = math.log(probability)
        self._rest = math.log((1 - probability) / max(len(self.output_ids) - 1, 1))
        self._heard = 0

    def embed_audio(self, mels: Sequence[FloatArray]) -> list[FloatArray]:
        """Embeddings ``[N_i, hidden]`` that carry the clip's number; no sound is looked at.

        Raises:
            OptionError: There are more clips than answers.
        """
        found = []
        for mel in mels:
            if self._heard == len(self._scripts):
                raise OptionError(f"the script has answers for {self._heard} clips only")
            slots = self.config.audio_slots(mel.shape[1])
            shape = (slots, self.config.decoder.hidden_size)
            found.append(np.full(shape, self._heard, np.float32))
            self._heard += 1
        return found

    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> ScriptedState:
        """Begin the answers to these clips.

        Raises:
            OptionError: A prompt and ``max_new_tokens`` need more than ``max_positions``.
        """
        positions = np.array([len(prompt.token_ids) for prompt in prompts], np.int64)
        if positions.max() + max_new_tokens > self.max_positions:
            raise OptionError(f"the model has {self.max_positions} positions only")
        clips = np.array([int(prompt.audio[0, 0]) for prompt in prompts], np.int64)
        return self._play(ScriptedState(np.empty(0, np.float32), positions, clips))

    def step(self, state: DecoderState, token_ids: IntArray) -> ScriptedState:
        """The next token of each script."""
        if not isinstance(state, ScriptedState):
            raise TypeError("the state belongs to another engine")
        state.positions += 1
        state.played += 1
        if len(token_ids) != len(state.clips):
            raise OptionError(f"{len(token_ids)} tokens for {len(state.clips)} rows")
        return self._play(state)

    def select(self, state: DecoderState, rows: IntArray) -> ScriptedState:
        """See ``Reorders``."""
        if not isinstance(state, ScriptedState):
            raise TypeError("the state belongs to another engine")
        return ScriptedState(
            state.logits[rows], state.positions[rows], state.clips[rows], state.played
        )

    def attend(
        self,
        prompts: Sequence[Prompt],
        token_ids: Sequence[Sequence[int]],
        heads: Sequence[Head] | None = None,
    ) -> list[FloatArray]:
        """See ``Aligner``: every head follows the text as if all tokens took the same time."""
        count = len(chosen_heads(self.config.decoder, heads))
        found = []
        for prompt, ids in zip(prompts, token_ids, strict=True):
            centres = (np.arange(len(ids)) + 0.5) / max(len(ids), 1)
            slots = (np.arange(len(prompt.audio)) + 0.5) / len(prompt.audio)
            near = np.exp(-0.5 * ((slots - centres[:, None]) * len(slots)) ** 2) + 1e-6
            weights = (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
            found.append(np.repeat(weights[None], count, axis=0))
        return found

    def close(self) -> None:
        """Nothing is held."""

    def _play(self, state: ScriptedState) -> ScriptedState:
        scripts = [self._scripts[clip] for clip in state.clips]
        wanted = [script[min(state.played, len(script) - 1)] for script in scripts]
        columns = np.searchsorted(self.output_ids, wanted)
        state.logits = np.full((len(wanted), len(self.output_ids)), self._rest, np.float32)
        state.logits[np.arange(len(wanted)), columns] = self._chosen
        return state
