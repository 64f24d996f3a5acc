"""The ONNX bundle of Audio8-ASR-0.1B: graphs, and two tables that its host multiplies with.

Published as the folder ``model_bundle`` of huggingface.co/Audio8/Audio8-ASR-0.1B-onnx-runtime. The
model has an audio tower of its own (that of Qwen3-ASR); prompt and decoder are those of the family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as RawTokenizer

from ark_asr.errors import ModelFormatError
from ark_asr.models.config import FeatureConfig, read_json, require
from ark_asr.models.fields import id_list
from ark_asr.models.tokenizer import (
    ASSISTANT,
    AUDIO,
    BEGIN_OF_AUDIO,
    END_OF_AUDIO,
    INSTRUCTION,
    TOKENIZER_FILE,
    USER,
    read_tokenizer,
)
from ark_asr.types import IntArray

METADATA_FILE = "metadata.json"

# Prompt and answer share the positions. A clip leaves this many for each audio slot it takes: 8
# tokens per second, more than anybody says for long.
_TOKENS_PER_SLOT = 2 / 3


@dataclass(frozen=True, slots=True)
class Audio8Config:
    """What ``metadata.json`` says.

    Attributes:
        merge_factor: Pairs of mel frames behind one audio embedding.
        max_seconds: The longest clip the bundle was made for.
        opening: Control tokens before the audio, as text.
        audio: The token whose embedding is replaced by audio.
        closing: The control token behind the audio.
        answer: What stands before the answer: control token and response prefix.
        stop_ids: Ids that end an answer.
        blocked_ids: Ids that must never be chosen.
        block_from: First id that is never text; ``None`` if there is no such border.
    """

    merge_factor: int
    max_seconds: int
    opening: str
    audio: str
    closing: str
    answer: str
    stop_ids: tuple[int, ...]
    blocked_ids: tuple[int, ...]
    block_from: int | None

    def audio_slots(self, frames: int) -> int:
        """Audio embeddings of a log-mel of ``frames`` frames: about 12.5 per second."""
        return max((frames + 1) // 2 // self.merge_factor, 1)

    @classmethod
    def load(cls, folder: str | Path) -> Audio8Config:
        """Read ``metadata.json``.

        Raises:
            ModelNotFoundError: There is none.
            ModelFormatError: A key is missing, or says what cannot be run.
        """
        path = Path(folder) / METADATA_FILE
        data, where = read_json(path), str(path)
        require(data, {"tokens": dict, "prompt_audio": dict, "max_audio_seconds": int}, where)
        if data.get("language_hint_enabled"):
            raise ModelFormatError(
                f"{where}: language_hint_enabled is set, but how such a prompt is written was "
                "never published"
            )
        require(data["prompt_audio"], {"merge_factor": int}, f"{where}: prompt_audio")
        merge, seconds = data["prompt_audio"]["merge_factor"], data["max_audio_seconds"]
        if min(merge, seconds) < 1:
            raise ModelFormatError(f"{where}: merge_factor and max_audio_seconds must be positive")
        tokens = data["tokens"]
        words = {"user_token": USER, "bos_audio_token": BEGIN_OF_AUDIO, "audio_token": AUDIO,
                 "eos_audio_token": END_OF_AUDIO, "assistant_token": ASSISTANT}  # fmt: skip
        words = {key: tokens.get(key, usual) for key, usual in words.items()}
        prefix = "" if data.get("response_prefix") is None else data["response_prefix"]
        texts = {**words, "response_prefix": prefix}
        require(texts, dict.fromkeys(texts, str), where)
        border = tokens.get("asr_block_token_id_from", -1)
        require({"asr_block_token_id_from": border}, {"asr_block_token_id_from": int}, where)
        ends = id_list(tokens.get("eos_token_ids"), "eos_token_ids", where)
        # The reference ends at padding too.
        pad = [tokens["pad_token_id"]] if "pad_token_id" in tokens else []
        return cls(
            merge_factor=merge,
            max_seconds=seconds,
            opening=words["user_token"] + words["bos_audio_token"],
            audio=words["audio_token"],
            closing=words["eos_audio_token"],
            answer=words["assistant_token"] + prefix,
            stop_ids=(*ends, *id_list(pad, "pad_token_id", where)),
            blocked_ids=id_list(
                tokens.get("extra_block_token_ids", []), "extra_block_token_ids", where
            ),
            block_from=border if border >= 0 else None,
        )


@dataclass(frozen=True)
class Audio8Tokenizer:
    """Prompt, text and ids.

    Attributes:
        raw: The ``tokenizers`` object.
        config: The bundle's numbers.
        features: The log-mel front end and the longest clip.
        vocab_size: Ids that the decoder knows.
    """

    raw: RawTokenizer
    config: Audio8Config
    features: FeatureConfig
    vocab_size: int

    @classmethod
    def load(
        cls, folder: str | Path, *, mel_bins: int, frames: int, positions: int, vocab_size: int
    ) -> Audio8Tokenizer:
        """Read ``metadata.json`` and ``tokenizer.json``.

        Args:
            folder: The bundle.
            mel_bins: Of the audio graph.
            frames: The most mel frames that it takes.
            positions: What prompt and answer share.
            vocab_size: Rows of the embedding table.

        Raises:
            ModelNotFoundError: A file is missing.
            ModelFormatError: A file is not what it must be, or a prompt has no room.
        """
        config = Audio8Config.load(folder)
        path = Path(folder) / TOKENIZER_FILE
        features = FeatureConfig(mel_bins=mel_bins)
        tokenizer = cls(read_tokenizer(path), config, features, vocab_size)
        if (count := len(tokenizer.encode(config.audio))) != 1:
            raise ModelFormatError(f"{path}: {config.audio} is {count} tokens, expected one")
        room = positions - len(tokenizer.prompt(0))
        slots = int(room / (1 + _TOKENS_PER_SLOT))
        if slots < 1:
            raise ModelFormatError(f"{path}: a prompt fills the decoder's {positions} positions")
        # The longest log-mel that becomes no more slots than these.
        frames = min(frames, 2 * config.merge_factor * (slots + 1) - 2)
        samples = min(frames * features.hop_length, config.max_seconds * features.sample_rate)
        return replace(tokenizer, features=replace(features, clip_samples=samples))

    @cached_property
    def audio_id(self) -> int:
        """The id whose embedding is replaced by audio."""
        return self.encode(self.config.audio)[0]

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; nothing is added, control tokens in the text become their ids."""
        return list(self.raw.encode(text, add_special_tokens=False).ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of ids, control tokens spelled out."""
        return str(self.raw.decode(list(token_ids), skip_special_tokens=False))

    def prompt(self, slots: int, instruction: str | None = None) -> list[int]:
        """The ids that ask for a transcript of a clip with ``slots`` audio embeddings."""
        asked = INSTRUCTION if instruction is None else instruction
        return [
            *self.encode(self.config.opening),
            *[self.audio_id] * slots,
            *self.encode(self.config.closing + asked + self.config.answer),
        ]

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer."""
        return frozenset(self.config.stop_ids)

    @cached_property
    def suppressed_ids(self) -> IntArray:
        """Ids that must never be chosen, sorted int64: those the bundle names, and the audio id."""
        border = self.vocab_size if self.config.block_from is None else self.config.block_from
        blocked = {*self.config.blocked_ids, self.audio_id, *range(border, self.vocab_size)}
        return np.array(sorted(blocked - self.stop_ids), dtype=np.int64)
