"""The ONNX Runtime engine: runs our packages on a CPU.

Keys and values of a batch lie in one buffer per layer that prompt and steps write in place; the
runtime is handed pointers, so nothing is copied from step to step. Weights and the embedding table
are mapped into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ark_asr.engines.attention import attention_to_audio, chosen_heads, teacher_forced
from ark_asr.engines.base import CLOSED, DecoderState
from ark_asr.engines.bound import BoundDecoder
from ark_asr.engines.graph import ANY, Graph, running
from ark_asr.engines.grouping import encoder_groups, prefill_groups, room_for
from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.models.calibration import Head
from ark_asr.models.config import ModelConfig
from ark_asr.models.package import DATA_FILE, DECODER_FILE, ENCODER_FILE, Manifest
from ark_asr.types import FloatArray, IntArray, Prompt


class OnnxState:
    """One batch of rows: its cache buffers and the latest logits.

    Attributes:
        logits: float32 ``[rows, columns]``; overwritten by the next step.
        positions: Filled positions of each row, int64 ``[rows]``.
        room: Positions that each row's buffers hold.
    """

    def __init__(self, engine: OnnxEngine, rows: int, room: int) -> None:
        text = engine.config.decoder
        shape = (rows, text.kv_heads, room, text.head_dim)
        self.room = room
        self.logits: FloatArray = np.empty((rows, len(engine.output_ids)), np.float32)
        self.positions: IntArray = np.zeros(rows, np.int64)
        self.cache: list[FloatArray] = [np.zeros(shape, np.float32) for _ in range(2 * text.layers)]
        # The step's inputs keep their places, so its binding is made once.
        self.embeds: FloatArray = np.empty((rows, 1, text.hidden_size), np.float32)
        self.lengths: NDArray[np.int32] = np.empty(rows, np.int32)
        self.total: NDArray[np.int32] = np.empty((), np.int32)
        self.last: IntArray = np.zeros((rows, 1), np.int64)
        self.binding: ort.IOBinding | None = None


class OnnxEngine:
    """A loaded package.

    Attributes:
        config: The model's numbers.
        manifest: What the package says of itself.
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending.
        max_positions: Positions that one row can hold.
        slot_seconds: Sound that one audio embedding stands for.
    """

    def __init__(
        self,
        manifest: Manifest,
        config: ModelConfig,
        table: FloatArray,
        encoder: ort.InferenceSession,
        decoder: BoundDecoder,
    ) -> None:
        self.config = config
        self.manifest = manifest
        self.output_ids: IntArray = manifest.output_ids
        self.max_positions = manifest.max_positions
        self.slot_seconds = config.slot_seconds
        self._encoder = encoder
        self._decoder = decoder
        self._table = table

    @classmethod
    def load(cls, folder: str | Path, *, threads: int | None = None) -> OnnxEngine:
        """Open a package folder.

        Args:
            folder: The package.
            threads: Threads of each graph; ``None`` for one per physical core that may be used.

        Raises:
            ModelNotFoundError: A file is missing.
            ModelFormatError: A file is not what it must be.
            OptionError: ``threads`` is not positive.
        """
        folder = Path(folder)
        manifest = Manifest.load(folder)
        config = ModelConfig.load(folder)
        place = manifest.embedding
        shape = (place.rows, place.columns)
        if shape != (config.decoder.vocab_size, config.decoder.hidden_size):
            raise ModelFormatError(f"{folder}: the embedding table does not fit config.json")
        table = np.memmap(folder / DATA_FILE, np.dtype(place.dtype), "r", place.offset, shape)
        encoder = Graph(folder / ENCODER_FILE, threads)
        encoder.only_inputs(["mels", "frames"])
        encoder.input("mels", ANY, config.encoder.mel_bins, ANY)
        encoder.output("audio", ANY, ANY, config.decoder.hidden_size)
        graph = Graph(folder / DECODER_FILE, threads)
        decoder = BoundDecoder(graph, config.decoder, len(manifest.output_ids))
        return cls(manifest, config, table, encoder.session, decoder)

    def embed_audio(self, mels: Sequence[FloatArray]) -> list[FloatArray]:
        """Log-mels ``[bins, F_i]`` to audio embeddings ``[N_i, hidden]``, in the same order.

        Raises:
            OptionError: A clip has more frames than the encoder has positions for.
        """
        most = 2 * self.config.encoder_positions
        if (longest := max((mel.shape[1] for mel in mels), default=0)) > most:
            raise OptionError(f"a clip has {longest} frames; the model takes {most}, cut it")
        found: list[FloatArray] = [np.empty((0, 0), np.float32)] * len(mels)
        for group in encoder_groups([mel.shape[1] for mel in mels]):
            frames = np.array([mels[i].shape[1] for i in group], np.int64)
            longest = max(int(frames.max()), 2 * self.config.merge_factor - 1)
            batch = np.zeros((len(group), self.config.encoder.mel_bins, longest), np.float32)
            for row, i in enumerate(group):
                batch[row, :, : frames[row]] = mels[i]
            with running(ENCODER_FILE):
                (audio,) = self._encoder.run(["audio"], {"mels": batch, "frames": frames})
            for row, i in enumerate(group):
                found[i] = audio[row, : self.config.audio_slots(int(frames[row]))]
        return found

    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> OnnxState:
        """Feed the prompts; room is kept for ``max_new_tokens`` more per row.

        Raises:
            OptionError: A prompt and ``max_new_tokens`` need more than ``max_positions``.
        """
        lengths = [len(prompt.token_ids) for prompt in prompts]
        room = room_for(lengths, max_new_tokens, self.max_positions)
        state = OnnxState(self, len(prompts), room)
        for first, end in prefill_groups(lengths):
            self._prefill(state, first, prompts[first:end], state.logits[first:end, None])
        state.positions[:] = lengths
        return state

    def verify(
        self, prompt: Prompt, draft: Sequence[int], max_new_tokens: int
    ) -> tuple[OnnxState, FloatArray]:
        """See ``Verifies``; graphs that are older than drafts read nothing of one.

        Raises:
            OptionError: As for `start`.
        """
        read = [] if self._decoder.one_position else list(draft)
        asked = Prompt([*prompt.token_ids, *read], prompt.audio)
        room = room_for([len(prompt.token_ids)], max_new_tokens, self.max_positions)
        state = OnnxState(self, 1, room)
        logits: FloatArray = np.empty((1, 1 + len(read), len(self.output_ids)), np.float32)
        self._prefill(state, 0, [asked], logits)
        state.positions[:] = len(asked.token_ids)
        return state, logits[0]

    def rewind(self, state: DecoderState, position: int) -> OnnxState:
        """See ``Verifies``."""
        if not isinstance(state, OnnxState):
            raise TypeError("the state belongs to another engine")
        state.positions[:] = position
        return state

    def step(self, state: DecoderState, token_ids: IntArray) -> OnnxState:
        """Feed one token to each row, int64 ``[rows]``.

        Raises:
            OptionError: A row is full.
        """
        if not isinstance(state, OnnxState):
            raise TypeError("the state belongs to another engine")
        if int(state.positions.max()) >= state.room:
            raise OptionError(f"a row is full: {state.room} positions were asked for at the start")
        state.embeds[:, 0] = self._table[token_ids]
        state.lengths[:] = state.positions
        state.positions += 1
        state.total[...] = state.positions.max()
        if state.binding is None:
            inputs: dict[str, NDArray[Any]] = {
                "embeds": state.embeds,
                "lengths_less_one": state.lengths,
                "total": state.total,
                "last": state.last,
            }
            state.binding = self._decoder.bind(inputs, state.cache, state.logits[:, None])
        self._decoder.run(state.binding)
        return state

    def select(self, state: DecoderState, rows: IntArray) -> OnnxState:
        """See ``Reorders``; with as many rows as before, only those that change are copied."""
        if not isinstance(state, OnnxState):
            raise TypeError("the state belongs to another engine")
        same = len(rows) == len(state.positions)
        new = state if same else OnnxState(self, len(rows), state.room)
        moved = np.flatnonzero(rows != np.arange(len(rows))) if same else np.arange(len(rows))
        filled = int(state.positions.max())
        for old_cache, new_cache in zip(state.cache, new.cache, strict=True):
            new_cache[moved, :, :filled] = old_cache[rows[moved], :, :filled]
        new.positions[moved] = state.positions[rows[moved]]
        new.logits[moved] = state.logits[rows[moved]]
        return new

    def attend(
        self,
        prompts: Sequence[Prompt],
        token_ids: Sequence[Sequence[int]],
        heads: Sequence[Head] | None = None,
    ) -> list[FloatArray]:
        """See ``Aligner``.

        Raises:
            ModelFormatError: The package was made before its graphs showed their queries.
            OptionError: There is no such head, or a prompt and its text are too long.
        """
        chosen = chosen_heads(self.config.decoder, heads)
        layers = sorted({head.layer for head in chosen})
        if not self._decoder.shows(layers):
            raise ModelFormatError(
                f"{self.manifest.name}: its graphs are older than word times and do not show what "
                "they need; convert the checkpoint again"
            )
        fed = teacher_forced(prompts, token_ids, self.max_positions)
        lengths = [len(prompt.token_ids) for prompt in fed]
        found = []
        for first, end in prefill_groups(lengths):
            state = OnnxState(self, end - first, max(lengths[first:end]))
            packed = self._prefill(state, 0, fed[first:end], state.logits[:, None], layers)
            for row in range(end - first):
                made = {i: (packed[i][row], state.cache[2 * i][row]) for i in layers}
                clip, count = fed[first + row], len(token_ids[first + row])
                found.append(attention_to_audio(clip, count, made, chosen, self.config))
        return found

    def close(self) -> None:
        """Give back memory and files."""
        self._encoder = self._decoder = self._table = CLOSED

    def _prefill(
        self,
        state: OnnxState,
        first: int,
        prompts: Sequence[Prompt],
        logits: FloatArray,
        shown: Sequence[int] = (),
    ) -> dict[int, FloatArray]:
        """Feed prompts to rows from ``first`` on.

        Args:
            state: Where keys and values go.
            first: A row.
            prompts: Of this row and those behind it.
            logits: ``[prompts, n, columns]``; filled with those of each prompt's last ``n`` tokens.
            shown: Layers whose ``qkv_i`` are returned.
        """
        text = self.config.decoder
        lengths = np.array([len(prompt.token_ids) for prompt in prompts], np.int64)
        shape = (len(prompts), int(lengths.max()))
        embeds = np.zeros((*shape, text.hidden_size), np.float32)
        for row, prompt in enumerate(prompts):
            embeds[row, : lengths[row]] = self._embed(prompt)
        inputs: dict[str, NDArray[Any]] = {
            "embeds": embeds,
            "lengths_less_one": (lengths - 1).astype(np.int32),
            "total": np.array(lengths.max(), np.int32),
            "last": lengths[:, None] - np.arange(logits.shape[1], 0, -1),
        }
        width = (text.heads + 2 * text.kv_heads) * text.head_dim
        packed = {layer: np.empty((*shape, width), np.float32) for layer in shown}
        cache = [buffer[first : first + len(prompts)] for buffer in state.cache]
        self._decoder.run(self._decoder.bind(inputs, cache, logits, packed))
        return packed

    def _embed(self, prompt: Prompt) -> FloatArray:
        ids = np.asarray(prompt.token_ids, np.int64)
        slots = np.flatnonzero(ids == self.config.audio_token_id)
        if len(slots) != len(prompt.audio):
            raise OptionError(
                f"a prompt has {len(slots)} audio ids, but {len(prompt.audio)} embeddings"
            )
        ids[slots] = 0
        embeds = self._table[ids].astype(np.float32)
        embeds[slots] = prompt.audio
        return embeds
