"""The engine of the layout "llm-kv": encoder, adapter, decoder with a cache that its host keeps.

The published graphs take one clip at a time, so the rows of a batch run one after the other. What
this layout asks of its host, see `ark_asr.models.llm_kv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ark_asr.engines.base import CLOSED
from ark_asr.engines.graph import ANY, Graph
from ark_asr.engines.kv_cache import Cache, GrowingCaches, StaticCaches
from ark_asr.engines.rows import RowEngine
from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.models.llm_kv import LlmKvFolder
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import FloatArray

_MELS, _FRAMES = "audios", "encoded_audio_features"
_MERGED, _AUDIO = "merged_audio_features", "audio_embeddings"


class LlmKvEngine(RowEngine[Cache]):
    """A loaded folder.

    Args:
        folder: Its files.
        tokenizer: Its tokenizer, with the model's numbers.
        threads: Threads of each graph; ``None`` for one per physical core that may be used.

    Raises:
        ModelNotFoundError: A file is missing.
        ModelFormatError: A file is not what it must be.
        OptionError: ``threads`` is not positive.

    Attributes:
        config: The model's numbers.
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending.
        max_positions: Positions that one row can hold.
    """

    def __init__(
        self, folder: LlmKvFolder, tokenizer: Tokenizer, threads: int | None = None
    ) -> None:
        folder.check(tokenizer)
        self.config = tokenizer.config
        audio, text = self.config.encoder, self.config.decoder
        self._table = folder.map_embedding(self.config)
        self._encoder = Graph(folder.encoder, threads)
        self._encoder.only_inputs([_MELS])
        self._encoder.input(_MELS, 1, audio.mel_bins, ANY)
        self._encoder.output(_FRAMES, 1, ANY, audio.hidden_size)
        self._adapter = Graph(folder.adapter, threads)
        self._adapter.only_inputs([_MERGED])
        self._adapter.input(_MERGED, 1, ANY, self.config.merge_factor * audio.hidden_size)
        self._adapter.output(_AUDIO, 1, ANY, text.hidden_size)
        self._decoder = Graph(folder.decoder, threads)
        caches = GrowingCaches if "past_key_0" in self._decoder.inputs else StaticCaches
        self._caches = caches(self._decoder, text, folder.max_positions)
        super().__init__(
            output_ids=folder.output_ids(tokenizer),
            max_positions=self._caches.positions,
            audio_id=self.config.audio_token_id,
            stop_ids=tokenizer.stop_ids,
            hidden_size=text.hidden_size,
        )

    @classmethod
    def load(cls, folder: str | Path, *, threads: int | None = None) -> LlmKvEngine:
        """Open a folder; arguments and errors as for the class."""
        return cls(LlmKvFolder.find(folder), Tokenizer.load(folder), threads)

    def embed_audio(self, mels: Sequence[FloatArray]) -> list[FloatArray]:
        """Log-mels ``[bins, F_i]`` to audio embeddings ``[N_i, hidden]``, in the same order.

        Raises:
            OptionError: A clip has more frames than the encoder has positions for.
        """
        most = 2 * self.config.encoder_positions
        if (longest := max((mel.shape[1] for mel in mels), default=0)) > most:
            raise OptionError(f"a clip has {longest} frames; the model takes {most}, cut it")
        return [self._listen(mel) for mel in mels]

    def close(self) -> None:
        """Give back memory and files."""
        for graph in (self._encoder, self._adapter, self._decoder):
            graph.close()
        self._table = CLOSED

    def _listen(self, mel: FloatArray) -> FloatArray:
        size, length = self.config.encoder.hidden_size, mel.shape[1]
        (frames,) = self._encoder.run([_FRAMES], {_MELS: mel[None]})
        _check_shape(self._encoder, frames, (1, (length + 1) // 2, size), length)
        slots, merge = self.config.audio_slots(length), self.config.merge_factor
        # What is left over is dropped; zeros complete a clip that is too short for one embedding.
        merged = np.zeros((slots * merge, size), np.float32)
        heard = frames[0, : len(merged)]
        merged[: len(heard)] = heard
        (audio,) = self._adapter.run([_AUDIO], {_MERGED: merged.reshape(1, slots, -1)})
        _check_shape(self._adapter, audio, (1, slots, self._hidden), length)
        embeddings: FloatArray = audio[0]
        return embeddings

    def _new_cache(self) -> Cache:
        return self._caches.new()

    def _copied(self, cache: Cache) -> Cache:
        return self._caches.copied(cache)

    def _embed_ids(self, token_ids: list[int]) -> FloatArray:
        return self._table[token_ids].astype(np.float32)

    def _run(self, cache: Cache, position: int, embeds: FloatArray) -> FloatArray:
        return self._caches.run(cache, position, embeds)


def _check_shape(graph: Graph, made: FloatArray, expected: tuple[int, ...], length: int) -> None:
    if made.shape != expected:
        raise ModelFormatError(
            f"{graph.path}: made {list(made.shape)} of {length} log-mel frames, expected "
            f"{list(expected)}"
        )
