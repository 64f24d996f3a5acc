"""Hot words: names and terms that the speaker is likely to use.

Shallow fusion with a trie over token ids. As long as what is being written agrees with the
beginning of a hot word, each of its tokens is worth up to ``boost``; a beginning that does not
become the whole word, or goes on into another word, loses all of it again. A finished hypothesis
is therefore worth its log-probability and the hot words that it really holds, nothing else.
Overlapping hot words are not counted twice: of all ways to place them, the best one counts.

Model probabilities are never changed; only the order of hypotheses is.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ark_asr.errors import OptionError
from ark_asr.models.tokenizer import TextCodec
from ark_asr.types import FloatArray, IntArray

_COMMENT = re.compile(r"(?:\A|\s)#.*")
_WEIGHT = re.compile(r"(?:\A|\s+):(\S*)\Z")
# No log-probability lacks more, and none can be compared with more.
_MOST = float(np.finfo(np.float32).max)
# Scripts that put no space between words.
_SPACELESS = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
# And one that puts none between a word and its particles.
_JOINING = (*_SPACELESS, "HANGUL")


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

    In a file, what follows a ``#`` is a comment, unless that ends a word as in ``C#``. See
    `HotWord.parse` for what a word can be.

    Args:
        source: Path of a UTF-8 text file, or the words themselves. One that looks like a path
            (``TCP/IP``) needs a comma behind it.

    Raises:
        OptionError: There is no such file, it is not text, or there are no words.
    """
    path = Path(source)
    if _is_file(path):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"{source}: cannot be read as UTF-8 text ({error})") from None
        if "\0" in text:
            raise OptionError(f"{source}: is no UTF-8 text, but perhaps UTF-16")
        words = [_COMMENT.sub("", line).strip() for line in text.splitlines()]
    elif "," not in source and ("/" in source or path.suffix == ".txt"):
        raise OptionError(
            f"{source}: no such file of hot words; if it is a word, put a comma behind it"
        )
    else:
        words = [word.strip() for word in source.split(",")]
    found = tuple(filter(None, words))
    if not found:
        raise OptionError(f"{source!r} holds no hot words; put one on each line, or commas between")
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()  # a shell's <(...) is a pipe
    except OSError:  # a long list of words is no file name
        return False


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@dataclass(slots=True, eq=False)
class Node:
    """The beginning of one or more hot words of the same weight.

    Attributes:
        children: By column of the next token.
        boost: Worth of each token below the root.
        ends: A hot word ends here.
        closed: It needs no sign that it is over: its script writes no spaces, or none there.
    """

    boost: float
    children: dict[int, Node] = field(default_factory=dict)
    ends: bool = False
    closed: bool = False

    def add(self, columns: Sequence[int], *, closed: bool) -> None:
        """Add a word below this node."""
        node = self
        for column in columns:
            node = node.children.setdefault(column, Node(self.boost))
        node.ends = True
        node.closed |= closed


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Which tokens lie at the edge of a word, bool ``[columns]`` each.

    Attributes:
        output_ids: Token id of each column.
        end: They end a word that comes before them.
        open: A word may follow them without a space.
    """

    output_ids: IntArray
    end: NDArray[np.bool_]
    open: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Match:
    """How a hypothesis agrees with the hot words so far.

    Attributes:
        settled: Worth of the hot words that are complete.
        begun: Beginnings that may still become words, and what all is worth if they do.
        fresh: A new word may follow without a space.
    """

    settled: float = 0.0
    begun: tuple[tuple[Node, float], ...] = ()
    fresh: bool = True

    @property
    def bonus(self) -> float:
        """Worth of it all, as long as the best beginning lives."""
        return max([self.settled, *(worth for _, worth in self.begun)])

    def complete(self) -> float:
        """What is settled if a word ends here."""
        return max([self.settled, *(worth for node, worth in self.begun if node.ends)])

    def going_on(self) -> float:
        """What is settled if the word goes on; some scripts do not show it."""
        return max([self.settled, *(worth for node, worth in self.begun if node.closed)])


class HotWords:
    """The hot words of one search.

    Each is looked for as it is given, in lower case, and capitalised, within a sentence and where
    no space comes before it.

    Args:
        words: What to look for; see `HotWord.parse`.
        boost: Most that each token of them is worth, in nats. A token is never worth more than its
            own log-probability lacks: what the model is sure of needs no help, and a hot word that
            is not there gains nothing from being added.
        tokenizer: Of the model.
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending.

    Raises:
        OptionError: The model cannot write one of them.
    """

    def __init__(
        self, words: Iterable[str], boost: float, tokenizer: TextCodec, output_ids: IntArray
    ) -> None:
        edges = _edges(tokenizer, output_ids)
        self._ends_word, self._opens_word = edges.end, edges.open
        self._after_word: dict[float, Node] = {}
        self._anywhere: dict[float, Node] = {}
        column_of = {id_: column for column, id_ in enumerate(output_ids.tolist())}
        for word in map(HotWord.parse, words):
            for form in _forms(word.text):
                columns = [column_of.get(id_, -1) for id_ in tokenizer.encode(form)]
                if -1 in columns:
                    raise OptionError(f"hot word {word.text!r}: the model cannot write it")
                roots = [self._anywhere]
                if form.startswith(" ") or _is_of(_SPACELESS, form[0]):
                    roots.append(self._after_word)
                for root in roots:
                    worth = min(boost * word.weight, _MOST)
                    node = root.setdefault(word.weight, Node(worth))
                    node.add(columns, closed=_is_of(_JOINING, form[-1]))

    def bonuses(self, match: Match, logprobs: FloatArray) -> FloatArray:
        """`Match.bonus` after each possible next token.

        Args:
            match: Up to here.
            logprobs: Of each next token, float32 ``[columns]``; so is the result.
        """
        complete, going_on = match.complete(), match.going_on()
        worth = np.where(self._ends_word, complete, going_on).astype(np.float32)
        ways = [(root, worth.copy()) for root in self._roots(match)]
        ways += [(node, np.full_like(worth, so_far)) for node, so_far in match.begun]
        for node, so_far in ways:
            columns = np.fromiter(node.children, np.int64, len(node.children))
            gain = np.minimum(node.boost, -logprobs[columns])
            worth[columns] = np.maximum(worth[columns], so_far[columns] + gain)
        return worth

    def advance(self, match: Match, column: int, logprob: float) -> Match:
        """The match after this column's token, which has this log-probability."""
        settled = match.complete() if self._ends_word[column] else match.going_on()
        ways = [*match.begun, *((root, settled) for root in self._roots(match))]
        begun = [
            (node.children[column], so_far + min(node.boost, -logprob))
            for node, so_far in ways
            if column in node.children
        ]
        return Match(settled, tuple(begun), bool(self._opens_word[column]))

    def _roots(self, match: Match) -> Iterable[Node]:
        return (self._anywhere if match.fresh else self._after_word).values()


# To spell out a vocabulary of 150,000 takes a third of a second; every search needs it.
_KNOWN: WeakKeyDictionary[TextCodec, _Edges] = WeakKeyDictionary()


def _edges(tokenizer: TextCodec, output_ids: IntArray) -> _Edges:
    """Those of a model, spelled out once."""
    known = _KNOWN.get(tokenizer)
    if known is None or not np.array_equal(known.output_ids, output_ids):
        texts = [tokenizer.decode([id_]) for id_ in output_ids.tolist()]
        sides = [text[:1] for text in texts], [text[-1:] for text in texts]
        no_letter = {character: _no_letter(character) for side in sides for character in set(side)}
        before, behind = (np.array([no_letter[character] for character in side]) for side in sides)
        stops = np.isin(output_ids, list(tokenizer.stop_ids))
        known = _KNOWN[tokenizer] = _Edges(output_ids, stops | before, behind)
    return known


def _forms(text: str) -> Iterator[str]:
    """The spellings of a hot word that are looked for, each with and without a space before it."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    for form in dict.fromkeys((text, text.lower(), text[:1].upper() + text[1:])):
        yield form
        yield f" {form}"


def _no_letter(character: str) -> bool:
    # Half a character is taken for half a letter.
    return bool(character) and not character.isalnum() and character != "\N{REPLACEMENT CHARACTER}"


def _is_of(scripts: tuple[str, ...], character: str) -> bool:
    return unicodedata.name(character, "").startswith(scripts)
