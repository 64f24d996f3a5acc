"""The PyTorch engine: runs a safetensors checkpoint as it is (extra ``[torch]``)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ark_asr.engines.attention import attention_to_audio, chosen_heads, teacher_forced
from ark_asr.engines.base import CLOSED, DecoderState, check_threads
from ark_asr.engines.cpu import cpu_limit, usable_cores
from ark_asr.engines.grouping import room_for
from ark_asr.errors import MissingExtraError, OptionError
from ark_asr.models.calibration import Head
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import FloatArray, IntArray, Prompt

try:
    import torch
except ImportError:  # pragma: no cover - the test environment has it
    raise MissingExtraError("The PyTorch engine", "torch") from None

from ark_asr.modeling.decoder import KeyValueCache
from ark_asr.modeling.model import ArkForConditionalGeneration


@dataclass(slots=True, eq=False)
class TorchState:
    """One batch of rows: its cache and the latest logits.

    Attributes:
        logits: float32 ``[rows, columns]``.
        positions: Filled positions of each row, int64 ``[rows]``.
        room: Positions that each row's cache holds.
        cache: Keys and values.
    """

    logits: FloatArray
    positions: IntArray
    room: int
    cache: KeyValueCache


class TorchEngine:
    """A loaded checkpoint.

    Attributes:
        model: The PyTorch model.
        config: The model's numbers.
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending.
        max_positions: Positions that one row can hold.
        slot_seconds: Sound that one audio embedding stands for.
    """

    def __init__(self, model: ArkForConditionalGeneration, suppressed_ids: IntArray) -> None:
        self.model = model
        self.config = model.config
        ids = np.arange(self.config.decoder.vocab_size)
        self.output_ids: IntArray = np.setdiff1d(ids, suppressed_ids)
        self.max_positions = self.config.decoder.max_positions
        self.slot_seconds = self.config.slot_seconds
        weight = model.lm_head.weight
        self._columns = weight.new_tensor(self.output_ids, dtype=torch.int64)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        threads: int | None = None,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> TorchEngine:
        """Open a checkpoint folder.

        Args:
            folder: Folder with ``config.json``, tokenizer and safetensors weights.
            threads: Threads of PyTorch, for the whole process; ``None`` leaves its choice, within
                the limit of a container.
            dtype: ``float32``, ``bfloat16`` or ``float16``.
            device: As PyTorch spells it, for example ``cuda:0``.

        Raises:
            ModelNotFoundError: A file is missing.
            ModelFormatError: A file is not what it must be.
            OptionError: ``threads`` or ``dtype`` makes no sense.
        """
        if dtype not in ("float32", "bfloat16", "float16"):
            raise OptionError(f"dtype {dtype!r} is not known; float32, bfloat16 and float16 are")
        set_threads(threads)
        model = ArkForConditionalGeneration.load(folder, getattr(torch, dtype), device)
        return cls(model, Tokenizer.load(folder, model.config).suppressed_ids)

    def embed_audio(self, mels: Sequence[FloatArray]) -> list[FloatArray]:
        """Log-mels ``[bins, F_i]`` to audio embeddings ``[N_i, hidden]``, in the same order."""
        if not mels:
            return []
        batch, lengths = padded_mels(mels)
        with torch.inference_mode():
            frames = torch.tensor(lengths, device=self._columns.device)
            audio = self.model.embed_audio(self._on_device(batch), frames).float().cpu().numpy()
        return [row[: self.config.audio_slots(n)] for row, n in zip(audio, lengths, strict=True)]

    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> TorchState:
        """Feed the prompts; room is kept for ``max_new_tokens`` more per row.

        Raises:
            OptionError: A prompt and ``max_new_tokens`` need more than ``max_positions``.
        """
        lengths = np.array([len(prompt.token_ids) for prompt in prompts], np.int64)
        hidden, room, cache = self._prefill(prompts, max_new_tokens)
        last = hidden[torch.arange(len(prompts)), torch.tensor(lengths - 1)]
        return TorchState(self._logits(last), lengths, room, cache)

    def verify(
        self, prompt: Prompt, draft: Sequence[int], max_new_tokens: int
    ) -> tuple[TorchState, FloatArray]:
        """See ``Verifies``.

        Raises:
            OptionError: As for `start`.
        """
        asked = Prompt([*prompt.token_ids, *draft], prompt.audio)
        hidden, room, cache = self._prefill([asked], max_new_tokens - len(draft))
        logits = self._logits(hidden[0, len(prompt.token_ids) - 1 :])
        return TorchState(logits[-1:], np.array([len(asked.token_ids)]), room, cache), logits

    def rewind(self, state: DecoderState, position: int) -> TorchState:
        """See ``Verifies``."""
        if not isinstance(state, TorchState):
            raise TypeError("the state belongs to another engine")
        state.positions[:] = position
        return state

    def _prefill(
        self, prompts: Sequence[Prompt], max_new_tokens: int
    ) -> tuple[torch.Tensor, int, KeyValueCache]:
        """Hidden states of prompts, positions that their rows hold, and their keys and values."""
        lengths = [len(prompt.token_ids) for prompt in prompts]
        room = room_for(lengths, max_new_tokens, self.max_positions)
        ids = padded_ids([prompt.token_ids for prompt in prompts], self.config.pad_token_id)
        slots = max(len(prompt.audio) for prompt in prompts)
        audio = np.zeros((len(prompts), slots, self.config.decoder.hidden_size), np.float32)
        for row, prompt in enumerate(prompts):
            audio[row, : len(prompt.audio)] = prompt.audio
        like = self.model.lm_head.weight
        cache = KeyValueCache(self.config.decoder, len(prompts), room, like)
        with torch.inference_mode():
            tokens = torch.tensor(ids, device=like.device)
            embeds = self.model.embed_prompt(tokens, self._on_device(audio))
            places = torch.arange(ids.shape[1], device=like.device).expand(len(prompts), -1)
            return self.model.decode(embeds, places, cache), room, cache

    def step(self, state: DecoderState, token_ids: IntArray) -> TorchState:
        """Feed one token to each row, int64 ``[rows]``.

        Raises:
            OptionError: A row is full.
        """
        if not isinstance(state, TorchState):
            raise TypeError("the state belongs to another engine")
        if int(state.positions.max()) >= state.room:
            raise OptionError(f"a row is full: {state.room} positions were asked for at the start")
        device = self._columns.device
        with torch.inference_mode():
            embeds = self.model.embed_prompt(torch.tensor(token_ids, device=device)[:, None], None)
            places = torch.tensor(state.positions, device=device)[:, None]
            hidden = self.model.decode(embeds, places, state.cache)
        state.positions += 1
        state.logits = self._logits(hidden[:, -1])
        return state

    def select(self, state: DecoderState, rows: IntArray) -> TorchState:
        """See ``Reorders``."""
        if not isinstance(state, TorchState):
            raise TypeError("the state belongs to another engine")
        state.cache.select(torch.tensor(rows, device=self._columns.device))
        return TorchState(state.logits[rows], state.positions[rows], state.room, state.cache)

    def attend(
        self,
        prompts: Sequence[Prompt],
        token_ids: Sequence[Sequence[int]],
        heads: Sequence[Head] | None = None,
    ) -> list[FloatArray]:
        """See ``Aligner``.

        Raises:
            OptionError: There is no such head, or a prompt and its text are too long.
        """
        chosen = chosen_heads(self.config.decoder, heads)
        fed = teacher_forced(prompts, token_ids, self.max_positions)
        if not fed:
            return []
        queries: dict[int, FloatArray] = {}

        def keep(layer: int, _module: torch.nn.Module, _input: object, out: torch.Tensor) -> None:
            queries[layer] = out.float().cpu().numpy()

        with ExitStack() as hooks:
            for layer in {head.layer for head in chosen}:
                module = self.model.get_submodule(f"model.layers.{layer}.self_attn.q_proj")
                hooks.callback(module.register_forward_hook(partial(keep, layer)).remove)
            cache = self.start(fed, 0).cache
        made = {i: (queries[i], cache.keys[i].float().cpu().numpy()) for i in queries}
        found = []
        for row, (prompt, ids) in enumerate(zip(fed, token_ids, strict=True)):
            layers = {i: (query[row], key[row]) for i, (query, key) in made.items()}
            found.append(attention_to_audio(prompt, len(ids), layers, chosen, self.config))
        return found

    def close(self) -> None:
        """Give back memory."""
        self.model = self._columns = CLOSED

    def _logits(self, hidden: torch.Tensor) -> FloatArray:
        with torch.inference_mode():
            logits: FloatArray = self.model.lm_head(hidden)[:, self._columns].float().cpu().numpy()
        return logits

    def _on_device(self, array: FloatArray) -> torch.Tensor:
        weight = self.model.lm_head.weight
        return torch.from_numpy(array).to(weight.device, weight.dtype)


def set_threads(threads: int | None) -> None:
    """Threads of PyTorch, for the whole process; ``None`` leaves its choice, within a limit.

    Raises:
        OptionError: The number makes no sense.
    """
    check_threads(threads)
    if threads is None and cpu_limit() is not None:  # PyTorch does not look at it
        threads = min(torch.get_num_threads(), usable_cores())
    if threads is not None:
        torch.set_num_threads(threads)


def padded_mels(mels: Sequence[FloatArray]) -> tuple[FloatArray, list[int]]:
    """Log-mels ``[bins, F_i]`` as one batch ``[rows, bins, F]``, zeros behind, and their frames."""
    frames = [mel.shape[1] for mel in mels]
    batch = np.zeros((len(mels), len(mels[0]), max(frames)), np.float32)
    for row, mel in enumerate(mels):
        batch[row, :, : mel.shape[1]] = mel
    return batch, frames


def padded_ids(prompts: Sequence[Sequence[int]], pad: int) -> IntArray:
    """Prompts as one batch, int64 ``[rows, length]``."""
    ids = np.full((len(prompts), max(map(len, prompts))), pad, np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
    return ids
