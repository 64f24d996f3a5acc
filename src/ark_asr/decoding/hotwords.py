"""Hot words: names and terms that the speaker is likely to use.

Shallow fusion with a trie over token ids. As long as what is being written agrees with the
beginning of a hot word, each of its tokens is worth ``boost``; a beginning that does not become
the whole word, or goes on into another word, loses all of it again. A finished hypothesis is
therefore worth its log-probability and the tokens of the hot words that it really holds, nothing
else. Overlapping hot words are not counted twice: of all ways to place them, the best one counts.

Model probabilities are never changed; only the order of hypotheses is.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ark_asr.errors import OptionError
from ark_asr.models.tokenizer import TextCodec
from ark_asr.types import FloatArray, IntArray

_WEIGHT = re.compile(r"(?:\A|\s+):(\S*)\Z")
# Scripts that put no space between words.
_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


@dataclass(frozen=True, slots=True)
class HotWord:
    """A word or phrase that is likely to be said.

    Attributes:
        text: As it is written.
        weight: Factor of the boost.
    """

    text: str
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> HotWord:
        """``fast Fourier transform``, or with a weight ``Čapek :2``.

        Raises:
            OptionError: There is no word, or the weight is not a positive number.
        """
        weight = _WEIGHT.search(text)
        if weight is None:
            word, value = text.strip(), 1.0
        else:
            word, value = text[: weight.start()].strip(), _number(weight[1])
        if not word or not 0 < value < math.inf:
            raise OptionError(f"hot word {text!r} is not a word and, after ' :', a positive weight")
        return cls(word, value)


def read_hot_words(source: str) -> tuple[str, ...]:
    """Hot words from a file, one a line, or from a list with commas between.

    In a file, what follows a ``#`` is a comment. See `HotWord.parse` for what a word can be.

    Args:
        source: Path of a UTF-8 text file, or the words themselves.

    Raises:
        OptionError: There is no such file, it is not text, or there are no words.
    """
    path = Path(source)
    if _is_file(path):
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"{source}: cannot be read as UTF-8 text ({error})") from None
        words = [line.partition("#")[0].strip() for line in lines]
    elif "/" in source or path.suffix == ".txt":
        raise OptionError(f"{source}: no such file of hot words")
    else:
        words = [word.strip() for word in source.split(",")]
    found = tuple(filter(None, words))
    if not found:
        raise OptionError(f"{source!r} holds no hot words; put one on each line, or commas between")
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a long list of words is no file name
        return False


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@dataclass(slots=True, eq=False)
class Node:
    """The beginning of one or more hot words.

    Attributes:
        children: By column of the next token.
        bonus: What this beginning is worth.
        word: What a hot word that ends here is worth; 0 if none does.
        closed: The word needs no sign that it is over: its script writes no spaces.
    """

    children: dict[int, Node] = field(default_factory=dict)
    bonus: float = 0.0
    word: float = 0.0
    closed: bool = False

    def add(self, columns: Sequence[int], boost: float, *, closed: bool) -> None:
        """Add a word below this node."""
        node = self
        for depth, column in enumerate(columns, 1):
            node = node.children.setdefault(column, Node())
            node.bonus = max(node.bonus, boost * depth)
        node.word = max(node.word, boost * len(columns))
        node.closed |= closed


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """How a hypothesis agrees with the hot words so far.

    Attributes:
        settled: Worth of the hot words that are complete.
        begun: Beginnings that may still become words, and what was settled before each.
        fresh: A new word may follow without a space.
    """

    settled: float = 0.0
    begun: tuple[tuple[Node, float], ...] = ()
    fresh: bool = True

    @property
    def bonus(self) -> float:
        """Worth of it all, as long as the best beginning lives."""
        return max([self.settled, *(before + node.bonus for node, before in self.begun)])

    def complete(self) -> float:
        """What is settled if a word ends here."""
        return max([self.settled, *(before + node.word for node, before in self.begun)])

    def going_on(self) -> float:
        """What is settled if the word goes on; some scripts do not show it."""
        closed = (before + node.word for node, before in self.begun if node.closed)
        return max([self.settled, *closed])


class HotWords:
    """The hot words of one search.

    Each is looked for as it is given, in lower case, and capitalised, within a sentence and where
    no space comes before it.

    Args:
        words: What to look for; see `HotWord.parse`.
        boost: Worth of each token, in nats: a hot word of ``n`` tokens may be ``exp(boost * n)``
            times less likely than what the model would write, and is still taken.
        tokenizer: Of the model.
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending.

    Raises:
        OptionError: The model cannot write one of them.
    """

    def __init__(
        self, words: Iterable[str], boost: float, tokenizer: TextCodec, output_ids: IntArray
    ) -> None:
        texts = [tokenizer.decode([id_]) for id_ in output_ids.tolist()]
        stops = np.isin(output_ids, list(tokenizer.stop_ids))
        # What may follow a word that is over, and what a word may follow without a space.
        self._ends_word = stops | np.array([_no_letter(text[:1]) for text in texts])
        self._opens_word = np.array([_no_letter(text[-1:]) for text in texts])
        self._after_word, self._anywhere = Node(), Node()
        column_of = {id_: column for column, id_ in enumerate(output_ids.tolist())}
        for word in map(HotWord.parse, words):
            for form in _forms(word.text):
                columns = [column_of.get(id_, -1) for id_ in tokenizer.encode(form)]
                if -1 in columns:
                    raise OptionError(f"hot word {word.text!r}: the model cannot write it")
                closed = _spaceless(form[-1])
                self._anywhere.add(columns, boost * word.weight, closed=closed)
                if form.startswith(" ") or _spaceless(form[0]):
                    self._after_word.add(columns, boost * word.weight, closed=closed)

    def bonuses(self, match: Match) -> FloatArray:
        """`Match.bonus` after each possible next token, float32 ``[columns]``."""
        complete, going_on = match.complete(), match.going_on()
        worth = np.where(self._ends_word, complete, going_on).astype(np.float32)
        for column, child in self._roots(match).children.items():
            worth[column] += child.bonus
        for node, before in match.begun:
            for column, child in node.children.items():
                worth[column] = max(worth[column], before + child.bonus)
        return worth

    def advance(self, match: Match, column: int) -> Match:
        """The match after this column's token."""
        settled = match.complete() if self._ends_word[column] else match.going_on()
        begun = [
            (node.children[column], before)
            for node, before in match.begun
            if column in node.children
        ]
        if (first := self._roots(match).children.get(column)) is not None:
            begun.append((first, settled))
        return Match(settled, tuple(begun), bool(self._opens_word[column]))

    def _roots(self, match: Match) -> Node:
        return self._anywhere if match.fresh else self._after_word


def _forms(text: str) -> Iterator[str]:
    """The spellings of a hot word that are looked for, each with and without a space before it."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    for form in dict.fromkeys((text, text.lower(), text[:1].upper() + text[1:])):
        yield form
        yield f" {form}"


def _no_letter(character: str) -> bool:
    # Half a character is taken for half a letter.
    return bool(character) and not character.isalnum() and character != "\N{REPLACEMENT CHARACTER}"


def _spaceless(character: str) -> bool:
    return unicodedata.name(character, "").startswith(_SPACELESS)
