"""Sentences for the synthetic voices in one normal form, and numbers in words.

The normal form is the one the model writes: lower case a-z, the apostrophe inside a word, single
spaces, everything spelled out. A sentence that cannot be brought there safely is dropped.
"""

# ruff: noqa: SIM905  (word lists read better as one string)

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

MIN_WORDS, MAX_WORDS = 3, 22
HELD_OUT_PER_MILLE = 20
_NGRAM = 6

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
# Letter names as words that every engine reads the same way; "a" alone would be the article.
_NAMES = (
    "ay bee see dee ee eff gee aitch eye jay kay ell em en oh pee cue are ess tee you vee "
    "double_you ex why zee"
).split()
LETTERS = {chr(97 + i): name.replace("_", " ") for i, name in enumerate(_NAMES)}
_TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor"}
# Abbreviations that are read in several ways, or as other words than they are written.
_UNSAFE = frozenset(
    "st jr sr vs etc oz messrs co gen rev inc lt esq viz hon gov capt sept oct ft col ltd prof sen "
    "rep ave mt vol lb lbs kg km mph eg ie cf pp nos feb jan dec aug dept".split()
)
_ONE_LETTER_WORDS = frozenset({"a", "i", "o"})


@dataclass(frozen=True, slots=True)
class Line:
    """One thing to say: `text` is the reference, `spoken` what the engine is given."""

    text: str
    spoken: str
    kind: str


# --- numbers ---------------------------------------------------------------------------------


def cardinal(value: int) -> str:
    """Spell a whole number from 0 to 999,999,999 in words, without "and"."""
    if not 0 <= value < 1_000_000_000:
        raise ValueError(f"cannot spell {value}: not between 0 and 999,999,999")
    if value < 20:
        return ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return _TENS[tens] + (f" {ONES[ones]}" if ones else "")
    for size, name in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if value >= size:
            head, rest = divmod(value, size)
            return f"{cardinal(head)} {name}" + (f" {cardinal(rest)}" if rest else "")
    raise AssertionError(value)


def ordinal(value: int) -> str:
    """Spell an ordinal number: 21 -> "twenty first"."""
    *head, last = cardinal(value).split()
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return " ".join([*head, last])


def year(value: int) -> str:
    """Spell a year from 1000 to 2099 the way it is read aloud."""
    century, rest = divmod(value, 100)
    if 2000 <= value < 2010:
        return cardinal(value)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


# --- sentences -------------------------------------------------------------------------------

_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)*")
_VOWEL = re.compile("[aeiouy]")
_INITIALISM = re.compile(r"(?:[A-Z]\.){2,}")
_TRANSLATE = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": ", ", "–": ", "})  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a sentence: as it is written down, as it is spoken, and what follows it."""

    text: str
    spoken: str
    pause: str  # punctuation after the word: "", ",", ".", "?" or "!"


def _pause(tail: str) -> str:
    for mark in ".?!":
        if mark in tail:
            return mark
    return "," if any(mark in tail for mark in ",;:") else ""


def _letters(letters: str, pause: str) -> list[Word]:
    words = [Word(letter, LETTERS[letter], "") for letter in letters.lower()]
    return [*words[:-1], Word(words[-1].text, words[-1].spoken, pause)]


def _parse(sentence: str, known: frozenset[str] | None = None) -> list[Word] | None:
    """Split a written sentence into words of the normal form; None when that is not safe."""
    cleaned = re.sub(r"--+|\.\.\.|…", ", ", sentence.translate(_TRANSLATE))
    cleaned = re.sub(r"[-_/](?=[A-Za-z])", " ", re.sub(r"[\"()\[\]*]", " ", cleaned))
    words: list[Word] = []
    for raw in cleaned.split():
        token = raw.strip("'")
        if not token.strip(",;:.!?'"):
            continue
        body = token.rstrip(",;:.!?'").lstrip(",;:.!?'")
        tail = token[token.index(body) + len(body) :]
        initialism = _INITIALISM.match(token)
        if body.lower() in _TITLES:
            spoken = _TITLES[body.lower()]
            words.append(Word(spoken, spoken, _pause(tail.lstrip("."))))
        elif initialism:
            letters = initialism[0].replace(".", "")
            words += _letters(letters, _pause(token[initialism.end() :]))
        elif len(body) == 1 and body.isalpha():
            if body.lower() in _ONE_LETTER_WORDS and not (body == "A" and words):
                words.append(Word(body.lower(), body.lower(), _pause(tail)))
            elif body.isupper() and body.isascii():
                words += _letters(body, _pause(tail))
            else:
                return None
        else:
            lower = body.lower()
            shouted = len(body) > 1 and body.isupper()
            if shouted and (known is None or lower not in known):
                return None  # an acronym is read letter by letter or as a word: nobody knows
            if not _TOKEN.fullmatch(lower) or lower in _UNSAFE or not _VOWEL.search(lower):
                return None
            words.append(Word(lower, lower, _pause(tail)))
    return words or None


def normalise(sentence: str) -> str | None:
    """Bring a written sentence to the normal form, or None when that cannot be done safely."""
    words = _parse(sentence)
    return None if words is None else " ".join(word.text for word in words)


def is_held_out(sentence: str) -> bool:
    """Whether a normalised sentence belongs to dev/test: a property of its words alone."""
    digest = hashlib.blake2b(sentence.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 1000 < HELD_OUT_PER_MILLE


def _pieces(words: Sequence[Word]) -> Iterable[Sequence[Word]]:
    rest = words
    while len(rest) > MAX_WORDS:
        last = min(MAX_WORDS, len(rest) - MIN_WORDS)
        cuts = [n for n in range(MIN_WORDS, last + 1) if rest[n - 1].pause]
        cut = cuts[-1] if cuts else last
        yield rest[:cut]
        rest = rest[cut:]
    yield rest


def line_of(words: Sequence[Word], kind: str = "sentence") -> Line:
    spoken = " ".join(word.spoken + word.pause for word in words)
    return Line(" ".join(word.text for word in words), spoken, kind)


def _ngrams(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[i : i + _NGRAM]) for i in range(len(words) - _NGRAM + 1)}


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sentences for training, held-out sentences, and the words of the training sentences."""

    train: tuple[tuple[Word, ...], ...]
    held_out: tuple[Line, ...]
    vocabulary: tuple[str, ...]
    dropped: int

    @classmethod
    def read(cls, files: Iterable[Path], reserved: Iterable[str] = ()) -> Corpus:
        """Read one sentence a line; `reserved` are reference texts of real test recordings.

        A training piece that shares six words in a row with a reserved text is dropped, and one
        that equals a held-out piece as well.
        """
        written = [line for file in files for line in file.read_text("utf-8").splitlines()]
        counts = Counter(re.findall(r"(?<![\w'])[a-z]+(?:'[a-z]+)*(?![\w'])", " ".join(written)))
        known = frozenset(word for word, count in counts.items() if count > 2)
        forbidden = {gram for text in reserved for gram in _ngrams(text)}
        train: dict[str, tuple[Word, ...]] = {}
        held: dict[str, Line] = {}
        dropped = 0
        for sentence in written:
            words = _parse(sentence, known)
            if words is None:
                dropped += 1
                continue
            held_out = is_held_out(" ".join(word.text for word in words))
            for piece in _pieces(words):
                line = line_of(piece)
                if held_out and len(piece) >= MIN_WORDS:
                    held[line.text] = line
                elif not held_out and not _ngrams(line.text) & forbidden:
                    train[line.text] = tuple(piece)
        kept = [piece for text, piece in train.items() if text not in held]
        vocabulary = Counter(word.text for piece in kept for word in piece)
        common = tuple(sorted(w for w, n in vocabulary.items() if n > 1 and len(w) > 1))
        return cls(tuple(kept), tuple(held.values()), common, dropped)
