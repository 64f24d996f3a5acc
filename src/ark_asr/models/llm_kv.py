"""The layout "llm-kv": the publisher's ONNX package of the 0.6B, and a third party's of the 3B.

One folder: ``config.json`` and tokenizer as in the checkpoint, ``audio_encoder_whisper*.onnx``,
``audio_encoder_adapter*.onnx``, ``embedding_*.onnx`` whose table is a file of its own, and
``llm_kv_*.onnx``, the decoder, with a cache of fixed or of growing length. Two JSON files say which
of the graphs to run and repeat some numbers; what they say must agree with ``config.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ark_asr.errors import ModelFormatError
from ark_asr.models.config import ModelConfig, read_json
from ark_asr.models.onnx_file import OnnxFile
from ark_asr.models.tokenizer import IM_END, Tokenizer
from ark_asr.types import IntArray

RUNTIME_FILE = "runtime_manifest.json"
_ENCODER = "audio_encoder_whisper*.onnx"
_ADAPTER = "audio_encoder_adapter*.onnx"
_EMBEDDING = "embedding_*.onnx"
_DECODER = "llm_kv_*.onnx"
_PRECISIONS = ("fp32", "fp16", "int8", "int4")


@dataclass(frozen=True, slots=True)
class LlmKvFolder:
    """The files to run, and what the JSON files say of them.

    Attributes:
        encoder: Log-mels to encoder frames, the adapter's norm included.
        adapter: Merged frames to audio embeddings.
        embedding: The graph that names the table of token embeddings.
        decoder: Embeddings and cache to logits.
        manifest: ``runtime_manifest.json``; empty if there is none.
        numbers: Sizes of the decoder, from the JSON file of its name; empty if there is none.
        numbers_file: Where these are from.
    """

    encoder: Path
    adapter: Path
    embedding: Path
    decoder: Path
    manifest: Mapping[str, Any]
    numbers: Mapping[str, Any]
    numbers_file: Path

    @classmethod
    def find(cls, folder: str | Path) -> LlmKvFolder:
        """Choose the files: those that the manifest names, else the only ones there are.

        Raises:
            ModelFormatError: A graph is missing, or there are several and none is named.
        """
        folder = Path(folder)
        path = folder / RUNTIME_FILE
        manifest = read_json(path) if path.is_file() else {}

        def choose(key: str, pattern: str) -> Path:
            found = sorted(folder.glob(pattern))
            named = [path for path in found if path.name == manifest.get(key)]
            if len(named or found) == 1:
                return (named or found)[0]
            if not found:
                raise ModelFormatError(f"{folder}: has no {pattern}")
            raise ModelFormatError(
                f"{folder}: has {', '.join(path.name for path in found)}; say in {RUNTIME_FILE} "
                f"which is to be run: {key!r}"
            )

        decoder = choose("llm_default", _DECODER)
        # Published beside each other under both names, with the same content.
        beside = [decoder.with_suffix(".json"), *sorted(folder.glob("llm_kv_*.json"))]
        numbers_file = next((path for path in beside if path.is_file()), beside[0])
        return cls(
            encoder=choose("audio_encoder_default", _ENCODER),
            adapter=choose("audio_adapter_default", _ADAPTER),
            embedding=choose("embedding_default", _EMBEDDING),
            decoder=decoder,
            manifest=manifest,
            numbers=read_json(numbers_file) if numbers_file.is_file() else {},
            numbers_file=numbers_file,
        )

    @property
    def precision(self) -> str | None:
        """Of the decoder's layers, as its file is named; ``None`` if its name says none."""
        ending = self.decoder.stem.rpartition("_")[2]
        return ending if ending in _PRECISIONS else None

    @property
    def max_positions(self) -> int | None:
        """Positions of the cache, if the JSON file says them."""
        return self.numbers.get("max_total_len")

    def check(self, tokenizer: Tokenizer) -> None:
        """Compare the JSON files with ``config.json`` and the tokenizer.

        Raises:
            ModelFormatError: They contradict each other.
        """
        config = tokenizer.config
        text = config.decoder
        manifest_file = self.decoder.parent / RUNTIME_FILE
        for where, data, key, expected in (
            (manifest_file, self.manifest, "audio_token_id", config.audio_token_id),
            (manifest_file, self.manifest, "audio_merge_factor", config.merge_factor),
            (manifest_file, self.manifest, "audio_encoder_hidden_size", config.encoder.hidden_size),
            (manifest_file, self.manifest, "im_end_token_id", tokenizer.raw.token_to_id(IM_END)),
            (self.numbers_file, self.numbers, "hidden_size", text.hidden_size),
            (self.numbers_file, self.numbers, "num_layers", text.layers),
            (self.numbers_file, self.numbers, "num_attention_heads", text.heads),
            (self.numbers_file, self.numbers, "num_key_value_heads", text.kv_heads),
        ):
            if (found := data.get(key, expected)) != expected:
                raise ModelFormatError(
                    f"{where}: {key} is {found!r}, but config.json and the tokenizer say {expected}"
                )
        for where, data, key in (
            (manifest_file, self.manifest, "asr_block_token_id_from"),
            (self.numbers_file, self.numbers, "max_total_len"),
        ):
            if type(found := data.get(key, 1)) is not int:
                raise ModelFormatError(f"{where}: {key} is {found!r}, expected a whole number")
        if (most := self.max_positions) is not None and most < 1:
            raise ModelFormatError(
                f"{self.numbers_file}: max_total_len is {most}, expected 1 or more"
            )

    def output_ids(self, tokenizer: Tokenizer) -> IntArray:
        """Ids that may be chosen, sorted int64: neither suppressed nor blocked by the manifest."""
        ids = np.arange(tokenizer.config.decoder.vocab_size)
        ids = np.setdiff1d(ids, tokenizer.suppressed_ids)
        block_from = self.manifest.get("asr_block_token_id_from", -1)
        if block_from < 0:
            return ids
        kept = (ids < block_from) | np.isin(ids, list(tokenizer.stop_ids))
        allowed: IntArray = ids[kept]
        return allowed

    def map_embedding(self, config: ModelConfig) -> NDArray[Any]:
        """The table of token embeddings ``[V, hidden]``, float32 or float16, mapped into memory.

        Its graph is never run: it would hold the whole table.

        Raises:
            ModelNotFoundError: The file of the table is missing.
            ModelFormatError: The graph is not the look-up of one table, or that has another shape.
        """
        graph = OnnxFile.read(self.embedding)
        lookup = [name for name in graph.operators if name not in ("Cast", "Identity")]
        if lookup != ["Gather"] or len(graph.tensors) != 1:
            raise ModelFormatError(
                f"{self.embedding}: has {', '.join(graph.operators[:5])} and {len(graph.tensors)} "
                "tensors, expected a Gather from one table"
            )
        (table,) = graph.tensors
        shape = (config.decoder.vocab_size, config.decoder.hidden_size)
        if table.shape != shape:
            raise ModelFormatError(
                f"{self.embedding}: its table is {list(table.shape)}, but config.json says "
                f"{list(shape)}"
            )
        return table.map()
