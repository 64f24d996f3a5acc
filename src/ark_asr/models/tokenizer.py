"""Text and ids: the tokenizer, the prompt, and the ids that are never text.

The chat template that ships with the published checkpoints is not what the model was trained with;
the prompt built here is: user marker, begin of audio, one audio id per embedding, end of audio, the
instruction, assistant marker, with no newline anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from reprlib import repr as short
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer as RawTokenizer

from ark_asr.errors import ModelFormatError
from ark_asr.models.config import FeatureConfig, ModelConfig, read_json
from ark_asr.models.fields import read_small
from ark_asr.types import IntArray

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
INSTRUCTION = "Please transcribe this audio."

USER = "<|user|>"
ASSISTANT = "<|assistant|>"
SYSTEM = "<|system|>"
BEGIN_OF_AUDIO = "<|begin_of_audio|>"
END_OF_AUDIO = "<|end_of_audio|>"
AUDIO = "<|audio|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
CONTROL_TOKENS = (END_OF_TEXT, IM_START, IM_END, AUDIO, USER, BEGIN_OF_AUDIO, END_OF_AUDIO,
                  ASSISTANT, SYSTEM)  # fmt: skip

_MARKER = re.compile(r"<.*>", re.DOTALL)


class TextCodec(Protocol):
    """The text side of any model: what is asked of it between sound and words.

    Checkpoints and packages have a `Tokenizer`; some layouts keep their prompt in files of their
    own.
    """

    @property
    def features(self) -> FeatureConfig:
        """The log-mel front end and the longest clip."""
        ...

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer."""
        ...

    @property
    def suppressed_ids(self) -> IntArray:
        """Ids that must never be chosen, sorted int64."""
        ...

    def prompt(self, slots: int, instruction: str | None = None) -> list[int]:
        """The ids that ask for a transcript of a clip with ``slots`` audio embeddings."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; nothing is added."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of ids, control tokens spelled out."""
        ...


@dataclass(frozen=True)
class Tokenizer:
    """The tokenizer of one checkpoint, with its prompt and its suppressed and stop ids.

    Attributes:
        raw: The ``tokenizers`` object.
        config: The checkpoint's numbers.
        eos_token: The end token that ``tokenizer_config.json`` names.
    """

    raw: RawTokenizer
    config: ModelConfig
    eos_token: str = IM_END

    @classmethod
    def load(cls, folder: str | Path, config: ModelConfig | None = None) -> Tokenizer:
        """Read ``tokenizer.json`` (and ``tokenizer_config.json``) of a checkpoint folder.

        Raises:
            ModelNotFoundError: A file is missing.
            ModelFormatError: It is damaged, or a token that the prompt needs is not in it.
        """
        folder = Path(folder)
        config = config or ModelConfig.load(folder)
        path = folder / TOKENIZER_FILE
        raw = read_tokenizer(path)
        eos = IM_END
        if (folder / TOKENIZER_CONFIG_FILE).is_file():
            named = read_json(folder / TOKENIZER_CONFIG_FILE).get("eos_token") or IM_END
            eos = str(named.get("content") if isinstance(named, dict) else named)
        tokenizer = cls(raw, config, eos)
        needed = (USER, BEGIN_OF_AUDIO, AUDIO, END_OF_AUDIO, ASSISTANT, eos)
        missing = [token for token in needed if raw.token_to_id(token) is None]
        if missing:
            raise ModelFormatError(f"{path}: no token {', '.join(map(short, missing))}")
        if tokenizer.id_of(AUDIO) != config.audio_token_id:
            raise ModelFormatError(
                f"{path}: {AUDIO} is id {tokenizer.id_of(AUDIO)}, but config.json says "
                f"audio_token_id {config.audio_token_id}"
            )
        if max(tokenizer.prompt(1)) >= config.decoder.vocab_size:
            raise ModelFormatError(f"{path}: has ids beyond the vocab_size of config.json")
        return tokenizer

    @property
    def features(self) -> FeatureConfig:
        """The log-mel front end and the longest clip."""
        return self.config.features

    def id_of(self, token: str) -> int:
        """The id of a token by its exact text.

        Raises:
            KeyError: The tokenizer has no such token.
        """
        found = self.raw.token_to_id(token)
        if found is None:
            raise KeyError(token)
        return int(found)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; nothing is added, control tokens in the text become their ids."""
        return list(self.raw.encode(text, add_special_tokens=False).ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of ids, control tokens spelled out."""
        return str(self.raw.decode(list(token_ids), skip_special_tokens=False))

    def prompt(self, slots: int, instruction: str | None = None) -> list[int]:
        """The ids that ask for a transcript of a clip with ``slots`` audio embeddings."""
        return [
            self.id_of(USER),
            self.id_of(BEGIN_OF_AUDIO),
            *[self.config.audio_token_id] * slots,
            self.id_of(END_OF_AUDIO),
            *self.encode(INSTRUCTION if instruction is None else instruction),
            self.id_of(ASSISTANT),
        ]

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer: the tokenizer's end token and those of the configuration."""
        return frozenset({self.id_of(self.eos_token), *self.config.eos_token_ids})

    @cached_property
    def suppressed_ids(self) -> IntArray:
        """Ids that must never be chosen, sorted int64.

        Every special id, every added token that looks like ``<...>`` and every id beyond the last
        control token (speech codes, padding rows), but not the ids that end an answer. Without this
        mask the model's first choice on ordinary speech is often the user marker.
        """
        added = self.raw.get_added_tokens_decoder()
        special = {
            id_ for id_, token in added.items()
            if token.special or _MARKER.fullmatch(token.content)
        }  # fmt: skip
        block_from = self.config.block_from
        if block_from is None:
            controls = (self.raw.token_to_id(token) for token in CONTROL_TOKENS)
            block_from = 1 + max(
                [id_ for id_ in controls if id_ is not None] + [self._last_text_id]
            )
        blocked = special | set(range(block_from, self.config.decoder.vocab_size))
        return np.array(sorted(blocked - self.stop_ids), dtype=np.int64)

    @property
    def _last_text_id(self) -> int:
        return int(self.raw.get_vocab_size(with_added_tokens=False)) - 1


def read_tokenizer(path: Path) -> RawTokenizer:
    """Read a ``tokenizer.json``.

    Raises:
        ModelNotFoundError: There is none.
        ModelFormatError: It is damaged.
    """
    text = read_small(path)
    try:
        raw = RawTokenizer.from_buffer(text)
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        raise ModelFormatError(f"{path}: not a tokenizer ({error})") from None
    # What was set when the file was saved would cut or fill up the instruction.
    raw.no_padding()
    raw.no_truncation()
    return raw
