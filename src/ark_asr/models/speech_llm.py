"""The layout "speech-llm": three ONNX graphs, and the prompt as ids in ``config.json``.

Published by OpenVoiceOS for the 3B (huggingface.co/OpenVoiceOS/ARK-ASR-3B-onnx). The same three
graphs carry other models too; what only those need is refused here, not ignored.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, decoders, pre_tokenizers

from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.models.config import CONFIG_FILE, FeatureConfig, read_json
from ark_asr.models.fields import id_list, is_id, whole_numbers
from ark_asr.types import IntArray

VOCABULARY_FILE = "vocab.json"
MODEL_TYPE = "speech-llm"
# Stands in a prompt where an audio embedding goes: this layout has no id for it.
AUDIO_SLOT = -1

# Where Qwen2's tokenizer cuts a text before it joins bytes.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PIECES = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
)

# What the key must say if it is there, and why another value cannot be run.
_ONLY = {
    "preprocessor": "whisper128",
    "features_size": 128,
    "tokenizer_type": "byte-level",
    "normalize_waveform": False,
}

# The largest values that are taken, as in `ark_asr.models.config`.
_LIMITS = {
    "max_frames": 1 << 16, "hop_length": 1 << 14, "max_sequence_length": 1 << 24,
    "trim_features": 1 << 16,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SpeechLlmConfig:
    """The numbers of such a model.

    Attributes:
        features: The log-mel front end and the longest clip.
        frame_multiple: Mel frames that become one audio embedding; what is left over is cut off.
        prefix_ids: The prompt before the audio.
        suffix_ids: The prompt behind it.
        stop_ids: Ids that end an answer.
        suppressed_ids: Ids that must never be chosen.
        text_start_id: The text begins behind this id, if it occurs.
        max_new_tokens: Longest answer.
    """

    features: FeatureConfig
    frame_multiple: int
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    stop_ids: tuple[int, ...]
    suppressed_ids: tuple[int, ...]
    text_start_id: int | None
    max_new_tokens: int

    @property
    def max_positions(self) -> int:
        """Positions of the longest clip's prompt and answer."""
        slots = self.features.frames(self.features.clip_samples) // self.frame_multiple
        return len(self.prefix_ids) + slots + len(self.suffix_ids) + self.max_new_tokens

    @classmethod
    def load(cls, folder: str | Path) -> SpeechLlmConfig:
        """Read ``config.json``.

        Raises:
            ModelNotFoundError: There is none.
            ModelFormatError: A key is missing, or says what cannot be run.
        """
        path = Path(folder) / CONFIG_FILE
        data, where = read_json(path), str(path)
        for key, expected in {"model_type": MODEL_TYPE, **_ONLY}.items():
            found = data.get(key, None if key == "model_type" else expected)
            if found != expected:
                raise ModelFormatError(f"{where}: {key} is {found!r}, expected {expected!r}")
        defaults = {"max_frames": 3000, "hop_length": 160, "max_sequence_length": 512}
        frames, hop, answer, multiple = whole_numbers(data, _LIMITS, where, defaults)
        start = data.get("text_start_token_id")
        if start is not None and not is_id(start):
            raise ModelFormatError(f"{where}: text_start_token_id is {start!r}, expected an id")
        return cls(
            features=FeatureConfig(hop_length=hop, clip_samples=frames * hop),
            frame_multiple=multiple,
            prefix_ids=_ids(data, "prompt_prefix_ids", where),
            suffix_ids=_ids(data, "prompt_suffix_ids", where),
            stop_ids=_ids(data, "eos_token_ids", where),
            suppressed_ids=_ids(data, "suppress_token_ids", where, optional=True),
            text_start_id=start,
            max_new_tokens=answer,
        )


@dataclass(frozen=True, eq=False)  # so that something can be remembered of it
class SpeechLlmTokenizer:
    """Ids to text, and the baked prompt.

    Attributes:
        config: The model's numbers.
        tokens: Token by id, in the letters that byte-level BPE writes bytes in.
    """

    config: SpeechLlmConfig
    tokens: Mapping[int, str]

    @classmethod
    def load(cls, folder: str | Path) -> SpeechLlmTokenizer:
        """Read ``config.json`` and ``vocab.json``.

        Raises:
            ModelNotFoundError: A file is missing.
            ModelFormatError: A file is not what it must be.
        """
        config = SpeechLlmConfig.load(folder)
        path = Path(folder) / VOCABULARY_FILE
        data = read_json(path)
        tokens = {id_: token for token, id_ in data.items() if is_id(id_)}
        if not tokens or len(tokens) != len(data):
            raise ModelFormatError(f"{path}: expected tokens with ids of their own, from 0 on")
        return cls(config, tokens)

    @property
    def features(self) -> FeatureConfig:
        """The log-mel front end and the longest clip."""
        return self.config.features

    def prompt(self, slots: int, instruction: str | None = None) -> list[int]:
        """The baked ids around ``slots`` times `AUDIO_SLOT`.

        Raises:
            OptionError: An instruction was given.
        """
        if instruction is not None:
            raise OptionError(
                "this model's prompt is fixed in its config.json, an instruction cannot be given; "
                "leave it out, or take another package of the model"
            )
        return [*self.config.prefix_ids, *[AUDIO_SLOT] * slots, *self.config.suffix_ids]

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; nothing is added.

        The folder has no list of merges. In this family ids count the merges, so the pair that
        makes the lowest id is joined first.
        """
        pieces = _PIECES.pre_tokenize_str(unicodedata.normalize("NFC", text))
        return [id_ for piece, _ in pieces for id_ in self._join(piece)]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of ids, control tokens spelled out."""
        ids, start = list(token_ids), self.config.text_start_id
        if start in ids:
            ids = ids[ids.index(start) + 1 :]
        return str(decoders.ByteLevel().decode([self.tokens.get(id_, "") for id_ in ids]))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: id_ for id_, token in self.tokens.items()}

    def _join(self, letters: str) -> list[int]:
        parts = list(letters)
        while True:
            pairs = [(self._ids.get(a + b), i) for i, (a, b) in enumerate(pairwise(parts))]
            known = [(id_, i) for id_, i in pairs if id_ is not None]
            if not known:
                return [self._ids[part] for part in parts if part in self._ids]
            _, i = min(known)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer."""
        return frozenset(self.config.stop_ids)

    @cached_property
    def suppressed_ids(self) -> IntArray:
        """Ids that must never be chosen, sorted int64; never one that ends an answer."""
        return np.array(sorted({*self.config.suppressed_ids} - self.stop_ids), dtype=np.int64)

    @cached_property
    def output_ids(self) -> IntArray:
        """Ids that may be chosen, sorted int64: all that have a text or end an answer."""
        return np.setdiff1d([*self.tokens, *self.stop_ids], self.suppressed_ids)


def _ids(
    data: Mapping[str, Any], key: str, where: str, *, optional: bool = False
) -> tuple[int, ...]:
    found = id_list(data.get(key, [] if optional else None), key, where)
    if not found and not optional:
        raise ModelFormatError(f"{where}: {key} is empty")
    return found
