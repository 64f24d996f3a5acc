"""What the synthetic voices say: sentences in one normal form, numbers, dates, letters, commands.

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

import numpy as np

MIN_WORDS, MAX_WORDS = 3, 22
HELD_OUT_PER_MILLE = 20
GENERATED_SHARE = 0.25
_NGRAM = 6

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_MONTHS = (
    "january february march april may june july august september october november december"
).split()
_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_UNITS = "dollars pounds euros percent degrees miles meters minutes hours years people".split()
_THINGS = "light lights lamp heater fan television radio music alarm door".split()
_ROOMS = [
    *"kitchen bedroom bathroom office garage hallway garden basement".split(),
    "living room", "dining room",
]  # fmt: skip
# Letter names as words that every engine reads the same way; "a" alone would be the article.
_NAMES = (
    "ay bee see dee ee eff gee aitch eye jay kay ell em en oh pee cue are ess tee you vee "
    "double_you ex why zee"
).split()
_LETTERS = {chr(97 + i): name.replace("_", " ") for i, name in enumerate(_NAMES)}
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
        return _ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")
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
class _Word:
    text: str
    spoken: str
    pause: str  # punctuation after the word: "", ",", ".", "?" or "!"


def _pause(tail: str) -> str:
    for mark in ".?!":
        if mark in tail:
            return mark
    return "," if any(mark in tail for mark in ",;:") else ""


def _letters(letters: str, pause: str) -> list[_Word]:
    words = [_Word(letter, _LETTERS[letter], "") for letter in letters.lower()]
    return [*words[:-1], _Word(words[-1].text, words[-1].spoken, pause)]


def _parse(sentence: str, known: frozenset[str] | None = None) -> list[_Word] | None:
    """Split a written sentence into words of the normal form; None when that is not safe."""
    cleaned = re.sub(r"--+|\.\.\.|…", ", ", sentence.translate(_TRANSLATE))
    cleaned = re.sub(r"[-_/](?=[A-Za-z])", " ", re.sub(r"[\"()\[\]*]", " ", cleaned))
    words: list[_Word] = []
    for raw in cleaned.split():
        token = raw.strip("'")
        if not token.strip(",;:.!?'"):
            continue
        body = token.rstrip(",;:.!?'").lstrip(",;:.!?'")
        tail = token[token.index(body) + len(body) :]
        initialism = _INITIALISM.match(token)
        if body.lower() in _TITLES:
            spoken = _TITLES[body.lower()]
            words.append(_Word(spoken, spoken, _pause(tail.lstrip("."))))
        elif initialism:
            letters = initialism[0].replace(".", "")
            words += _letters(letters, _pause(token[initialism.end() :]))
        elif len(body) == 1 and body.isalpha():
            if body.lower() in _ONE_LETTER_WORDS and not (body == "A" and words):
                words.append(_Word(body.lower(), body.lower(), _pause(tail)))
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
            words.append(_Word(lower, lower, _pause(tail)))
    return words or None


def normalise(sentence: str) -> str | None:
    """Bring a written sentence to the normal form, or None when that cannot be done safely."""
    words = _parse(sentence)
    return None if words is None else " ".join(word.text for word in words)


def is_held_out(sentence: str) -> bool:
    """Whether a normalised sentence belongs to dev/test: a property of its words alone."""
    digest = hashlib.blake2b(sentence.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 1000 < HELD_OUT_PER_MILLE


def _pieces(words: Sequence[_Word]) -> Iterable[Sequence[_Word]]:
    rest = words
    while len(rest) > MAX_WORDS:
        last = min(MAX_WORDS, len(rest) - MIN_WORDS)
        cuts = [n for n in range(MIN_WORDS, last + 1) if rest[n - 1].pause]
        cut = cuts[-1] if cuts else last
        yield rest[:cut]
        rest = rest[cut:]
    yield rest


def _line(words: Sequence[_Word], kind: str = "sentence") -> Line:
    spoken = " ".join(word.spoken + word.pause for word in words)
    return Line(" ".join(word.text for word in words), spoken, kind)


def _ngrams(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[i : i + _NGRAM]) for i in range(len(words) - _NGRAM + 1)}


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sentences for training, held-out sentences, and the words of the training sentences."""

    train: tuple[tuple[_Word, ...], ...]
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
        train: dict[str, tuple[_Word, ...]] = {}
        held: dict[str, Line] = {}
        dropped = 0
        for sentence in written:
            words = _parse(sentence, known)
            if words is None:
                dropped += 1
                continue
            held_out = is_held_out(" ".join(word.text for word in words))
            for piece in _pieces(words):
                line = _line(piece)
                if held_out and len(piece) >= MIN_WORDS:
                    held[line.text] = line
                elif not held_out and not _ngrams(line.text) & forbidden:
                    train[line.text] = tuple(piece)
        kept = [piece for text, piece in train.items() if text not in held]
        vocabulary = Counter(word.text for piece in kept for word in piece)
        common = tuple(sorted(w for w, n in vocabulary.items() if n > 1 and len(w) > 1))
        return cls(tuple(kept), tuple(held.values()), common, dropped)


# --- generated material ----------------------------------------------------------------------


class LineMaker:
    """Draws training lines: whole and partial sentences, and generated material."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._held = frozenset(line.text for line in corpus.held_out)

    def draw(self, rng: np.random.Generator) -> Line:
        """Draw one training line; never one of the held-out sentences."""
        while True:
            line = self.generated(rng) if rng.random() < GENERATED_SHARE else self._sentence(rng)
            if line.text not in self._held:
                return line

    def _sentence(self, rng: np.random.Generator) -> Line:
        words = self._corpus.train[int(rng.integers(len(self._corpus.train)))]
        # Parts of sentences, so that a decoder cannot know the end from the beginning.
        if len(words) > 4 and rng.random() < 0.3:
            size = int(rng.integers(2, len(words)))
            start = int(rng.integers(0, len(words) - size + 1))
            return _line(words[start : start + size], "part")
        return _line(words)

    def generated(self, rng: np.random.Generator) -> Line:
        """Draw digits, numbers, dates, times, letters, commands or loose words."""
        kinds = (
            (_digits, 0.32), (_number, 0.11), (_date, 0.08), (_time, 0.07), (_phone, 0.06),
            (_spelled, 0.10), (_code, 0.05), (_command, 0.10),
        )  # fmt: skip
        mark = rng.random()
        for make, share in kinds:
            if mark < share:
                return make(rng)
            mark -= share
        count = 1 if rng.random() < 0.4 else int(rng.integers(2, 9))
        words = self._corpus.vocabulary
        chosen = [words[int(i)] for i in rng.integers(len(words), size=count)]
        pause = ", " if rng.random() < 0.4 else " "
        return Line(" ".join(chosen), pause.join(chosen), "words")


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _spoken_digits(rng: np.random.Generator, count: int) -> list[str]:
    return [_ONES[d] for d in rng.integers(0, 10, count)]


def _digits(rng: np.random.Generator) -> Line:
    count = 1 if rng.random() < 0.1 else int(rng.integers(2, 11))
    digits = _spoken_digits(rng, count)
    pause = _pick(rng, (" ", " ", ", "))
    return Line(" ".join(digits), pause.join(digits), "digits")


def _phone(rng: np.random.Generator) -> Line:
    groups = [_spoken_digits(rng, int(rng.integers(2, 5))) for _ in range(int(rng.integers(2, 4)))]
    spoken = ", ".join(" ".join(group) for group in groups)
    return Line(spoken.replace(",", ""), spoken, "phone")


def _number(rng: np.random.Generator) -> Line:
    value = int(rng.integers(0, 10 ** int(rng.integers(2, 7))))
    text = cardinal(value)
    style = rng.integers(6)
    if style == 0:
        text = ordinal(value % 100 + 1)
    elif style == 1:
        decimals = " ".join(_spoken_digits(rng, int(rng.integers(1, 4))))
        text = f"{cardinal(value % 1000)} point {decimals}"
    elif style == 2:
        text = f"{cardinal(value % 1000 + 2)} {_pick(rng, _UNITS)}"
    elif style == 3:
        cents = cardinal(int(rng.integers(2, 100)))
        text = f"{cardinal(value % 100 + 2)} dollars and {cents} cents"
    return Line(text, text, "number")


def _date(rng: np.random.Generator) -> Line:
    day, month = ordinal(int(rng.integers(1, 32))), _pick(rng, _MONTHS)
    text = f"{month} {day}" if rng.random() < 0.5 else f"the {day} of {month}"
    if rng.random() < 0.3:
        text = f"{_pick(rng, _DAYS)} {text}"
    if rng.random() < 0.5:
        text += f" {year(int(rng.integers(1700, 2040)))}"
    return Line(text, text, "date")


def _time(rng: np.random.Generator) -> Line:
    hour, minute = cardinal(int(rng.integers(1, 13))), int(rng.integers(0, 60))
    style = rng.integers(4)
    if style == 0:
        text = f"{hour} o'clock"
    elif style == 1:
        part = _pick(rng, ("half past", "quarter past", "quarter to", "ten past", "five to"))
        text = f"{part} {hour}"
    else:
        half = f"{'oh ' if minute < 10 else ''}{cardinal(minute)}" if minute else ""
        text = f"{hour} {half}".strip()
    lead = _pick(rng, ("", "", "at ", "it is ", "wake me up at ", "until "))
    if style != 1 and rng.random() < 0.4:
        text += _pick(rng, (" in the morning", " in the evening", " in the afternoon", " at night"))
    return Line(lead + text, lead + text, "time")


def _spelled(rng: np.random.Generator) -> Line:
    letters = [chr(97 + int(i)) for i in rng.integers(0, 26, int(rng.integers(1, 8)))]
    pause = _pick(rng, (" ", ", "))
    spoken = pause.join(_LETTERS[letter] for letter in letters)
    return Line(" ".join(letters), spoken, "letters")


def _code(rng: np.random.Generator) -> Line:
    symbols = [_spelled(rng), _digits(rng)]
    if rng.random() < 0.5:
        symbols.reverse()
    return Line(" ".join(s.text for s in symbols), ", ".join(s.spoken for s in symbols), "code")


def _command(rng: np.random.Generator) -> Line:
    room, thing = _pick(rng, _ROOMS), _pick(rng, _THINGS)
    number = cardinal(int(rng.integers(1, 101)))
    small = cardinal(int(rng.integers(2, 60)))
    text = _pick(
        rng,
        (
            f"turn on the {room} {thing}", f"turn off the {thing} in the {room}",
            f"switch the {room} {thing} on", f"set the {room} {thing} to {number} percent",
            f"set a timer for {small} minutes", f"what is the temperature in the {room}",
            f"open the {room} door", f"close the {room} window", f"is the {room} {thing} on",
            f"volume {number}", f"play some music in the {room}", f"stop the {thing}",
            f"remind me in {small} minutes", f"call number {small}", "what time is it",
            "what is the weather today", f"dim the {room} lights", f"add {small} eggs to my list",
            f"go to page {number}", f"play song {small}", "stop", "yes", "no", "cancel", "pause",
            "next", "go back", "louder", "quieter", "help", "start", "continue", "repeat that",
        ),
    )  # fmt: skip
    return Line(text, text, "command")
