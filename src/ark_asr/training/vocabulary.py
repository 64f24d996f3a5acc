"""What the ids of a vocabulary mean, so that two vocabularies can be compared.

An id stands for bytes, for the end of an answer, or for a control token, which is never text. Ids
of two models are twins if they stand for the same bytes, or both for the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer as RawTokenizer

from ark_asr.errors import ModelFormatError


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ids of one model.

    Attributes:
        pieces: Bytes of each id; ``None`` for a control token or an id without meaning.
        end_ids: Ids that end an answer.
    """

    pieces: tuple[bytes | None, ...]
    end_ids: frozenset[int]

    @classmethod
    def read(
        cls, raw: RawTokenizer, size: int, *, end_ids: Iterable[int], never: Iterable[int] = ()
    ) -> Vocabulary:
        """The vocabulary of a byte-level tokenizer.

        Args:
            raw: The tokenizer.
            size: Columns of the model's logits.
            end_ids: Ids that end an answer.
            never: Ids that the model must never choose, besides special and ``<...>`` tokens.

        Raises:
            ModelFormatError: The tokenizer is not byte-level.
        """
        if '"ByteLevel"' not in json.dumps(json.loads(raw.to_str()).get("decoder")):
            raise ModelFormatError("the tokenizer is not byte-level; its ids cannot be compared")
        pieces: list[bytes | None] = [None] * size
        byte_of = _byte_alphabet()
        for piece, id_ in raw.get_vocab(with_added_tokens=False).items():
            if id_ < size and all(letter in byte_of for letter in piece):
                pieces[id_] = bytes(byte_of[letter] for letter in piece)
        for id_, token in raw.get_added_tokens_decoder().items():
            control = token.special or (token.content[:1], token.content[-1:]) == ("<", ">")
            if id_ < size:
                pieces[id_] = None if control else token.content.encode()
        for id_ in [*end_ids, *never]:
            if id_ < size:
                pieces[id_] = None
        return cls(tuple(pieces), frozenset(end_ids))

    def spell(self, token_ids: Sequence[int]) -> list[bytes]:
        """Bytes of each id of a text; control tokens are none."""
        return [self.pieces[id_] or b"" for id_ in token_ids]

    def twins(self, other: Vocabulary, lead: bytes = b"") -> dict[int, int]:
        """Ids of ``other`` by the ids of this vocabulary that stand for the same bytes.

        Args:
            other: Another model's.
            lead: What the other writes before the first piece of a text, and this one does not.
        """
        by_bytes: dict[bytes, int] = {}
        for id_, piece in enumerate(other.pieces):
            if piece:
                by_bytes.setdefault(piece, id_)
        return {
            id_: by_bytes[lead + piece]
            for id_, piece in enumerate(self.pieces)
            if piece and lead + piece in by_bytes
        }


def _byte_alphabet() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for (GPT-2's table)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}
