"""What the ids of a vocabulary mean, so that two vocabularies can be compared.

An id stands for bytes, for the end of an answer, or for a control token, which is never text. Ids
of two models are twins if they stand for the same bytes, or both for the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
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

    def plain(self) -> Vocabulary:
        """The same ids as plain words: lower case, and nothing that is only punctuation.

        So a model that writes ``Hello,`` can be compared with one that writes ``hello``.
        """
        return Vocabulary(tuple(map(_plain, self.pieces)), self.end_ids)

    def read_as(self, other: Vocabulary, lead: bytes = b"") -> dict[int, int]:
        """Ids of ``other`` by the ids of this vocabulary that stand for the same bytes.

        Args:
            other: Another model's.
            lead: What this one writes before the first piece of a text, and the other does not.
        """
        by_bytes = {piece: id_ for id_, piece in reversed([*enumerate(other.pieces)]) if piece}
        rest = ((id_, piece) for id_, piece in enumerate(self.pieces) if piece)
        return {
            id_: by_bytes[piece[len(lead) :]]
            for id_, piece in rest
            if piece.startswith(lead) and piece[len(lead) :] in by_bytes
        }

    def begins(
        self, other: Vocabulary, cut: Callable[[str], Sequence[int]], lead: bytes = b""
    ) -> dict[int, int]:
        """Ids with which ``other`` begins to write what an id of this vocabulary stands for.

        Args:
            other: Another model's.
            cut: How it cuts a text into its ids.
            lead: As for `read_as`.
        """
        found = self.read_as(other, lead)  # parts of a character can only be the very same bytes
        for id_, piece in enumerate(self.pieces):
            text = _text((piece or b"")[len(lead) :]) if (piece or b"").startswith(lead) else None
            first = next(iter(cut(text)), None) if text else None
            if first is not None and text:
                begun = other.pieces[first]
                if begun and text.encode().startswith(begun):  # it may change what it is given
                    found[id_] = first
        return found


def _text(piece: bytes) -> str | None:
    """Bytes that are whole characters; ``None`` if they are not."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None


def _plain(piece: bytes | None) -> bytes | None:
    text = _text(piece or b"")
    if text is None or piece is None:
        return piece
    if text.strip() and not any(letter.isalnum() or letter == "'" for letter in text):
        return None
    return text.lower().encode()


def _byte_alphabet() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for (GPT-2's table)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}
